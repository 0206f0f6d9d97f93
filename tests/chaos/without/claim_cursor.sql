-- Every claim begins at the beginning of the index.
-- lost: AND (o.available_at, o.id) > (v_at, v_id)
CREATE OR REPLACE FUNCTION outbox_claim(
    p_topic text, p_worker text, p_limit integer, p_lease_seconds double precision,
    p_after jsonb DEFAULT '{}'
) RETURNS SETOF outbox LANGUAGE plpgsql AS $$
DECLARE
    v_now      timestamptz := reckoner_now();
    v_priority smallint;
    v_below    integer := 32768; -- above every priority
    v_left     integer := p_limit;
    v_at       timestamptz;
    v_id       bigint;
    v_ids      bigint[];
BEGIN
    LOOP
        v_priority := outbox_priority_below(p_topic, v_below, p_after);
        EXIT WHEN v_priority IS NULL;
        v_below := v_priority;
        v_at := coalesce((p_after -> v_priority::text ->> 0)::timestamptz, '-infinity');
        v_id := coalesce((p_after -> v_priority::text ->> 1)::bigint, 0);

        v_ids := ARRAY(
            SELECT o.id FROM outbox o
            WHERE o.topic = p_topic AND o.lease IS NULL AND o.status <> 'dead' AND o.crashes = 0
              AND o.priority = v_priority AND o.available_at <= v_now
              AND (SELECT p.id FROM outbox p WHERE p.topic = o.topic AND p.key = o.key
                   AND p.lease IS NOT NULL LIMIT 1) IS NULL
            ORDER BY o.available_at, o.id
            LIMIT v_left FOR UPDATE OF o SKIP LOCKED);
        IF v_ids <> '{}' THEN
            RETURN QUERY
            UPDATE outbox o
            SET status = 'processing', lease = nextval('outbox_lease'), leased_by = p_worker,
                leased_until = v_now + make_interval(secs => p_lease_seconds), updated_at = v_now,
                claimed_at = v_now
            WHERE o.id = ANY (v_ids)
            RETURNING o.*;
            v_left := v_left - cardinality(v_ids);
            EXIT WHEN v_left <= 0;
        END IF;
    END LOOP;
END
$$;
