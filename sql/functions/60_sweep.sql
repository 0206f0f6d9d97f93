BEGIN;
-- The sweep: finds predictions and tickers that need an event and have none. Any worker may sweep, one
-- at a time. Called by worker/sweep.py, each part as a statement whose cost follows what it finds.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Takes the turn to sweep until the caller's transaction ends; false while another worker has it
-- (05_locks.sql).
CREATE OR REPLACE FUNCTION sweep_turn() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE market_syncs IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

-- Where the next stretch of a slow walk ends: p_span predictions behind p_cursor, or where there are
-- fewer, NULL: the walk is at the end, and begins anew. By rows and not by distance: whoever inserts may
-- choose the id, and behind one of 2147483647 the walk would go on for months. A stretch ends sooner
-- where its predictions take more than a kilobyte each as they are stored: long ones, which whoever inserts
-- may write too, would make every sweep longer than a statement may last.
CREATE OR REPLACE FUNCTION sweep_stretch(p_cursor bigint, p_span integer) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) = p_span OR NOT bool_and(w.fits) THEN max(w.id) FILTER (WHERE w.fits) END::bigint
    FROM (SELECT r.id, sum(r.size) OVER upto <= 1000 * p_span::bigint OR row_number() OVER upto = 1 AS fits
          FROM (SELECT p.id, coalesce(pg_column_size(p.assets), 0) + coalesce(pg_column_size(p.market_impact), 0) AS size
                FROM predictions p WHERE p.id > p_cursor ORDER BY p.id LIMIT p_span) r
          WINDOW upto AS (ORDER BY r.id)) w
$$;

-- The id behind which the newest p_span predictions lie, or as many of them as fit, likewise.
CREATE OR REPLACE FUNCTION sweep_newest(p_span integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(greatest(min(w.id) FILTER (WHERE w.fits), '-9223372036854775807') - 1, 0)
    FROM (SELECT r.id, sum(r.size) OVER upto <= 1000 * p_span::bigint OR row_number() OVER upto = 1 AS fits
          FROM (SELECT p.id::bigint, coalesce(pg_column_size(p.assets), 0) + coalesce(pg_column_size(p.market_impact), 0) AS size
                FROM predictions p ORDER BY p.id DESC LIMIT p_span) r
          WINDOW upto AS (ORDER BY r.id DESC)) w
$$;

-- Writes an event for each of these predictions. Returns how many.
CREATE OR REPLACE FUNCTION sweep_write(p_keys text[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF p_keys <> '{}' AND NOT reckoner_dry_run() THEN -- an INSERT of no row would ring the doorbell
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
-- A prediction that was cancelled because it did not exist, and exists, is found again: the view read
-- another table, or row-level security hid it.
-- One statement finds them: between two an event could end, and be in neither result.
CREATE OR REPLACE FUNCTION sweep_forgotten(p_span integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_first  bigint;
    v_cursor bigint;
    v_end    bigint;
    v_newest bigint;
    v_keys   text[];
BEGIN
    SELECT last_prediction_id, greatest(forgotten_cursor, last_prediction_id)
    INTO v_first, v_cursor FROM reckoner_installation;
    v_end := sweep_stretch(v_cursor, p_span);
    v_newest := greatest(v_first, sweep_newest(p_span));
    v_keys := ARRAY(
        SELECT p.prediction_id::text
        FROM prediction_inputs p
        WHERE p.eligible
          AND (p.prediction_id > v_newest
               OR (p.prediction_id > v_cursor AND (v_end IS NULL OR p.prediction_id <= v_end)))
          AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = p.prediction_id)
          AND NOT EXISTS (SELECT FROM outbox_history h
                          WHERE h.topic = 'prediction' AND h.key = p.prediction_id::text
                            AND h.result ->> 'reason' IS DISTINCT FROM 'the prediction no longer exists')
        -- EXCEPT reads the outbox once, also where the planner's statistics of it are old.
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction');
    UPDATE reckoner_installation SET forgotten_cursor = coalesce(v_end, v_first)
    WHERE forgotten_cursor IS DISTINCT FROM coalesce(v_end, v_first);
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
    v_end    bigint;
    v_ids    bigint[];
    v_keys   text[];
BEGIN
    SELECT last_prediction_id, greatest(changed_cursor, last_prediction_id)
    INTO v_first, v_cursor FROM reckoner_installation;
    v_end := sweep_stretch(v_cursor, p_span);
    v_ids := ARRAY(
        SELECT p.prediction_id
        FROM (VALUES (v_cursor, coalesce(v_end, 9223372036854775807)),
                     (greatest(v_first, sweep_newest(p_span)), 9223372036854775807))
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
    UPDATE reckoner_installation SET changed_cursor = coalesce(v_end, v_first)
    WHERE changed_cursor IS DISTINCT FROM coalesce(v_end, v_first);
    RETURN sweep_write(v_keys);
END
$$;

-- Fills again the outcomes that were computed while their bars changed (42_bars_met.sql), of at most
-- p_symbols symbols, or of 20,000 rows. A symbol whose lock is taken waits for the next sweep: the batch or the store that
-- has it may not have committed. Waits for it a quarter of a second, during which new batches leave notes
-- instead of taking it, so that a stream of batches does not keep it for ever; after four such waits it
-- only tries. A note of ten minutes ago needs no lock, because no batch and no store lasts so long: whoever
-- holds the lock then is a stranger. Returns the number of rows that changed.
CREATE OR REPLACE FUNCTION sweep_refill(p_symbols integer DEFAULT 100) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_symbol  text;
    v_since   xid8;
    v_ids     bigint[];
    v_rows    tid[];
    v_now     bigint;
    v_changed bigint := 0;
    v_waits   integer := 0;
    v_read    integer := 0;
    v_until   timestamptz;
    v_timeout CONSTANT text := current_setting('lock_timeout');
BEGIN
    FOR v_symbol IN
        SELECT r.symbol FROM outcome_refills r GROUP BY r.symbol ORDER BY min(r.id) LIMIT p_symbols
    LOOP
        v_until := reckoner_now() - interval '10 minutes';
        IF pg_try_advisory_xact_lock(1380271947, bars_lock(v_symbol)) THEN
            v_until := 'infinity';
        ELSIF v_waits < 4 THEN
            BEGIN
                v_waits := v_waits + 1;
                SET LOCAL lock_timeout = '250ms'; -- undone where the wait fails
                PERFORM pg_advisory_xact_lock(1380271947, bars_lock(v_symbol));
                PERFORM set_config('lock_timeout', v_timeout, true);
                v_until := 'infinity';
            EXCEPTION WHEN lock_not_available THEN
                NULL;
            END;
        END IF;
        CONTINUE WHEN NOT EXISTS (SELECT FROM outcome_refills r WHERE r.symbol = v_symbol AND r.noted_at <= v_until);
        WITH gone AS (
            DELETE FROM outcome_refills r WHERE r.symbol = v_symbol AND r.noted_at <= v_until RETURNING r.prediction_ids, r.since
        )
        SELECT min(g.since) FILTER (WHERE g.prediction_ids IS NULL),
               ARRAY(SELECT DISTINCT id FROM gone, unnest(prediction_ids) AS id)
        INTO v_since, v_ids FROM gone g;
        -- The row's transaction as a number that does not wrap around.
        v_now := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
        v_rows := ARRAY(
            SELECT o.ctid FROM prediction_outcomes o
            WHERE o.symbol = v_symbol AND o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
              AND (o.prediction_id = ANY (v_ids)
                   -- After a restore the numbers begin anew, and each row may be meant.
                   OR v_since::text::bigint > v_now
                   OR v_now - ((v_now - o.xmin::text::bigint) & 4294967295) >= v_since::text::bigint)
            ORDER BY o.prediction_id, o.symbol FOR UPDATE);
        IF v_rows <> '{}' THEN
            v_changed := v_changed + coalesce((SELECT sum(changed) FROM outcomes_fill_rows(v_rows)), 0);
        END IF;
        v_read := v_read + cardinality(v_rows);
        EXIT WHEN v_read >= 20000;
    END LOOP;
    RETURN v_changed;
END
$$;

-- Finds outcomes that their bars no longer bear out, as after an UPDATE of market_prices by hand, and
-- fills them. Compares p_span rows a call, in the order of predictions, and then begins anew. Only a price
-- that was known, and an outcome that could not be, are compared: for the others due_at says when. Returns
-- the number of rows that changed.
CREATE OR REPLACE FUNCTION sweep_restated(p_span integer) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_rows prediction_outcomes[];
    v_first bigint;
    v_last  bigint;
    v_ids   bigint[];
    v_symbols text[];
BEGIN
    v_rows := ARRAY(
        SELECT o FROM prediction_outcomes o
        WHERE o.prediction_id > (SELECT restated_cursor FROM reckoner_installation)
          AND o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
        ORDER BY o.prediction_id, o.symbol LIMIT p_span);
    -- The last prediction may have more rows. It is read again, unless it is the only one.
    SELECT min(r.prediction_id), max(r.prediction_id) INTO v_first, v_last FROM unnest(v_rows) r;
    UPDATE reckoner_installation
    SET restated_cursor = CASE WHEN cardinality(v_rows) < p_span THEN '-9223372036854775808'
                               WHEN v_first = v_last THEN v_last ELSE v_last - 1 END
    WHERE cardinality(v_rows) > 0 OR restated_cursor <> '-9223372036854775808';
    SELECT array_agg(o.prediction_id), array_agg(o.symbol::text) INTO v_ids, v_symbols
    FROM outcome_rows(ARRAY(
        SELECT ROW(r.prediction_id, r.symbol, NULL, NULL, NULL, r.entry_session, NULL)::outcome_key
        FROM unnest(v_rows) r)) n
    JOIN unnest(v_rows) o ON o.prediction_id = (n.key).prediction_id AND o.symbol = (n.key).symbol
    WHERE (o.price_at_prediction IS NOT NULL AND o.price_at_prediction IS DISTINCT FROM n.p0)
       OR (o.price_t1 IS NOT NULL AND o.price_t1 IS DISTINCT FROM n.p1)
       OR (o.price_t3 IS NOT NULL AND o.price_t3 IS DISTINCT FROM n.p3)
       OR (o.price_t7 IS NOT NULL AND o.price_t7 IS DISTINCT FROM n.p7)
       OR (o.price_t30 IS NOT NULL AND o.price_t30 IS DISTINCT FROM n.p30)
       OR (o.outcome_state = 'unresolvable' AND n.state <> 'unresolvable');
    RETURN CASE WHEN v_ids IS NULL THEN 0 ELSE outcomes_fill(v_ids, v_symbols) END;
END
$$;

-- Writes a ticker event for each symbol that has a due outcome; outcome_rows() (50_outcomes.sql) sets
-- due_at. The outcomes of a ticker that is not active are filled at once. Where that fails, or another
-- session holds one of the rows, the symbol gets an event as well, which counts and delays failures; the
-- other symbols go on. Returns the number of events.
CREATE OR REPLACE FUNCTION sweep_due() RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    v_symbol  text;
    v_symbols text[];
    v_failed  text[] := '{}';
BEGIN
    FOR v_symbol IN
        SELECT DISTINCT o.symbol FROM prediction_outcomes o JOIN ticker_registry r USING (symbol)
        WHERE o.outcome_state IN ('awaiting_prices', 'maturing')
          AND o.due_at <= reckoner_now() AND r.status <> 'active'
        EXCEPT SELECT e.key FROM outbox e WHERE e.topic = 'ticker' AND e.status <> 'dead'
    LOOP
        BEGIN
            PERFORM outcomes_fill_symbol(v_symbol, false);
        EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
            v_failed := v_failed || v_symbol;
            EXIT WHEN SQLSTATE = '57014'; -- perhaps the statement's own timeout, which fires only once
        END;
    END LOOP;
    v_symbols := ARRAY(
        SELECT o.symbol::text FROM prediction_outcomes o JOIN ticker_registry r USING (symbol)
        WHERE o.outcome_state IN ('awaiting_prices', 'maturing') AND o.due_at <= reckoner_now()
          AND (r.status = 'active' OR o.symbol = ANY (v_failed))
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
    sweep_turn(),
    sweep_stretch(p_cursor bigint, p_span integer),
    sweep_newest(p_span integer),
    sweep_write(p_keys text[]),
    sweep_forgotten(p_span integer),
    sweep_changed(p_span integer, p_max_symbols integer),
    sweep_refill(p_symbols integer),
    sweep_restated(p_span integer),
    sweep_due(),
    sweep_unfetched(),
    sweep_prune(p_days integer),
    sweep_ended()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/60_sweep.sql', 'a22fd5df5fb9c766cfdc5de59533cc33d054a1e1ff9ee4aaf961bf6e7cbfa490')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
