BEGIN;
-- Explains a run or a schedule: its ticks with the reasons, its runs, and what became of their events. Called by
-- worker/cli/explain.py and by people in psql. A line with a time in the future says when something is due; one
-- without a time describes the present state.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- How a run stands, or how it ended, as a sentence.
CREATE OR REPLACE FUNCTION run_in_words(p_run job_run) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(': ',
        concat(p_run.status,
               CASE WHEN p_run.status = 'running' THEN
                        format(' for %s s by %s', round(extract(epoch FROM reckoner_now() - p_run.started_at)), p_run.worker)
                    WHEN p_run.started_at IS NOT NULL AND p_run.finished_at IS NOT NULL THEN
                        format(' after %s s', round(extract(epoch FROM p_run.finished_at - p_run.started_at)::numeric, 1)) END,
               CASE WHEN p_run.attempt > 1 THEN format(', attempt %s', p_run.attempt) END,
               CASE WHEN p_run.cancel_reason IS NOT NULL AND p_run.status = 'running'
                    THEN ', asked to end: ' || p_run.cancel_reason END),
        p_run.error,
        (SELECT string_agg(format('%s %s', c.value, c.key), ', ' ORDER BY c.key) FROM jsonb_each_text(p_run.counters) c))
$$;

-- The story of one run: its tick, its attempts and its event, its steps, and how it stands.
CREATE OR REPLACE FUNCTION explain_run(run bigint)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_run job_run;
BEGIN
    SELECT * INTO v_run FROM job_run r WHERE r.id = run;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no run %', run USING ERRCODE = 'no_data_found';
    END IF;
    RETURN QUERY
    WITH story AS (
        SELECT v_run.tick_at AS at, 'tick' AS subject, format('%s was due', v_run.schedule) AS story WHERE v_run.tick_at IS NOT NULL
        UNION ALL
        SELECT v_run.queued_at, 'run ' || run, format('%s queued by %s%s%s', v_run.task_name,
               CASE WHEN v_run.trigger = 'schedule' THEN v_run.schedule ELSE v_run.actor END,
               CASE WHEN v_run.trigger <> 'schedule' THEN format(' (%s)', concat_ws(', ', v_run.trigger, v_run.schedule)) END,
               CASE WHEN v_run.params <> '{}' THEN ' with ' || v_run.params::text END)
        UNION ALL
        SELECT v_run.queued_at, 'run ' || run, format('it is a step of run %s', v_run.parent_id) WHERE v_run.parent_id IS NOT NULL
        UNION ALL
        SELECT * FROM event_story('job', run::text, NULL, NULL)
        UNION ALL
        SELECT r.queued_at, 'run ' || r.id, format('step %s: %s', r.task_name, run_in_words(r))
        FROM job_run r WHERE r.parent_id = run AND r.id > run
        UNION ALL
        SELECT v_run.finished_at, 'run ' || run, run_in_words(v_run)
    )
    SELECT s.at, s.subject, s.story
    FROM (SELECT *, row_number() OVER () AS n FROM story) s -- lines of one moment keep their order
    ORDER BY s.at NULLS LAST, s.n;
END
$$;

-- The story of a schedule: who made it and changed it, its newest hundred ticks, each with its run or its reason,
-- the runs that somebody started beside them, and its state. Of a deleted one what is kept.
CREATE OR REPLACE FUNCTION explain_schedule(schedule text)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_name   text := schedule;
    v_exists boolean := EXISTS (SELECT FROM schedules s WHERE s.name = v_name);
BEGIN
    IF NOT v_exists AND NOT EXISTS (SELECT FROM schedule_ticks t WHERE t.schedule = v_name)
       AND NOT EXISTS (SELECT FROM job_run r WHERE r.schedule = v_name) THEN
        RAISE EXCEPTION 'there is no schedule "%"', one_line(v_name) USING ERRCODE = 'no_data_found';
    END IF;
    RETURN QUERY
    WITH story AS (
        SELECT s.created_at AS at, 'schedule ' || v_name AS subject, 'made by ' || s.created_by AS story
        FROM schedules s WHERE s.name = v_name
        UNION ALL
        (SELECT t.tick_at, 'tick', CASE t.verdict WHEN 'skipped' THEN 'skipped: ' || t.reason
                ELSE format('run %s: %s', t.run_id, coalesce(run_in_words(r), 'no longer kept')) END
         FROM schedule_ticks t LEFT JOIN job_run r ON r.id = t.run_id
         WHERE t.schedule = v_name ORDER BY t.tick_at DESC LIMIT 100)
        UNION ALL
        (SELECT r.queued_at, 'run ' || r.id, format('by %s: %s', r.actor, run_in_words(r))
         FROM job_run r WHERE r.schedule = v_name AND r.trigger <> 'schedule' ORDER BY r.id DESC LIMIT 100)
        UNION ALL
        SELECT s.updated_at, 'schedule ' || v_name, format('changed by %s, version %s', s.updated_by, s.version)
        FROM schedules s WHERE s.name = v_name AND s.version > 1
        UNION ALL
        SELECT s.next_tick_at, 'tick', format('%s is due%s', s.task,
               CASE WHEN s.skip_next > 0 THEN format(', %s to be skipped', s.skip_next) ELSE '' END)
        FROM schedules s WHERE s.name = v_name AND s.enabled AND isfinite(s.next_tick_at)
        UNION ALL
        SELECT NULL, 'schedule ' || v_name, format('%s: %s %s (%s)%s', v.state, v.task, v.trigger, v.timezone,
               CASE WHEN v.state IN ('fault', 'paused') THEN ': ' || v.why
                    WHEN v.state = 'late' THEN ': no worker looks' ELSE '' END)
        FROM schedule_status v WHERE v.name = v_name
        UNION ALL
        SELECT NULL, 'schedule ' || v_name, 'it was deleted' WHERE NOT v_exists
    )
    SELECT s.at, s.subject, s.story
    FROM (SELECT *, row_number() OVER () AS n FROM story) s -- lines of one moment keep their order
    ORDER BY s.at NULLS LAST, s.n;
END
$$;
REVOKE ALL ON FUNCTION
    run_in_words(p_run job_run),
    explain_run(run bigint),
    explain_schedule(schedule text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/70_explain_runs.sql', '977b50647c976e4380066bb793fb318fd847e78e8c6ee90678e77412a3c0c28e')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
