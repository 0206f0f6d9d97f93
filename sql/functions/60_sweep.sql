BEGIN;
-- The sweep: finds predictions and tickers that need an event and have none. Any worker may sweep, one
-- at a time. Called by worker/sweep.py, each part as a statement whose cost follows what it finds.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The cursor of a slow walk over the ids after p_first, one stretch on; at the end it begins anew.
CREATE OR REPLACE FUNCTION sweep_walked(p_first bigint, p_cursor bigint, p_last bigint, p_span integer)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_cursor + p_span >= p_last THEN p_first ELSE p_cursor + p_span END
$$;

-- Writes an event for each of these predictions. Returns how many.
CREATE OR REPLACE FUNCTION sweep_write(p_keys text[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF p_keys <> '{}' THEN -- an INSERT of no row would ring the doorbell
        INSERT INTO outbox (topic, key)
        SELECT 'prediction', key FROM unnest(p_keys) AS key ORDER BY key::bigint;
    END IF;
    RETURN cardinality(p_keys);
END
$$;

-- Finds predictions that are eligible, newer than the installation, and have no outcome, event or
-- history: the trigger failed, was disabled or missing. Reads the newest ids and the next stretch of a
-- slow walk over all ids: so its cost is bounded, and it also finds a prediction that became eligible
-- long after its insert. Writes an event for each; returns their number.
-- One statement finds them: between two an event could end, and be in neither result.
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
        SELECT p.prediction_id::text
        FROM prediction_inputs p
        WHERE p.prediction_id > v_first AND p.eligible
          AND (p.prediction_id > v_last - p_span
               OR (p.prediction_id > v_cursor AND p.prediction_id <= v_cursor + p_span))
          AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = p.prediction_id)
          AND NOT EXISTS (SELECT FROM outbox_history h
                          WHERE h.topic = 'prediction' AND h.key = p.prediction_id::text)
        -- EXCEPT reads the outbox once, also where the planner's statistics of it are old.
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction');
    UPDATE reckoner_installation SET forgotten_cursor = sweep_walked(v_first, v_cursor, v_last, p_span)
    WHERE forgotten_cursor IS DISTINCT FROM sweep_walked(v_first, v_cursor, v_last, p_span);
    RETURN sweep_write(v_keys);
END
$$;

-- Finds predictions that changed while the trigger was disabled or missing: they name a symbol without a
-- row, or a row of ours has a symbol that they no longer name, or another sentiment. Walks like
-- sweep_forgotten(), in shorter stretches, because it reads each prediction's assets. Like the trigger
-- on UPDATE it ignores the confidence. It skips predictions without a row of ours: they are new, or
-- another program's. Writes an event for each; returns their number.
CREATE OR REPLACE FUNCTION sweep_changed(p_span integer, p_max_symbols integer DEFAULT 100) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_first  bigint;
    v_cursor bigint;
    v_last   bigint;
    v_ids    integer[];
    v_keys   text[];
BEGIN
    SELECT last_prediction_id, greatest(changed_cursor, last_prediction_id)
    INTO v_first, v_cursor FROM reckoner_installation;
    SELECT max(id) INTO v_last FROM predictions;
    v_ids := ARRAY(
        SELECT p.prediction_id
        FROM (VALUES (v_cursor, v_cursor + p_span), (greatest(v_first, v_last - p_span), v_last))
             AS stretch(after, up_to)
        JOIN prediction_inputs p ON p.prediction_id > stretch.after AND p.prediction_id <= stretch.up_to
        WHERE p.eligible
          AND EXISTS (SELECT FROM our_outcomes o WHERE o.prediction_id = p.prediction_id));
    v_keys := ARRAY( -- one statement, as above
        WITH elements AS MATERIALIZED (
            SELECT * FROM prediction_elements(v_ids, p_max_symbols)
        ), named AS (
            SELECT DISTINCT e.prediction_id, e.symbol, e.sentiment FROM elements e WHERE e.symbol IS NOT NULL
        ), known AS (
            SELECT o.prediction_id, o.symbol::text AS symbol, o.prediction_sentiment::text AS sentiment,
                   o.engine_version IS NOT NULL AS is_ours
            FROM prediction_outcomes o WHERE o.prediction_id = ANY (v_ids)
        )
        SELECT coalesce(s.prediction_id, k.prediction_id)::text
        FROM named s FULL JOIN known k ON k.prediction_id = s.prediction_id AND k.symbol = s.symbol
        WHERE k.symbol IS NULL
           OR (k.is_ours AND s.symbol IS NOT NULL AND s.sentiment IS DISTINCT FROM k.sentiment)
           -- A row of a symbol beyond the first p_max_symbols is not a change.
           OR (k.is_ours AND s.symbol IS NULL
               AND k.prediction_id NOT IN (SELECT e.prediction_id FROM elements e WHERE e.cut))
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction');
    UPDATE reckoner_installation SET changed_cursor = sweep_walked(v_first, v_cursor, v_last, p_span)
    WHERE changed_cursor IS DISTINCT FROM sweep_walked(v_first, v_cursor, v_last, p_span);
    RETURN sweep_write(v_keys);
END
$$;

-- Writes a ticker event for each symbol that has a due outcome; outcome_rows() (50_outcomes.sql) sets
-- due_at. The outcomes of a ticker that is not active are filled at once. Returns the number of events.
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

-- Writes ticker events for tickers that were registered while the trigger was disabled or missing. A
-- ticker that another program registered before the installation waits until a prediction names it:
-- there may be thousands.
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
        RETURN 0; -- the usual case, in which the outbox is not read
    END IF;
    -- Read again, in one statement with the events: a fetch may have ended meanwhile.
    RETURN ticker_enqueue(ARRAY(
        SELECT r.symbol::text FROM ticker_registry r
        WHERE r.symbol = ANY (v_symbols) AND r.last_backfill IS NULL
        EXCEPT SELECT e.key FROM outbox e WHERE e.topic = 'ticker'), 0, false);
END
$$;

-- Deletes history older than p_days, at most 10,000 rows a call, and workers not seen for a day. Returns
-- the number of history rows.
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

-- Records the end of a sweep; reckoner_health() reports its age.
CREATE OR REPLACE FUNCTION sweep_ended() RETURNS void LANGUAGE sql AS $$
    UPDATE reckoner_installation SET swept_at = reckoner_now()
$$;
REVOKE ALL ON FUNCTION
    sweep_walked(p_first bigint, p_cursor bigint, p_last bigint, p_span integer),
    sweep_write(p_keys text[]),
    sweep_forgotten(p_span integer),
    sweep_changed(p_span integer, p_max_symbols integer),
    sweep_due(),
    sweep_unfetched(),
    sweep_prune(p_days integer),
    sweep_ended()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/60_sweep.sql', '1be5f1df1ce8221eb84aec7e7d12ed04d3c3c8c158ebef6a4ee28db0745f7b31')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
