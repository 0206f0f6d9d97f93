BEGIN;
-- What is wrong, in sentences with the number and what mends it. Read by `worker health`, which
-- adds whether the database answers and the schema fits, and by people in psql:
--   SELECT * FROM reckoner_health() WHERE state <> 'ok';
-- state: ok, warn (look at it), fail (nothing moves until somebody acts).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE OR REPLACE FUNCTION reckoner_health()
RETURNS TABLE (name text, state text, message text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
    v_row record;
BEGIN
    SELECT count(*) FILTER (WHERE alive) AS alive,
           count(*) FILTER (WHERE alive AND asleep_until IS NOT NULL) AS asleep,
           count(*) FILTER (WHERE alive AND mode = 'polling' AND asleep_until IS NULL) AS deaf,
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
        CASE WHEN v_row.deaf > 0 THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.deaf > 0 THEN format('%s workers hear no notifications and poll every second: '
                'LISTEN_DATABASE_URL must be a direct connection, not a transaction pooler', v_row.deaf)
             ELSE 'every worker hears itself' END;

    SELECT extract(epoch FROM v_now - min(available_at))::bigint AS oldest, count(*) AS n,
           count(*) FILTER (WHERE priority >= 0 AND available_at < v_now - interval '5 minutes') AS late
    INTO v_row FROM outbox WHERE status IN ('pending', 'failed') AND available_at <= v_now;
    RETURN QUERY SELECT 'backlog',
        CASE WHEN v_row.late > 0 THEN 'fail' ELSE 'ok' END,
        CASE WHEN v_row.n = 0 THEN 'nothing is ready'
             ELSE format('%s events are ready, the oldest for %s s%s', v_row.n, v_row.oldest,
                CASE WHEN v_row.late > 0 THEN format('; %s for more than five minutes: SELECT * FROM outbox_stuck', v_row.late)
                     ELSE '' END) END;

    SELECT count(*) AS n INTO v_row FROM outbox WHERE status = 'dead';
    RETURN QUERY SELECT 'dead', CASE WHEN v_row.n > 0 THEN 'warn' ELSE 'ok' END,
        CASE WHEN v_row.n > 0 THEN format('%s events are parked: SELECT * FROM outbox_stuck says why, '
                'SELECT outbox_requeue_dead() tries them again', v_row.n) ELSE 'no event is parked' END;

    SELECT string_agg(format('%s is %s%s: %s; %s', h.name, h.what, ' until ' || h.until::timestamptz(0),
                             h.reason, h.mend), '. ' ORDER BY h.name, h.what) AS text
    INTO v_row FROM provider_limits h WHERE h.per IS DISTINCT FROM 'minute';
    RETURN QUERY SELECT 'providers', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(v_row.text, 'none is paused or out of quota');

    SELECT string_agg(format('%s on %s is %s', trigger_name, source,
                             CASE WHEN is_there THEN 'disabled' ELSE 'missing' END), '; ') AS text
    INTO v_row FROM source_missing_triggers();
    RETURN QUERY SELECT 'triggers', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'fail' END,
        coalesce('trigger ' || v_row.text || ': run python -m worker migrate; the sweep finds what they miss',
                 'all are there and enabled');

    -- What holds vacuum back: then the outbox keeps its dead rows and claims get slower.
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

    SELECT string_agg(format('%s by %s s', w.name, round(w.clock_skew)), '; ') AS text INTO v_row
    FROM reckoner_workers w JOIN worker_status s USING (name) WHERE s.alive AND abs(w.clock_skew) > 5;
    RETURN QUERY SELECT 'clocks', CASE WHEN v_row.text IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce('the clock of a worker is off: ' || v_row.text || '; only its log shows it, for times are the database''s: set the host''s clock',
                 'every worker''s clock agrees with the database''s');
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/71_health.sql', '2da063e3bd005865699f49f5b26a8598881015ce8334f528eee68fce74ee630b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
