BEGIN;
-- Rows that are there, after a ticker's prices or its status changed, from what outcome_rows
-- (50_outcomes.sql) says. All here lock the rows they mean, in the order of prediction and symbol, so
-- that two who fill the same ones wait and do not deadlock, and fill what they hold by its place.
-- Called by market/outcomes.py, the sweep and 83_ticker_verbs.sql.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Fills rows of ours, which the caller's transaction holds, so that they stay where they are, from
-- the stored prices. What a row says follows from its symbol and its entry, but for what it makes of
-- its sentiment; so that is computed once for all who share them, a symbol at a time. Writes the rows
-- that change, and returns their number for each symbol that has some.
CREATE OR REPLACE FUNCTION outcomes_fill_rows(p_rows tid[]) RETURNS TABLE (symbol text, changed bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off
SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    RETURN QUERY
    WITH entries AS MATERIALIZED (
        SELECT e.symbol, array_agg(ROW(NULL, e.symbol, NULL, NULL, NULL, e.entry_session, NULL)::outcome_key) AS keys
        FROM (SELECT DISTINCT o.symbol, o.entry_session FROM prediction_outcomes o WHERE o.ctid = ANY (p_rows)) e
        GROUP BY e.symbol
    ), said AS MATERIALIZED (
        SELECT w.* FROM entries e CROSS JOIN LATERAL outcome_rows(e.keys) w
    ), written AS (
        UPDATE prediction_outcomes o SET
            price_at_prediction = n.p0,
            price_t1 = n.p1, return_t1 = n.r1, pnl_t1 = n.pnl1,
            price_t3 = n.p3, return_t3 = n.r3, pnl_t3 = n.pnl3,
            price_t7 = n.p7, return_t7 = n.r7, pnl_t7 = n.pnl7,
            price_t30 = n.p30, return_t30 = n.r30, pnl_t30 = n.pnl30,
            correct_t1 = outcome_correct(o.prediction_sentiment, n.r1),
            correct_t3 = outcome_correct(o.prediction_sentiment, n.r3),
            correct_t7 = outcome_correct(o.prediction_sentiment, n.r7),
            correct_t30 = outcome_correct(o.prediction_sentiment, n.r30),
            is_complete = n.complete, outcome_state = n.state, outcome_reason = n.reason, due_at = n.due_at,
            revision = CASE WHEN o.price_at_prediction IS NOT NULL
                THEN outcome_revision(
                    o.revision, o.price_at_prediction, n.p0,
                    ARRAY[o.price_t1, o.price_t3, o.price_t7, o.price_t30], ARRAY[n.p1, n.p3, n.p7, n.p30])
                ELSE o.revision END,
            last_price_update = v_now, engine_version = 1, updated_at = v_now
        FROM said n
        WHERE o.ctid = ANY (p_rows) AND o.symbol = (n.key).symbol AND o.entry_session = (n.key).entry
          AND (o.price_at_prediction, o.price_t1, o.price_t3, o.price_t7, o.price_t30,
               o.return_t1, o.return_t3, o.return_t7, o.return_t30, o.pnl_t1, o.pnl_t3, o.pnl_t7, o.pnl_t30,
               o.correct_t1, o.correct_t3, o.correct_t7, o.correct_t30,
               o.is_complete, o.outcome_state, o.outcome_reason, o.due_at, o.engine_version)
              IS DISTINCT FROM
              (n.p0, n.p1, n.p3, n.p7, n.p30, n.r1, n.r3, n.r7, n.r30, n.pnl1, n.pnl3, n.pnl7, n.pnl30,
               outcome_correct(o.prediction_sentiment, n.r1), outcome_correct(o.prediction_sentiment, n.r3),
               outcome_correct(o.prediction_sentiment, n.r7), outcome_correct(o.prediction_sentiment, n.r30),
               n.complete, n.state, n.reason, n.due_at, 1)
        RETURNING o.symbol
    )
    SELECT w.symbol::text, count(*) FROM written w GROUP BY w.symbol;
END
$$;

-- Fills the given rows; what another program wrote, and what has no entry, is left alone. Returns the
-- number changed.
CREATE OR REPLACE FUNCTION outcomes_fill(p_prediction_ids integer[], p_symbols text[])
RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN
    RETURN (SELECT coalesce(sum(changed), 0) FROM outcomes_fill_rows(ARRAY(
        SELECT o.ctid FROM unnest(p_prediction_ids, p_symbols) AS k(prediction_id, symbol)
        JOIN prediction_outcomes o ON o.prediction_id = k.prediction_id AND o.symbol || '' = k.symbol
        WHERE o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
        ORDER BY o.prediction_id, o.symbol FOR UPDATE OF o)));
END
$$;

-- Outcomes of symbols after their prices or their status changed: the open ones, or with p_all every
-- one of ours (the basis of the prices changed, or the ticker turned out to exist). What another
-- program wrote is left alone. Returns the number changed for each symbol that has some.
CREATE OR REPLACE FUNCTION outcomes_fill_symbols(p_symbols text[], p_all boolean)
RETURNS TABLE (symbol text, changed bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    IF p_all THEN
        RETURN QUERY SELECT * FROM outcomes_fill_rows(ARRAY(
            SELECT o.ctid FROM prediction_outcomes o
            WHERE o.symbol = ANY (p_symbols) AND o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
            ORDER BY o.prediction_id, o.symbol FOR UPDATE));
    ELSE
        RETURN QUERY SELECT * FROM outcomes_fill_rows(ARRAY(
            SELECT o.ctid FROM prediction_outcomes o
            WHERE o.symbol = ANY (p_symbols) AND o.outcome_state IN ('awaiting_prices', 'maturing')
              AND o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
            ORDER BY o.prediction_id, o.symbol FOR UPDATE));
    END IF;
END
$$;

-- The same of one symbol. Returns the number changed.
CREATE OR REPLACE FUNCTION outcomes_fill_symbol(p_symbol text, p_all boolean) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(changed), 0)::bigint FROM outcomes_fill_symbols(ARRAY[p_symbol], p_all)
$$;

-- Of the open ones those that new bars behind the last stored one can change: that wait for a bar, or
-- whose next horizon is over. The thousands that mature later are not looked at. Returns the number changed.
CREATE OR REPLACE FUNCTION outcomes_fill_due(p_symbol text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_ids integer[] := ARRAY(
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'awaiting_prices'
        UNION
        -- Compared as a row, so that only the index by symbol serves: the one by due_at holds every
        -- ticker's, and for a handful of open rows the planner thinks the two alike.
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'maturing'
          AND (symbol, outcome_state, due_at) <= (p_symbol, 'maturing', reckoner_now())
        UNION
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'maturing' AND due_at IS NULL);
BEGIN
    RETURN outcomes_fill(v_ids, array_fill(p_symbol, ARRAY[cardinality(v_ids)]));
END
$$;
REVOKE ALL ON FUNCTION
    outcomes_fill_rows(p_rows tid[]),
    outcomes_fill(p_prediction_ids integer[], p_symbols text[]),
    outcomes_fill_symbols(p_symbols text[], p_all boolean),
    outcomes_fill_symbol(p_symbol text, p_all boolean),
    outcomes_fill_due(p_symbol text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/52_outcomes_fill.sql', 'f71fb35825ab737d36fd52d05dc98d9e0adead48532ad50942740bad0bdbce50')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
