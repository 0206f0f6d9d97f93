BEGIN;
-- Events for predictions that are older than the trigger. Called by worker/cli/enqueue.py, a part at a
-- time, so that it can be stopped and resumed.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Writes events of low priority for the next p_limit predictions after id p_after that are eligible, of
-- moments at or after p_since, and without outcome, event and history. With p_dry_run it writes none,
-- and returns the symbols that they name, each with its earliest and its latest day.
-- seen: the number of ids read. missing: the number of events. last_id: p_after of the next call.
CREATE OR REPLACE FUNCTION enqueue_predictions(
    p_after bigint, p_limit integer, p_since timestamptz, p_dry_run boolean, p_max_symbols integer DEFAULT 100
) RETURNS TABLE (seen bigint, missing bigint, last_id bigint, symbols text[],
                first_days date[], last_days date[])
LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[];
BEGIN
    IF NOT p_dry_run THEN
        -- Two calls at once would write two events (05_locks.sql).
        LOCK TABLE reckoner_installation IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
    WITH part AS MATERIALIZED (
        SELECT p.id FROM predictions p WHERE p.id > p_after ORDER BY p.id LIMIT p_limit
    ), wanted AS (
        SELECT i.prediction_id::text AS key FROM part b JOIN prediction_inputs i ON i.prediction_id = b.id
        WHERE i.eligible
          AND (p_since IS NULL OR i.moment >= p_since)
          AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = i.prediction_id)
          AND NOT EXISTS (SELECT FROM outbox_history h
                          WHERE h.topic = 'prediction' AND h.key = i.prediction_id::text
                            AND h.result ->> 'reason' IS DISTINCT FROM 'the prediction no longer exists')
        -- EXCEPT reads the outbox once, also where the planner's statistics of it are old.
        EXCEPT SELECT o.key FROM outbox o WHERE o.topic = 'prediction'
    )
    SELECT (SELECT count(*) FROM part), (SELECT max(id)::bigint FROM part),
           ARRAY(SELECT key::bigint FROM wanted ORDER BY 1)
    INTO seen, last_id, v_ids;
    missing := cardinality(v_ids);
    IF p_dry_run THEN
        SELECT array_agg(n.symbol), array_agg(n.first_day), array_agg(n.last_day)
        INTO symbols, first_days, last_days
        FROM (SELECT e.symbol, min((e.moment AT TIME ZONE 'UTC')::date) AS first_day,
                     max((e.moment AT TIME ZONE 'UTC')::date) AS last_day
              FROM prediction_elements(v_ids, p_max_symbols) e WHERE e.symbol IS NOT NULL GROUP BY e.symbol) n;
    ELSIF v_ids <> '{}' THEN
        INSERT INTO outbox (topic, key, priority)
        SELECT 'prediction', id, -10 FROM unnest(v_ids) AS id ORDER BY id;
    END IF;
    RETURN NEXT;
END
$$;

-- Counts these tickers, the new ones among them, and the requests that they need: one for each ticker
-- whose coverage does not reach from p_backfill_days before its first day until the longest horizon
-- after its last day. 45 days hold 30 sessions of an exchange.
CREATE OR REPLACE FUNCTION enqueue_cost(
    p_symbols text[], p_first_days date[], p_last_days date[], p_backfill_days integer
) RETURNS TABLE (tickers bigint, new_tickers bigint, requests bigint) LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE r.symbol IS NULL),
           count(*) FILTER (WHERE CASE r.status
               WHEN 'active' THEN v.covered_from IS NULL
                   OR v.covered_from > n.first_day - p_backfill_days
                   OR v.covered_to < least(n.last_day + 45,
                        (session_last_settled(coalesce(r.calendar, symbol_calendar(n.symbol)))).session)
               WHEN 'invalid' THEN
                   coalesce(r.last_backfill, '-infinity') < reckoner_now() - interval '7 days'
               ELSE r.symbol IS NULL END)
    FROM unnest(p_symbols, p_first_days, p_last_days) AS n(symbol, first_day, last_day)
    LEFT JOIN ticker_registry r ON r.symbol = n.symbol
    LEFT JOIN LATERAL coverage_span(n.symbol, '1d') v ON true
$$;
REVOKE ALL ON FUNCTION
    enqueue_predictions(p_after bigint, p_limit integer, p_since timestamptz, p_dry_run boolean, p_max_symbols integer),
    enqueue_cost(p_symbols text[], p_first_days date[], p_last_days date[], p_backfill_days integer )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/61_enqueue.sql', '5ad37f287b33a7da1fe1e8f0f5b9679813c3895d27444c7b2342117088a39b33')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
