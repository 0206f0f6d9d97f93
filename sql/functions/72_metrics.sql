BEGIN;
-- The figures of the whole queue for Prometheus, in one statement. Called by worker/metrics.py. Of the
-- workers that serve metrics only the one that started first gets rows, so that a scrape of many workers
-- counts the queue once.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE OR REPLACE FUNCTION reckoner_metrics(p_worker text)
RETURNS TABLE (name text, label text, other text, value double precision) LANGUAGE sql STABLE AS $$
    WITH first AS (
        SELECT w.name FROM reckoner_workers w
        WHERE w.exports AND w.asleep_until IS NULL
          AND w.last_seen_at > reckoner_now() - interval '1 minute'
        ORDER BY w.started_at, w.name LIMIT 1
    ), live AS (
        SELECT o.topic, o.status, count(*) AS n,
               max(reckoner_now() - o.available_at) FILTER (
                   WHERE o.status IN ('pending', 'failed') AND o.available_at <= reckoner_now()) AS oldest
        FROM outbox o GROUP BY o.topic, o.status
    ), topics AS ( -- of workers alive and of live events, so that a topic without events has a 0
        SELECT unnest(w.topics) AS topic FROM reckoner_workers w
        WHERE w.last_seen_at > reckoner_now() - interval '1 minute'
        UNION SELECT l.topic FROM live l
    ), samples AS (
        SELECT 'events' AS name, t.topic AS label, s.status AS other, coalesce(l.n, 0)::float8 AS value
        FROM topics t
        CROSS JOIN (VALUES ('pending'), ('processing'), ('failed'), ('dead')) s(status)
        LEFT JOIN live l ON l.topic = t.topic AND l.status = s.status
        UNION ALL
        SELECT 'oldest', t.topic, NULL, coalesce(extract(epoch FROM max(l.oldest)), 0)::float8
        FROM topics t LEFT JOIN live l ON l.topic = t.topic
        GROUP BY t.topic
        UNION ALL
        SELECT 'paused', p.name, NULL, CASE WHEN p.paused_until > reckoner_now() THEN 1 ELSE 0 END
        FROM reckoner_providers p
        UNION ALL
        SELECT 'refreshes', i.name, NULL, CASE WHEN i.failure IS NOT NULL THEN 1 ELSE 0 END FROM market_indexes i
        UNION ALL
        SELECT 'workers', m.mode, NULL, count(w.name)
        FROM (VALUES ('notify'), ('polling')) m(mode)
        LEFT JOIN worker_status w ON w.mode = m.mode AND w.alive GROUP BY m.mode
        UNION ALL
        SELECT 'alerts', r.rule, NULL, count(a.id)
        FROM (SELECT unnest(alert_rules()) AS rule) r
        LEFT JOIN alerts a ON a.rule = r.rule AND a.state = 'open' AND coalesce(a.silenced_until, '-infinity') <= reckoner_now()
        GROUP BY r.rule
        UNION ALL -- of the newest snapshot; without one each state is 0
        SELECT 'coverage', i.name, b.key, b.value::float8
        FROM coverage_newest() n
        CROSS JOIN LATERAL (VALUES ('1d', n.report -> 'daily'), ('5m', n.report -> 'm5')) i(name, figures)
        CROSS JOIN LATERAL jsonb_each_text(i.figures -> 'freshness') b
        UNION ALL
        SELECT 'coverage_state', l.label, NULL, (l.label IS NOT DISTINCT FROM n.label)::integer
        FROM coverage_newest() n
        CROSS JOIN (VALUES ('idle'), ('ok'), ('warning'), ('degraded'), ('unknown')) l(label)
        UNION ALL
        SELECT 'coverage_age', NULL, NULL, extract(epoch FROM reckoner_now() - n.taken_at)::float8
        FROM coverage_newest() n WHERE n.taken_at IS NOT NULL
        UNION ALL
        SELECT 'runs', k.task, s.status, count(r.id)::float8
        FROM job_tasks() k
        CROSS JOIN (VALUES ('queued'), ('running')) s(status)
        LEFT JOIN job_run r ON r.task_name = k.task AND r.status = s.status AND r.status IN ('queued', 'running')
        GROUP BY k.task, s.status
        UNION ALL -- of the newest hundred runs: a task that never ends ok is not searched to its first run
        SELECT 'success', k.task, NULL, extract(epoch FROM max(r.finished_at) FILTER (WHERE r.status = 'ok'))::float8
        FROM job_tasks() k
        CROSS JOIN LATERAL (SELECT * FROM job_run r WHERE r.task_name = k.task ORDER BY r.id DESC LIMIT 100) r
        GROUP BY k.task HAVING bool_or(r.status = 'ok')
        UNION ALL
        SELECT 'overdue', NULL, NULL,
               coalesce(greatest(0, extract(epoch FROM reckoner_now() - min(greatest(s.next_tick_at, s.retry_at)))), 0)::float8
        FROM schedules s WHERE s.enabled AND isfinite(s.next_tick_at)
        UNION ALL
        SELECT 'schedules', v.state, NULL, count(s.name)::float8
        FROM (VALUES ('on'), ('off'), ('paused'), ('fault'), ('late'), ('waiting')) v(state)
        LEFT JOIN schedule_status s ON s.state = v.state GROUP BY v.state
    )
    SELECT t.name, t.label, t.other, t.value FROM samples t WHERE p_worker = (SELECT f.name FROM first f)
$$;
REVOKE ALL ON FUNCTION
    reckoner_metrics(p_worker text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/72_metrics.sql', '2c751d446dd40e844ce03c641489511989a07f8cf44a314dc9822f6c7aa67496')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
