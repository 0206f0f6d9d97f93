BEGIN;
-- Outcome webhooks. An outcome that is written while a subscription is active leaves a row in outcome_changes
-- (outcomes_write, outcomes_fill_rows), in the same transaction. outcomes_announce() takes these rows and
-- compares each outcome with what a subscription was told: the differences are its messages. So none is lost
-- at any kill, and none is written twice. worker/alerts/subscriptions.py sends them in their order.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Whether anybody hears of outcomes. Without that the path of outcomes writes nothing here. A worker's role that
-- was made before these tables has no rights on them, and goes on without (`market db roles` gives them).
CREATE OR REPLACE FUNCTION outcomes_are_heard() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT (has_table_privilege('public.subscriptions', 'SELECT') AND has_table_privilege('public.outcome_changes', 'INSERT')) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM subscriptions s WHERE s.active);
END
$$;

-- Notes that outcomes of a symbol were written; returns how many.
CREATE OR REPLACE FUNCTION outcomes_changed(p_symbol text, p_predictions bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outcome_changes (prediction_id, symbol) SELECT n, p_symbol FROM unnest(p_predictions) AS n;
    RETURN cardinality(p_predictions);
END
$$;

-- The events between what was told and what is, in their order. Both have the prices under entry, t1, t3, t7
-- and t30 where they are known, and complete.
CREATE OR REPLACE FUNCTION outcome_events(p_before jsonb, p_now jsonb) RETURNS TABLE (ord bigint, event text, more jsonb)
LANGUAGE sql IMMUTABLE AS $$
    SELECT 1, 'prediction.entered', '{}'::jsonb WHERE NOT p_before ? 'entry' AND p_now ? 'entry'
    UNION ALL
    SELECT 2, 'outcome.revised', jsonb_build_object('changed', jsonb_agg(k.key ORDER BY k.n))
    FROM unnest('{entry,t1,t3,t7,t30}'::text[]) WITH ORDINALITY AS k(key, n)
    WHERE p_before ? k.key AND p_before -> k.key IS DISTINCT FROM p_now -> k.key
    HAVING count(*) > 0
    UNION ALL
    SELECT 2 + k.n, 'outcome.matured', jsonb_build_object('horizon', k.key)
    FROM unnest('{t1,t3,t7,t30}'::text[]) WITH ORDINALITY AS k(key, n)
    WHERE NOT p_before ? k.key AND p_now ? k.key
    UNION ALL
    SELECT 9, 'outcome.complete', '{}' WHERE NOT p_before ? 'complete' AND p_now ? 'complete'
$$;

-- Turns changes of outcomes into messages, and writes an event (topic webhook, key = subscription) for each
-- subscription that has some. Called by the sweep; returns the number of messages. Sessions that call it at
-- once do it one after the other.
CREATE OR REPLACE FUNCTION outcomes_announce(p_limit integer DEFAULT 20000) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_messages bigint := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM subscriptions) AND NOT EXISTS (SELECT FROM outcome_changes) THEN
        RETURN 0;
    ELSIF reckoner_dry_run() THEN
        RETURN (SELECT count(*) FROM outcome_changes);
    END IF;
    LOCK TABLE outcome_changes IN SHARE UPDATE EXCLUSIVE MODE;
    WITH taken AS (
        DELETE FROM outcome_changes c
        WHERE c.id IN (SELECT e.id FROM outcome_changes e ORDER BY e.id LIMIT p_limit)
        RETURNING c.prediction_id, c.symbol
    ), present AS (
        SELECT o.prediction_id::bigint AS prediction_id, o.symbol::text AS symbol,
               jsonb_strip_nulls(jsonb_build_object(
                   'entry', o.price_at_prediction, 't1', o.price_t1, 't3', o.price_t3, 't7', o.price_t7, 't30', o.price_t30,
                   'complete', nullif(o.is_complete, false))) AS state,
               jsonb_build_object(
                   'prediction_id', o.prediction_id, 'symbol', o.symbol, 'predicted_on', o.prediction_date,
                   'sentiment', o.prediction_sentiment, 'confidence', o.prediction_confidence, 'entry_session', o.entry_session,
                   'entry_price', o.price_at_prediction, 'state', o.outcome_state, 'complete', o.is_complete, 'horizons',
                   jsonb_build_object(
                       't1', jsonb_build_object('price', o.price_t1, 'return', o.return_t1, 'correct', o.correct_t1, 'pnl', o.pnl_t1),
                       't3', jsonb_build_object('price', o.price_t3, 'return', o.return_t3, 'correct', o.correct_t3, 'pnl', o.pnl_t3),
                       't7', jsonb_build_object('price', o.price_t7, 'return', o.return_t7, 'correct', o.correct_t7, 'pnl', o.pnl_t7),
                       't30', jsonb_build_object('price', o.price_t30, 'return', o.return_t30, 'correct', o.correct_t30, 'pnl', o.pnl_t30)))
                   AS body
        FROM (SELECT DISTINCT t.prediction_id, t.symbol FROM taken t) t
        JOIN prediction_outcomes o ON o.prediction_id = t.prediction_id AND o.symbol = t.symbol
        WHERE o.engine_version IS NOT NULL
    ), wanted AS (
        SELECT s.id AS subscription_id, s.events, p.*, coalesce(b.state, '{}') AS before
        FROM present p
        JOIN subscriptions s ON s.active AND (NOT s.filter ? 'symbols' OR s.filter -> 'symbols' ? p.symbol)
        LEFT JOIN subscription_states b
               ON b.subscription_id = s.id AND b.prediction_id = p.prediction_id AND b.symbol = p.symbol
    ), told AS (
        INSERT INTO subscription_states AS t (subscription_id, prediction_id, symbol, state)
        SELECT w.subscription_id, w.prediction_id, w.symbol, w.state FROM wanted w WHERE w.state <> w.before
        ON CONFLICT ON CONSTRAINT subscription_states_pkey DO UPDATE SET state = excluded.state
    ), written AS (
        INSERT INTO subscription_messages (subscription_id, event, prediction_id, symbol, body, created_at)
        SELECT w.subscription_id, e.event, w.prediction_id, w.symbol, w.body || e.more, reckoner_now()
        FROM wanted w CROSS JOIN LATERAL outcome_events(w.before, w.state) e
        WHERE e.event = ANY (w.events)
        ORDER BY w.prediction_id, w.symbol, e.ord
        RETURNING 1)
    SELECT count(*) INTO v_messages FROM written;
    INSERT INTO outbox (topic, key)
    SELECT 'webhook', s.id::text FROM subscriptions s
    WHERE s.active
      AND EXISTS (SELECT FROM subscription_messages m WHERE m.subscription_id = s.id AND m.sent_at IS NULL AND m.dead_at IS NULL)
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.topic = 'webhook' AND o.key = s.id::text AND o.status <> 'dead');
    DELETE FROM subscription_messages m
    WHERE m.id IN (SELECT o.id FROM subscription_messages o
                   WHERE o.created_at < reckoner_now() - interval '30 days' AND (o.sent_at IS NOT NULL OR o.dead_at IS NOT NULL)
                   ORDER BY o.created_at LIMIT 10000);
    RETURN v_messages;
END
$$;

-- The next messages of a subscription; no row where none waits.
CREATE OR REPLACE FUNCTION subscription_batch(p_id bigint, p_limit integer)
RETURNS TABLE (url text, secret text, failures integer, ids bigint[], messages jsonb) LANGUAGE sql STABLE AS $$
    SELECT s.url, s.secret, s.failures, array_agg(m.id ORDER BY m.id),
           jsonb_agg(jsonb_build_object('id', 'outcome-' || m.id, 'type', m.event, 'at', m.created_at) || m.body ORDER BY m.id)
    FROM subscriptions s
    CROSS JOIN LATERAL (SELECT * FROM subscription_messages w
                        WHERE w.subscription_id = s.id AND w.sent_at IS NULL AND w.dead_at IS NULL
                        ORDER BY w.id LIMIT p_limit) m
    WHERE s.id = p_id AND s.active
    GROUP BY s.id
$$;

-- Records what became of a try. p_ids: what was sent; NULL: nothing, and what waits for a day is dead now.
-- Returns when to go on: NULL where nothing waits.
CREATE OR REPLACE FUNCTION subscription_tried(p_id bigint, p_ids bigint[], p_error text, p_seconds float8)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    IF p_ids IS NOT NULL THEN
        UPDATE subscription_messages m SET sent_at = v_now WHERE m.id = ANY (p_ids) AND m.subscription_id = p_id;
        UPDATE subscriptions s SET failures = 0, failing_since = NULL, last_error = NULL, last_sent_at = v_now WHERE s.id = p_id;
    ELSE
        UPDATE subscription_messages m SET dead_at = v_now
        WHERE m.subscription_id = p_id AND m.sent_at IS NULL AND m.dead_at IS NULL AND m.created_at < v_now - interval '1 day';
        UPDATE subscriptions s SET failures = s.failures + 1, failing_since = coalesce(s.failing_since, v_now), last_error = one_line(p_error)
        WHERE s.id = p_id;
    END IF;
    RETURN (SELECT v_now + make_interval(secs => p_seconds)
            WHERE EXISTS (SELECT FROM subscription_messages m
                          WHERE m.subscription_id = p_id AND m.sent_at IS NULL AND m.dead_at IS NULL));
END
$$;

-- Makes a subscription: what is written from now on is told. events: NULL for all. filter: {"symbols": [...]}, or all. Returns its id.
CREATE OR REPLACE FUNCTION subscription_create(
    url text, secret text, events text[] DEFAULT NULL,
    filter jsonb DEFAULT '{}', actor text DEFAULT current_user
) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_id bigint;
BEGIN
    IF filter - 'symbols' <> '{}' OR (filter ? 'symbols' AND jsonb_typeof(filter -> 'symbols') <> 'array') THEN
        RAISE EXCEPTION 'a filter is {} or {"symbols": [...]}' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        INSERT INTO subscriptions AS s (url, secret, events, filter, created_by, created_at)
        VALUES (url, secret, coalesce(events, '{prediction.entered,outcome.matured,outcome.revised,outcome.complete}'), filter, one_line(actor), reckoner_now()) RETURNING s.id INTO v_id;
    EXCEPTION WHEN check_violation OR not_null_violation THEN
        -- Without the row, which the server's own message would show with its secret.
        RAISE EXCEPTION 'a subscription needs an address with https://, a secret of 16 characters, and some of the events '
            'prediction.entered, outcome.matured, outcome.revised, outcome.complete' USING ERRCODE = 'invalid_parameter_value';
    END;
    RETURN v_id;
END
$$;

-- Deletes a subscription with its messages.
CREATE OR REPLACE FUNCTION subscription_delete(id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM subscriptions s WHERE s.id = subscription_delete.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no subscription %', id USING ERRCODE = 'no_data_found';
    END IF;
    DELETE FROM subscription_messages m WHERE m.subscription_id = subscription_delete.id;
    DELETE FROM subscription_states t WHERE t.subscription_id = subscription_delete.id;
    PERFORM outbox_cancel(o.id, 'its subscription is deleted')
    FROM outbox o WHERE o.topic = 'webhook' AND o.key = subscription_delete.id::text AND o.lease IS NULL;
END
$$;

-- Has dead messages of a subscription sent once more; returns how many. Their order among themselves stays.
CREATE OR REPLACE FUNCTION subscription_requeue(id bigint) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH again AS (
        UPDATE subscription_messages m SET dead_at = NULL, created_at = reckoner_now()
        WHERE m.subscription_id = subscription_requeue.id AND m.dead_at IS NOT NULL RETURNING 1)
    SELECT count(*) FROM again
$$;

-- The subscriptions and how they do, without address and secret.
CREATE OR REPLACE VIEW subscription_status AS
SELECT s.id, split_part(regexp_replace(split_part(s.url, '://', 2), '^[^/]*@', ''), '/', 1) AS host, s.events, s.filter, s.active,
       (SELECT count(*) FROM subscription_messages m WHERE m.subscription_id = s.id AND m.sent_at IS NULL AND m.dead_at IS NULL) AS waiting,
       (SELECT count(*) FROM subscription_messages m WHERE m.subscription_id = s.id AND m.dead_at IS NOT NULL) AS dead,
       s.failures, s.failing_since, s.last_error, s.last_sent_at, s.created_at, s.created_by
FROM subscriptions s
ORDER BY s.id;
REVOKE ALL ON FUNCTION
    outcomes_are_heard(),
    outcomes_changed(p_symbol text, p_predictions bigint[]),
    outcome_events(p_before jsonb, p_now jsonb),
    outcomes_announce(p_limit integer),
    subscription_batch(p_id bigint, p_limit integer),
    subscription_tried(p_id bigint, p_ids bigint[], p_error text, p_seconds float8),
    subscription_create(url text, secret text, events text[], filter jsonb, actor text),
    subscription_delete(id bigint),
    subscription_requeue(id bigint)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/68_subscriptions.sql', '420996e71d86b32d5ef7f00815741d2cedd5bb6de6f943e3ebb3618f78a8b904')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
