BEGIN;
-- Events for predictions that were there before the trigger; called by worker/enqueue.py in
-- bites, so that it can be stopped and taken up again.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The next p_limit eligible predictions after id p_after, created at or after p_since, that
-- have neither outcome nor event nor history. Writes events of low priority unless p_dry_run.
-- Returns how many ids were looked at, how many events that made, and the last id.
CREATE OR REPLACE FUNCTION enqueue_predictions(
    p_after bigint, p_limit integer, p_since timestamptz, p_dry_run boolean
) RETURNS TABLE (seen bigint, missing bigint, last_id bigint) LANGUAGE plpgsql AS $$
BEGIN
    WITH bite AS MATERIALIZED (
        SELECT p.id FROM predictions p WHERE p.id > p_after ORDER BY p.id LIMIT p_limit
    ), wanted AS MATERIALIZED (
        SELECT i.prediction_id FROM bite b JOIN prediction_inputs i ON i.prediction_id = b.id
        WHERE i.eligible
          AND (p_since IS NULL OR i.moment >= p_since)
          AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = i.prediction_id)
          AND NOT EXISTS (SELECT FROM outbox o WHERE o.topic = 'prediction' AND o.key = i.prediction_id::text)
          AND NOT EXISTS (SELECT FROM outbox_history h
                          WHERE h.topic = 'prediction' AND h.key = i.prediction_id::text)
    ), written AS (
        INSERT INTO outbox (topic, key, priority, available_at, created_at, updated_at)
        SELECT 'prediction', prediction_id, -10, reckoner_now(), reckoner_now(), reckoner_now()
        FROM wanted WHERE NOT p_dry_run ORDER BY prediction_id
    )
    SELECT (SELECT count(*) FROM bite), (SELECT count(*) FROM wanted), (SELECT max(id) FROM bite)
    INTO seen, missing, last_id;
    RETURN NEXT;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/61_enqueue.sql', '8243a98a4918c6ca75d19b339d78f3b30f29f6620c7c5ed79a41660c8e545c95')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
