BEGIN;
-- What a prediction names: its symbols and their sentiments, and how many of them are processed. Called by
-- 51_outcomes_process.sql, 61_enqueue.sql, 70_explain.sql and the sweep.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The sentiment for a symbol in a prediction's market_impact, whatever the spelling of the keys; a key
-- that is spelled as the symbol goes first.
CREATE OR REPLACE FUNCTION element_sentiment(p_symbol text, p_impact jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT lower(btrim(m.value #>> '{}'))
    FROM jsonb_each(CASE WHEN jsonb_typeof(p_impact) = 'object' THEN p_impact ELSE '{}' END) m
    WHERE normalize_symbol(m.key) = p_symbol AND jsonb_typeof(m.value) = 'string'
      AND lower(btrim(m.value #>> '{}')) IN ('bullish', 'bearish', 'neutral')
    ORDER BY m.key = p_symbol DESC, m.key LIMIT 1
$$;

-- The same for all symbols of a market_impact: {symbol: sentiment}. It passes over the keys once; a
-- look for each symbol would read 100,000 keys a hundred times.
CREATE OR REPLACE FUNCTION impact_by_symbol(p_impact jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(s.symbol, s.sentiment), '{}')
    FROM (SELECT DISTINCT ON (k.symbol) k.symbol, k.sentiment
          FROM (SELECT m.key, normalize_symbol(m.key) AS symbol, lower(btrim(m.value #>> '{}')) AS sentiment
                FROM jsonb_each(CASE WHEN jsonb_typeof(p_impact) = 'object' THEN p_impact ELSE '{}' END) m
                WHERE jsonb_typeof(m.value) = 'string') k
          WHERE k.symbol IS NOT NULL AND k.sentiment IN ('bullish', 'bearish', 'neutral')
          ORDER BY k.symbol, k.key = k.symbol DESC, k.key) s
$$;

-- Reads a long list: {"kept": its first p_max_symbols different symbols, in its order, "skipped": the
-- first 50 other elements, each with its reason, "counts": how many there are of each reason, "cut":
-- whether symbols may have been left out}. Reads only the first 10,000 elements.
CREATE OR REPLACE FUNCTION assets_read(p_list jsonb, p_max_symbols integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off AS $$
DECLARE
    v_unread integer := greatest(jsonb_array_length(p_list) - 10000, 0);
BEGIN
    RETURN (
        WITH element AS MATERIALIZED (
            SELECT e.n, e.value, s.symbol
            FROM jsonb_array_elements(CASE WHEN v_unread > 0 THEN jsonb_path_query_array(p_list, '$[0 to 9999]')
                                           ELSE p_list END) WITH ORDINALITY AS e(value, n)
            CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(e.value) = 'string'
                                            THEN normalize_symbol(e.value #>> '{}') END AS symbol OFFSET 0) s
        ), kept AS MATERIALIZED (
            SELECT e.symbol, min(e.n) AS n FROM element e WHERE e.symbol IS NOT NULL
            GROUP BY e.symbol ORDER BY min(e.n) LIMIT p_max_symbols
        ), skipped AS MATERIALIZED (
            SELECT e.n, e.value, CASE WHEN e.symbol IS NULL THEN 'not a symbol'
                                      ELSE format('beyond the first %s symbols', p_max_symbols) END AS reason
            FROM element e LEFT JOIN kept k ON k.symbol = e.symbol WHERE k.symbol IS NULL
        ), counted AS MATERIALIZED (
            SELECT c.reason, sum(c.n)::bigint AS n
            FROM (SELECT s.reason, count(*) AS n FROM skipped s GROUP BY s.reason
                  UNION ALL
                  SELECT CASE WHEN (SELECT count(*) FROM kept) = p_max_symbols
                              THEN format('beyond the first %s symbols', p_max_symbols)
                              ELSE 'beyond the first 10000 elements' END, v_unread WHERE v_unread > 0) c
            GROUP BY c.reason
        )
        SELECT jsonb_build_object(
            'kept', coalesce((SELECT jsonb_agg(k.symbol ORDER BY k.n) FROM kept k), '[]'),
            'skipped', coalesce((SELECT jsonb_agg(jsonb_build_array(left(f.value::text, 50), f.reason) ORDER BY f.n)
                                 FROM (SELECT * FROM skipped s ORDER BY s.n LIMIT 50) f), '[]'),
            'counts', coalesce((SELECT jsonb_object_agg(c.reason, c.n) FROM counted c), '{}'),
            'cut', EXISTS (SELECT FROM counted c WHERE c.reason <> 'not a symbol')));
END
$$;

-- All symbols that these predictions name, without a limit: for outcome rows from before the limit.
CREATE OR REPLACE FUNCTION prediction_symbols(p_prediction_ids bigint[])
RETURNS TABLE (prediction_id bigint, symbol text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN -- PL/pgSQL: inlined into outcomes_process() it read all predictions for an empty list
    IF p_prediction_ids <> '{}' THEN
        RETURN QUERY
        SELECT DISTINCT p.prediction_id::bigint, normalize_symbol(e.value #>> '{}')
        FROM prediction_inputs p
        CROSS JOIN LATERAL jsonb_array_elements(
            CASE WHEN jsonb_typeof(p.assets) = 'array' THEN p.assets ELSE jsonb_build_array(p.assets) END) e(value)
        WHERE p.prediction_id = ANY (p_prediction_ids) AND p.eligible AND jsonb_typeof(e.value) = 'string'
          AND normalize_symbol(e.value #>> '{}') IS NOT NULL;
    END IF;
END
$$;

-- The elements of predictions' `assets`: a row for each, with the symbol, or the reason why it is not
-- one, and the sentiment that market_impact has for that symbol, whatever its case. A string counts as
-- a list of one.
--   p_max_symbols  of a longer list, only the first so many different symbols; then `cut` is true
--   p_budget       limit for all predictions together, in symbols; 500 bytes count as a symbol. The
--                  smallest predictions go first, and one that is alone has no limit. A prediction that
--                  does not fit has one row, with `deferred`
--   p_bulk         NULL, or predictions of more than 20 symbols are deferred too, except these
--   skipped        the number of elements that a row without a symbol stands for. Of a long list 50
--                  elements have rows, and a row without element has the number for its reason
CREATE OR REPLACE FUNCTION prediction_elements(
    p_prediction_ids bigint[], p_max_symbols integer DEFAULT 100, p_budget integer DEFAULT NULL,
    p_bulk bigint[] DEFAULT NULL
) RETURNS TABLE (prediction_id bigint, moment timestamptz, confidence double precision, element text,
                 symbol text, sentiment text, reason text, skipped bigint, cut boolean, deferred boolean)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN -- PL/pgSQL, as all of the hot path, because it keeps its plans
    RETURN QUERY
    WITH input AS MATERIALIZED (
        SELECT w.*, coalesce(w.weight > 20 AND w.prediction_id <> ALL (p_bulk), false) AS is_wide
        FROM (SELECT p.prediction_id::bigint AS prediction_id, p.moment, p.confidence, v.market_impact, v.list, jsonb_array_length(v.list) AS size,
                     least(jsonb_array_length(v.list), p_max_symbols)
                     + (pg_column_size(v.list) + coalesce(pg_column_size(v.market_impact), 0)) / 500 AS weight
              FROM prediction_inputs p
              -- OFFSET 0, here and below: evaluated once, and not once for each use (tests/sql/test_plans.py).
              CROSS JOIN LATERAL (SELECT p.assets, p.market_impact OFFSET 0) a
              CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(a.assets) = 'array' THEN a.assets
                                              ELSE jsonb_build_array(a.assets) END AS list, a.market_impact OFFSET 0) v
              WHERE p.prediction_id = ANY (p_prediction_ids) AND p.eligible OFFSET 0) w
    ), beyond AS MATERIALIZED ( -- sorts only where they do not all fit
        SELECT CASE WHEN (SELECT sum(i.weight) FROM input i WHERE NOT i.is_wide) > p_budget THEN ARRAY(
            SELECT s.prediction_id
            FROM (SELECT i.prediction_id, i.weight, sum(i.weight) OVER (ORDER BY i.weight, i.prediction_id) AS upto
                  FROM input i WHERE NOT i.is_wide) s
            WHERE s.upto > p_budget AND s.upto > s.weight) END AS ids
    ), long AS MATERIALIZED (
        SELECT i.prediction_id, i.moment, i.confidence, assets_read(i.list, p_max_symbols) AS read,
               impact_by_symbol(i.market_impact) AS impacts
        FROM input i
        WHERE i.size > least(p_max_symbols, 50) AND NOT i.is_wide
          AND (i.prediction_id = ANY ((SELECT b.ids FROM beyond b)::bigint[])) IS NOT TRUE
    )
    SELECT i.prediction_id, i.moment, i.confidence, CASE WHEN n.symbol IS NULL THEN left(a.value::text, 50) END,
           n.symbol,
           -- The fast path: the key is the symbol and its value is lower case.
           CASE WHEN m.impacts IS NOT NULL THEN m.impacts ->> n.symbol
                WHEN i.market_impact ->> n.symbol IN ('bullish', 'bearish', 'neutral')
                THEN i.market_impact ->> n.symbol
                ELSE element_sentiment(n.symbol, i.market_impact) END,
           CASE WHEN n.symbol IS NULL THEN 'not a symbol' END, CASE WHEN n.symbol IS NULL THEN 1::bigint END,
           false, false
    FROM input i
    CROSS JOIN LATERAL (SELECT CASE WHEN i.size > 20 OR pg_column_size(i.market_impact) > 1000
                                    THEN impact_by_symbol(i.market_impact) END AS impacts OFFSET 0) m
    CROSS JOIN LATERAL jsonb_array_elements(i.list) a(value)
    CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(a.value) = 'string'
                                    THEN normalize_symbol(a.value #>> '{}') END AS symbol OFFSET 0) n
    WHERE i.size <= least(p_max_symbols, 50) AND NOT i.is_wide
      AND (i.prediction_id = ANY ((SELECT b.ids FROM beyond b)::bigint[])) IS NOT TRUE
    UNION ALL
    SELECT l.prediction_id, l.moment, l.confidence, NULL, k.symbol, l.impacts ->> k.symbol, NULL, NULL,
           (l.read -> 'cut')::boolean, false
    FROM long l CROSS JOIN LATERAL jsonb_array_elements_text(l.read -> 'kept') k(symbol)
    UNION ALL
    SELECT l.prediction_id, NULL, NULL, s.value ->> 0, NULL, NULL, s.value ->> 1, 1,
           (l.read -> 'cut')::boolean, false
    FROM long l CROSS JOIN LATERAL jsonb_array_elements(l.read -> 'skipped') s(value)
    UNION ALL
    SELECT l.prediction_id, NULL, NULL, NULL, NULL, NULL, c.key, c.value::bigint,
           (l.read -> 'cut')::boolean, false
    FROM long l CROSS JOIN LATERAL jsonb_each_text(l.read -> 'counts') c
    UNION ALL
    SELECT i.prediction_id, NULL, NULL, NULL, NULL, NULL,
           CASE WHEN i.is_wide THEN 'names many' ELSE 'does not fit' END, NULL, false, true
    FROM input i WHERE i.is_wide OR i.prediction_id = ANY ((SELECT b.ids FROM beyond b)::bigint[]);
END
$$;
REVOKE ALL ON FUNCTION
    element_sentiment(p_symbol text, p_impact jsonb),
    impact_by_symbol(p_impact jsonb),
    assets_read(p_list jsonb, p_max_symbols integer),
    prediction_symbols(p_prediction_ids bigint[]),
    prediction_elements(p_prediction_ids bigint[], p_max_symbols integer, p_budget integer, p_bulk bigint[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/13_prediction_elements.sql', 'f6f8ae6bfc520416e93dfc0573efc720a023d19c6ecb4ab29a650b2bc93eaf33')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
