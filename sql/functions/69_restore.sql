BEGIN;
-- Restores of coverage: the steps of `market restore-coverage` as rows. Called by market/restore.py. Each
-- function that writes checks the turn, so that a process whose restore was taken up changes nothing any more.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Takes up the restore that is under way, or begins one with these steps. A restore with other steps, of
-- another version, ends as failed.
CREATE OR REPLACE FUNCTION restore_begin(p_steps text[], OUT id bigint, OUT turn integer, OUT is_new boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    UPDATE coverage_restores r SET state = 'failed', finished_at = reckoner_now()
    WHERE r.state = 'running'
      AND p_steps IS DISTINCT FROM (SELECT array_agg(s.step ORDER BY s.number) FROM coverage_restore_steps s
                                    WHERE s.restore_id = r.id);
    INSERT INTO coverage_restores AS r (state) VALUES ('running')
    ON CONFLICT (state) WHERE state = 'running' DO UPDATE SET turn = r.turn + 1
    RETURNING r.id, r.turn, r.turn = 1 INTO id, turn, is_new;
    INSERT INTO coverage_restore_steps (restore_id, number, step)
    SELECT id, s.number, s.step FROM unnest(p_steps) WITH ORDINALITY AS s(step, number)
    WHERE is_new;
END
$$;

-- Raises an error where another process has taken the restore up; else holds it until the transaction ends.
CREATE OR REPLACE FUNCTION restore_hold(p_id bigint, p_turn integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM coverage_restores r WHERE r.id = p_id AND r.turn = p_turn AND r.state = 'running' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'restore % was taken up by another process', p_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

-- Begins a step. Returns what an earlier try of it noted.
CREATE OR REPLACE FUNCTION restore_step_begin(p_id bigint, p_turn integer, p_number integer) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_result jsonb;
BEGIN
    PERFORM restore_hold(p_id, p_turn);
    UPDATE coverage_restore_steps
    SET state = 'running', tries = tries + 1, started_at = coalesce(started_at, reckoner_now())
    WHERE restore_id = p_id AND number = p_number
    RETURNING result INTO v_result;
    RETURN v_result;
END
$$;

-- Notes what a step has done so far, in the transaction that did it.
CREATE OR REPLACE FUNCTION restore_step_note(p_id bigint, p_turn integer, p_number integer, p_result jsonb)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM restore_hold(p_id, p_turn);
    UPDATE coverage_restore_steps SET result = result || p_result WHERE restore_id = p_id AND number = p_number;
END
$$;

-- Ends a step with its result, or with an error. The last one ends the restore, as failed where a step failed.
CREATE OR REPLACE FUNCTION restore_step_end(
    p_id bigint, p_turn integer, p_number integer, p_result jsonb, p_error text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM restore_hold(p_id, p_turn);
    UPDATE coverage_restore_steps
    SET state = CASE WHEN p_error IS NULL THEN 'done' ELSE 'failed' END, result = result || p_result,
        error = one_line(p_error), finished_at = reckoner_now()
    WHERE restore_id = p_id AND number = p_number;
    UPDATE coverage_restores r
    SET state = CASE WHEN e.failed THEN 'failed' ELSE 'done' END, finished_at = reckoner_now()
    FROM (SELECT bool_and(s.state IN ('done', 'failed')) AS ended, bool_or(s.state = 'failed') AS failed
          FROM coverage_restore_steps s WHERE s.restore_id = p_id) e
    WHERE r.id = p_id AND e.ended;
END
$$;

-- The steps of a restore, by default of the newest: what each did, in their order.
CREATE OR REPLACE FUNCTION restore_steps(p_id bigint DEFAULT NULL)
RETURNS TABLE (restore bigint, number integer, step text, state text, tries integer, result jsonb, error text,
               started_at timestamptz, finished_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT s.restore_id, s.number::integer, s.step, s.state, s.tries, s.result, s.error, s.started_at, s.finished_at
    FROM coverage_restore_steps s
    WHERE s.restore_id = coalesce(p_id, (SELECT r.id FROM coverage_restores r ORDER BY r.id DESC LIMIT 1))
    ORDER BY s.number
$$;

-- Deletes restores that ended more than p_days ago; called by the sweep with other records.
CREATE OR REPLACE FUNCTION sweep_restores(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_deleted bigint;
BEGIN
    WITH gone AS (
        DELETE FROM coverage_restores r
        WHERE r.state <> 'running' AND r.finished_at < reckoner_now() - make_interval(days => p_days)
        RETURNING r.id
    )
    DELETE FROM coverage_restore_steps s USING gone g WHERE s.restore_id = g.id;
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted;
END
$$;
REVOKE ALL ON FUNCTION
    restore_begin(p_steps text[], OUT id bigint, OUT turn integer, OUT is_new boolean),
    restore_hold(p_id bigint, p_turn integer),
    restore_step_begin(p_id bigint, p_turn integer, p_number integer),
    restore_step_note(p_id bigint, p_turn integer, p_number integer, p_result jsonb),
    restore_step_end(p_id bigint, p_turn integer, p_number integer, p_result jsonb, p_error text ),
    restore_steps(p_id bigint),
    sweep_restores(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/69_restore.sql', 'cc6489b8ee6d963a4ee60ab3ee87a07e4534c0dc907b729eabfcf5e31599b7e5')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
