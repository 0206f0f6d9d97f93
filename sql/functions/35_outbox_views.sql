BEGIN;
-- The operator's views: the queue, the late events with their reasons, the workers.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The workers: when each was seen, when it heard its echo, how it waits, what it has in flight.
-- mode: notify, or polling where notifications do not arrive. alive: seen within a minute, or asleep
-- until a time that it said (WORKER_IDLE=sleepy). fault: what it cannot do at present, which is no event's
-- own fault; NULL where it can do everything.
CREATE OR REPLACE VIEW worker_status AS
SELECT name, host, pid, started_at, last_seen_at, last_heard_at, mode, in_flight,
       greatest(last_seen_at, asleep_until) > reckoner_now() - interval '1 minute' AS alive,
       asleep_until, fault, fault_since
FROM reckoner_workers;

-- The live events per topic and status, with the age of the oldest. A topic without live events has the
-- status idle.
-- eta: how long the waiting events of the topic take at the present pace. The pace is completions less
-- arrivals in the last 1, 10 or 60 minutes, the shortest in which ten events were finished. NULL where
-- no event was finished, or where the queue grows.
CREATE OR REPLACE VIEW outbox_status AS
WITH live AS (
    SELECT topic, status, count(*) AS count, min(created_at) AS oldest FROM outbox
    GROUP BY topic, status
), moved AS (
    SELECT topic, created_at, finished_at FROM outbox_history
    WHERE finished_at > reckoner_now() - interval '1 hour'
    UNION ALL
    SELECT topic, created_at, NULL::timestamptz FROM outbox WHERE created_at > reckoner_now() - interval '1 hour'
), paced AS (
    SELECT m.topic, w.minutes,
           count(*) FILTER (WHERE finished_at > reckoner_now() - w.minutes * interval '1 minute') AS done,
           count(*) FILTER (WHERE created_at > reckoner_now() - w.minutes * interval '1 minute') AS came
    FROM moved m CROSS JOIN (VALUES (1), (10), (60)) AS w(minutes) GROUP BY m.topic, w.minutes
), pace AS (
    SELECT DISTINCT ON (topic) topic, (done - came)::float8 / minutes AS per_minute
    FROM paced WHERE done >= 10 OR minutes = 60 ORDER BY topic, minutes
), recent AS (
    SELECT topic, done FROM paced WHERE minutes = 60
), waiting AS (
    SELECT topic, sum(count) AS n FROM live WHERE status <> 'dead' GROUP BY topic
)
SELECT topic, coalesce(l.status, 'idle') AS status, coalesce(l.count, 0) AS count,
       reckoner_now() - l.oldest AS oldest_age,
       coalesce(r.done, 0) AS done_last_hour,
       CASE WHEN l.status IN ('pending', 'failed', 'processing') AND p.per_minute > 0
            THEN make_interval(secs => (60 * w.n / p.per_minute)::float8) END AS eta
FROM live l FULL JOIN recent r USING (topic) LEFT JOIN pace p USING (topic) LEFT JOIN waiting w USING (topic)
WHERE l.topic IS NOT NULL OR r.done > 0
ORDER BY topic, status;

-- Every event that is late, with the reason in words: it waits for a retry or a provider, another session
-- has locked a row that it needs, a worker is slow, gone or has a fault, it is dead, or no worker is alive.
-- reason: in full, with the SQL that helps. why: the same in few words. is_late: a worker should have taken
-- it. next_at: when it is looked at again; NULL: now, or never.
CREATE OR REPLACE VIEW outbox_stuck AS
WITH alive AS (
    SELECT count(*) AS n, count(*) FILTER (WHERE asleep_until IS NULL) AS awake,
           min(asleep_until) AS next_look,
           coalesce('; ' || string_agg(DISTINCT format('worker %s: %s', name, fault), '; '), '') AS faults
    FROM worker_status WHERE alive
), topics AS ( -- of workers alive; it has a NULL where a worker's release did not record them
    SELECT array_agg(DISTINCT t.topic) AS known
    FROM reckoner_workers w JOIN worker_status s USING (name)
    CROSS JOIN LATERAL unnest(coalesce(w.topics, '{NULL}')) t(topic) WHERE s.alive
)
SELECT o.id, o.topic, o.key, o.status, reckoner_now() - o.created_at AS age,
    CASE
        WHEN o.status = 'dead' THEN
            format('parked after %s attempts and %s crashes: %s; SELECT outbox_requeue(%s) tries again',
                   o.attempts, o.crashes, coalesce(o.last_error, 'no reason given'), o.id)
        WHEN o.status = 'processing' AND w.name IS NULL THEN
            format('leased by worker %s, which is gone, until %s', o.leased_by, o.leased_until)
        WHEN o.status = 'processing' THEN
            format('leased by worker %s, last seen %s, until %s%s', o.leased_by, w.last_seen_at, o.leased_until,
                   coalesce('; ' || w.fault, ''))
        WHEN o.available_at > reckoner_now() THEN
            format('waiting for %s at %s: %s',
                   CASE WHEN o.status = 'failed' THEN 'retry ' || (o.attempts + 1) ELSE 'its time' END,
                   o.available_at, coalesce(o.last_error, 'delayed'))
        WHEN alive.n = 0 THEN 'no worker alive: start one with python -m worker'
        WHEN alive.awake = 0 THEN
            format('every worker lets the database sleep (WORKER_IDLE=sleepy); the next wakes at %s', alive.next_look)
        WHEN o.topic <> ALL (topics.known) THEN
            format('no worker alive works on the topic %s: start one of a version that does', o.topic)
        ELSE format('ready since %s, %s workers alive and busy%s', o.available_at, alive.n, alive.faults)
    END AS reason,
    CASE WHEN o.status = 'processing' THEN o.leased_until
         WHEN o.status <> 'dead' AND o.available_at > reckoner_now() THEN o.available_at END AS next_at,
    CASE
        WHEN o.status = 'dead' THEN coalesce(o.last_error, 'no reason given')
        WHEN o.status = 'processing' THEN
            format(CASE WHEN w.name IS NULL THEN 'worker %s is gone' ELSE 'worker %s has it' END, o.leased_by)
        WHEN o.available_at > reckoner_now() THEN coalesce(o.last_error, 'delayed')
        WHEN alive.n = 0 THEN 'no worker alive'
        WHEN alive.awake = 0 THEN
            format('every worker lets the database sleep (WORKER_IDLE=sleepy); the next wakes at %s', alive.next_look)
        WHEN o.topic <> ALL (topics.known) THEN
            format('no worker alive works on the topic %s: start one of a version that does', o.topic)
        ELSE 'ready, and no worker has taken it yet'
    END AS why,
    CASE o.status
        WHEN 'dead' THEN false
        WHEN 'processing' THEN o.leased_until < reckoner_now()
        ELSE o.available_at <= reckoner_now() AND (alive.n = 0 OR alive.awake > 0 AND o.priority >= 0)
    END AS is_late
FROM outbox o CROSS JOIN alive CROSS JOIN topics LEFT JOIN reckoner_workers w ON w.name = o.leased_by
WHERE o.status = 'dead'
   OR (o.status = 'failed')
   OR (o.status = 'pending' AND (o.available_at > reckoner_now()
                                 OR o.available_at < reckoner_now() - interval '1 minute'
                                 OR alive.awake = 0))
   OR (o.status = 'processing' AND (o.leased_until < reckoner_now() OR w.fault IS NOT NULL
                                    OR o.updated_at < reckoner_now() - interval '5 minutes'))
ORDER BY o.created_at;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/35_outbox_views.sql', '247e60e5bd749dccfd054347e2526621a0e890790527300e4f4c3499447c9e57')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
