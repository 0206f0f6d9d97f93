BEGIN;
-- The checks of health: each a sentence with its number and its remedy. Read by `worker health`, which
-- adds whether the database answers and the schema fits, and by people in psql:
--   SELECT * FROM reckoner_health() WHERE state <> 'ok';
-- state: ok, warn (an operator should look), fail (events wait until an operator acts).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The locks of Reckoner that are held (05_locks.sql), and their holders. The first two are advisory locks,
-- which any role can take. is_session: a session holds it, and not a transaction. is_stranger: the
-- holder's role may not write the outbox, so that it has no use for the lock. The third is on a table, and
-- an autovacuum may hold it as well.
CREATE OR REPLACE FUNCTION lock_holders()
RETURNS TABLE (number bigint, lock text, pid integer, role text, app text, is_session boolean, is_stranger boolean)
LANGUAGE sql STABLE AS $$
    SELECT l.objid::bigint,
           (lock_names())[l.objid::bigint],
           l.pid, a.usename::text, coalesce(nullif(a.application_name, ''), 'no name'),
           -- Not by xact_start, which a role of least rights cannot read of other roles.
           NOT EXISTS (SELECT FROM pg_locks t WHERE t.pid = l.pid AND t.locktype = 'virtualxid' AND t.mode = 'ExclusiveLock'),
           NOT coalesce(has_table_privilege(a.usesysid, 'public.outbox', 'INSERT'), false)
    FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.classid = 1380271947 AND l.objid IN (1, 2) AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL
    SELECT 3, 'sweeping', l.pid, a.usename::text, coalesce(nullif(a.application_name, ''), 'no name'), false,
           NOT coalesce(has_table_privilege(a.usesysid, 'public.outbox', 'INSERT'), false)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'relation' AND l.relation = to_regclass('public.market_syncs') AND l.granted
      AND l.mode = 'ShareUpdateExclusiveLock' AND a.usesysid IS NOT NULL
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
$$;

-- Who but owners may make things in `public`; NULL: nobody. Our statements look for functions and operators
-- there, and one that fits better is called with the rights of who runs them: an operator `=` of varchar
-- and text, and the worker makes its author a superuser if it is one. (Also in sql/schema/check.py, which
-- looks at databases without this function.)
CREATE OR REPLACE FUNCTION schema_creators() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END, ', ')
    FROM pg_namespace n
    CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    LEFT JOIN pg_class c ON c.oid = to_regclass('public.reckoner_schema')
    WHERE n.nspname = 'public' AND a.privilege_type = 'CREATE' AND NOT coalesce(r.rolsuper, false)
      AND a.grantee NOT IN (n.nspowner, coalesce(c.relowner, n.nspowner))
      AND coalesce(r.rolname <> 'pg_database_owner', true)
$$;

CREATE OR REPLACE FUNCTION reckoner_health()
RETURNS TABLE (name text, state text, message text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
    v_row record;
BEGIN
    SELECT count(*) FILTER (WHERE alive) AS alive,
           count(*) FILTER (WHERE alive AND asleep_until IS NOT NULL) AS asleep,
           count(*) FILTER (WHERE alive AND mode = 'polling' AND asleep_until IS NULL) AS polling,
           max(last_seen_at) AS last_seen, min(asleep_until) FILTER (WHERE alive) AS next_look
    INTO v_row FROM worker_status;
    RETURN QUERY SELECT 'workers',
        CASE WHEN v_row.alive > 0 THEN 'ok' ELSE 'fail' END,
        CASE WHEN v_row.alive = 0 THEN format('no worker alive%s: start one with python -m worker',
                                              coalesce(', the last was seen ' || v_row.last_seen::timestamptz(0), ''))
             WHEN v_row.asleep = v_row.alive THEN
                format('%s alive, all let the database sleep until %s', v_row.alive, v_row.next_look::timestamptz(0))
             ELSE format('%s alive', v_row.alive) END;
    RETURN QUERY SELECT 'listening',
        CASE WHEN v_row.polling > 0 THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.polling > 0 THEN format('%s workers hear no notifications and poll every second: '
                'LISTEN_DATABASE_URL must be a direct connection, not a transaction pooler', v_row.polling)
             ELSE 'every worker hears itself' END;

    -- One scan for two checks. unfinished: what was ready, leased or held up for ten minutes.
    SELECT date_trunc('second', v_now - min(available_at) FILTER (WHERE due)) AS oldest,
           count(*) FILTER (WHERE due) AS n,
           count(*) FILTER (WHERE due AND priority >= 0 AND available_at < v_now - interval '5 minutes') AS late,
           count(*) FILTER (WHERE since < v_now - interval '10 minutes') AS unfinished, min(since) AS since
    INTO v_row
    FROM (SELECT o.priority, o.available_at, o.lease IS NULL AND o.available_at <= v_now AS due,
                 CASE WHEN o.lease IS NOT NULL THEN o.claimed_at
                      WHEN o.trail -> -1 ->> 'end' = 'held up' THEN o.created_at
                      WHEN o.available_at <= v_now THEN o.available_at END AS since
          FROM outbox o WHERE o.status <> 'dead') e;
    RETURN QUERY SELECT 'backlog',
        CASE WHEN v_row.late > 0 THEN 'fail' ELSE 'ok' END,
        CASE WHEN v_row.n = 0 THEN 'nothing is ready'
             ELSE format('%s ready, the oldest for %s%s', CASE v_row.n WHEN 1 THEN '1 event is' ELSE v_row.n || ' events are' END, v_row.oldest,
                CASE WHEN v_row.late > 0 THEN format('; %s for more than five minutes: SELECT * FROM outbox_stuck', v_row.late)
                     ELSE '' END) END;

    -- Whatever the cause. A worker that knows a cause reports it.
    SELECT v_row.unfinished AS n, h.minutes,
           v_row.unfinished > 0 AND h.minutes >= 10 AS stopped,
           (SELECT string_agg(format('worker %s reports since %s: %s', w.name, w.fault_since::timestamptz(0), w.fault),
                              '; ' ORDER BY w.name)
            FROM worker_status w WHERE w.alive AND w.fault IS NOT NULL) AS faults
    INTO v_row
    FROM (SELECT floor(extract(epoch FROM v_now - greatest(max(finished_at), v_row.since)) / 60)::bigint AS minutes
          FROM outbox_history) h;
    RETURN QUERY SELECT 'progress',
        CASE WHEN v_row.stopped THEN 'fail' WHEN v_row.faults IS NOT NULL THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.stopped THEN
                format('no event finished for %s minutes although %s ready; %s; '
                       'SELECT * FROM outbox_stuck says why each waits',
                       v_row.minutes, CASE v_row.n WHEN 1 THEN '1 is' ELSE v_row.n || ' are' END, coalesce(v_row.faults, 'no worker reports why'))
             WHEN v_row.faults IS NOT NULL THEN
                v_row.faults || '; mend that: what waits for it costs no attempt and goes on by itself'
             ELSE 'events finish' END;

    -- Ticks that are late although a worker is alive: none of them looks, or none can write. Without one the
    -- check `workers` fails. Each sentence has the command that mends it.
    SELECT string_agg(e.said, '. ' ORDER BY e.n, e.said) AS text INTO v_row
    FROM (
        (SELECT 1 AS n, format('the ticks of %s cannot be computed: %s; mend it with python -m market schedules update %s --set FIELD=VALUE, '
                               'tried again at %s', s.name, s.fault, s.name, s.retry_at::timestamptz(0)) AS said
         FROM schedules s WHERE s.enabled AND s.fault IS NOT NULL ORDER BY s.name LIMIT 5)
        UNION ALL
        SELECT 2, format('the ticks of %s are late, the first by %s s: set WORKER_SCHEDULES=true for a worker, or '
                         'python -m market schedules update %s --set enabled=false',
                         CASE count(*) WHEN 1 THEN min(s.name) ELSE count(*) || ' schedules' END,
                         round(extract(epoch FROM v_now - min(s.next_tick_at))), min(s.name))
        FROM schedule_status s
        WHERE s.state = 'late' AND EXISTS (SELECT FROM worker_status w WHERE w.alive AND w.asleep_until IS NULL)
        HAVING count(*) > 0
        UNION ALL
        (SELECT 3, format('the last %s runs of %s ended with an error, the newest with: %s; python -m worker explain --schedule %s '
                          'shows them', f.n, s.name, coalesce(f.error, '?'), s.name)
         FROM schedules s
         CROSS JOIN LATERAL (
             SELECT count(*) AS n, bool_and(r.status = 'error') AS failed, (array_agg(r.error ORDER BY r.id DESC))[1] AS error
             FROM (SELECT * FROM job_run r WHERE r.schedule = s.name AND r.finished_at IS NOT NULL
                   ORDER BY r.id DESC LIMIT 3) r) f
         WHERE s.enabled AND f.n = 3 AND f.failed ORDER BY s.name LIMIT 5)) e;
    RETURN QUERY SELECT 'schedules', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.text, (SELECT format('%s are on, %s', count(*) FILTER (WHERE s.state = 'on'),
                                            coalesce('the next is due at ' || min(s.next_tick_at)::timestamptz(0), 'none is due'))
                              FROM schedule_status s));

    SELECT count(*) AS n INTO v_row FROM outbox WHERE status = 'dead';
    RETURN QUERY SELECT 'dead', CASE WHEN v_row.n > 0 THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.n > 0 THEN format('%s events are parked: SELECT * FROM outbox_stuck says why, '
                'SELECT outbox_requeue_dead() tries them again', v_row.n) ELSE 'no event is parked' END;

    SELECT string_agg(format('%s is %s%s: %s; %s', h.name, h.what, ' until ' || h.until::timestamptz(0),
                             h.reason, h.mend), '. ' ORDER BY h.name, h.what) AS text
    INTO v_row FROM provider_limits h WHERE h.per IS DISTINCT FROM 'minute';
    RETURN QUERY SELECT 'providers', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.text, 'none is paused or out of quota');

    -- Calendars of tickers whose sessions cannot be computed, or end within a month.
    SELECT string_agg(c.text, '. ' ORDER BY c.text) AS text INTO v_row
    FROM (SELECT CASE
              WHEN m.state <> 'loaded' THEN
                  format('sessions of %s cannot be computed%s: %s; tried again at %s', m.calendar,
                         coalesce(', those until ' || l.session || ' stay', ''), m.reason, m.retry_at::timestamptz(0))
              WHEN l.session <= (v_now AT TIME ZONE 'UTC')::date + 31 THEN
                  format('sessions of %s are known until %s: update exchange_calendars, '
                         'moments behind it wait', m.calendar, l.session) END AS text
          FROM market_calendars m
          CROSS JOIN LATERAL (SELECT max(s.session) AS session FROM market_sessions s WHERE s.calendar = m.calendar) l
          WHERE m.calendar IN ('XNYS', '24/7')
             OR EXISTS (SELECT FROM ticker_registry r WHERE r.calendar = m.calendar)) c
    WHERE c.text IS NOT NULL;
    SELECT concat_ws('. ', v_row.text, string_agg(format('%s not processed: %s', CASE t.n WHEN 1 THEN '1 ticker is'
                                                ELSE t.n || ' tickers are' END, t.why), '. ' ORDER BY t.why))
           AS text INTO v_row
    FROM (SELECT count(*) AS n, calendar_unknown(r.calendar) AS why FROM ticker_registry r
          WHERE r.calendar LIKE '?%' AND r.status = 'active' GROUP BY r.calendar ORDER BY n DESC LIMIT 5) t;
    v_row.text := nullif(v_row.text, '');
    RETURN QUERY SELECT 'calendars', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.text, 'the sessions of every calendar in use are known for more than a month');

    -- Only what was answered for or polled in the last two days: symbols of a person's backfill are no one's now.
    SELECT count(*) AS n, count(*) FILTER (WHERE i.error IS NOT NULL AND i.misses >= 3) AS failing,
           (array_agg(i.symbol || ': ' || i.error ORDER BY i.misses DESC, i.symbol)
            FILTER (WHERE i.error IS NOT NULL AND i.misses >= 3))[1] AS first,
           EXISTS (SELECT FROM intraday_partitions p WHERE p.starts_at <= v_now AND p.ends_at > v_now) AS has_month
    INTO v_row FROM intraday_symbols i WHERE i.polled_at > v_now - interval '2 days';
    RETURN QUERY SELECT 'intraday',
        CASE WHEN v_row.failing > 0 OR (v_row.n > 0 AND NOT v_row.has_month) THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.n = 0 THEN 'nobody asks for them: INTRADAY_POLL_SECONDS, market backfill-5m'
             WHEN NOT v_row.has_month THEN 'price_history_intraday has no partition for this month: see the log of the sweep'
             WHEN v_row.failing > 0 THEN format('%s of %s symbols have no answer, such as %s', v_row.failing, v_row.n, v_row.first)
             ELSE format('%s symbols have answers', v_row.n) END;

    -- As the newest snapshot has it: to compute it anew would cost more than all other checks.
    SELECT n.label, n.summary, n.taken_at::timestamptz(0) AS at,
           n.label = 'degraded' AND n.stale_daily = 0 AND n.missing_daily = 0 AS intraday
    INTO v_row FROM coverage_newest() n;
    RETURN QUERY SELECT 'coverage', CASE WHEN v_row.label IN ('degraded', 'unknown') THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.label IS NULL THEN 'no snapshot yet'
             WHEN v_row.label = 'unknown' THEN format('%s: %s', v_row.at, v_row.summary)
             WHEN v_row.intraday THEN format('%s, %s: python -m market backfill-5m fetches them', v_row.summary, v_row.at)
             WHEN v_row.label = 'degraded' THEN
                 format('%s, %s: python -m market coverage says which and why', v_row.summary, v_row.at)
             ELSE format('%s, %s', v_row.summary, v_row.at) END;
    -- An index that was never refreshed is not followed. A refresh is due each week.
    SELECT string_agg(CASE WHEN i.failure IS NOT NULL THEN
                               format('%s cannot be refreshed since %s: %s', i.name, i.failed_since::timestamptz(0), i.failure)
                           ELSE format('members of %s are of %s', i.name, i.refreshed_at::timestamptz(0)) END
                      || ': python -m market constituents refresh ' || i.name, '. ' ORDER BY i.name) AS text
    INTO v_row FROM market_indexes i WHERE i.failure IS NOT NULL OR i.refreshed_at < v_now - interval '15 days';
    RETURN QUERY SELECT 'constituents', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.text, 'no refresh of an index failed');

    SELECT string_agg(format('%s on %s is %s', trigger_name, source,
                             CASE WHEN is_there THEN 'disabled' ELSE 'missing' END), '; ') AS text
    INTO v_row FROM source_missing_triggers();
    RETURN QUERY SELECT 'triggers', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'fail' END,
        coalesce('trigger ' || v_row.text || ': run python -m worker migrate; the sweep finds what they miss',
                 'all are there and enabled');

    -- What the views read, and whether they show every row of it. source_hides() repeats a part.
    SELECT string_agg(s.said, '; ' ORDER BY s.said) || ': run python -m worker migrate' AS stale,
           source_lacks() AS lacks,
           CASE WHEN has_table_privilege(to_regclass('public.prediction_inputs'), 'SELECT') THEN source_hides() END AS hides
    INTO v_row FROM (SELECT source_stale() UNION ALL SELECT source_swapped()) AS s(said);
    RETURN QUERY SELECT 'source',
        CASE WHEN coalesce(v_row.stale, v_row.lacks, v_row.hides) IS NULL THEN 'ok' ELSE 'fail' END,
        coalesce(nullif(concat_ws('. ', v_row.lacks, coalesce(v_row.stale, v_row.hides)), ''), 'the views read the tables that are there');

    SELECT string_agg(i.problem || coalesce(': ' || i.remedy, ''), '. ') AS text, bool_or(i.is_refused) AS now
    INTO v_row FROM source_ids_wrong() i;
    -- Until an id is too large for the column, all is well. Reads predictions only where one is too narrow.
    IF v_row.text IS NOT NULL AND to_regclass('public.predictions') IS NOT NULL AND NOT v_row.now THEN
        v_row.now := (SELECT max(p.id) > 2147483647 OR min(p.id) < -2147483648 FROM predictions p);
    END IF;
    RETURN QUERY SELECT 'ids', CASE WHEN v_row.text IS NULL THEN 'ok' WHEN v_row.now THEN 'fail' ELSE 'warn' END,
        coalesce(v_row.text, 'every column takes the ids of predictions');

    SELECT string_agg(format('%s is at %s, %s has %s: %s', b.sequence, b.last, b.source, b.highest, b.remedy), '. ') AS text
    INTO v_row FROM sequences_behind() b;
    RETURN QUERY SELECT 'sequences', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'fail' END,
        coalesce(v_row.text, 'none is behind its table');

    -- Sweeps come every minute, or when sleeping workers wake. Without a worker the check `workers` fails.
    SELECT i.swept_at, extract(epoch FROM v_now - i.swept_at)::bigint AS age,
           v_now - greatest(i.swept_at, i.installed_at) > interval '15 minutes' AND w.awake AS late,
           format('; pid %s (role %s, %s) holds its lock: SELECT pg_terminate_backend(%s) ends it',
                  h.pid, h.role, h.app, h.pid) AS holder, h.pid
    INTO v_row
    FROM reckoner_installation i
    CROSS JOIN (SELECT coalesce(bool_or(alive AND asleep_until IS NULL), false) AS awake FROM worker_status) w
    LEFT JOIN LATERAL (SELECT * FROM lock_holders() WHERE number = lock_number('sweeping') LIMIT 1) h ON true;
    RETURN QUERY SELECT 'sweep', CASE WHEN v_row.late THEN 'warn' ELSE 'ok' END,
        coalesce('the last ended ' || v_row.age || ' s ago', 'none has ended yet')
        || CASE WHEN v_row.pid IS NOT NULL AND v_row.late THEN v_row.holder
                WHEN v_row.late THEN '; one should come every minute: see the log of the workers' ELSE '' END;

    -- Locks held by roles that have no use for them.
    SELECT string_agg(format('pid %s (role %s, %s) holds the lock of %s: SELECT pg_terminate_backend(%s) ends it',
                             h.pid, h.role, h.app, h.lock, h.pid), '. ' ORDER BY h.number, h.pid) AS text
    INTO v_row FROM lock_holders() h WHERE h.is_stranger;
    RETURN QUERY SELECT 'locks', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.text, 'only workers and owners hold the queue''s');

    SELECT schema_creators() AS who INTO v_row;
    RETURN QUERY SELECT 'creators', CASE WHEN v_row.who IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.who || ' may create in public, and so run code with the rights of the workers and the owner: '
                 'REVOKE CREATE ON SCHEMA public FROM ' || v_row.who,
                 'only owners may create in public');

    -- An old transaction holds vacuum back: the outbox keeps its dead rows, and claims get slower.
    SELECT a.pid, a.application_name AS app, coalesce(a.xact_start, a.backend_start) AS since, 'transaction' AS kind
    INTO v_row FROM pg_stat_activity a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.datname = current_database()
      AND a.xact_start < statement_timestamp() - interval '1 minute'
    ORDER BY greatest(age(a.backend_xmin), age(a.backend_xid)) DESC LIMIT 1;
    RETURN QUERY SELECT 'vacuum', CASE WHEN v_row.pid IS NULL THEN 'ok' ELSE 'warn' END,
        CASE WHEN v_row.pid IS NULL THEN 'nothing holds it back'
             ELSE format('a transaction of pid %s (%s) holds vacuum back since %s: SELECT pg_terminate_backend(%s) ends it',
                         v_row.pid, coalesce(nullif(v_row.app, ''), 'no name'), v_row.since::timestamptz(0), v_row.pid) END;

    SELECT s.n_dead_tup AS dead, s.n_live_tup AS live INTO v_row
    FROM pg_stat_user_tables s WHERE s.relid = 'public.outbox'::regclass;
    RETURN QUERY SELECT 'bloat', CASE WHEN v_row.dead > 100000 THEN 'warn' ELSE 'ok' END,
        format('outbox has %s dead rows%s', coalesce(v_row.dead, 0),
               CASE WHEN v_row.dead > 100000 THEN ': see vacuum above, then VACUUM outbox' ELSE '' END);

    RETURN QUERY SELECT 'notifications',
        CASE WHEN pg_notification_queue_usage() > 0.25 THEN 'warn' ELSE 'ok' END,
        format('the queue of NOTIFY is %s %% full%s', round(pg_notification_queue_usage() * 100),
               CASE WHEN pg_notification_queue_usage() > 0.25
                    THEN ': a listener sits in a transaction, see SELECT pid FROM pg_stat_activity WHERE state = ''idle in transaction''; from half on writers ring no more' ELSE '' END);

    SELECT string_agg(format('%s by %s s', w.name, round(w.clock_skew)), '; ') AS text,
           (SELECT format('the database''s clock was set back, by about %s: %s lie ahead of it; workers move the times of '
                          'the queue with it at their next heartbeat', date_trunc('second', max(a.ahead)),
                          string_agg(format('%s %s', a.n, a.what), ', ' ORDER BY a.what)) FROM clock_ahead a
            HAVING count(*) > 0) AS ahead
    INTO v_row
    FROM reckoner_workers w JOIN worker_status s USING (name) WHERE s.alive AND abs(w.clock_skew) > 5;
    RETURN QUERY SELECT 'clocks', CASE WHEN v_row.text IS NULL AND v_row.ahead IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.ahead, 'the clock of a worker is off: ' || v_row.text || '; only its log shows it, for times are the database''s: set the host''s clock',
                 'every worker''s clock agrees with the database''s');

    -- Of the alerts those that no check above says, and the channels that nobody hears.
    SELECT (SELECT format('%s open: %s%s; python -m market alerts list', CASE count(*) WHEN 1 THEN '1 alert is' ELSE count(*) || ' alerts are' END,
                          string_agg(a.rule || ' ' || a.subject, ', ' ORDER BY a.n) FILTER (WHERE a.n <= 3),
                          CASE WHEN count(*) > 3 THEN ', ...' ELSE '' END)
            FROM (SELECT s.rule, s.subject, row_number() OVER (ORDER BY s.opened_at DESC, s.rule, s.subject) AS n FROM alert_status s
                  WHERE s.state = 'open' AND s.rule NOT IN ('events_dead', 'no_worker', 'provider_quota')) a
            HAVING count(*) > 0) AS text,
           (SELECT string_agg(format('channel %s failed %s times in a row: %s', c.channel, c.failures, c.last_error), '. ' ORDER BY c.channel)
            FROM alert_channels c WHERE c.failures > 0) AS channels
    INTO v_row;
    RETURN QUERY SELECT 'alerts', CASE WHEN coalesce(v_row.text, v_row.channels) IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(nullif(concat_ws('. ', v_row.text, v_row.channels), ''), 'none is open, and every channel takes its messages');
END
$$;
REVOKE ALL ON FUNCTION
    lock_holders(),
    schema_creators(),
    reckoner_health()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/71_health.sql', '42c0862b63ee42872fe0e6179b12da295d379a99fcc81b5b410d59502dd66c43')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
