BEGIN;
-- The rows of reckoner_workers. Called by worker/heartbeat.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- One heartbeat: updates the worker's row, renews its leases, and sends the notification whose echo
-- must arrive over LISTEN. Moves what a clock that was set back left ahead (35_clock_ahead.sql). Then it
-- ends leases that are over, and returns their events.
--   p_heard_ago    seconds since the last echo, NULL before the first
--   p_clock        the worker's own clock, compared with the database's
--   p_exports      whether the worker serves metrics
--   p_topics       the topics that it works on
--   p_leases       as for outbox_renew()
--   p_max_crashes  as for outbox_expire(), NULL to end no lease
CREATE OR REPLACE FUNCTION worker_heartbeat(
    p_name text, p_host text, p_pid integer, p_mode text, p_heard_ago double precision,
    p_lease_seconds double precision, p_channel text, p_clock timestamptz DEFAULT NULL,
    p_exports boolean DEFAULT false, p_max_crashes integer DEFAULT NULL, p_leases bigint[] DEFAULT NULL,
    p_topics text[] DEFAULT NULL
) RETURNS TABLE (id bigint, topic text, key text, worker text, status text) LANGUAGE plpgsql AS $$
DECLARE
    v_leases bigint;
    v_skew   double precision := extract(epoch FROM p_clock - clock_timestamp());
BEGIN
    PERFORM clock_settle(); -- before the leases are renewed, or it would move those too
    v_leases := outbox_renew(p_name, p_lease_seconds, p_leases);
    INSERT INTO reckoner_workers AS w
        (name, host, pid, last_heard_at, mode, in_flight, clock_skew, exports, topics)
    VALUES (p_name, p_host, p_pid, reckoner_now() - make_interval(secs => p_heard_ago),
            p_mode, v_leases, v_skew, p_exports, p_topics)
    ON CONFLICT (name) DO UPDATE
    SET last_seen_at = excluded.last_seen_at, mode = excluded.mode,
        in_flight = excluded.in_flight, asleep_until = NULL, clock_skew = excluded.clock_skew,
        exports = excluded.exports, topics = excluded.topics,
        last_heard_at = coalesce(excluded.last_heard_at, w.last_heard_at);
    IF p_channel IS NOT NULL THEN
        PERFORM pg_notify(p_channel, 'heartbeat');
    END IF;
    IF p_max_crashes IS NOT NULL THEN
        RETURN QUERY SELECT * FROM outbox_expire(p_max_crashes);
    END IF;
END
$$;

-- Idle suspend: before it closes its connections, a worker records when it will claim again.
CREATE OR REPLACE FUNCTION worker_suspend(p_name text, p_seconds double precision) RETURNS void
LANGUAGE sql AS $$
    UPDATE reckoner_workers
    SET last_seen_at = reckoner_now(), asleep_until = reckoner_now() + make_interval(secs => p_seconds)
    WHERE name = p_name
$$;

-- Records what a worker cannot do at present, NULL: it can do everything. Called when that changes.
CREATE OR REPLACE FUNCTION worker_fault(p_name text, p_fault text) RETURNS void LANGUAGE sql AS $$
    UPDATE reckoner_workers
    SET fault = one_line(p_fault),
        fault_since = CASE WHEN p_fault IS NOT NULL THEN coalesce(fault_since, reckoner_now()) END
    WHERE name = p_name
$$;

-- Deletes the row of a worker that stops.
CREATE OR REPLACE FUNCTION worker_leave(p_name text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM reckoner_workers WHERE name = p_name
$$;
REVOKE ALL ON FUNCTION
    worker_heartbeat(p_name text, p_host text, p_pid integer, p_mode text, p_heard_ago double precision, p_lease_seconds double precision, p_channel text, p_clock timestamptz, p_exports boolean, p_max_crashes integer, p_leases bigint[], p_topics text[]),
    worker_suspend(p_name text, p_seconds double precision),
    worker_fault(p_name text, p_fault text),
    worker_leave(p_name text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/36_workers.sql', '212d52e130fdb4c283f24bab96b9d4c00e23e2f7877f1f3a294d1c61f1686e41')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
