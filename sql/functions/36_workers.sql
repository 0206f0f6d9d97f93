BEGIN;
-- The workers' own rows. Called by worker/pulse.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

DROP FUNCTION IF EXISTS worker_beat(text, text, integer, text, double precision, double precision, text);
DROP FUNCTION IF EXISTS worker_beat(text, text, integer, text, double precision, double precision, text, timestamptz);
DROP FUNCTION IF EXISTS worker_beat(text, text, integer, text, double precision, double precision, text, timestamptz, boolean);
DROP FUNCTION IF EXISTS worker_beat(text, text, integer, text, double precision, double precision, text, timestamptz, boolean, integer);

-- One heartbeat: says that the worker lives, prolongs its leases, and sends the
-- notification that must come back to it over LISTEN. p_heard_ago: seconds since the last
-- one came back, NULL for never. p_clock: the worker's own clock, which is only compared.
-- p_exports: whether it serves metrics.
-- Then ends the leases of those who did not say so in time; returns these events. p_max_crashes:
-- as for outbox_expire, NULL to leave them be. p_held: as for outbox_renew.
CREATE OR REPLACE FUNCTION worker_beat(
    p_name text, p_host text, p_pid integer, p_mode text, p_heard_ago double precision,
    p_lease_seconds double precision, p_channel text, p_clock timestamptz DEFAULT NULL,
    p_exports boolean DEFAULT false, p_max_crashes integer DEFAULT NULL, p_held bigint[] DEFAULT NULL
) RETURNS TABLE (id bigint, topic text, key text, worker text, status text) LANGUAGE plpgsql AS $$
DECLARE
    v_now    timestamptz := reckoner_now();
    v_leases bigint := outbox_renew(p_name, p_lease_seconds, p_held);
    v_skew   double precision := extract(epoch FROM p_clock - clock_timestamp());
BEGIN
    INSERT INTO reckoner_workers AS w
        (name, host, pid, started_at, last_seen_at, last_heard_at, mode, in_flight, clock_skew,
         exports)
    VALUES (p_name, p_host, p_pid, v_now, v_now, v_now - make_interval(secs => p_heard_ago),
            p_mode, v_leases, v_skew, p_exports)
    ON CONFLICT (name) DO UPDATE
    SET last_seen_at = excluded.last_seen_at, mode = excluded.mode,
        in_flight = excluded.in_flight, asleep_until = NULL, clock_skew = excluded.clock_skew,
        exports = excluded.exports,
        last_heard_at = coalesce(excluded.last_heard_at, w.last_heard_at);
    IF p_channel IS NOT NULL THEN
        PERFORM pg_notify(p_channel, 'heartbeat');
    END IF;
    IF p_max_crashes IS NOT NULL THEN
        RETURN QUERY SELECT * FROM outbox_expire(p_max_crashes);
    END IF;
END
$$;

-- A worker that closes its connections to let the database sleep says when it looks again.
CREATE OR REPLACE FUNCTION worker_nap(p_name text, p_seconds double precision) RETURNS void
LANGUAGE sql AS $$
    UPDATE reckoner_workers
    SET last_seen_at = reckoner_now(), asleep_until = reckoner_now() + make_interval(secs => p_seconds)
    WHERE name = p_name
$$;

CREATE OR REPLACE FUNCTION worker_leave(p_name text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM reckoner_workers WHERE name = p_name
$$;
REVOKE ALL ON FUNCTION
    worker_beat(p_name text, p_host text, p_pid integer, p_mode text, p_heard_ago double precision, p_lease_seconds double precision, p_channel text, p_clock timestamptz, p_exports boolean, p_max_crashes integer, p_held bigint[]),
    worker_nap(p_name text, p_seconds double precision),
    worker_leave(p_name text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/36_workers.sql', '57966fe7baa2baf63cd45bf6d5ffcad64c8463327a629cf6cb7fabaf093ace21')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
