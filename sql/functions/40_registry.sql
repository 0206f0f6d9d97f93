BEGIN;
-- The ticker registry: who named a symbol first, what it is, and whether anyone knows it.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The sentiment that a prediction's market_impact has for a symbol, however both are spelled; the
-- symbol's own spelling goes first.
CREATE OR REPLACE FUNCTION element_sentiment(p_symbol text, p_impact jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT lower(btrim(m.value #>> '{}'))
    FROM jsonb_each(CASE WHEN jsonb_typeof(p_impact) = 'object' THEN p_impact ELSE '{}' END) m
    WHERE normalize_symbol(m.key) = p_symbol AND jsonb_typeof(m.value) = 'string'
      AND lower(btrim(m.value #>> '{}')) IN ('bullish', 'bearish', 'neutral')
    ORDER BY m.key = p_symbol DESC, m.key LIMIT 1
$$;

-- Symbols as their predictions write them: every element of `assets`, with the symbol where
-- it is one and the reason where it is not, and the sentiment that market_impact has for
-- just that symbol, whatever its case. A string counts as a list of one.
CREATE OR REPLACE FUNCTION prediction_elements(p_prediction_ids integer[])
RETURNS TABLE (prediction_id integer, moment timestamptz, confidence double precision,
               element text, symbol text, sentiment text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN -- PL/pgSQL, as in all of the hot path, because it keeps its plans
    RETURN QUERY
    SELECT p.prediction_id, p.moment, p.confidence, a.value::text, n.symbol,
           -- Nearly always the key is the symbol and its value is lower case.
           CASE WHEN p.market_impact ->> n.symbol IN ('bullish', 'bearish', 'neutral')
                THEN p.market_impact ->> n.symbol
                ELSE element_sentiment(n.symbol, p.market_impact) END
    FROM prediction_inputs p
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE WHEN jsonb_typeof(p.assets) = 'array' THEN p.assets
             ELSE jsonb_build_array(p.assets) END) a(value)
    -- OFFSET 0: once for each element, not once for each use of it.
    CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(a.value) = 'string'
                                    THEN normalize_symbol(a.value #>> '{}') END AS symbol OFFSET 0) n
    WHERE p.prediction_id = ANY (p_prediction_ids) AND p.eligible;
END
$$;

-- Registers symbols that are new; the first prediction that named one stays its source.
-- Ordered, so that two writers lock alike; without naming the conflict's columns, because the
-- table may be another program's. p_prediction_ids holds NULLs for symbols that a person
-- registers. Returns the new ones.
CREATE OR REPLACE FUNCTION registry_register(p_symbols text[], p_prediction_ids integer[])
RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    INSERT INTO ticker_registry (symbol, first_seen_date, source_prediction_id, status, asset_type,
                                 calendar, provider_symbol, total_price_records, backfill_status,
                                 created_at, updated_at)
    SELECT s.symbol, (reckoner_now() AT TIME ZONE 'UTC')::date, s.prediction_id, 'active',
           symbol_asset_type(coalesce(r.provider_symbol, s.symbol)),
           coalesce(r.calendar, symbol_calendar(s.symbol)),
           r.provider_symbol, 0, 'pending', reckoner_now(), reckoner_now()
    FROM (SELECT DISTINCT ON (named.symbol) * FROM unnest(p_symbols, p_prediction_ids)
              AS named(symbol, prediction_id)
          WHERE named.symbol IS NOT NULL
            AND NOT EXISTS (SELECT FROM ticker_registry known WHERE known.symbol = named.symbol)
          ORDER BY named.symbol, named.prediction_id) s
    LEFT JOIN LATERAL symbol_rule(s.symbol) r ON true
    ORDER BY s.symbol
    ON CONFLICT DO NOTHING
    RETURNING symbol::text;
END
$$;

DROP FUNCTION IF EXISTS registry_missing_calendars(integer[]);
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/40_registry.sql', '2a5b5a7c87998e4554daf461b350b0fe5971f4d6cce235c2e3b67d9d57119d40')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
