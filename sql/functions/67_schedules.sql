BEGIN;
-- Schedules: what is due becomes a tick, and a tick that nothing forbids becomes a run. Called by the loop of
-- any worker (worker/jobs/ticks.py); the row lock of a schedule makes it once, the database's clock when.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The limits of a schedule's runs, where it does not say others.
CREATE OR REPLACE FUNCTION schedule_safety() RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT '{"singleflight": true, "max_concurrency": 1, "timeout_s": 3600, "retries": 0, "backoff_s": 0}'::jsonb
$$;

-- Whether a moment lies in a maintenance window; NULL where it does not, else the window in words. A window is
-- {"from", "until"}, two moments, or {"start", "end", "days", "timezone"}: times of day, past midnight where
-- the end is not after the start, and the weekdays on which it begins (all by default).
CREATE OR REPLACE FUNCTION window_of(p_windows jsonb, p_moment timestamptz, p_zone text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('maintenance window %s%s', coalesce(
                      (w ->> 'from') || ' to ' || (w ->> 'until'), (w ->> 'start') || ' to ' || (w ->> 'end')),
                  coalesce(': ' || one_line(w ->> 'note'), ''))
    FROM jsonb_array_elements(p_windows) AS w
    CROSS JOIN LATERAL (SELECT p_moment AT TIME ZONE coalesce(w ->> 'timezone', p_zone) AS there) l
    CROSS JOIN LATERAL (SELECT (w ->> 'start')::time AS s, (w ->> 'end')::time AS e) t
    -- The window that began yesterday, and today's.
    CROSS JOIN LATERAL (VALUES (there::date - 1), (there::date)) AS d(day)
    WHERE CASE WHEN w ? 'from' THEN p_moment >= (w ->> 'from')::timestamptz AND p_moment < (w ->> 'until')::timestamptz
               ELSE there >= day + s AND there < day + e + CASE WHEN e <= s THEN interval '1 day' ELSE '0' END
                    AND (NOT w ? 'days' OR w -> 'days' ? upper(to_char(day, 'DY'))) END
    LIMIT 1
$$;

-- Why a preflight check does not let a tick run; NULL where it does.
CREATE OR REPLACE FUNCTION preflight_refusal(p_check jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_calendar text := coalesce(p_check ->> 'calendar', 'XNYS');
    v_open     boolean := EXISTS (SELECT FROM market_sessions s WHERE s.calendar = v_calendar
                                  AND s.closes_at > reckoner_now() AND s.opens_at <= reckoner_now()
                                  AND s.session >= (reckoner_now() - interval '7 days')::date);
    v_found    record;
BEGIN
    CASE p_check ->> 'check'
    WHEN 'market_open' THEN
        RETURN CASE WHEN NOT v_open THEN format('%s is closed', v_calendar) END;
    WHEN 'session_closed' THEN
        RETURN CASE WHEN v_open THEN format('%s is open', v_calendar) END;
    WHEN 'provider_quota' THEN
        SELECT q.per, q.remaining, q.resets_at INTO v_found FROM provider_quota_status q
        WHERE q.name = p_check ->> 'provider' AND q.remaining < coalesce((p_check ->> 'least')::integer, 1)
        ORDER BY q.resets_at DESC LIMIT 1;
        RETURN CASE WHEN FOUND THEN format('%s has %s requests left this %s, until %s', p_check ->> 'provider',
                                           v_found.remaining, v_found.per, v_found.resets_at) END;
    WHEN 'database_size' THEN
        RETURN CASE WHEN pg_database_size(current_database()) > (p_check ->> 'most_mb')::bigint * 1048576
                    THEN format('the database has %s MB, more than %s',
                                pg_database_size(current_database()) / 1048576, p_check ->> 'most_mb') END;
    WHEN 'dependency_ok' THEN
        RETURN dependency_refusal(p_check ->> 'task');
    END CASE;
END
$$;

-- Why the last run of a task does not count as done; NULL where it ended ok.
CREATE OR REPLACE FUNCTION dependency_refusal(p_task text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT CASE WHEN r.status <> 'ok' THEN format('it depends on %s, whose last run (%s) is %s', p_task, r.id, r.status)
                     ELSE '' END
         FROM job_run r WHERE r.task_name = p_task AND r.status <> 'skipped' ORDER BY r.id DESC LIMIT 1),
        format('it depends on %s, which never ran', p_task))
$$;

-- Why no further run of a schedule may begin; NULL where one may. The caller holds the schedule's lock.
CREATE OR REPLACE FUNCTION flight_refusal(p_schedule schedules) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN live.n > 0 AND (l.safety ->> 'singleflight')::boolean THEN format('single flight: run %s is not over', live.first)
                WHEN live.n >= (l.safety ->> 'max_concurrency')::integer
                THEN format('%s of its runs are not over, and no more may be', live.n) END
    FROM (SELECT count(*) AS n, min(r.id) AS first FROM job_run r
          WHERE r.schedule = p_schedule.name AND r.status IN ('queued', 'running')) live
    CROSS JOIN (SELECT schedule_safety() || p_schedule.safety AS safety) l
$$;

-- Why a due tick does not run; NULL where it does. p_later: a later tick is due as well.
CREATE OR REPLACE FUNCTION tick_refusal(p_schedule schedules, p_tick timestamptz, p_later boolean) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_late   double precision := extract(epoch FROM reckoner_now() - p_tick);
    -- In the largest unit of which there are two.
    v_time   text := CASE WHEN v_late < 120 THEN round(v_late) || ' s' WHEN v_late < 7200 THEN round(v_late / 60) || ' min'
                          WHEN v_late < 172800 THEN round(v_late / 3600) || ' h' ELSE round(v_late / 86400) || ' d' END;
    v_reason text;
    v_each   jsonb;
BEGIN
    IF p_schedule.paused_until > p_tick THEN
        RETURN format('paused by %s until %s%s', p_schedule.paused_by,
                      CASE WHEN isfinite(p_schedule.paused_until) THEN p_schedule.paused_until::text ELSE 'it is resumed' END,
                      coalesce(': ' || p_schedule.pause_reason, ''));
    END IF;
    v_reason := window_of(p_schedule.maintenance_windows, p_tick, p_schedule.timezone);
    IF v_reason IS NOT NULL THEN
        RETURN v_reason;
    ELSIF p_later AND p_schedule.misfire <> 'all' THEN
        RETURN format('missed: no worker looked for %s, and a later tick was due', v_time);
    ELSIF v_late > (CASE p_schedule.misfire WHEN 'skip' THEN 60 ELSE p_schedule.misfire_grace_s END) THEN
        RETURN format('missed: no worker looked for %s', v_time);
    END IF;
    FOR v_each IN SELECT jsonb_array_elements(p_schedule.preflight_checks) LOOP
        v_reason := preflight_refusal(CASE jsonb_typeof(v_each) WHEN 'string' THEN jsonb_build_object('check', v_each) ELSE v_each END);
        IF v_reason <> '' THEN
            RETURN format('preflight: %s', v_reason);
        END IF;
    END LOOP;
    SELECT max(r) INTO v_reason FROM unnest(p_schedule.dependencies) t CROSS JOIN LATERAL dependency_refusal(t) r WHERE r <> '';
    IF v_reason IS NOT NULL THEN
        RETURN v_reason;
    END IF;
    RETURN flight_refusal(p_schedule);
END
$$;

-- The next moment at which a worker has to look at the schedules; NULL without any.
CREATE OR REPLACE FUNCTION schedules_next_at() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(s.next_tick_at, s.retry_at) FROM schedules s
    WHERE s.enabled AND greatest(s.next_tick_at, s.retry_at) < 'infinity'
    ORDER BY greatest(s.next_tick_at, s.retry_at) LIMIT 1
$$;

-- Writes the ticks that are due, at most p_limit of them, and the runs of those that nothing forbids. late: by
-- how many seconds.
-- A schedule whose ticks cannot be computed stops no other: its fault is noted, and it is tried again.
CREATE OR REPLACE FUNCTION schedules_tick(p_limit integer DEFAULT 1000)
RETURNS TABLE (schedule text, tick_at timestamptz, verdict text, reason text, run_id bigint, late double precision)
LANGUAGE plpgsql AS $$
DECLARE
    v_each  schedules;
    v_next  timestamptz;
    v_count integer := 0;
BEGIN
    FOR v_each IN
        SELECT * FROM schedules s
        WHERE s.enabled AND greatest(s.next_tick_at, s.retry_at) <= reckoner_now()
        ORDER BY greatest(s.next_tick_at, s.retry_at), s.name LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        EXIT WHEN v_count >= p_limit;
        BEGIN
            schedule := v_each.name;
            tick_at := v_each.next_tick_at;
            IF tick_at = '-infinity' THEN
                tick_at := coalesce(trigger_next(v_each.trigger, v_each.timezone, reckoner_now()), 'infinity');
            END IF;
            WHILE tick_at <= reckoner_now() AND v_count < p_limit LOOP
                v_next := coalesce(trigger_next(v_each.trigger, v_each.timezone, tick_at), 'infinity');
                reason := tick_refusal(v_each, tick_at, v_next <= reckoner_now());
                IF reason IS NULL AND v_each.skip_next > 0 THEN
                    reason := 'skipped once, as somebody said';
                    v_each.skip_next := v_each.skip_next - 1;
                END IF;
                verdict := CASE WHEN reason IS NULL THEN 'queued' ELSE 'skipped' END;
                run_id := NULL;
                INSERT INTO schedule_ticks AS t (schedule, tick_at, verdict, reason, decided_at)
                VALUES (schedule, tick_at, verdict, one_line(reason), reckoner_now())
                ON CONFLICT ON CONSTRAINT schedule_ticks_pkey DO NOTHING;
                IF FOUND THEN
                    IF verdict = 'queued' THEN
                        run_id := run_write(
                            p_task => v_each.task, p_params => v_each.params, p_trigger => 'schedule', p_actor => 'schedule',
                            p_schedule => schedule, p_tick_at => tick_at, p_priority => v_each.priority,
                            p_safety => schedule_safety() || v_each.safety);
                        UPDATE schedule_ticks t SET run_id = schedules_tick.run_id
                        WHERE t.schedule = schedules_tick.schedule AND t.tick_at = schedules_tick.tick_at;
                    END IF;
                    late := extract(epoch FROM reckoner_now() - tick_at);
                    RETURN NEXT;
                END IF;
                v_count := v_count + 1;
                tick_at := v_next;
            END LOOP;
            UPDATE schedules s SET next_tick_at = schedules_tick.tick_at, skip_next = v_each.skip_next, fault = NULL, retry_at = NULL
            WHERE s.name = v_each.name;
        EXCEPTION WHEN data_exception OR plpgsql_error OR integrity_constraint_violation OR undefined_object OR case_not_found THEN
            -- The rows that were returned for it stay returned: only the log reads them.
            UPDATE schedules s SET fault = one_line(SQLERRM), retry_at = reckoner_now() + interval '1 minute'
            WHERE s.name = v_each.name;
        END;
    END LOOP;
END
$$;

-- Computes the next ticks of schedules again: a calendar may be loaded now, an exchange may have announced an
-- early close, and a zone may have changed its rules. From the last tick on, so that one that should have been is
-- written, late, and not lost. Called by the sweep; returns how many moved. Without locks, so that no tick waits
-- for it: a schedule that was written meanwhile is left alone.
CREATE OR REPLACE FUNCTION sweep_schedules() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_each  record;
    v_next  timestamptz;
    v_moved bigint := 0;
BEGIN
    FOR v_each IN
        SELECT s.name, s.trigger, s.timezone, s.next_tick_at, s.version,
               CASE WHEN s.next_tick_at = 'infinity' THEN reckoner_now()
                    ELSE greatest(t.tick_at, s.updated_at) END AS after
        FROM schedules s
        LEFT JOIN LATERAL (SELECT t.tick_at FROM schedule_ticks t WHERE t.schedule = s.name
                           ORDER BY t.tick_at DESC LIMIT 1) t ON true
        -- Multiples of an interval never move; and without any tick nobody knows since when it is looked at.
        WHERE s.enabled AND s.fault IS NULL AND s.next_tick_at > reckoner_now() AND s.trigger !~* '^\s*every '
          AND (t.tick_at IS NOT NULL OR s.next_tick_at = 'infinity')
    LOOP
        BEGIN
            v_next := coalesce(trigger_next(v_each.trigger, v_each.timezone, v_each.after), 'infinity');
        EXCEPTION WHEN data_exception OR plpgsql_error THEN
            CONTINUE; -- its next tick notes the fault
        END;
        CONTINUE WHEN v_next = v_each.next_tick_at;
        UPDATE schedules s SET next_tick_at = v_next
        WHERE s.name = v_each.name AND s.version = v_each.version AND s.next_tick_at = v_each.next_tick_at;
        v_moved := v_moved + 1;
    END LOOP;
    IF v_moved > 0 THEN
        PERFORM doorbell_ring();
    END IF;
    RETURN v_moved;
END
$$;

-- Deletes ticks that were due more than p_days ago, at most 10,000 a call. Returns their number. The newest of
-- a schedule stays, so that one that is due once a year still says what became of it.
CREATE OR REPLACE FUNCTION sweep_ticks(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_pruned bigint;
BEGIN
    DELETE FROM schedule_ticks t
    USING (SELECT schedule, tick_at FROM schedule_ticks
           WHERE tick_at < reckoner_now() - make_interval(days => p_days) ORDER BY tick_at LIMIT 10000) old
    WHERE t.schedule = old.schedule AND t.tick_at = old.tick_at
      AND EXISTS (SELECT FROM schedule_ticks n WHERE n.schedule = old.schedule AND n.tick_at > old.tick_at);
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    RETURN v_pruned;
END
$$;

-- The schedules, each with its state, its next tick, and what became of the last one.
-- state: on, off (not enabled), paused, fault (its ticks cannot be computed: `why`), late (its tick is a minute
-- over, so no worker looks), waiting (no next tick is known, as where its calendar is not loaded).
CREATE OR REPLACE VIEW schedule_status AS
SELECT s.name,
       CASE WHEN NOT s.enabled THEN 'off' WHEN s.fault IS NOT NULL THEN 'fault'
            WHEN s.paused_until > reckoner_now() THEN 'paused'
            WHEN greatest(s.next_tick_at, s.retry_at) < reckoner_now() - interval '1 minute' AND isfinite(s.next_tick_at) THEN 'late'
            WHEN s.next_tick_at = 'infinity' THEN 'waiting' ELSE 'on' END AS state,
       s.task, s.trigger, s.timezone,
       CASE WHEN s.enabled AND isfinite(s.next_tick_at) THEN s.next_tick_at END AS next_tick_at,
       t.tick_at AS last_tick_at, t.verdict AS last_verdict, r.status AS last_run_status, t.run_id AS last_run,
       coalesce(s.fault, CASE WHEN s.paused_until > reckoner_now() THEN format('paused by %s: %s', s.paused_by, s.pause_reason) END,
                t.reason, r.error) AS why,
       CASE WHEN s.paused_until > reckoner_now() AND isfinite(s.paused_until) THEN s.paused_until END AS paused_until,
       s.skip_next, s.priority, s.params, s.notes, s.version, s.updated_at, s.updated_by
FROM schedules s
LEFT JOIN LATERAL (SELECT * FROM schedule_ticks t WHERE t.schedule = s.name ORDER BY t.tick_at DESC LIMIT 1) t ON true
LEFT JOIN job_run r ON r.id = t.run_id
ORDER BY s.name;
REVOKE ALL ON FUNCTION
    schedule_safety(),
    window_of(p_windows jsonb, p_moment timestamptz, p_zone text),
    preflight_refusal(p_check jsonb),
    dependency_refusal(p_task text),
    flight_refusal(p_schedule schedules),
    tick_refusal(p_schedule schedules, p_tick timestamptz, p_later boolean),
    schedules_next_at(),
    schedules_tick(p_limit integer),
    sweep_schedules(),
    sweep_ticks(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/67_schedules.sql', '96fd5989ca3523a513a4ea030b5acd71e2a918b6ad664e8595a270195af38ba8')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
