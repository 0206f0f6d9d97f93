BEGIN;
-- What an operator looks at: the queue, what is late and why, the workers.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE OR REPLACE VIEW worker_status AS
SELECT name, host, pid, started_at, last_seen_at, last_heard_at, mode, in_flight,
       greatest(last_seen_at, asleep_until) > reckoner_now() - interval '1 minute' AS alive,
       asleep_until
FROM reckoner_workers;

CREATE OR REPLACE VIEW outbox_status AS
WITH live AS (
    SELECT topic, status, count(*) AS count, min(created_at) AS oldest FROM outbox
    GROUP BY topic, status
), recent AS (
    SELECT topic, count(*) AS done FROM outbox_history
    WHERE finished_at > reckoner_now() - interval '1 hour' GROUP BY topic
)
SELECT topic, coalesce(l.status, 'idle') AS status, coalesce(l.count, 0) AS count,
       reckoner_now() - l.oldest AS oldest_age,
       coalesce(r.done, 0) AS done_last_hour,
       -- At the last hour's pace; unknown while nothing is finished.
       CASE WHEN l.status IN ('pending', 'failed', 'processing') AND r.done > 0
            THEN make_interval(secs => l.count * 3600.0 / r.done) END AS eta
FROM live l FULL JOIN recent r USING (topic)
ORDER BY topic, status;

CREATE OR REPLACE VIEW outbox_stuck AS
WITH alive AS (
    SELECT count(*) AS n, count(*) FILTER (WHERE asleep_until IS NULL) AS awake,
           min(asleep_until) AS next_look
    FROM worker_status WHERE alive
)
SELECT o.id, o.topic, o.key, o.status, reckoner_now() - o.created_at AS age,
    CASE
        WHEN o.status = 'dead' THEN
            format('parked after %s attempts and %s crashes: %s; SELECT outbox_requeue(%s) tries again',
                   o.attempts, o.crashes, coalesce(o.last_error, 'no reason given'), o.id)
        WHEN o.status = 'processing' AND w.name IS NULL THEN
            format('leased by worker %s, which is gone, until %s', o.leased_by, o.leased_until)
        WHEN o.status = 'processing' THEN
            format('leased by worker %s, last seen %s, until %s', o.leased_by, w.last_seen_at, o.leased_until)
        WHEN o.available_at > reckoner_now() THEN
            format('waiting for %s at %s: %s',
                   CASE WHEN o.status = 'failed' THEN 'retry ' || (o.attempts + 1) ELSE 'its time' END,
                   o.available_at, coalesce(o.last_error, 'delayed'))
        WHEN alive.n = 0 THEN 'no worker alive: start one with python -m worker'
        WHEN alive.awake = 0 THEN
            format('every worker lets the database sleep (WORKER_IDLE=sleepy); the next looks at %s', alive.next_look)
        ELSE format('ready since %s, %s workers alive and busy', o.available_at, alive.n)
    END AS reason
FROM outbox o CROSS JOIN alive LEFT JOIN reckoner_workers w ON w.name = o.leased_by
WHERE o.status = 'dead'
   OR (o.status = 'failed')
   OR (o.status = 'pending' AND (o.available_at > reckoner_now()
                                 OR o.available_at < reckoner_now() - interval '1 minute'
                                 OR alive.awake = 0))
   OR (o.status = 'processing' AND (o.leased_until < reckoner_now()
                                    OR o.updated_at < reckoner_now() - interval '5 minutes'))
ORDER BY o.created_at;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/35_outbox_views.sql', '5a7dfe8d250bac003b29fdca1bf3158bf14778424e90de3efa64f442ffc7ff95')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
