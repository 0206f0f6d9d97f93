BEGIN;
-- Tasks and their runs. A run is a row of job_run and an event of topic job; the queue gives it lease, fence
-- and crash bound. Called by worker/jobs/, by the ticks of schedules (67_schedules.sql) and by operators.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The tasks. worker/jobs/tasks.py has the code of each; tests/worker/test_tasks.py compares the two.
CREATE OR REPLACE FUNCTION job_tasks() RETURNS TABLE (task text, summary text)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('accuracy_digest', 'Summarise how often predictions came true.'),
           ('backfill_5m', 'Fetch five-minute bars of tracked symbols.'),
           ('backfill_last_200', 'Fetch the last 200 sessions of tracked symbols.'),
           ('backfill_new_tracked', 'Fetch prices of tracked symbols that have none.'),
           ('backfill_stale_daily', 'Fetch prices of tracked symbols that are behind.'),
           ('cross_check', 'Compare stored closes with a second provider.'),
           ('daily_sync', 'Fetch the newest session of all tickers.'),
           ('enforce_retention', 'Remove records and five-minute bars that are old enough.'),
           ('monitor_coverage', 'Record how complete and how fresh the bars are.'),
           ('recompute_indicators', 'Compute the snapshot of each tracked symbol.'),
           ('record_history', 'Record the snapshots of the day.'),
           ('refresh_index_constituents', 'Fetch the members of the followed indexes.'),
           ('restore_coverage', 'Bring constituents, bars, indicators and history up to date.'),
           ('update_tracked', 'Register symbols that an index has or that are held.')
$$;

-- The parameters of tasks. kind: text, integer, date, boolean or symbols (a list).
CREATE OR REPLACE FUNCTION job_task_parameters()
RETURNS TABLE (task text, parameter text, kind text, lowest integer, highest integer, summary text)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('backfill_5m', 'n_days', 'integer', 1, 60, 'sessions back; 5 by default'),
           ('backfill_5m', 'batch_size', 'integer', 1, 1000, 'symbols at once; 50 by default'),
           ('backfill_5m', 'symbols', 'symbols', NULL, NULL, 'all tracked symbols by default'),
           ('backfill_last_200', 'symbols', 'symbols', NULL, NULL, 'all tracked symbols by default'),
           ('cross_check', 'sample', 'integer', 1, 1000, 'symbols to compare; as the setting says by default'),
           ('recompute_indicators', 'symbols', 'symbols', NULL, NULL, 'all tracked symbols by default'),
           ('record_history', 'as_of', 'date', NULL, NULL, 'the newest session by default'),
           ('accuracy_digest', 'days', 'integer', 1, 3650, 'days back; 7 by default'),
           ('refresh_index_constituents', 'index', 'text', NULL, NULL, 'all followed indexes by default')
$$;

-- Whether a text can be read as a date.
CREATE OR REPLACE FUNCTION is_date(p_text text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN p_text::date IS NOT NULL;
EXCEPTION WHEN data_exception THEN
    RETURN false;
END
$$;

-- Raises invalid_parameter_value where a task does not exist or cannot be run with these parameters.
CREATE OR REPLACE FUNCTION run_check(p_task text, p_params jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_each   record;
    v_known  record;
    v_is_bad boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM job_tasks() t WHERE t.task = p_task) THEN
        RAISE EXCEPTION 'there is no task "%": SELECT * FROM job_tasks() lists them', one_line(p_task)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(p_params) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the parameters of % are not a JSON object', p_task USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR v_each IN SELECT key, value, value #>> '{}' AS said FROM jsonb_each(p_params) LOOP
        SELECT * INTO v_known FROM job_task_parameters() p WHERE p.task = p_task AND p.parameter = v_each.key;
        IF NOT FOUND THEN
            RAISE EXCEPTION '% has no parameter "%"; it has: %', p_task, one_line(v_each.key),
                coalesce((SELECT string_agg(p.parameter, ', ') FROM job_task_parameters() p WHERE p.task = p_task), 'none')
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        v_is_bad := CASE v_known.kind
            WHEN 'integer' THEN CASE WHEN v_each.said ~ '^\d{1,9}$' THEN v_each.said::integer NOT BETWEEN v_known.lowest AND v_known.highest ELSE true END
            WHEN 'date' THEN v_each.said !~ '^\d{4}-\d{2}-\d{2}$' OR NOT is_date(v_each.said)
            WHEN 'boolean' THEN jsonb_typeof(v_each.value) <> 'boolean'
            WHEN 'symbols' THEN jsonb_typeof(v_each.value) <> 'array'
                OR EXISTS (SELECT FROM jsonb_array_elements(v_each.value) e WHERE normalize_symbol(e #>> '{}') IS NULL)
            ELSE jsonb_typeof(v_each.value) <> 'string' OR v_each.said = '' END;
        IF v_is_bad IS NOT FALSE THEN
            RAISE EXCEPTION '%: % is not % %', p_task, v_each.key,
                CASE v_known.kind WHEN 'integer' THEN format('a number from %s to %s:', v_known.lowest, v_known.highest)
                                  WHEN 'date' THEN 'a date like 2026-01-31:' WHEN 'boolean' THEN 'true or false:'
                                  WHEN 'symbols' THEN 'a list of symbols:' ELSE 'a text:' END,
                one_line(v_each.value::text)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
END
$$;

-- Writes a run and its event; returns the run's id. The parameters are checked.
CREATE OR REPLACE FUNCTION run_write(
    p_task text, p_params jsonb, p_trigger text, p_actor text, p_schedule text DEFAULT NULL,
    p_tick_at timestamptz DEFAULT NULL, p_priority integer DEFAULT 0, p_safety jsonb DEFAULT '{}', p_parent bigint DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_run   bigint;
    v_event bigint;
BEGIN
    INSERT INTO job_run (task_name, params, queued_at, "trigger", actor, schedule, tick_at, parent_id,
                         timeout_s, retries, backoff_s)
    VALUES (p_task, p_params, reckoner_now(), p_trigger, p_actor, p_schedule, p_tick_at, p_parent,
            coalesce((p_safety ->> 'timeout_s')::integer, 3600), coalesce((p_safety ->> 'retries')::integer, 0),
            coalesce((p_safety ->> 'backoff_s')::integer, 0))
    RETURNING id INTO v_run;
    INSERT INTO outbox (topic, key, priority) VALUES ('job', v_run, p_priority) RETURNING id INTO v_event;
    UPDATE job_run SET event_id = v_event WHERE id = v_run;
    RETURN v_run;
END
$$;

-- Runs a task once; returns the run's id. For operators, `market run-task` and the API.
CREATE OR REPLACE FUNCTION run_task(
    task text, params jsonb DEFAULT '{}', actor text DEFAULT current_user, source text DEFAULT 'manual'
) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM run_check(task, params);
    RETURN run_write(task, params, source, actor);
END
$$;

-- Begins a run whose event the worker has leased. No row: it is over, or somebody cancelled it. attempt: its
-- token; what an earlier attempt says from now on is not heard. Three workers may die with a run; the fourth
-- ends it here, and it has no row either.
CREATE OR REPLACE FUNCTION run_begin(p_run bigint, p_worker text)
RETURNS TABLE (task text, params jsonb, attempt integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    UPDATE job_run r
    SET status = 'error', finished_at = reckoner_now(),
        error = one_line(format(CASE r.status WHEN 'running' THEN 'its worker died %s times while it ran, last %s'
                                ELSE 'the database was away or its worker died %s times while it ran, last %s' END,
                                r.attempt - r.failures, r.worker))
    WHERE r.id = p_run AND r.status IN ('queued', 'running') AND r.cancel_reason IS NULL AND r.attempt - r.failures >= 3;
    UPDATE job_run r
    SET status = 'cancelled', error = 'cancelled: ' || r.cancel_reason, finished_at = reckoner_now()
    WHERE r.id = p_run AND r.status IN ('queued', 'running') AND r.cancel_reason IS NOT NULL;
    RETURN QUERY
    UPDATE job_run r
    SET status = 'running', started_at = reckoner_now(), progress_at = reckoner_now(), worker = p_worker,
        attempt = r.attempt + 1, counters = '{}', error = NULL
    WHERE r.id = p_run AND r.status IN ('queued', 'running')
    RETURNING r.task_name, r.params, r.attempt;
END
$$;

-- Records how far a run is; returns why it has to end, NULL where it goes on. A zombie gets a reason too: its
-- run belongs to another worker, or is over.
CREATE OR REPLACE FUNCTION run_progress(p_run bigint, p_attempt integer, p_counters jsonb) RETURNS text
LANGUAGE sql AS $$
    WITH kept AS (
        UPDATE job_run r SET counters = p_counters, progress_at = reckoner_now()
        WHERE r.id = p_run AND r.status = 'running' AND r.attempt = p_attempt
        RETURNING CASE WHEN r.cancel_reason IS NOT NULL THEN 'cancelled: ' || r.cancel_reason
                       WHEN reckoner_now() > r.started_at + make_interval(secs => r.timeout_s)
                       THEN format('timed out after %s s', r.timeout_s) END AS reason)
    SELECT CASE WHEN EXISTS (SELECT FROM kept) THEN (SELECT reason FROM kept) ELSE 'it is another worker''s now' END
$$;

-- Ends an attempt, in the transaction that ends its event. Returns the run's status: queued where it is tried
-- again, after a pause that doubles; NULL where the attempt is not the present one any more. p_status queued: the
-- database was away, which counts as a crash and not as a failure.
CREATE OR REPLACE FUNCTION run_end(p_run bigint, p_attempt integer, p_status text, p_counters jsonb, p_error text,
                                   OUT status text, OUT retry_at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_run job_run;
BEGIN
    SELECT * INTO v_run FROM job_run r WHERE r.id = p_run AND r.status = 'running' AND r.attempt = p_attempt FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    status := p_status;
    IF p_status = 'queued' THEN
        retry_at := reckoner_now() + interval '5 seconds';
        IF v_run.cancel_reason IS NOT NULL THEN
            status := 'cancelled';
            retry_at := NULL;
        END IF;
    ELSIF p_status = 'error' AND v_run.failures < v_run.retries AND v_run.cancel_reason IS NULL THEN
        status := 'queued';
        retry_at := reckoner_now() + make_interval(secs => least(86400, v_run.backoff_s * 2.0 ^ v_run.failures));
    END IF;
    UPDATE job_run r
    SET status = run_end.status, counters = p_counters, error = one_line(p_error), progress_at = reckoner_now(),
        failures = r.failures + CASE WHEN p_status = 'error' THEN 1 ELSE 0 END,
        finished_at = CASE WHEN run_end.status <> 'queued' THEN reckoner_now() END
    WHERE r.id = p_run;
END
$$;

-- Cancels a run: one that is queued at once, a running one at its next look. Returns its status.
CREATE OR REPLACE FUNCTION run_cancel(run bigint, reason text, actor text DEFAULT current_user) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_run   job_run;
    v_event outbox;
BEGIN
    -- The event first, as the worker does that ends it.
    SELECT o.* INTO v_event FROM outbox o WHERE o.topic = 'job' AND o.key = run::text ORDER BY o.id LIMIT 1 FOR UPDATE;
    SELECT * INTO v_run FROM job_run r WHERE r.id = run FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no run %', run USING ERRCODE = 'no_data_found';
    ELSIF v_run.status NOT IN ('queued', 'running') THEN
        RAISE EXCEPTION 'run % is over: %', run, v_run.status USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF v_event.status = 'processing' THEN
        UPDATE job_run SET cancel_reason = one_line(format('%s (%s)', reason, run_cancel.actor)) WHERE id = run;
        RETURN 'running';
    END IF;
    IF v_event.id IS NOT NULL THEN
        PERFORM outbox_cancel(v_event.id, format('run %s: %s', run, reason));
    END IF;
    UPDATE job_run SET status = 'cancelled', error = one_line(format('cancelled by %s: %s', run_cancel.actor, reason)),
                       finished_at = reckoner_now()
    WHERE id = run;
    RETURN 'cancelled';
END
$$;

-- Ends runs that nobody works on any more: their event is dead or gone, or they are a minute over their time
-- and did not end themselves. Called by the sweep; returns how many.
CREATE OR REPLACE FUNCTION sweep_runs() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_each  record;
    v_ended bigint := 0;
BEGIN
    FOR v_each IN
        SELECT r.id, o.id AS event, o.status, o.last_error,
               r.status = 'running' AND reckoner_now() > r.started_at + make_interval(secs => r.timeout_s + 60) AS late,
               r.timeout_s
        FROM job_run r
        LEFT JOIN outbox o ON o.topic = 'job' AND o.key = r.id::text
        WHERE r.status IN ('queued', 'running') AND r.queued_at < reckoner_now() - interval '1 second'
        ORDER BY o.id, r.id
    LOOP
        CONTINUE WHEN v_each.event IS NOT NULL AND v_each.status <> 'dead' AND NOT v_each.late;
        -- Again with the locks in hand: the run may have ended since.
        IF v_each.event IS NOT NULL THEN
            PERFORM FROM outbox o WHERE o.id = v_each.event FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
        END IF;
        UPDATE job_run r
        SET status = 'error', finished_at = reckoner_now(),
            error = one_line(CASE WHEN v_each.late THEN format('timed out after %s s, and its worker did not end it', v_each.timeout_s)
                                  WHEN v_each.event IS NULL THEN 'its event was cancelled'
                                  ELSE v_each.last_error END)
        WHERE r.id = v_each.id AND r.status IN ('queued', 'running')
          AND (v_each.event IS NOT NULL OR NOT EXISTS (SELECT FROM outbox o WHERE o.topic = 'job' AND o.key = r.id::text));
        CONTINUE WHEN NOT FOUND;
        v_ended := v_ended + 1;
        IF v_each.event IS NOT NULL THEN
            PERFORM outbox_cancel(v_each.event, format('run %s ended with an error', v_each.id));
        END IF;
    END LOOP;
    RETURN v_ended;
END
$$;

-- Deletes runs that ended more than p_days ago, at most 10,000 a call. Returns their number.
CREATE OR REPLACE FUNCTION sweep_runs_ended(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_pruned bigint;
BEGIN
    DELETE FROM job_run WHERE id = ANY (ARRAY(
        SELECT id FROM job_run
        WHERE finished_at < reckoner_now() - make_interval(days => p_days) ORDER BY finished_at LIMIT 10000));
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    RETURN v_pruned;
END
$$;

-- The runs, with how long they took, and for a running one how long it will take at its pace (its counters
-- `done` and `total`; NULL without them).
CREATE OR REPLACE VIEW job_runs AS
SELECT r.id, r.task_name, r.status, r.schedule, r.tick_at, r."trigger", r.actor, r.params, r.counters, r.error,
       r.queued_at, r.started_at, r.finished_at,
       coalesce(r.finished_at, reckoner_now()) - r.started_at AS took,
       CASE WHEN r.status = 'running' AND jsonb_typeof(r.counters -> 'done') = 'number'
                 AND jsonb_typeof(r.counters -> 'total') = 'number' AND (r.counters ->> 'done')::float8 > 0
            THEN make_interval(secs => extract(epoch FROM reckoner_now() - r.started_at)::float8
                 * greatest((r.counters ->> 'total')::float8 / (r.counters ->> 'done')::float8 - 1, 0)) END AS eta,
       r.attempt, r.failures, r.worker, r.event_id, r.parent_id, r.progress_at, r.cancel_reason
FROM job_run r;

-- The tasks, each with its parameters and its last run.
CREATE OR REPLACE VIEW task_status AS
SELECT t.task, t.summary,
       coalesce((SELECT array_agg(p.parameter || ' (' || p.kind || ': ' || p.summary || ')' ORDER BY p.parameter)
                 FROM public.job_task_parameters() p WHERE p.task = t.task), '{}') AS parameters,
       r.status AS last_status, r.finished_at AS last_finished_at, r.id AS last_run, r.error AS last_error
FROM public.job_tasks() t
LEFT JOIN LATERAL (SELECT * FROM job_run r WHERE r.task_name = t.task ORDER BY r.id DESC LIMIT 1) r ON true
ORDER BY t.task;
REVOKE ALL ON FUNCTION
    is_date(p_text text),
    run_check(p_task text, p_params jsonb),
    run_write(p_task text, p_params jsonb, p_trigger text, p_actor text, p_schedule text, p_tick_at timestamptz, p_priority integer, p_safety jsonb, p_parent bigint),
    run_task(task text, params jsonb, actor text, source text),
    run_begin(p_run bigint, p_worker text),
    run_progress(p_run bigint, p_attempt integer, p_counters jsonb),
    run_end(p_run bigint, p_attempt integer, p_status text, p_counters jsonb, p_error text, OUT status text, OUT retry_at timestamptz),
    run_cancel(run bigint, reason text, actor text),
    sweep_runs(),
    sweep_runs_ended(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/66_runs.sql', '3332fcaa71a33cbd805e0c3b8691c5c862e1fade2b0bb9b0d4312d6cee29f244')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
