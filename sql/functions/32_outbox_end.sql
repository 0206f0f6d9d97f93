BEGIN;
-- The end of a claim: finished, failed, delayed, handed back, or crashed. Every function takes the
-- fencing token and changes nothing when the lease has passed to another worker. Called by
-- worker/queue/outbox.py in the transaction of the event's effects.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- An error or a reason as one line that fits a terminal.
CREATE OR REPLACE FUNCTION one_line(p_text text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT left(btrim(regexp_replace(p_text, '\s+', ' ', 'g')), 500)
$$;

-- Moves events to history. Returns the ids whose lease was still valid.
-- p_ends: [{"id", "lease", "verdict", "result"}]; one value, because four arrays cost client and
-- server several times as much to write and to read.
-- The settings allow one plan, a look into the primary key per event: a plan that was made while the
-- outbox was empty is kept, and would read the whole outbox later.
CREATE OR REPLACE FUNCTION outbox_finish(p_ends jsonb) RETURNS SETOF bigint LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN
    RETURN QUERY
    WITH gone AS (
        DELETE FROM outbox o
        USING jsonb_to_recordset(p_ends) AS v(id bigint, lease bigint, verdict text, result jsonb)
        WHERE o.id = v.id AND o.lease = v.lease
        RETURNING o.*, v.verdict, v.result
    )
    INSERT INTO outbox_history AS h
        (id, topic, key, verdict, attempts, crashes, created_at, worker, result, payload, claimed_at, trail)
    SELECT g.id, g.topic, g.key, g.verdict, g.attempts, g.crashes, g.created_at, g.leased_by,
           g.result, g.payload, g.claimed_at, g.trail
    FROM gone g
    RETURNING h.id;
END
$$;

-- The event's trail with one more entry. It is bounded, because an event may wait for a provider for
-- weeks. It names `public` in full: outbox_requeued() calls it with a search_path of pg_catalog alone.
CREATE OR REPLACE FUNCTION outbox_trail(p_event outbox, p_end text, p_until timestamptz, p_error text)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN jsonb_array_length(p_event.trail) >= 50 THEN p_event.trail - 10
                ELSE coalesce(p_event.trail, '[]') END
           || jsonb_strip_nulls(jsonb_build_object(
                'from', p_event.claimed_at, 'to', public.reckoner_now(), 'worker', p_event.leased_by,
                'end', p_end, 'until', p_until, 'error', public.one_line(p_error)))
$$;

-- Ends a lease and leaves the event live. p_end: how it ended, in a word or two, for the trail.
-- The unique index allows one waiting event per symbol. When another event of the symbol came while
-- this one was processed, the two are merged: the waiting one gets the failures, so that retries stay
-- bounded, and this one ends as cancelled.
-- Returns the new status, 'merged', or NULL when the lease has passed to another worker.
CREATE OR REPLACE FUNCTION outbox_put_back(
    p_id bigint, p_lease bigint, p_end text, p_status text, p_available_at timestamptz,
    p_attempts integer, p_crashes integer, p_error text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_event outbox;
    v_twin  bigint;
    v_tries integer := 0;
BEGIN
    LOOP
        BEGIN
            UPDATE outbox o
            SET status = p_status, available_at = p_available_at, lease = NULL, leased_by = NULL,
                leased_until = NULL, attempts = p_attempts, crashes = p_crashes,
                trail = outbox_trail(o, p_end, p_available_at, p_error),
                last_error = one_line(coalesce(p_error, last_error)), updated_at = reckoner_now()
            WHERE id = p_id AND lease = p_lease;
            RETURN CASE WHEN FOUND THEN p_status END;
        EXCEPTION WHEN unique_violation THEN
            v_tries := v_tries + 1; -- there is a waiting event of the key: merged below
            IF v_tries = 5 THEN
                RAISE;
            END IF;
        END;
        SELECT * INTO v_event FROM outbox WHERE id = p_id AND lease = p_lease FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        UPDATE outbox
        SET attempts = greatest(attempts, p_attempts), crashes = greatest(crashes, p_crashes),
            available_at = greatest(available_at, p_available_at),
            priority = greatest(priority, v_event.priority),
            last_error = one_line(coalesce(p_error, last_error)), updated_at = reckoner_now()
        WHERE topic = v_event.topic AND key = v_event.key AND status <> 'processing'
        RETURNING id INTO v_twin;
        EXIT WHEN FOUND; -- else it was cancelled meanwhile, and there is nothing to merge with
    END LOOP;
    DELETE FROM outbox WHERE id = p_id;
    -- Not in the UPDATE above: setting 'pending' fires the trigger for an operator's requeue.
    UPDATE outbox SET status = p_status
    WHERE id = v_twin AND p_status <> 'pending' AND status <> 'dead';
    INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at,
                                worker, result, payload, claimed_at, trail)
    VALUES (v_event.id, v_event.topic, v_event.key, 'cancelled', p_attempts, p_crashes,
            v_event.created_at, v_event.leased_by,
            jsonb_build_object('reason', 'merged into event ' || v_twin),
            v_event.payload, v_event.claimed_at,
            outbox_trail(v_event, p_end, p_available_at, p_error));
    RETURN 'merged';
END
$$;

-- The pause before attempt number p_attempts + 1: 5 s, 15 s, 45 s … one hour, each up to a quarter
-- less, so that events that failed together are not retried together.
CREATE OR REPLACE FUNCTION outbox_backoff(p_attempts integer) RETURNS interval
LANGUAGE sql VOLATILE AS $$
    SELECT make_interval(secs =>
        least(3600, 5 * 3 ^ least(greatest(p_attempts, 1) - 1, 10)) * (0.75 + random() / 4))
$$;

-- The last entries of an event's trail that all have one of these ends: how many, and the first one's time.
CREATE OR REPLACE FUNCTION outbox_trail_run(p_event outbox, p_ends text[], OUT entries integer, OUT began timestamptz)
LANGUAGE sql STABLE AS $$
    WITH t AS (SELECT value, n FROM jsonb_array_elements(p_event.trail) WITH ORDINALITY AS e(value, n))
    SELECT count(*)::integer, min((t.value ->> 'to')::timestamptz) FROM t
    WHERE t.n > coalesce((SELECT max(t.n) FROM t WHERE t.value ->> 'end' <> ALL (p_ends)), 0)
$$;

-- Whether another event of the topic was finished since this one fails; the first time: since it was
-- claimed. Then an error that many events meet is not met by all.
CREATE OR REPLACE FUNCTION outbox_others_pass(p_event outbox) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM outbox_history h
        WHERE h.finished_at > coalesce((outbox_trail_run(p_event, '{failed,held up}')).began, p_event.claimed_at)
          AND h.topic = p_event.topic AND h.verdict = 'done');
END
$$;

-- Records a failure: the event is retried after a backoff, and dead after p_max_attempts of its own fault.
-- p_excuse: why it may not be its own fault. Then it costs no attempt, and the backoffs are shorter.
--   locked  another session holds a row that it needs
--   common  a statement for no event fails alike (54_rehearsal.sql)
--   alike   other events failed alike, and the worker saw none pass; an excuse as long as none did
--   NULL    there is no excuse
-- Returns the new status, 'delayed' where it is failed and the excuse holds, 'merged', or NULL when the
-- lease has passed to another worker.
CREATE OR REPLACE FUNCTION outbox_fail(
    p_id bigint, p_lease bigint, p_error text, p_max_attempts integer, p_excuse text DEFAULT NULL
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_event  outbox;
    v_status text;
    v_tries  integer;
BEGIN
    SELECT * INTO v_event FROM outbox WHERE id = p_id AND lease = p_lease;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_excuse IN ('locked', 'common') OR (p_excuse = 'alike' AND NOT outbox_others_pass(v_event)) THEN
        v_status := outbox_put_back(
            p_id => p_id, p_lease => p_lease, p_end => 'held up', p_status => 'failed',
            p_available_at => reckoner_now() + least(
                outbox_backoff((outbox_trail_run(v_event, '{held up}')).entries + 1),
                CASE p_excuse WHEN 'locked' THEN interval '1 minute' ELSE interval '5 minutes' END),
            p_attempts => v_event.attempts, p_crashes => v_event.crashes, p_error => p_error);
        RETURN CASE v_status WHEN 'failed' THEN 'delayed' ELSE v_status END;
    END IF;
    v_tries := v_event.attempts + 1;
    RETURN outbox_put_back(
        p_id => p_id, p_lease => p_lease, p_end => 'failed',
        p_status => CASE WHEN v_tries >= p_max_attempts THEN 'dead' ELSE 'failed' END,
        p_available_at => reckoner_now() + outbox_backoff(v_tries),
        p_attempts => v_tries, p_crashes => v_event.crashes,
        p_error => CASE WHEN v_tries >= p_max_attempts
                        THEN 'after ' || v_tries || ' attempts: ' || p_error ELSE p_error END);
END
$$;

-- Makes an event ready later and counts no attempt: a provider is paused.
CREATE OR REPLACE FUNCTION outbox_delay(
    p_id bigint, p_lease bigint, p_until timestamptz, p_reason text
) RETURNS text LANGUAGE sql AS $$
    SELECT outbox_put_back(
        p_id => id, p_lease => lease, p_end => 'delayed', p_status => 'pending', p_available_at => p_until,
        p_attempts => attempts, p_crashes => crashes, p_error => p_reason)
    FROM outbox WHERE id = p_id AND lease = p_lease
$$;

-- Delays an event whose prediction may exist and cannot be seen (source_hides() in 12_source.sql). It waits
-- the longer the older it is, so that very many of them cost little. `worker migrate` makes them ready
-- where it mends the cause (90_triggers.sql).
CREATE OR REPLACE FUNCTION outbox_delay_hidden(p_id bigint, p_lease bigint, p_reason text) RETURNS text LANGUAGE sql AS $$
    SELECT outbox_delay(id, lease,
        reckoner_now() + least(greatest((reckoner_now() - created_at) / 4, interval '1 minute'), interval '1 hour'),
        'the prediction cannot be seen: ' || p_reason)
    FROM outbox WHERE id = p_id AND lease = p_lease
$$;

-- Undoes claims on which no work began, because they did not fit into the batch. The events are ready
-- at once, behind those that wait already. p_claims: [{"id", "lease", "priority"}]. Returns how many
-- leases were still valid.
CREATE OR REPLACE FUNCTION outbox_hand_back(p_claims jsonb) RETURNS bigint LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
DECLARE
    v_handed bigint; -- the settings as in outbox_finish()
BEGIN
    UPDATE outbox o
    SET status = 'pending', lease = NULL, leased_by = NULL, leased_until = NULL,
        priority = c.priority, available_at = reckoner_now(), updated_at = reckoner_now()
    FROM jsonb_to_recordset(p_claims) AS c(id bigint, lease bigint, priority smallint)
    WHERE o.id = c.id AND o.lease = c.lease;
    GET DIAGNOSTICS v_handed = ROW_COUNT;
    RETURN v_handed;
END
$$;

-- Hands back a worker's events, ready at once: all of them when it stops. A worker that goes on keeps
-- p_keep, the leases that it works on, and hands back unconfirmed claims, which its own heartbeat
-- would otherwise renew for ever. SKIP LOCKED: a row that another session has locked would make a worker
-- wait, and with it all other events. Its lease ends by itself.
CREATE OR REPLACE FUNCTION outbox_release(p_worker text, p_keep bigint[] DEFAULT '{}')
RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT o.id FROM (SELECT * FROM outbox m WHERE m.lease <> ALL (p_keep) AND m.leased_by = p_worker
                      -- OFFSET 0: otherwise the function below is called before a row is locked or skipped
                      -- (tests/worker/test_isolation.py::test_a_locked_event_withholds_no_heartbeat).
                      ORDER BY m.id OFFSET 0 FOR UPDATE SKIP LOCKED) o
    WHERE outbox_put_back(
          p_id => o.id, p_lease => o.lease, p_end => 'handed back', p_status => 'pending',
          p_available_at => reckoner_now(), p_attempts => o.attempts, p_crashes => o.crashes,
          p_error => NULL) IS NOT NULL;
    PERFORM doorbell_ring();
END
$$;

-- Ends leases that are over without a verdict, because the worker died or hangs. The event crashed
-- once more, and is dead after p_max_crashes. SKIP LOCKED leaves events whose claim ends just now.
CREATE OR REPLACE FUNCTION outbox_expire(p_max_crashes integer)
RETURNS TABLE (id bigint, topic text, key text, worker text, status text) LANGUAGE plpgsql AS $$
DECLARE
    v_event outbox;
BEGIN
    FOR v_event IN
        SELECT o.* FROM outbox o
        WHERE o.lease IS NOT NULL AND o.leased_until < reckoner_now()
        -- By key, because they merge with waiting events: two calls at once lock in the same order.
        ORDER BY o.topic, o.key, o.id FOR UPDATE SKIP LOCKED
    LOOP
        id := v_event.id; topic := v_event.topic; key := v_event.key; worker := v_event.leased_by;
        -- A run takes up to an hour, in which a worker that runs it alone would claim nothing else. So a crash
        -- is counted in job_run (run_begin), and the run waits a minute beside the others.
        IF v_event.topic = 'job' THEN
            status := outbox_put_back(
                p_id => v_event.id, p_lease => v_event.lease, p_end => 'crashed', p_status => 'pending',
                p_available_at => reckoner_now() + interval '1 minute', p_attempts => v_event.attempts, p_crashes => 0,
                p_error => format('worker %s ended without a verdict', v_event.leased_by));
            RETURN NEXT;
            CONTINUE;
        END IF;
        status := outbox_put_back(
            p_id => v_event.id, p_lease => v_event.lease, p_end => 'crashed',
            p_status => CASE WHEN v_event.crashes + 1 >= p_max_crashes THEN 'dead' ELSE 'pending' END,
            p_available_at => reckoner_now(), p_attempts => v_event.attempts, p_crashes => v_event.crashes + 1,
            p_error => CASE WHEN v_event.crashes + 1 >= p_max_crashes
                            THEN format('its worker died %s times while processing it, last %s',
                                        v_event.crashes + 1, v_event.leased_by)
                            ELSE format('worker %s ended without a verdict', v_event.leased_by) END);
        RETURN NEXT;
    END LOOP;
    IF id IS NOT NULL THEN
        PERFORM doorbell_ring();
    END IF;
END
$$;
REVOKE ALL ON FUNCTION
    one_line(p_text text),
    outbox_finish(p_ends jsonb),
    outbox_trail(p_event outbox, p_end text, p_until timestamptz, p_error text),
    outbox_put_back(p_id bigint, p_lease bigint, p_end text, p_status text, p_available_at timestamptz, p_attempts integer, p_crashes integer, p_error text ),
    outbox_backoff(p_attempts integer),
    outbox_trail_run(p_event outbox, p_ends text[], OUT entries integer, OUT began timestamptz),
    outbox_others_pass(p_event outbox),
    outbox_fail(p_id bigint, p_lease bigint, p_error text, p_max_attempts integer, p_excuse text),
    outbox_delay(p_id bigint, p_lease bigint, p_until timestamptz, p_reason text ),
    outbox_delay_hidden(p_id bigint, p_lease bigint, p_reason text),
    outbox_hand_back(p_claims jsonb),
    outbox_release(p_worker text, p_keep bigint[]),
    outbox_expire(p_max_crashes integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/32_outbox_end.sql', '8995c9c045d42d2f9197cba781c82bfcc191ee85e0e8463768fb85137f1377bc')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
