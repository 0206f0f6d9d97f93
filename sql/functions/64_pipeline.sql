BEGIN;
-- Starts the processing of recent predictions at once, without waiting for the sweep. Called by
-- `market pipeline`; the workers process the events.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Writes events for the newest p_limit (NULL: all) eligible predictions of moments from p_since on that
-- are not complete: a prediction event where there is no outcome, event and history; a ticker event for
-- each outcome that is due. Returns the predictions' ids.
CREATE OR REPLACE FUNCTION pipeline_start(p_since timestamptz, p_limit integer) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[];
BEGIN
    v_ids := ARRAY(
        SELECT i.prediction_id FROM prediction_inputs i
        WHERE i.eligible AND i.moment >= p_since
          AND (EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = i.prediction_id
                       AND o.outcome_state IN ('awaiting_prices', 'maturing') AND o.due_at <= reckoner_now())
               OR EXISTS (SELECT FROM outbox e WHERE e.topic = 'prediction' AND e.key = i.prediction_id::text)
               OR NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = i.prediction_id)
                  AND NOT EXISTS (SELECT FROM outbox_history h WHERE h.topic = 'prediction'
                                  AND h.key = i.prediction_id::text))
        ORDER BY i.moment DESC, i.prediction_id DESC LIMIT p_limit);
    IF reckoner_dry_run() THEN
        RETURN v_ids;
    END IF;
    LOCK TABLE reckoner_installation IN SHARE UPDATE EXCLUSIVE MODE; -- as enqueue_predictions()
    INSERT INTO outbox (topic, key)
    SELECT 'prediction', id FROM unnest(v_ids) AS id
    WHERE NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = id)
      AND NOT EXISTS (SELECT FROM outbox e WHERE e.topic = 'prediction' AND e.key = id::text)
    ORDER BY id;
    PERFORM ticker_enqueue(ARRAY(
        SELECT DISTINCT o.symbol::text FROM prediction_outcomes o JOIN ticker_registry r USING (symbol)
        WHERE o.prediction_id = ANY (v_ids) AND r.status = 'active'
          AND o.outcome_state IN ('awaiting_prices', 'maturing') AND o.due_at <= reckoner_now()), 0, true);
    RETURN v_ids;
END
$$;

-- The number of events that pipeline_start() would write or requeue for these predictions.
CREATE OR REPLACE FUNCTION pipeline_lacks(p_ids bigint[]) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (SELECT count(*) FROM unnest(p_ids) AS id
            WHERE NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = id)
              AND NOT EXISTS (SELECT FROM outbox e WHERE e.topic = 'prediction' AND e.key = id::text))
         + (SELECT count(DISTINCT o.symbol) FROM prediction_outcomes o JOIN ticker_registry r USING (symbol)
            WHERE o.prediction_id = ANY (p_ids) AND r.status = 'active'
              AND o.outcome_state IN ('awaiting_prices', 'maturing') AND o.due_at <= reckoner_now()
              AND NOT EXISTS (SELECT FROM outbox e WHERE e.topic = 'ticker' AND e.key = o.symbol
                              AND e.status IN ('pending', 'failed')))
$$;

-- The progress of these predictions. left: events of theirs and of their tickers that are not dead;
-- parked: dead ones. The other columns count outcomes.
CREATE OR REPLACE FUNCTION pipeline_state(p_ids bigint[])
RETURNS TABLE (predictions bigint, "left" bigint, parked bigint, outcomes bigint, complete bigint,
               maturing bigint, awaiting_prices bigint, unresolvable bigint) LANGUAGE sql STABLE AS $$
    WITH rows AS MATERIALIZED (
        SELECT o.symbol::text AS symbol, o.outcome_state FROM prediction_outcomes o
        WHERE o.prediction_id = ANY (p_ids)
    ), events AS (
        SELECT count(*) FILTER (WHERE e.status <> 'dead') AS n, count(*) FILTER (WHERE e.status = 'dead') AS dead
        FROM outbox e
        WHERE (e.topic = 'prediction' AND e.key IN (SELECT id::text FROM unnest(p_ids) AS id))
           OR (e.topic = 'ticker' AND e.key IN (SELECT symbol FROM rows))
    )
    SELECT cardinality(p_ids)::bigint, e.n, e.dead, count(r.symbol),
           count(*) FILTER (WHERE r.outcome_state = 'complete'),
           count(*) FILTER (WHERE r.outcome_state = 'maturing'),
           count(*) FILTER (WHERE r.outcome_state = 'awaiting_prices'),
           count(*) FILTER (WHERE r.outcome_state = 'unresolvable')
    FROM events e LEFT JOIN rows r ON true GROUP BY e.n, e.dead
$$;
REVOKE ALL ON FUNCTION
    pipeline_start(p_since timestamptz, p_limit integer),
    pipeline_lacks(p_ids bigint[]),
    pipeline_state(p_ids bigint[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/64_pipeline.sql', '76c1f147ed71271f7b3aad4e1d89bd49b5fcf5334cbb5e941a7dadcc3247c98f')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
