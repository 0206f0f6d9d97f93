BEGIN;
-- Writing ticker events. They come from batches of predictions that lack prices (market/outcomes.py),
-- the trigger on ticker_registry (90_triggers.sql), jobs (62_jobs.sql) and the sweep (60_sweep.sql).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Writes a ticker event for each symbol that has no waiting one, or raises the waiting one's priority.
-- p_named: a prediction or a person names the symbol now, so that a dead event is requeued too; the
-- sweep does not requeue it. Returns how many events were written or requeued. A trigger calls it
-- with the owner's rights; the rules for such functions are in 90_triggers.sql.
CREATE OR REPLACE FUNCTION ticker_enqueue(p_symbols text[], p_priority integer, p_named boolean)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_written  bigint;
    v_requeued bigint := 0;
BEGIN
    IF p_symbols = '{}' THEN
        RETURN 0; -- an INSERT of no row would ring the doorbell
    END IF;
    IF public.reckoner_dry_run() THEN
        SELECT count(DISTINCT s) INTO v_written FROM unnest(p_symbols) AS s
        WHERE NOT EXISTS (SELECT FROM public.outbox o WHERE o.topic = 'ticker' AND o.key = s AND o.status <> 'processing');
    ELSE
        -- The status does not change: a waiting event keeps its backoff and its failures.
        WITH written AS (
            INSERT INTO public.outbox AS o (topic, key, priority)
            SELECT 'ticker', s, p_priority FROM (SELECT DISTINCT unnest(p_symbols) AS s ORDER BY 1) symbols
            ON CONFLICT (key) WHERE topic = 'ticker' AND status <> 'processing'
            DO UPDATE SET priority = excluded.priority WHERE o.priority < excluded.priority
            RETURNING xmax = 0 AS is_new)
        SELECT count(*) FILTER (WHERE is_new) INTO v_written FROM written;
    END IF;
    IF p_named THEN
        UPDATE public.outbox SET status = 'pending'
        WHERE topic = 'ticker' AND status = 'dead' AND key = ANY (p_symbols);
        GET DIAGNOSTICS v_requeued = ROW_COUNT;
    END IF;
    RETURN v_written + v_requeued;
END
$$;

-- Lowers the priority of ticker events. A prediction with very many tickers registered them, and the
-- registry's trigger wrote their events at normal priority: 50,000 of those would delay all others.
CREATE OR REPLACE FUNCTION ticker_lower_priority(p_symbols text[], p_priority integer) RETURNS void LANGUAGE sql AS $$
    UPDATE outbox SET priority = p_priority
    WHERE topic = 'ticker' AND key = ANY (p_symbols) AND status = 'pending' AND priority > p_priority
$$;
REVOKE ALL ON FUNCTION
    ticker_enqueue(p_symbols text[], p_priority integer, p_named boolean),
    ticker_lower_priority(p_symbols text[], p_priority integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/33_outbox_enqueue.sql', '3e18544768623c683f712ddaa2be79a15765c4a79900226ff023ba1bf2fa5fe7')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
