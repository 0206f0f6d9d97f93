BEGIN;
-- The sweep: finds what no event speaks of. One worker sweeps at a time, any can; called by
-- worker/sweep.py, each part a statement whose cost follows what it finds.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Where a slow walk over the ids after p_first stands after its next stretch; at the end it begins anew.
CREATE OR REPLACE FUNCTION sweep_walked(p_first bigint, p_cursor bigint, p_last bigint, p_span integer)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_cursor + p_span >= p_last THEN p_first ELSE p_cursor + p_span END
$$;

-- Writes an event for each of these predictions. Returns how many.
CREATE OR REPLACE FUNCTION sweep_write(p_keys text[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF p_keys <> '{}' THEN -- and no bell is rung for nothing
        INSERT INTO outbox (topic, key, available_at, created_at, updated_at)
        SELECT 'prediction', key, reckoner_now(), reckoner_now(), reckoner_now()
        FROM unnest(p_keys) AS key ORDER BY key::bigint;
    END IF;
    RETURN cardinality(p_keys);
END
$$;

-- Predictions that are eligible, came after the installation, and have no outcome, no
-- event and no history: the trigger failed or was away. Looks at the newest ids and at the
-- next stretch of a slow walk over all of them, so that the cost of a sweep is bounded and
-- a prediction that became forgotten long after its insert is found as well.
-- Writes an event for each; returns how many. One statement finds them: in two, an event could end
-- in between, and have neither history in the first nor itself in the second.
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
        -- One pass over the outbox, whatever the planner thinks of a table that just grew.
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction');
    UPDATE reckoner_installation SET forgotten_cursor = sweep_walked(v_first, v_cursor, v_last, p_span)
    WHERE forgotten_cursor IS DISTINCT FROM sweep_walked(v_first, v_cursor, v_last, p_span);
    RETURN sweep_write(v_keys);
END
$$;

-- Predictions that were changed while no trigger saw it: they name a symbol that has no row, or a row
-- of ours is of a symbol that they no longer name, or has another sentiment. Walks like
-- sweep_forgotten, in shorter steps, because it reads what each prediction says. Asks for what the
-- trigger on UPDATE asks for, so not for another confidence. Those without any row of ours are not
-- its business: they are new, or another program's.
-- Writes an event for each; returns how many.
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
          AND EXISTS (SELECT FROM prediction_outcomes o
                      WHERE o.prediction_id = p.prediction_id AND o.engine_version IS NOT NULL));
    v_keys := ARRAY( -- in one statement, as above
        WITH elements AS MATERIALIZED (
            SELECT * FROM prediction_elements(v_ids, p_max_symbols)
        ), said AS (
            SELECT DISTINCT e.prediction_id, e.symbol, e.sentiment FROM elements e WHERE e.symbol IS NOT NULL
        ), known AS (
            SELECT o.prediction_id, o.symbol::text AS symbol, o.prediction_sentiment::text AS sentiment,
                   o.engine_version IS NOT NULL AS is_ours
            FROM prediction_outcomes o WHERE o.prediction_id = ANY (v_ids)
        )
        SELECT coalesce(s.prediction_id, k.prediction_id)::text
        FROM said s FULL JOIN known k ON k.prediction_id = s.prediction_id AND k.symbol = s.symbol
        WHERE k.symbol IS NULL
           OR (k.is_ours AND s.symbol IS NOT NULL AND s.sentiment IS DISTINCT FROM k.sentiment)
           -- Rows beyond the first p_max_symbols stay as they are.
           OR (k.is_ours AND s.symbol IS NULL
               AND k.prediction_id NOT IN (SELECT e.prediction_id FROM elements e WHERE e.cut))
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction');
    UPDATE reckoner_installation SET changed_cursor = sweep_walked(v_first, v_cursor, v_last, p_span)
    WHERE changed_cursor IS DISTINCT FROM sweep_walked(v_first, v_cursor, v_last, p_span);
    RETURN sweep_write(v_keys);
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
    -- Asked again, together with the events: a fetch may have ended since.
    RETURN ticker_enqueue(ARRAY(
        SELECT r.symbol::text FROM ticker_registry r
        WHERE r.symbol = ANY (v_symbols) AND r.last_backfill IS NULL
        EXCEPT SELECT e.key FROM outbox e WHERE e.topic = 'ticker'), 0, false);
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

-- A sweep came to its end: health says how long ago the last one did.
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
    ('functions/60_sweep.sql', '70e84b031cbfcd094043d92393960fbaaac99641f7e268221f46316df6af26dd')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
