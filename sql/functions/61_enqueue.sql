BEGIN;
-- Events for predictions that were there before the trigger; called by worker/enqueue.py in
-- bites, so that it can be stopped and taken up again.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

DROP FUNCTION IF EXISTS enqueue_predictions(bigint, integer, timestamptz, boolean);

-- The next p_limit eligible predictions after id p_after, of moments at or after p_since, that
-- have neither outcome nor event nor history. Writes events of low priority unless p_dry_run;
-- then it returns the symbols that they name, each with its earliest day.
-- seen: ids looked at. missing: events written, or to be written. last_id: where to go on.
CREATE OR REPLACE FUNCTION enqueue_predictions(
    p_after bigint, p_limit integer, p_since timestamptz, p_dry_run boolean
) RETURNS TABLE (seen bigint, missing bigint, last_id bigint, symbols text[], days date[])
LANGUAGE plpgsql AS $$
DECLARE
    v_ids integer[];
BEGIN
    WITH bite AS MATERIALIZED (
        SELECT p.id FROM predictions p WHERE p.id > p_after ORDER BY p.id LIMIT p_limit
    ), wanted AS (
        SELECT i.prediction_id::text AS key FROM bite b JOIN prediction_inputs i ON i.prediction_id = b.id
        WHERE i.eligible
          AND (p_since IS NULL OR i.moment >= p_since)
          AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = i.prediction_id)
          AND NOT EXISTS (SELECT FROM outbox_history h
                          WHERE h.topic = 'prediction' AND h.key = i.prediction_id::text)
        -- One pass over the outbox, whatever the planner thinks of a table that just grew.
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction'
    )
    SELECT (SELECT count(*) FROM bite), (SELECT max(id) FROM bite),
           ARRAY(SELECT key::integer FROM wanted ORDER BY 1)
    INTO seen, last_id, v_ids;
    missing := cardinality(v_ids);
    IF p_dry_run THEN
        SELECT array_agg(n.symbol), array_agg(n.day) INTO symbols, days
        FROM (SELECT e.symbol, min((e.moment AT TIME ZONE 'UTC')::date) AS day
              FROM prediction_elements(v_ids) e WHERE e.symbol IS NOT NULL GROUP BY e.symbol) n;
    ELSE
        INSERT INTO outbox (topic, key, priority, available_at, created_at, updated_at)
        SELECT 'prediction', id, -10, reckoner_now(), reckoner_now(), reckoner_now()
        FROM unnest(v_ids) AS id ORDER BY id;
    END IF;
    RETURN NEXT;
END
$$;

-- How many of these tickers, needed since these days, are new, and how many have to be asked
-- of a provider: one request each, because a request brings a ticker's whole range.
CREATE OR REPLACE FUNCTION enqueue_cost(p_symbols text[], p_days date[], p_backfill_days integer)
RETURNS TABLE (tickers bigint, new_tickers bigint, requests bigint) LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE r.symbol IS NULL),
           count(*) FILTER (WHERE r.symbol IS NULL OR (r.status = 'active' AND (
               r.fetched_from IS NULL OR r.fetched_from > n.day - p_backfill_days)))
    FROM unnest(p_symbols, p_days) AS n(symbol, day)
    LEFT JOIN ticker_registry r ON r.symbol = n.symbol
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/61_enqueue.sql', 'd5b31f3ebbaefa8022d2abeb6d44ec1ab9a03b8ae051513fcc03e53259f73184')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
