BEGIN;
-- Alerts: what is wrong (alerts_found), since when and who knows (alerts_check), and what an operator does.
-- The sweep of any worker checks once a minute; messages go through the outbox (worker/alerts/).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The Discord channels that a schedule's hooks name, in their order. item: an alias, or an address.
CREATE OR REPLACE FUNCTION hook_items(p_hooks jsonb) RETURNS TABLE (n bigint, item text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT row_number() OVER (ORDER BY f.ord, w.ord), btrim(w.word)
    FROM (VALUES (1, p_hooks -> 'discord_webhook'), (2, p_hooks -> 'discord_channels')) AS f(ord, said)
    CROSS JOIN LATERAL regexp_split_to_table(
        CASE jsonb_typeof(f.said) WHEN 'string' THEN f.said #>> '{}'
             WHEN 'array' THEN (SELECT string_agg(e #>> '{}', ',') FROM jsonb_array_elements(f.said) AS e) ELSE '' END,
        ',') WITH ORDINALITY AS w(word, ord)
    WHERE btrim(w.word) <> ''
$$;

-- The names of these channels. An address is a secret, so that its name only says where it is written.
CREATE OR REPLACE FUNCTION hook_channels(p_schedule text, p_hooks jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg(CASE WHEN strpos(i.item, '://') > 0 THEN format('discord:%s#%s', p_schedule, i.n)
                                   ELSE 'discord:' || one_line(lower(left(i.item, 40))) END ORDER BY i.n), '{}')
    FROM hook_items(p_hooks) i
$$;

-- The address behind the name of a channel; NULL where no schedule has it (a setting of the worker may).
CREATE OR REPLACE FUNCTION alert_address(p_channel text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_channel LIKE 'pushgateway:%' THEN s.hooks ->> 'prometheus_endpoint'
                ELSE (SELECT i.item FROM hook_items(s.hooks) i
                      WHERE i.n::text = split_part(p_channel, '#', 2) AND strpos(i.item, '://') > 0) END
    FROM schedules s WHERE s.name = split_part(split_part(p_channel, ':', 2), '#', 1)
$$;

-- Whether a schedule wants to hear of an event: failure (the default) or success.
CREATE OR REPLACE FUNCTION hook_wants(p_hooks jsonb, p_event text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_hooks -> 'alert_on', '["failure"]') ? p_event
$$;

-- What is wrong with the values of hooks; NULL: nothing. An address is a secret, and so not in the text.
CREATE OR REPLACE FUNCTION hooks_fault(p_hooks jsonb) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        CASE WHEN p_hooks ? 'alert_on' AND NOT (jsonb_typeof(p_hooks -> 'alert_on') = 'array'
                                                        AND p_hooks -> 'alert_on' <@ '["failure", "success", "slow"]')
             THEN 'hooks: alert_on is a list of failure, success and slow' END,
        CASE WHEN p_hooks ? 'slow_threshold_s' AND coalesce(p_hooks ->> 'slow_threshold_s', '') !~ '^\d{1,7}(\.\d{1,3})?$'
             THEN 'hooks: slow_threshold_s is a number of seconds' END,
        CASE WHEN p_hooks ? 'prometheus_endpoint' AND coalesce(p_hooks ->> 'prometheus_endpoint', '') !~ '^https?://\S+$'
             THEN 'hooks: prometheus_endpoint is an address with https://' END,
        (SELECT format('hooks: the Discord channel no. %s is neither an address nor system_status, signals, portfolio, '
                       'morning_brew or playground', i.n)
         FROM hook_items(p_hooks) i
         WHERE i.item !~ '^https?://\S+$' AND lower(i.item) <> ALL ('{system_status,signals,portfolio,morning_brew,playground}')
         ORDER BY i.n LIMIT 1))
$$;

-- After how many seconds a run of a schedule is slow; NULL: never.
CREATE OR REPLACE FUNCTION hook_slow_s(p_hooks jsonb) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_hooks ->> 'slow_threshold_s' ~ '^\d{1,7}(\.\d{1,3})?$' AND p_hooks -> 'alert_on' IS DISTINCT FROM '[]'
                THEN (p_hooks ->> 'slow_threshold_s')::float8 END
$$;

-- The tick after another one; NULL where none can be computed.
CREATE OR REPLACE FUNCTION tick_after(p_trigger text, p_zone text, p_tick timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN trigger_next(p_trigger, p_zone, p_tick);
EXCEPTION WHEN data_exception OR plpgsql_error OR undefined_object OR case_not_found THEN
    RETURN NULL;
END
$$;

-- Runs that ended with an error: the last one of a schedule or, where a person started it, of a task in the
-- last day; and every one of the last two minutes, so that a check hears of a failure that is over.
CREATE OR REPLACE FUNCTION alerts_of_failed_runs()
RETURNS TABLE (rule text, subject text, text text, details jsonb, channels text[]) LANGUAGE sql STABLE AS $$
    WITH last AS (
        SELECT r.* FROM schedules s
        CROSS JOIN LATERAL (SELECT * FROM job_run r WHERE r.schedule = s.name AND r.status IN ('ok', 'error')
                            ORDER BY r.id DESC LIMIT 1) r
        WHERE s.enabled
        UNION ALL
        (SELECT DISTINCT ON (r.task_name) r.* FROM job_run r
         WHERE r.finished_at > reckoner_now() - interval '1 day' AND r.status IN ('ok', 'error')
           AND r.schedule IS NULL AND r.parent_id IS NULL
         ORDER BY r.task_name, r.id DESC)
        UNION ALL
        SELECT r.* FROM job_run r
        WHERE r.finished_at > reckoner_now() - interval '2 minutes' AND r.status = 'error' AND r.parent_id IS NULL
    ), failed AS (
        SELECT DISTINCT ON (subject) l.*, coalesce(l.schedule, 'task ' || l.task_name) AS subject, s.hooks, s.queue
        FROM last l LEFT JOIN schedules s ON s.name = l.schedule
        WHERE l.status = 'error' AND hook_wants(coalesce(s.hooks, '{}'), 'failure')
        ORDER BY subject, l.id DESC
    )
    SELECT 'run_failed', f.subject,
           format('run %s of %s ended with an error after %s s: %s. %s of its last %s runs did (threshold: 1)', f.id,
                  f.task_name, round(coalesce(extract(epoch FROM f.finished_at - f.started_at), 0)), f.error, n.bad, n.all),
           jsonb_strip_nulls(jsonb_build_object(
               'number', n.bad, 'threshold', 1, 'mend', format('python -m market runs show %s', f.id), 'run', f.id,
               'task', f.task_name, 'queue', coalesce(f.queue, 'job'), 'counters', nullif(f.counters, '{}'), 'error', f.error,
               'seconds', round(extract(epoch FROM f.finished_at - f.started_at), 3), 'mentions', f.hooks -> 'discord_mentions')),
           coalesce(hook_channels(f.schedule, f.hooks), '{}')
    FROM failed f
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE t.status = 'error') AS bad, count(*) AS all
        FROM (SELECT r.status FROM job_run r WHERE r.task_name = f.task_name AND r.schedule IS NOT DISTINCT FROM f.schedule
              AND r.status IN ('ok', 'error') AND r.id <= f.id AND r.id > f.id - 10000 ORDER BY r.id DESC LIMIT 10) t) n
$$;

-- Schedules whose last run, over or not, took longer than their threshold.
CREATE OR REPLACE FUNCTION alerts_of_slow_runs()
RETURNS TABLE (rule text, subject text, text text, details jsonb, channels text[]) LANGUAGE sql STABLE AS $$
    SELECT 'run_slow', s.name,
           format('run %s of %s %s %s s (threshold: %s s)', r.id, r.task_name,
                  CASE WHEN r.finished_at IS NULL THEN 'runs for' ELSE 'took' END, round(t.took), t.most),
           jsonb_strip_nulls(jsonb_build_object(
               'number', round(t.took), 'threshold', t.most, 'mend', format('python -m market runs show %s', r.id), 'run', r.id,
               'task', r.task_name, 'queue', s.queue, 'counters', nullif(r.counters, '{}'), 'seconds', round(t.took, 3),
               'mentions', s.hooks -> 'discord_mentions')),
           hook_channels(s.name, s.hooks)
    FROM schedules s
    CROSS JOIN LATERAL (SELECT * FROM job_run r WHERE r.schedule = s.name ORDER BY r.id DESC LIMIT 1) r
    CROSS JOIN LATERAL (SELECT extract(epoch FROM coalesce(r.finished_at, reckoner_now()) - r.started_at) AS took,
                               hook_slow_s(s.hooks) AS most) t
    WHERE s.enabled AND s.hooks ? 'slow_threshold_s' AND t.took > t.most
$$;

-- Schedules without a tick for twice their interval, and those whose ticks cannot be computed. One whose ticks
-- were never computed is not among them: its workers have WORKER_SCHEDULES=false.
CREATE OR REPLACE FUNCTION alerts_of_missing_ticks()
RETURNS TABLE (rule text, subject text, text text, details jsonb, channels text[]) LANGUAGE sql STABLE AS $$
    SELECT 'schedule_missing', s.name,
           CASE WHEN s.fault IS NOT NULL THEN 'its ticks cannot be computed: ' || s.fault
                ELSE format('no tick for %s, the one of %s was not written (threshold: twice its interval)',
                            make_interval(secs => n.late::float8), s.next_tick_at::timestamptz(0)) END,
           jsonb_strip_nulls(jsonb_build_object('number', n.late, 'task', s.task, 'queue', s.queue,
               'mend', format('python -m market schedules show %s; python -m worker health', s.name),
               'mentions', s.hooks -> 'discord_mentions')),
           hook_channels(s.name, s.hooks)
    FROM schedules s
    CROSS JOIN LATERAL (SELECT CASE WHEN isfinite(s.next_tick_at)
                               THEN round(extract(epoch FROM reckoner_now() - s.next_tick_at)) END AS late) n
    WHERE s.enabled
      AND (s.fault IS NOT NULL
           OR (isfinite(s.next_tick_at) AND s.next_tick_at < reckoner_now() - interval '2 minutes'
               AND tick_after(s.trigger, s.timezone, s.next_tick_at) < reckoner_now()))
$$;

-- Coverage that is degraded, as its newest snapshot says: computing it each minute would read all bars.
CREATE OR REPLACE FUNCTION alerts_of_coverage()
RETURNS TABLE (rule text, subject text, text text, details jsonb, channels text[]) LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_status jsonb;
BEGIN
    v_status := (coverage_newest()).report -> 'status';
    RETURN QUERY SELECT 'coverage_degraded', 'coverage',
        format('%s; %s %% are at most a session behind (threshold: 90 %%), %s are stale (threshold: 0)',
               coalesce(v_status ->> 'summary', 'degraded'), v_status ->> 'daily_pct', v_status ->> 'stale_daily'),
        jsonb_build_object('number', v_status -> 'daily_pct', 'threshold', 90,
                           'mend', CASE WHEN v_status ->> 'daily_pct' = '100' THEN 'python -m market backfill-5m'
                                        ELSE 'python -m market run-task restore_coverage --wait' END), '{}'::text[]
    WHERE v_status ->> 'label' = 'degraded';
END
$$;

-- The rules of alerts_found().
CREATE OR REPLACE FUNCTION alert_rules() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT '{run_failed,run_slow,schedule_missing,coverage_degraded,events_dead,no_worker,provider_quota,outcomes_overdue,webhook_failing}'::text[]
$$;

-- Everything that is wrong now. rule and subject are the fingerprint; channels: empty for those of the settings.
CREATE OR REPLACE FUNCTION alerts_found()
RETURNS TABLE (rule text, subject text, text text, details jsonb, channels text[]) LANGUAGE sql STABLE AS $$
    SELECT * FROM alerts_of_failed_runs()
    UNION ALL SELECT * FROM alerts_of_slow_runs()
    UNION ALL SELECT * FROM alerts_of_missing_ticks()
    UNION ALL SELECT * FROM alerts_of_coverage()
    UNION ALL
    SELECT 'events_dead', o.topic, format('%s %s events are dead (threshold: 0)', count(*), o.topic),
           jsonb_build_object('number', count(*), 'threshold', 0,
               'mend', 'SELECT * FROM outbox_stuck says why, python -m worker requeue --dead tries them again'), '{}'::text[]
    FROM outbox o WHERE o.status = 'dead' GROUP BY o.topic
    UNION ALL
    SELECT 'no_worker', 'workers', format('no worker is alive for %s (threshold: 2 minutes)', make_interval(secs => w.seconds::float8)),
           jsonb_build_object('number', w.seconds, 'threshold', 120, 'mend', 'python -m worker'), '{}'::text[]
    FROM (SELECT round(extract(epoch FROM reckoner_now() - greatest(
                     (SELECT max(s.last_seen_at) FROM worker_status s), max(i.swept_at), max(i.installed_at)))) AS seconds,
                 (SELECT count(*) FROM worker_status s WHERE s.alive) AS alive
          FROM reckoner_installation i) w
    WHERE w.alive = 0 AND w.seconds > 120
    UNION ALL
    SELECT 'provider_quota', q.name,
           format('%s of %s requests of the %s are used until %s (threshold: %s)', q.used, q.allowed, q.per,
                  q.resets_at::timestamptz(0), q.allowed),
           jsonb_build_object('number', q.used, 'threshold', q.allowed, 'mend',
               format('it goes on by itself; where the plan allows more: UPDATE provider_quotas SET per_%s = N WHERE name = %L; '
                      'SELECT provider_resume(%L)', q.per, q.name, q.name)), '{}'::text[]
    FROM (SELECT DISTINCT ON (q.name) q.* FROM provider_quota_status q
          WHERE q.remaining = 0 AND q.per <> 'minute' ORDER BY q.name, q.resets_at DESC) q
    UNION ALL
    SELECT 'outcomes_overdue', 'outcomes',
           format('%s outcomes are due for more than a day and not filled, the first since %s (threshold: 24 h)',
                  CASE WHEN d.n > 1000 THEN 'more than 1000' ELSE d.n::text END, d.since::timestamptz(0)),
           jsonb_build_object('number', d.n, 'threshold', 0,
               'mend', 'python -m worker health; SELECT * FROM outbox_stuck; python -m market validation-report'), '{}'::text[]
    FROM (SELECT count(*) AS n, min(l.due_at) AS since
          FROM (SELECT p.due_at FROM prediction_outcomes p
                WHERE p.outcome_state IN ('awaiting_prices', 'maturing') AND p.due_at < reckoner_now() - interval '1 day'
                ORDER BY p.due_at LIMIT 1001) l) d
    WHERE d.n > 0
    UNION ALL
    SELECT 'webhook_failing', 'subscription ' || s.id,
           format('%s refuses outcomes since %s, %s wait and %s are dead (threshold: 1 h): %s', s.host,
                  coalesce(s.failing_since::timestamptz(0)::text, 'a while'), s.waiting, s.dead, coalesce(s.last_error, 'it takes new ones')),
           jsonb_build_object('number', s.waiting + s.dead, 'threshold', 0,
               'mend', format('SELECT * FROM subscription_status; SELECT subscription_requeue(%s)', s.id)), '{}'::text[]
    FROM subscription_status s
    WHERE s.active AND (s.dead > 0 OR s.failing_since < reckoner_now() - interval '1 hour')
$$;

-- Writes a message for a channel, and its event.
CREATE OR REPLACE FUNCTION alert_write(p_rule text, p_channel text, p_body jsonb) RETURNS void LANGUAGE sql AS $$
    WITH written AS (
        INSERT INTO alert_messages (rule, channel, body, created_at) VALUES (p_rule, p_channel, p_body, reckoner_now())
        RETURNING id)
    INSERT INTO outbox (topic, key) SELECT 'alert', w.id::text FROM written w
$$;

-- Compares what is wrong now with the alerts, and writes the messages that are due: at once for the first of a
-- rule, those of the next minute together, a day later again, and when it is over. p_channels: those of the
-- settings. Returns the number of messages. Sessions that check at once do it one after the other.
CREATE OR REPLACE FUNCTION alerts_check(p_channels text[] DEFAULT '{}') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_now      timestamptz := reckoner_now();
    v_seen     bigint[];
    v_each     record;
    v_channel  text;
    v_messages bigint := 0;
BEGIN
    IF reckoner_dry_run() THEN -- no rollback takes a number back
        RETURN (SELECT count(DISTINCT f.rule) FROM alerts_found() f
                WHERE NOT EXISTS (SELECT FROM alerts a WHERE (a.rule, a.subject, a.state) = (f.rule, f.subject, 'open')));
    END IF;
    LOCK TABLE alerts IN SHARE UPDATE EXCLUSIVE MODE;
    WITH seen AS (
        INSERT INTO alerts AS a (rule, subject, text, details, channels, opened_at, last_seen_at)
        SELECT f.rule, one_line(f.subject), one_line(f.text), f.details, f.channels, v_now, v_now FROM alerts_found() f
        ON CONFLICT (rule, subject) DO UPDATE
        SET state = 'open', text = excluded.text, details = excluded.details, channels = excluded.channels,
            last_seen_at = v_now, good_checks = 0, resolved_at = NULL, is_told = true,
            opened_at = CASE WHEN a.state = 'open' THEN a.opened_at ELSE v_now END,
            last_sent_at = CASE WHEN a.state = 'open' THEN a.last_sent_at END,
            count = a.count + CASE WHEN a.state = 'open' THEN 0 ELSE 1 END
        RETURNING a.id)
    SELECT coalesce(array_agg(s.id), '{}') INTO v_seen FROM seen s;
    -- One good check may have fallen into a pause between two bad ones.
    UPDATE alerts a
    SET good_checks = a.good_checks + 1,
        state = CASE WHEN a.good_checks >= 1 THEN 'resolved' ELSE 'open' END,
        resolved_at = CASE WHEN a.good_checks >= 1 THEN v_now END,
        is_told = NOT (a.good_checks >= 1 AND a.last_sent_at IS NOT NULL AND coalesce(a.silenced_until, '-infinity') <= v_now)
    WHERE a.state = 'open' AND a.id <> ALL (v_seen);
    FOR v_each IN
        WITH due AS (
            SELECT a.*, CASE WHEN a.channels = '{}' THEN p_channels
                             WHEN 'webhook' = ANY (p_channels) THEN a.channels || '{webhook}'::text[]
                             ELSE a.channels END AS targets
            FROM alerts a
            WHERE (a.state = 'open' OR NOT a.is_told) AND coalesce(a.silenced_until, '-infinity') <= v_now
              AND (a.state = 'resolved' OR a.last_sent_at IS NULL OR a.last_sent_at <= v_now - interval '1 day')
              AND NOT EXISTS (SELECT FROM alert_messages m WHERE m.rule = a.rule AND m.created_at > v_now - interval '1 minute'))
        SELECT d.rule, d.state, t.channel, array_agg(d.id) AS ids,
               jsonb_build_object('rule', d.rule, 'state', d.state, 'count', count(*), 'at', v_now, 'alerts',
                   to_jsonb((array_agg(jsonb_build_object('subject', d.subject, 'text', d.text, 'opened_at', d.opened_at,
                                'repeated', d.last_sent_at IS NOT NULL AND d.state = 'open') || d.details ORDER BY d.opened_at, d.id))[:20])) AS body
        FROM due d CROSS JOIN LATERAL (SELECT DISTINCT unnest(d.targets) AS channel) t
        GROUP BY d.rule, d.state, t.channel ORDER BY d.rule, d.state, t.channel
    LOOP
        PERFORM alert_write(v_each.rule, v_each.channel, v_each.body);
        UPDATE alerts a SET is_told = true, last_sent_at = CASE WHEN a.state = 'open' THEN v_now ELSE a.last_sent_at END
        WHERE a.id = ANY (v_each.ids);
        v_messages := v_messages + 1;
    END LOOP;
    DELETE FROM alert_messages m
    WHERE m.id IN (SELECT o.id FROM alert_messages o WHERE o.created_at < v_now - interval '90 days' ORDER BY o.created_at LIMIT 1000);
    RETURN v_messages;
END
$$;

-- Writes the messages of a run's end that its schedule asks for: to its Pushgateway, and to Discord where it
-- wants to hear of success. A failure is an alert.
CREATE OR REPLACE FUNCTION runs_ended() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_hooks jsonb;
    v_queue text;
    v_body  jsonb;
BEGIN
    SELECT s.hooks, s.queue INTO v_hooks, v_queue FROM schedules s WHERE s.name = NEW.schedule;
    IF v_hooks IS NULL OR v_hooks = '{}' THEN
        RETURN NULL;
    END IF;
    v_body := jsonb_strip_nulls(jsonb_build_object(
        'rule', 'run', 'run', NEW.id, 'subject', NEW.schedule, 'task', NEW.task_name, 'queue', v_queue, 'at', NEW.finished_at,
        'event', CASE NEW.status WHEN 'ok' THEN 'success' ELSE 'failure' END, 'counters', nullif(NEW.counters, '{}'),
        'seconds', coalesce(round(extract(epoch FROM NEW.finished_at - NEW.started_at), 3), 0),
        'mentions', v_hooks -> 'discord_mentions'));
    IF coalesce(v_hooks ->> 'prometheus_endpoint', '') <> '' THEN
        PERFORM alert_write('run', 'pushgateway:' || NEW.schedule, v_body);
    END IF;
    IF NEW.status = 'ok' AND hook_wants(v_hooks, 'success') THEN
        PERFORM alert_write('run', c.channel, v_body) FROM unnest(hook_channels(NEW.schedule, v_hooks)) AS c(channel);
    END IF;
    RETURN NULL;
END
$$;

-- A message that a worker sends now, with its channel's address and the end of its channel's pause. No row: it
-- is sent or gone. is_late: a day has passed. is_outdated: a later value of the same metrics was sent.
CREATE OR REPLACE FUNCTION alert_message(p_id bigint)
RETURNS TABLE (channel text, body jsonb, created_at timestamptz, tries integer, address text, paused_until timestamptz,
               is_late boolean, is_outdated boolean) LANGUAGE sql STABLE AS $$
    SELECT m.channel, m.body, m.created_at, m.tries, alert_address(m.channel), c.paused_until,
           m.created_at < reckoner_now() - interval '1 day',
           m.channel LIKE 'pushgateway:%' AND EXISTS (
               SELECT FROM alert_messages n
               WHERE n.rule = m.rule AND n.created_at >= m.created_at AND n.id > m.id AND n.channel = m.channel AND n.sent_at IS NOT NULL)
    FROM alert_messages m LEFT JOIN alert_channels c ON c.channel = m.channel AND c.paused_until > reckoner_now()
    WHERE m.id = p_id AND m.sent_at IS NULL
$$;

-- Records what became of a try. p_result: sent, later (with the seconds until the next one), gave up. p_pauses:
-- the whole channel waits. Returns the time of the next try.
CREATE OR REPLACE FUNCTION alert_tried(p_id bigint, p_result text, p_answer text, p_seconds float8, p_pauses boolean)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    v_now     timestamptz := reckoner_now();
    v_next    timestamptz := CASE WHEN p_result = 'later' THEN v_now + make_interval(secs => least(p_seconds, 86400)) END;
    v_channel text;
BEGIN
    UPDATE alert_messages m
    SET tries = m.tries + 1, answer = one_line(p_answer), sent_at = CASE WHEN p_result = 'sent' THEN v_now END,
        gave_up_at = CASE WHEN p_result = 'gave up' THEN v_now END
    WHERE m.id = p_id RETURNING m.channel INTO v_channel;
    INSERT INTO alert_channels AS c (channel, paused_until, last_sent_at, failures, last_error)
    SELECT v_channel, CASE WHEN p_pauses THEN v_next END, CASE WHEN p_result = 'sent' THEN v_now END,
           CASE WHEN p_result = 'sent' THEN 0 ELSE 1 END, CASE WHEN p_result <> 'sent' THEN one_line(p_answer) END
    WHERE v_channel IS NOT NULL
    ON CONFLICT (channel) DO UPDATE
    SET paused_until = excluded.paused_until, last_sent_at = coalesce(excluded.last_sent_at, c.last_sent_at),
        failures = CASE WHEN p_result = 'sent' THEN 0 ELSE c.failures + 1 END, last_error = excluded.last_error;
    RETURN v_next;
END
$$;

-- Writes a message again for each of these channels, and takes it for sent: one channel has several addresses.
CREATE OR REPLACE FUNCTION alert_divide(p_id bigint, p_channels text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_message alert_messages;
BEGIN
    UPDATE alert_messages m
    SET sent_at = reckoner_now(), answer = format('divided into %s', array_to_string(p_channels, ', '))
    WHERE m.id = p_id AND m.sent_at IS NULL RETURNING * INTO v_message;
    PERFORM alert_write(v_message.rule, c.channel, v_message.body) FROM unnest(p_channels) AS c(channel)
    WHERE v_message.id IS NOT NULL;
END
$$;

-- Silences alerts until a time: they open and resolve, and no message says so. subject: NULL for all that the
-- rule has a row for. Returns how many.
CREATE OR REPLACE FUNCTION alert_silence(
    rule text, subject text, until timestamptz, reason text, actor text DEFAULT current_user
) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_count bigint;
BEGIN
    IF until IS NULL OR NOT isfinite(until) OR until <= reckoner_now() THEN
        RAISE EXCEPTION 'a silence needs an end in the future, not %', coalesce(alert_silence.until::text, 'none')
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'a silence needs a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE alerts a SET silenced_until = alert_silence.until, silenced_by = one_line(actor), silence_reason = one_line(reason)
    WHERE a.rule = alert_silence.rule AND (alert_silence.subject IS NULL OR a.subject = alert_silence.subject);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count = 0 THEN
        RAISE EXCEPTION 'there is no alert % of %: SELECT rule, subject FROM alerts', one_line(rule), coalesce(one_line(subject), 'any subject')
            USING ERRCODE = 'no_data_found';
    END IF;
    RETURN v_count;
END
$$;

-- Ends a silence before its time. subject: NULL for all of the rule. Returns how many.
CREATE OR REPLACE FUNCTION alert_unsilence(rule text, subject text DEFAULT NULL) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH ended AS (
        UPDATE alerts a SET silenced_until = NULL, silenced_by = NULL, silence_reason = NULL
        WHERE a.rule = alert_unsilence.rule AND (alert_unsilence.subject IS NULL OR a.subject = alert_unsilence.subject)
          AND a.silenced_until > reckoner_now() RETURNING 1)
    SELECT count(*) FROM ended
$$;

-- Ends open alerts now, with a message. What is still wrong opens again at the next check. subject: NULL for
-- all of the rule. Returns how many.
CREATE OR REPLACE FUNCTION alert_resolve(rule text, subject text DEFAULT NULL) RETURNS bigint
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH ended AS (
        UPDATE alerts a SET state = 'resolved', resolved_at = reckoner_now(), is_told = a.last_sent_at IS NULL
        WHERE a.rule = alert_resolve.rule AND (alert_resolve.subject IS NULL OR a.subject = alert_resolve.subject)
          AND a.state = 'open' RETURNING 1)
    SELECT count(*) FROM ended
$$;

-- The alerts, open ones first. state: open, silenced (open, and no message until silenced_until), resolved.
CREATE OR REPLACE VIEW alert_status AS
SELECT a.rule, a.subject,
       CASE WHEN a.state = 'open' AND a.silenced_until > reckoner_now() THEN 'silenced' ELSE a.state END AS state,
       a.text, a.details ->> 'mend' AS mend, a.opened_at, a.last_seen_at, a.resolved_at, a.last_sent_at, a.count,
       CASE WHEN a.silenced_until > reckoner_now() THEN a.silenced_until END AS silenced_until,
       CASE WHEN a.silenced_until > reckoner_now() THEN format('%s: %s', a.silenced_by, a.silence_reason) END AS silence_reason
FROM alerts a
ORDER BY a.state, a.silenced_until > reckoner_now() DESC NULLS LAST, a.opened_at DESC, a.rule, a.subject;
REVOKE ALL ON FUNCTION
    hook_items(p_hooks jsonb),
    hook_channels(p_schedule text, p_hooks jsonb),
    alert_address(p_channel text),
    hook_wants(p_hooks jsonb, p_event text),
    hooks_fault(p_hooks jsonb),
    hook_slow_s(p_hooks jsonb),
    tick_after(p_trigger text, p_zone text, p_tick timestamptz),
    alerts_of_failed_runs(),
    alerts_of_slow_runs(),
    alerts_of_missing_ticks(),
    alerts_of_coverage(),
    alert_rules(),
    alerts_found(),
    alert_write(p_rule text, p_channel text, p_body jsonb),
    alerts_check(p_channels text[]),
    runs_ended(),
    alert_message(p_id bigint),
    alert_tried(p_id bigint, p_result text, p_answer text, p_seconds float8, p_pauses boolean),
    alert_divide(p_id bigint, p_channels text[]),
    alert_silence(rule text, subject text, until timestamptz, reason text, actor text),
    alert_unsilence(rule text, subject text),
    alert_resolve(rule text, subject text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/69_alerts.sql', '755d7e7a6adb27f7f26440a05bd5cdb3d318b103696819f65749de2a6a8abc1b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
