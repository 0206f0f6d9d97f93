BEGIN;
-- The server's clock was set back: after a failover to a server whose clock is behind, or by hand. What
-- was written before then lies in the future: a new event would wait for as long as the clock went back,
-- and a dead worker's lease would last so long. Each time is moved by as much as the row that has it lies
-- ahead, so that one wrong row moves no other. Called with every heartbeat (36_workers.sql).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- What lies more than a minute in the future of the database's clock, though that clock wrote it, and by
-- how much at most. Read by health.
CREATE OR REPLACE VIEW clock_ahead AS
SELECT a.what, a.n, a.until - reckoner_now() AS ahead
FROM (
    SELECT 'events' AS what, count(*) AS n, max(greatest(o.created_at, o.updated_at)) AS until
    FROM outbox o WHERE greatest(o.created_at, o.updated_at) > reckoner_now() + interval '1 minute'
    UNION ALL
    SELECT 'finished events' AS what, count(*) AS n, max(h.finished_at) AS until
    FROM outbox_history h WHERE h.finished_at > reckoner_now() + interval '1 minute'
    UNION ALL
    SELECT 'workers' AS what, count(*) AS n, max(w.last_seen_at) AS until
    FROM reckoner_workers w WHERE w.last_seen_at > reckoner_now() + interval '1 minute'
    UNION ALL
    SELECT 'sweeps' AS what, count(*) AS n, max(i.swept_at) AS until
    FROM reckoner_installation i WHERE i.swept_at > reckoner_now() + interval '1 minute'
    UNION ALL
    SELECT 'providers' AS what, count(*) AS n, max(greatest(p.last_error_at, p.last_ok_at)) AS until
    FROM reckoner_providers p
    WHERE greatest(p.last_error_at, p.last_ok_at) > reckoner_now() + interval '1 minute'
) a WHERE a.n > 0;

-- Moves times that lie ahead. Returns how many rows of the outbox it moved. The first look is cheap: the
-- last sweep, the last heartbeats and the newest events; where none lies ahead, nothing else is read.
CREATE OR REPLACE FUNCTION clock_settle() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_now   timestamptz := reckoner_now();
    -- A statement that waited for a lock is older than what others wrote meanwhile.
    v_limit timestamptz := v_now + (clock_timestamp() - statement_timestamp()) + interval '1 minute';
    v_ahead interval;
    v_moved bigint;
    v_all   bigint;
BEGIN
    v_ahead := greatest(
        (SELECT max(i.swept_at) FROM reckoner_installation i), (SELECT max(w.last_seen_at) FROM reckoner_workers w),
        (SELECT max(n.created_at) FROM (SELECT o.created_at FROM outbox o ORDER BY o.id DESC LIMIT 100) n)) - v_now;
    IF v_ahead IS NULL OR v_now + v_ahead <= v_limit THEN
        RETURN 0;
    END IF;
    PERFORM FROM reckoner_installation FOR UPDATE SKIP LOCKED; -- one at a time, or a lease would move twice
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- A worker that was seen by this clock renewed its leases by this clock.
    UPDATE outbox o SET leased_until = o.leased_until - (b.base - v_now), claimed_at = least(o.claimed_at, v_now)
    FROM (SELECT l.id, CASE WHEN w.name IS NULL THEN l.claimed_at ELSE w.last_seen_at END AS base
          FROM outbox l LEFT JOIN reckoner_workers w ON w.name = l.leased_by WHERE l.lease IS NOT NULL) b
    WHERE o.id = b.id AND o.lease IS NOT NULL AND b.base > v_limit AND o.leased_until > v_now;
    GET DIAGNOSTICS v_all = ROW_COUNT;
    UPDATE outbox o
    SET available_at = CASE WHEN o.lease IS NULL THEN o.available_at - (greatest(o.created_at, o.updated_at) - v_now)
                            ELSE o.available_at END,
        created_at = least(o.created_at, v_now), updated_at = least(o.updated_at, v_now)
    WHERE greatest(o.created_at, o.updated_at) > v_limit;
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    v_all := v_all + v_moved;
    UPDATE reckoner_workers w
    SET asleep_until = w.asleep_until - (w.last_seen_at - v_now), last_seen_at = v_now,
        last_heard_at = least(w.last_heard_at, v_now), started_at = least(w.started_at, v_now)
    WHERE w.last_seen_at > v_limit;
    UPDATE reckoner_providers p
    SET paused_until = p.paused_until - (greatest(p.last_error_at, v_now) - v_now),
        last_error_at = least(p.last_error_at, v_now), last_ok_at = least(p.last_ok_at, v_now)
    WHERE greatest(p.last_error_at, p.last_ok_at) > v_limit;
    UPDATE reckoner_providers p SET next_request_at = v_now
    WHERE p.next_request_at > v_now + p.spacing + interval '1 minute';
    UPDATE provider_quotas q SET minute_from = date_trunc('minute', v_now), minute_used = 0
    WHERE q.minute_from > v_limit;
    UPDATE market_syncs m SET claimed_until = m.claimed_until - v_ahead WHERE m.claimed_until > v_now + v_ahead;
    UPDATE reckoner_installation i SET swept_at = v_now WHERE i.swept_at > v_limit;
    RAISE LOG 'reckoner: the clock was set back by about %, % events were moved with it', v_ahead, v_all;
    PERFORM doorbell_ring();
    RETURN v_all;
END
$$;
REVOKE ALL ON FUNCTION
    clock_settle()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/35_clock_ahead.sql', '1ca86ae27385ab1fc3598c690dfb241627534e55fb19c26db36b0340c639288b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
