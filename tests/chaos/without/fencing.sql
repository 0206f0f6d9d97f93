-- An event may be ended by whoever ever had its lease.
-- lost: WHERE o.lease = c.lease
-- lost: WHERE o.id = v.id AND o.lease = v.lease
-- instead: WHERE o.id = v.id
CREATE OR REPLACE FUNCTION outbox_lock(p_claims jsonb) RETURNS SETOF bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN -- the settings as in outbox_finish()
    RETURN QUERY
    SELECT o.id FROM jsonb_to_recordset(p_claims) AS c(id bigint, lease bigint)
    JOIN outbox o ON o.id = c.id
    ORDER BY o.id FOR UPDATE OF o;
END
$$;

CREATE OR REPLACE FUNCTION outbox_finish(p_ends jsonb) RETURNS SETOF bigint LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN
    RETURN QUERY
    WITH gone AS (
        DELETE FROM outbox o
        USING jsonb_to_recordset(p_ends) AS v(id bigint, lease bigint, verdict text, result jsonb)
        WHERE o.id = v.id
        RETURNING o.*, v.verdict, v.result
    )
    INSERT INTO outbox_history AS h
        (id, topic, key, verdict, attempts, crashes, created_at, worker, result, payload, claimed_at, trail)
    SELECT g.id, g.topic, g.key, g.verdict, g.attempts, g.crashes, g.created_at, g.leased_by,
           g.result, g.payload, g.claimed_at, g.trail
    FROM gone g
    RETURNING h.id;
END
$$;
