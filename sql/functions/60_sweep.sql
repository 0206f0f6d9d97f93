BEGIN;
-- The sweep: finds what no event speaks of. One worker sweeps at a time, any can; called by
-- worker/sweep.py, each part a statement whose cost follows what it finds.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Predictions that are eligible, came after the installation, and have no outcome, no
-- event and no history: the trigger failed or was away. Looks at the newest ids and at the
-- next stretch of a slow walk over all of them, so that the cost of a sweep is bounded and
-- a prediction that became forgotten long after its insert is found as well.
-- Writes an event for each; returns how many.
CREATE OR REPLACE FUNCTION sweep_forgotten(p_span integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_first  bigint;
    v_cursor bigint;
    v_last   bigint;
    v_keys   text[];
BEGIN
    SELECT last_prediction_id, greatest(forgotten_cursor, last_prediction_id)
    INTO v_first, v_cursor FROM reckoner_installation;
    SELECT max(id) INTO v_last FROM predictions;
    v_keys := ARRAY(
        SELECT p.prediction_id::text AS key
        FROM prediction_inputs p
        WHERE p.prediction_id > v_first AND p.eligible
          AND (p.prediction_id > v_last - p_span
               OR (p.prediction_id > v_cursor AND p.prediction_id <= v_cursor + p_span))
          AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = p.prediction_id)
          AND NOT EXISTS (SELECT FROM outbox_history h
                          WHERE h.topic = 'prediction' AND h.key = p.prediction_id::text)
        -- One pass over the outbox, whatever the planner thinks of a table that just grew.
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction');
    IF v_keys <> '{}' THEN
        INSERT INTO outbox (topic, key, available_at, created_at, updated_at)
        SELECT 'prediction', key, reckoner_now(), reckoner_now(), reckoner_now()
        FROM unnest(v_keys) AS key ORDER BY key::bigint;
    END IF;
    UPDATE reckoner_installation
    SET forgotten_cursor = CASE WHEN v_cursor + p_span >= v_last THEN v_first ELSE v_cursor + p_span END
    WHERE forgotten_cursor IS DISTINCT FROM
          CASE WHEN v_cursor + p_span >= v_last THEN v_first ELSE v_cursor + p_span END;
    RETURN cardinality(v_keys);
END
$$;

-- Symbols whose outcomes became due (outcomes_fill says when): writes a ticker event for each.
-- A symbol that nobody serves any more gets its verdict at once. Returns the events written.
CREATE OR REPLACE FUNCTION sweep_due() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_symbol  text;
    v_symbols text[];
BEGIN
    FOR v_symbol IN
        SELECT DISTINCT o.symbol FROM prediction_outcomes o JOIN ticker_registry r USING (symbol)
        WHERE o.outcome_state IN ('awaiting_prices', 'maturing')
          AND o.due_at <= reckoner_now() AND r.status <> 'active'
    LOOP
        PERFORM outcomes_fill_symbol(v_symbol, false);
    END LOOP;
    v_symbols := ARRAY(
        SELECT o.symbol::text FROM prediction_outcomes o JOIN ticker_registry r USING (symbol)
        WHERE o.outcome_state IN ('awaiting_prices', 'maturing') AND o.due_at <= reckoner_now()
          AND r.status = 'active'
        EXCEPT SELECT e.key FROM outbox e WHERE e.topic = 'ticker');
    RETURN ticker_enqueue(coalesce(v_symbols, '{}'), 0, false);
END
$$;

-- Tickers that were registered where no trigger saw it. Those that another program registered
-- before we were installed wait until a prediction names them: it may have thousands.
CREATE OR REPLACE FUNCTION sweep_unfetched() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_symbols text[] := ARRAY(
        SELECT r.symbol FROM ticker_registry r
        WHERE r.status = 'active' AND r.last_backfill IS NULL
          AND (r.backfill_status IN ('pending', 'in_progress')
               OR (r.backfill_status IS NULL AND r.first_seen_date >=
                   (SELECT (installed_at AT TIME ZONE 'UTC')::date FROM reckoner_installation)))
          AND normalize_symbol(r.symbol) = r.symbol);
BEGIN
    IF v_symbols = '{}' THEN
        RETURN 0; -- as nearly always; and the outbox is not read
    END IF;
    RETURN ticker_enqueue(ARRAY(
        SELECT unnest(v_symbols) EXCEPT SELECT e.key FROM outbox e WHERE e.topic = 'ticker'), 0, false);
END
$$;

-- History older than p_days, in bites, and workers not seen for a day.
CREATE OR REPLACE FUNCTION sweep_prune(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_pruned bigint;
BEGIN
    DELETE FROM outbox_history WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM outbox_history
        WHERE finished_at < reckoner_now() - make_interval(days => p_days)
        ORDER BY finished_at LIMIT 10000));
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    DELETE FROM reckoner_workers
    WHERE greatest(last_seen_at, asleep_until) < reckoner_now() - interval '1 day';
    RETURN v_pruned;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/60_sweep.sql', '26bda37efeb88772f238fa698aca878d2a765c8a9ef3ad33dfd20bc4eec21f29')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
