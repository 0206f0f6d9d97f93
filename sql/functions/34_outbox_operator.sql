BEGIN;
-- The functions for operators, called from psql and by `worker requeue`. An event that does not exist
-- is an error with SQLSTATE P0002 (no_data_found). In a dry run (10_clock.sql) a requeue that would
-- write a new event returns NULL. They work with any search_path of the session.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Requeues one event: a live one itself, a finished one as a new event. Returns the event's id.
CREATE OR REPLACE FUNCTION outbox_requeue(event_id bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_done outbox_history;
    v_id   bigint;
BEGIN
    UPDATE outbox SET status = 'pending' WHERE id = event_id RETURNING id INTO v_id;
    IF FOUND OR EXISTS (SELECT FROM outbox WHERE id = event_id) THEN
        RETURN event_id;
    END IF;
    SELECT * INTO v_done FROM outbox_history WHERE id = event_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no event % in outbox or outbox_history', event_id
            USING ERRCODE = 'no_data_found',
                  HINT = 'SELECT outbox_requeue_prediction(id) and outbox_requeue_ticker(symbol) need no event.';
    END IF;
    IF v_done.topic = 'ticker' THEN
        RETURN outbox_requeue_ticker(v_done.key);
    END IF;
    IF NOT reckoner_dry_run() THEN
        INSERT INTO outbox (topic, key, payload) VALUES (v_done.topic, v_done.key, v_done.payload)
        RETURNING id INTO v_id;
    END IF;
    RETURN v_id;
END
$$;

-- Requeues a prediction: its waiting, failed or dead events, or where it has none a new event. Returns
-- the event's id.
CREATE OR REPLACE FUNCTION outbox_requeue_prediction(prediction_id bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_prediction bigint := prediction_id;
    v_id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM prediction_inputs WHERE prediction_id = v_prediction) THEN
        RAISE EXCEPTION 'there is no prediction %', v_prediction USING ERRCODE = 'no_data_found';
    END IF;
    WITH requeued AS (
        UPDATE outbox SET status = 'pending'
        WHERE topic = 'prediction' AND key = v_prediction::text AND status <> 'processing'
        RETURNING id)
    SELECT min(id) INTO v_id FROM requeued;
    IF v_id IS NULL AND NOT reckoner_dry_run() THEN
        INSERT INTO outbox (topic, key) VALUES ('prediction', v_prediction) RETURNING id INTO v_id;
    END IF;
    RETURN v_id;
END
$$;

-- Whether a symbol is registered or an event names it; NULL for a text that is not a symbol.
CREATE OR REPLACE FUNCTION ticker_is_known(symbol text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = n.symbol)
        OR EXISTS (SELECT FROM outbox o WHERE o.topic = 'ticker' AND o.key = n.symbol)
        OR EXISTS (SELECT FROM outbox_history h WHERE h.topic = 'ticker' AND h.key = n.symbol)
    FROM (SELECT normalize_symbol($1) AS symbol) n WHERE n.symbol IS NOT NULL
$$;

-- Requeues a ticker: its whole range is fetched again, also when it is stored, or the ticker is invalid
-- or its event dead. Returns the event's id. The command refuses a symbol that ticker_is_known() does not
-- know; its event would end without having done anything.
CREATE OR REPLACE FUNCTION outbox_requeue_ticker(symbol text) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_symbol text := normalize_symbol(symbol);
    v_id bigint;
BEGIN
    IF v_symbol IS NULL THEN
        RAISE EXCEPTION '"%" is not a symbol', symbol USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF reckoner_dry_run() THEN
        UPDATE outbox SET status = 'pending'
        WHERE topic = 'ticker' AND key = v_symbol AND status <> 'processing' RETURNING id INTO v_id;
        RETURN v_id;
    END IF;
    INSERT INTO outbox AS o (topic, key, payload) VALUES ('ticker', v_symbol, '{"refetch": true}')
    ON CONFLICT (key) WHERE topic = 'ticker' AND status <> 'processing'
    DO UPDATE SET status = 'pending', payload = o.payload || excluded.payload
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;

-- Requeues all dead events, or those of a topic, or those whose last error is LIKE a pattern. Returns
-- their number.
CREATE OR REPLACE FUNCTION outbox_requeue_dead(topic text DEFAULT NULL, error_like text DEFAULT NULL)
RETURNS bigint LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH requeued AS (
        UPDATE outbox o SET status = 'pending'
        WHERE o.status = 'dead'
          AND ($1 IS NULL OR o.topic = $1)
          AND ($2 IS NULL OR o.last_error LIKE $2)
        RETURNING 1)
    SELECT count(*) FROM requeued
$$;

-- Sets an event aside as dead until someone requeues it. Ends its lease where a worker has one.
CREATE OR REPLACE FUNCTION outbox_park(event_id bigint, reason text) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_event outbox;
BEGIN
    SELECT * INTO v_event FROM outbox WHERE id = event_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no live event %', event_id USING ERRCODE = 'no_data_found';
    END IF;
    -- Another event of the same key may wait for the end of this one.
    PERFORM doorbell_ring();
    IF v_event.status = 'processing' THEN
        RETURN outbox_put_back(
            p_id => event_id, p_lease => v_event.lease, p_end => 'parked', p_status => 'dead',
            p_available_at => v_event.available_at, p_attempts => v_event.attempts,
            p_crashes => v_event.crashes, p_error => 'parked: ' || reason);
    END IF;
    UPDATE outbox o
    SET status = 'dead', last_error = one_line('parked: ' || reason), updated_at = reckoner_now(),
        trail = outbox_trail(o, 'parked', NULL, reason)
    WHERE o.id = event_id;
    RETURN 'dead';
END
$$;

-- Moves an event to history as cancelled.
CREATE OR REPLACE FUNCTION outbox_cancel(event_id bigint, reason text) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    WITH gone AS (DELETE FROM outbox WHERE id = event_id RETURNING *)
    INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at,
                                worker, result, payload, claimed_at, trail)
    SELECT id, topic, key, 'cancelled', attempts, crashes, created_at, leased_by,
           jsonb_build_object('reason', one_line(reason)), payload, claimed_at, trail
    FROM gone;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no live event %', event_id USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM doorbell_ring();
    RETURN 'cancelled';
END
$$;
REVOKE ALL ON FUNCTION
    outbox_requeue(event_id bigint),
    outbox_requeue_prediction(prediction_id bigint),
    ticker_is_known(symbol text),
    outbox_requeue_ticker(symbol text),
    outbox_requeue_dead(topic text, error_like text),
    outbox_park(event_id bigint, reason text),
    outbox_cancel(event_id bigint, reason text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/34_outbox_operator.sql', '54345912999c7413adbb0b2377c795cbce9dc523f5803ada9bfc796cc51e4691')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
