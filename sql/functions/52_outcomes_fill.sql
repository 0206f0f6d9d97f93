BEGIN;
-- Filling existing rows after a ticker's prices or status changed, with the values of outcome_rows()
-- (50_outcomes.sql). Each function locks its rows in the order of prediction and symbol, so that two
-- calls for the same rows wait and do not deadlock, and then writes the locked rows by their ctid.
-- Called by market/outcomes.py, the sweep and 83_ticker_verbs.sql.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Fills rows of ours from the stored prices. The caller has locked them, so that their ctid stays. All
-- values but `correct` follow from symbol and entry, so they are computed once for all rows that share
-- these, a symbol at a time. Writes the rows that change; returns their number for each symbol that has
-- some.
CREATE OR REPLACE FUNCTION outcomes_fill_rows(p_rows tid[]) RETURNS TABLE (symbol text, changed bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off
SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_now      timestamptz := reckoner_now();
    v_is_heard boolean := outcomes_are_heard();
BEGIN
    RETURN QUERY
    WITH entries AS MATERIALIZED (
        SELECT e.symbol, array_agg(ROW(NULL, e.symbol, NULL, NULL, NULL, e.entry_session, NULL)::outcome_key) AS keys
        FROM (SELECT DISTINCT o.symbol, o.entry_session FROM prediction_outcomes o WHERE o.ctid = ANY (p_rows)) e
        GROUP BY e.symbol
    ), computed AS MATERIALIZED (
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
        FROM computed n
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
        RETURNING o.prediction_id, o.symbol
    )
    SELECT w.symbol::text, CASE WHEN v_is_heard THEN outcomes_changed(w.symbol::text, array_agg(w.prediction_id::bigint)) ELSE count(*) END
    FROM written w GROUP BY w.symbol;
END
$$;

-- Fills the given rows, without rows of another program and rows without an entry. Returns the number
-- of rows that changed.
CREATE OR REPLACE FUNCTION outcomes_fill(p_prediction_ids bigint[], p_symbols text[])
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

-- Fills the outcomes of symbols whose prices or status changed: the open ones, or with p_all every one of
-- ours (the split basis changed, or the ticker became active). Rows of another program stay. Returns the
-- number of changed rows for each symbol that has some.
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

-- The same for one symbol. Returns the number of rows that changed.
CREATE OR REPLACE FUNCTION outcomes_fill_symbol(p_symbol text, p_all boolean) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(changed), 0)::bigint FROM outcomes_fill_symbols(ARRAY[p_symbol], p_all)
$$;

-- Fills the open outcomes that bars behind the last stored one can change: those that wait for a bar, or
-- whose next horizon is over. It does not read the thousands that mature later. Returns the number of
-- rows that changed.
CREATE OR REPLACE FUNCTION outcomes_fill_due(p_symbol text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[] := ARRAY(
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'awaiting_prices'
        UNION
        -- Compared as a row, so that only the index by symbol fits. The index by due_at has the rows of
        -- every ticker, and for a handful of open rows the planner gives both the same cost.
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
    outcomes_fill(p_prediction_ids bigint[], p_symbols text[]),
    outcomes_fill_symbols(p_symbols text[], p_all boolean),
    outcomes_fill_symbol(p_symbol text, p_all boolean),
    outcomes_fill_due(p_symbol text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/52_outcomes_fill.sql', '71abea607a3ae5cbb8d1bf90b399c1c9a80a4846dd089ae121c800421c870425')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
