BEGIN;
-- What an operator does with schedules: the functions that psql, `market schedules` and the API call. A
-- schedule that does not exist is P0002 (no_data_found), a wrong value 22023 (invalid_parameter_value), a
-- version that is not the present one 55000 (object_not_in_prerequisite_state).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The fields that a person may write.
CREATE OR REPLACE FUNCTION schedule_fields() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT '{task,params,trigger,timezone,enabled,misfire,misfire_grace_s,queue,priority,dependencies,maintenance_windows,preflight_checks,safety,hooks,notes}'::text[]
$$;

-- Whether a text names a time zone. The view pg_timezone_names takes 40 ms, because it reads every zone's file;
-- AT TIME ZONE alone would also take FOO+3 for one.
CREATE OR REPLACE FUNCTION is_zone(p_name text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN p_name ~ '^[A-Z][A-Za-z_]*(/[A-Za-z0-9_+-]+)*$' AND (timestamptz 'epoch' AT TIME ZONE p_name) IS NOT NULL;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END
$$;

-- Raises invalid_parameter_value with the field and the reason where a schedule could not run.
CREATE OR REPLACE FUNCTION schedule_check(p_schedule schedules) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_each   record;
    v_reason text;
BEGIN
    IF NOT is_zone(p_schedule.timezone) THEN
        v_reason := format('timezone: "%s" is not a zone like Europe/Berlin', one_line(p_schedule.timezone));
    ELSIF jsonb_typeof(p_schedule.params) <> 'object' OR jsonb_typeof(p_schedule.safety) <> 'object'
          OR jsonb_typeof(p_schedule.hooks) <> 'object' THEN
        v_reason := 'params, safety and hooks are JSON objects';
    ELSIF jsonb_typeof(p_schedule.maintenance_windows) <> 'array' OR jsonb_typeof(p_schedule.preflight_checks) <> 'array' THEN
        v_reason := 'maintenance_windows and preflight_checks are JSON arrays';
    END IF;
    IF v_reason IS NOT NULL THEN
        RAISE EXCEPTION '%', v_reason USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM run_check(p_schedule.task, p_schedule.params);
    -- A cron line without any day in fifty years is a mistake; a calendar may be loaded later.
    IF trigger_next(p_schedule.trigger, p_schedule.timezone, reckoner_now()) IS NULL
       AND p_schedule.trigger !~* '^\s*\S+ (open|close)' THEN
        v_reason := format('trigger: "%s" is never due', one_line(p_schedule.trigger));
    END IF;
    FOR v_each IN SELECT key, value, value #>> '{}' AS said FROM jsonb_each(p_schedule.safety) LOOP
        v_reason := coalesce(v_reason, CASE
            WHEN NOT schedule_safety() ? v_each.key THEN format('safety: there is no "%s"; it has singleflight, max_concurrency, timeout_s, retries, backoff_s', one_line(v_each.key))
            WHEN v_each.key = 'singleflight' THEN CASE WHEN jsonb_typeof(v_each.value) <> 'boolean' THEN 'safety: singleflight is true or false' END
            WHEN v_each.said !~ '^\d{1,6}$' OR v_each.said::integer > (CASE v_each.key WHEN 'max_concurrency' THEN 100
                     WHEN 'timeout_s' THEN 604800 WHEN 'retries' THEN 20 ELSE 86400 END)
                 OR (v_each.key IN ('max_concurrency', 'timeout_s') AND v_each.said::integer < 1)
            THEN format('safety: %s cannot be %s', v_each.key, one_line(v_each.value::text)) END);
    END LOOP;
    FOR v_each IN SELECT key FROM jsonb_object_keys(p_schedule.hooks) AS key LOOP
        v_reason := coalesce(v_reason, CASE WHEN v_each.key NOT IN ('discord_webhook', 'discord_channels', 'discord_mentions',
                'prometheus_endpoint', 'alert_on', 'slow_threshold_s')
            THEN format('hooks: there is no "%s"', one_line(v_each.key)) END);
    END LOOP;
    v_reason := coalesce(v_reason, hooks_fault(p_schedule.hooks));
    FOR v_each IN SELECT value AS task FROM unnest(p_schedule.dependencies) AS value LOOP
        v_reason := coalesce(v_reason, CASE WHEN NOT EXISTS (SELECT FROM job_tasks() t WHERE t.task = v_each.task)
            THEN format('dependencies: there is no task "%s"', one_line(v_each.task)) END);
    END LOOP;
    FOR v_each IN SELECT CASE jsonb_typeof(c) WHEN 'string' THEN jsonb_build_object('check', c) ELSE c END AS c
                  FROM jsonb_array_elements(p_schedule.preflight_checks) AS c LOOP
        v_reason := coalesce(v_reason, CASE
            WHEN coalesce(v_each.c ->> 'check', '') NOT IN ('market_open', 'session_closed', 'provider_quota', 'database_size', 'dependency_ok')
            THEN format('preflight_checks: "%s" is none of market_open, session_closed, provider_quota, database_size, dependency_ok', one_line(v_each.c::text))
            WHEN v_each.c ->> 'check' = 'provider_quota' AND NOT v_each.c ? 'provider' THEN 'preflight_checks: provider_quota needs "provider"'
            WHEN v_each.c ->> 'check' = 'database_size' AND coalesce(v_each.c ->> 'most_mb', '') !~ '^\d{1,9}$' THEN 'preflight_checks: database_size needs "most_mb"'
            WHEN v_each.c ->> 'check' = 'dependency_ok' AND NOT v_each.c ? 'task' THEN 'preflight_checks: dependency_ok needs "task"'
            WHEN v_each.c ->> 'least' !~ '^\d{1,9}$' THEN 'preflight_checks: "least" is a number' END);
    END LOOP;
    IF v_reason IS NULL THEN
        BEGIN
            PERFORM window_of(p_schedule.maintenance_windows, reckoner_now(), p_schedule.timezone);
            IF EXISTS (SELECT FROM jsonb_array_elements(p_schedule.maintenance_windows) w
                       WHERE NOT (w ?& '{from,until}' OR w ?& '{start,end}')
                          OR (w ? 'days' AND jsonb_typeof(w -> 'days') <> 'array')) THEN
                v_reason := 'maintenance_windows: each has "from" and "until", or "start", "end" and "days"';
            END IF;
        EXCEPTION WHEN data_exception THEN
            v_reason := 'maintenance_windows: ' || SQLERRM;
        END;
    END IF;
    IF v_reason IS NOT NULL THEN
        RAISE EXCEPTION '%', v_reason USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- Checks what somebody writes, by these functions or by hand, counts its version, and has the next tick
-- computed anew where it may be another. Rings for the worker that computes it. It does not fire for the
-- columns that a tick writes (reckoner_triggers in 90_triggers.sql).
CREATE OR REPLACE FUNCTION schedules_written() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM schedule_check(NEW);
    NEW.updated_at := reckoner_now();
    IF TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
        NEW.created_at := OLD.created_at;
        NEW.created_by := OLD.created_by;
    END IF;
    IF TG_OP = 'INSERT' OR (NEW.trigger, NEW.timezone, NEW.enabled) IS DISTINCT FROM (OLD.trigger, OLD.timezone, OLD.enabled) THEN
        NEW.next_tick_at := '-infinity';
        NEW.retry_at := NULL;
        NEW.fault := NULL;
    END IF;
    PERFORM doorbell_ring();
    RETURN NEW;
END
$$;

-- The schedule of a name, locked. p_version: the version that the caller saw; NULL: any.
CREATE OR REPLACE FUNCTION schedule_locked(p_name text, p_version integer DEFAULT NULL) RETURNS schedules
LANGUAGE plpgsql AS $$
DECLARE
    v_schedule schedules;
BEGIN
    SELECT * INTO v_schedule FROM schedules s WHERE s.name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no schedule "%"', one_line(p_name) USING ERRCODE = 'no_data_found';
    ELSIF v_schedule.version <> p_version THEN
        RAISE EXCEPTION '% has version % now, not %: % changed it at %; look again, then change that', p_name,
            v_schedule.version, p_version, v_schedule.updated_by, v_schedule.updated_at
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN v_schedule;
END
$$;

-- A schedule with the fields of a JSON object written over it. Raises invalid_parameter_value for a field that
-- no person may write, or that cannot be read.
CREATE OR REPLACE FUNCTION schedule_with(p_schedule schedules, p_fields jsonb) RETURNS schedules
LANGUAGE plpgsql AS $$
DECLARE
    v_unknown text := (SELECT string_agg(key, ', ') FROM jsonb_object_keys(p_fields) AS key WHERE key <> ALL (schedule_fields()));
BEGIN
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'a schedule has no field "%" to write; it has: %', one_line(v_unknown), array_to_string(schedule_fields(), ', ')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN jsonb_populate_record(p_schedule, p_fields);
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION '%', SQLERRM USING ERRCODE = 'invalid_parameter_value';
END
$$;

-- The fields of a new schedule that says nothing of them.
CREATE OR REPLACE FUNCTION schedule_defaults() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'params', '{}'::jsonb, 'timezone', 'UTC', 'enabled', true, 'skip_next', 0, 'misfire', 'latest', 'misfire_grace_s', 600,
        'queue', 'job', 'priority', 0, 'dependencies', '[]'::jsonb, 'maintenance_windows', '[]'::jsonb,
        'preflight_checks', '[]'::jsonb, 'safety', '{}'::jsonb, 'hooks', '{}'::jsonb, 'next_tick_at', '-infinity', 'version', 1,
        'created_at', reckoner_now(), 'updated_at', reckoner_now())
$$;

-- Makes a schedule. fields: the others of schedule_fields(). Returns it.
CREATE OR REPLACE FUNCTION schedule_create(
    name text, task text, trigger text, timezone text DEFAULT 'UTC', fields jsonb DEFAULT '{}', actor text DEFAULT current_user
) RETURNS schedules LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_new schedules;
BEGIN
    v_new := schedule_with(jsonb_populate_record(NULL::schedules, schedule_defaults()), fields || jsonb_build_object(
               'task', schedule_create.task, 'trigger', schedule_create.trigger, 'timezone', schedule_create.timezone));
    v_new.name := schedule_create.name;
    v_new.created_by := actor;
    v_new.updated_by := actor;
    IF v_new.name IS NULL OR v_new.name !~ '^[a-z0-9][a-z0-9_.-]{0,62}$' THEN
        RAISE EXCEPTION '"%" is not a name: small letters, digits, dots, dashes and underscores', one_line(v_new.name)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO schedules SELECT v_new.* ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a schedule "%" already', v_new.name USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN (SELECT s FROM schedules s WHERE s.name = v_new.name);
END
$$;
-- Changes fields of a schedule. version: the one that the caller saw. Returns it.
CREATE OR REPLACE FUNCTION schedule_update(name text, changes jsonb, version integer, actor text DEFAULT current_user)
RETURNS schedules LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_name text := name;
    v_new  schedules := schedule_with(schedule_locked(name, version), changes);
BEGIN
    RETURN schedule_put(v_new, actor);
END
$$;

-- Writes the fields of a schedule that exists.
CREATE OR REPLACE FUNCTION schedule_put(p_new schedules, p_actor text) RETURNS schedules LANGUAGE plpgsql AS $$
DECLARE
    v_now schedules;
BEGIN
    UPDATE schedules s
    SET task = p_new.task, params = p_new.params, "trigger" = p_new.trigger, timezone = p_new.timezone,
        enabled = p_new.enabled, misfire = p_new.misfire, misfire_grace_s = p_new.misfire_grace_s, queue = p_new.queue,
        priority = p_new.priority, dependencies = p_new.dependencies, maintenance_windows = p_new.maintenance_windows,
        preflight_checks = p_new.preflight_checks, safety = p_new.safety, hooks = p_new.hooks, notes = p_new.notes,
        paused_until = p_new.paused_until, pause_reason = p_new.pause_reason, paused_by = p_new.paused_by,
        updated_by = p_actor
    WHERE s.name = p_new.name
    RETURNING s.* INTO v_now;
    RETURN v_now;
END
$$;

-- Removes a schedule. Its ticks and runs stay; a default is not made again.
CREATE OR REPLACE FUNCTION schedule_delete(name text, version integer DEFAULT NULL, actor text DEFAULT current_user)
RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM schedule_locked(name, version);
    DELETE FROM schedules s WHERE s.name = schedule_delete.name;
END
$$;

-- Pauses a schedule: its ticks are skipped, each with the reason. until NULL: until somebody resumes it.
CREATE OR REPLACE FUNCTION schedule_pause(name text, reason text, until timestamptz DEFAULT NULL, actor text DEFAULT current_user)
RETURNS schedules LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_new schedules := schedule_locked(name);
BEGIN
    IF until <= reckoner_now() THEN
        RAISE EXCEPTION 'the pause would end at %, which is past', until USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_new.paused_until := coalesce(until, 'infinity');
    v_new.pause_reason := one_line(reason);
    v_new.paused_by := actor;
    RETURN schedule_put(v_new, actor);
END
$$;

-- Ends a pause.
CREATE OR REPLACE FUNCTION schedule_resume(name text, actor text DEFAULT current_user)
RETURNS schedules LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_new schedules := schedule_locked(name);
BEGIN
    v_new.paused_until := NULL;
    v_new.pause_reason := NULL;
    v_new.paused_by := NULL;
    RETURN schedule_put(v_new, actor);
END
$$;

-- Skips the next ticks that nothing else would skip.
CREATE OR REPLACE FUNCTION schedule_skip_next(name text, ticks integer DEFAULT 1, actor text DEFAULT current_user)
RETURNS schedules LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM schedule_locked(name);
    IF ticks NOT BETWEEN 0 AND 1000 THEN
        RAISE EXCEPTION '% ticks cannot be skipped: 0 to 1000', ticks USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE schedules s SET skip_next = ticks, updated_by = actor WHERE s.name = schedule_skip_next.name;
    RETURN (SELECT s FROM schedules s WHERE s.name = schedule_skip_next.name);
END
$$;

-- Runs a schedule's task now, beside its ticks; returns the run's id. Its single flight and its highest
-- number of runs at once hold.
CREATE OR REPLACE FUNCTION schedule_run_now(name text, actor text DEFAULT current_user, source text DEFAULT 'manual')
RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_schedule schedules := schedule_locked(name);
    v_refusal  text := flight_refusal(v_schedule);
BEGIN
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION '%: %', name, v_refusal USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN run_write(
        p_task => v_schedule.task, p_params => v_schedule.params, p_trigger => source, p_actor => actor,
        p_schedule => name, p_priority => v_schedule.priority, p_safety => schedule_safety() || v_schedule.safety);
END
$$;

-- The next ticks of a trigger, in UTC and as the clocks of the zone show them. beside: enabled schedules that are
-- due within half a minute of it.
CREATE OR REPLACE FUNCTION schedule_preview(trigger text, timezone text DEFAULT 'UTC', n integer DEFAULT 5)
RETURNS TABLE (tick_at timestamptz, there timestamp, beside text[]) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT is_zone(timezone) THEN
        RAISE EXCEPTION '"%" is not a time zone like Europe/Berlin', one_line(timezone) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    tick_at := reckoner_now();
    FOR i IN 1 .. least(n, 1000) LOOP
        tick_at := trigger_next(trigger, timezone, tick_at);
        EXIT WHEN tick_at IS NULL;
        there := tick_at AT TIME ZONE timezone;
        beside := ARRAY(
            SELECT s.name FROM schedules s
            WHERE s.enabled AND (s.trigger, s.timezone) <> (schedule_preview.trigger, schedule_preview.timezone)
              -- An interval of less than some minutes is due beside everything.
              AND s.trigger !~* '^every \d+ second'
              AND trigger_next(s.trigger, s.timezone, tick_at - interval '30 seconds') <= tick_at + interval '30 seconds'
            ORDER BY s.name);
        RETURN NEXT;
    END LOOP;
END
$$;

-- All schedules as a JSON array, sorted by name, with every field that a person may write: the same schedules
-- are the same text.
CREATE OR REPLACE FUNCTION schedule_export() RETURNS jsonb LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name) || f.fields ORDER BY s.name), '[]')
    FROM schedules s CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(e.key, e.value) AS fields FROM jsonb_each(to_jsonb(s)) e WHERE e.key = ANY (schedule_fields())) f
$$;

-- Makes and changes schedules as a JSON array says, and with prune removes those that it does not name. Returns
-- the changes, field by field; dry_run: without making them. All or nothing.
CREATE OR REPLACE FUNCTION schedule_import(
    schedules_wanted jsonb, dry_run boolean DEFAULT true, prune boolean DEFAULT false, actor text DEFAULT current_user
) RETURNS TABLE (name text, change text, field text, before jsonb, after jsonb) LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_each jsonb;
    v_old  schedules;
    v_new  schedules;
    v_name text;
    v_twice text;
BEGIN
    IF jsonb_typeof(schedules_wanted) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'an import is a JSON array of schedules' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT w ->> 'name' INTO v_twice FROM jsonb_array_elements(schedules_wanted) w GROUP BY 1 HAVING count(*) > 1 LIMIT 1;
    IF v_twice IS NOT NULL THEN
        RAISE EXCEPTION 'the schedule "%" stands twice in the import', one_line(v_twice) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR v_each IN SELECT w FROM jsonb_array_elements(schedules_wanted) w ORDER BY w ->> 'name' LOOP
        v_name := v_each ->> 'name';
        SELECT * INTO v_old FROM schedules s WHERE s.name = v_name FOR UPDATE;
        IF FOUND THEN
            v_new := schedule_with(v_old, v_each - 'name');
            PERFORM schedule_check(v_new);
            RETURN QUERY
            SELECT v_name, 'update', f, to_jsonb(v_old) -> f, to_jsonb(v_new) -> f
            FROM unnest(schedule_fields()) f WHERE to_jsonb(v_old) -> f IS DISTINCT FROM to_jsonb(v_new) -> f;
            IF FOUND AND NOT dry_run THEN
                PERFORM schedule_put(v_new, actor);
            END IF;
        ELSE
            v_new := schedule_with(jsonb_populate_record(NULL::schedules, schedule_defaults()), v_each - 'name');
            PERFORM schedule_check(v_new);
            RETURN QUERY SELECT v_name, 'create', 'trigger', NULL::jsonb, to_jsonb(v_new.trigger);
            IF NOT dry_run THEN
                PERFORM schedule_create(v_name, v_new.task, v_new.trigger, v_new.timezone, v_each - 'name', actor);
            END IF;
        END IF;
    END LOOP;
    IF prune THEN
        RETURN QUERY
        SELECT s.name, 'delete', 'trigger', to_jsonb(s.trigger), NULL::jsonb FROM schedules s
        WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(schedules_wanted) w WHERE w ->> 'name' = s.name) ORDER BY 1;
        IF NOT dry_run THEN
            DELETE FROM schedules s
            WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(schedules_wanted) w WHERE w ->> 'name' = s.name);
        END IF;
    END IF;
END
$$;

-- Makes the default schedules that were never made here. One that somebody changed, paused or deleted stays so.
CREATE OR REPLACE FUNCTION schedules_seed() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_each record;
    v_made bigint := 0;
BEGIN
    FOR v_each IN
        SELECT * FROM (VALUES
            ('constituents', 'refresh_index_constituents', '0 7 * * SUN', 'America/New_York', true, '{}'::jsonb,
             'The members of the followed indexes.'),
            ('tracked', 'update_tracked', '30 0 * * *', 'America/New_York', true, '{}', 'Registers what an index has or what is held.'),
            ('new-tracked', 'backfill_new_tracked', '0 1 * * *', 'America/New_York', true, '{}', 'Prices of what is new.'),
            ('daily-sync', 'daily_sync', 'XNYS close + 45 minutes', 'America/New_York', true, '{}', 'The newest session of all tickers.'),
            ('indicators', 'recompute_indicators', 'XNYS close + 90 minutes', 'America/New_York', true, '{}', 'Snapshots that are due.'),
            ('history', 'record_history', 'XNYS close + 120 minutes', 'America/New_York', true,
             '{"dependencies": ["recompute_indicators"]}', 'What was known on the day.'),
            ('five-minute', 'backfill_5m', 'XNYS close + 60 minutes', 'America/New_York', false, '{}',
             'Enable it to store five-minute bars.'),
            ('coverage', 'monitor_coverage', '5 * * * *', 'UTC', true, '{}', 'How complete and how fresh the bars are.'),
            ('retention', 'enforce_retention', '30 3 * * *', 'UTC', true, '{}', 'Old records and old five-minute bars go.'))
            AS d(name, task, "trigger", timezone, enabled, fields, notes)
        WHERE d.name NOT IN (SELECT s.name FROM schedule_seeds s)
    LOOP
        INSERT INTO schedule_seeds (name) VALUES (v_each.name);
        CONTINUE WHEN EXISTS (SELECT FROM schedules s WHERE s.name = v_each.name);
        PERFORM schedule_create(v_each.name, v_each.task, v_each."trigger", v_each.timezone,
            v_each.fields || jsonb_build_object('enabled', v_each.enabled, 'notes', v_each.notes), 'reckoner');
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;

SELECT schedules_seed();
REVOKE ALL ON FUNCTION
    schedule_fields(),
    is_zone(p_name text),
    schedule_check(p_schedule schedules),
    schedules_written(),
    schedule_locked(p_name text, p_version integer),
    schedule_with(p_schedule schedules, p_fields jsonb),
    schedule_defaults(),
    schedule_create(name text, task text, trigger text, timezone text, fields jsonb, actor text),
    schedule_update(name text, changes jsonb, version integer, actor text),
    schedule_put(p_new schedules, p_actor text),
    schedule_delete(name text, version integer, actor text),
    schedule_pause(name text, reason text, until timestamptz, actor text),
    schedule_resume(name text, actor text),
    schedule_skip_next(name text, ticks integer, actor text),
    schedule_run_now(name text, actor text, source text),
    schedule_preview(trigger text, timezone text, n integer),
    schedule_export(),
    schedule_import(schedules_wanted jsonb, dry_run boolean, prune boolean, actor text),
    schedules_seed()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/68_schedule_verbs.sql', 'd0923d92137019573068a1e17f633a6d37b4bfd6ed83c1b42afebe60a818f29d')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
