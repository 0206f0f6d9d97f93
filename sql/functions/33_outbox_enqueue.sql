BEGIN;
-- Writing events. Predictions come from the trigger (90_triggers.sql), the sweep and
-- `worker enqueue`; tickers from the batches that wait for prices, the registry's trigger
-- and the sweep.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Asks for the prices of symbols; one waiting event per symbol, so asking twice is free.
-- p_named: a prediction or a person names the symbol now, which also wakes a parked event;
-- the sweep's asking does not. Returns how many events were written or re-driven. A trigger calls it
-- with the owner's rights: written as 90_triggers.sql says.
CREATE OR REPLACE FUNCTION ticker_enqueue(p_symbols text[], p_priority integer, p_named boolean)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_written bigint;
    v_woken   bigint := 0;
BEGIN
    IF p_symbols = '{}' THEN
        RETURN 0; -- and no bell is rung
    END IF;
    -- Status is not touched here: a waiting event keeps its backoff and its failures.
    WITH asked AS (
        INSERT INTO public.outbox AS o (topic, key, priority, available_at, created_at, updated_at)
        SELECT 'ticker', s, p_priority, public.reckoner_now(), public.reckoner_now(), public.reckoner_now()
        FROM (SELECT DISTINCT unnest(p_symbols) AS s ORDER BY 1) symbols
        ON CONFLICT (key) WHERE topic = 'ticker' AND status <> 'processing'
        DO UPDATE SET priority = excluded.priority WHERE o.priority < excluded.priority
        RETURNING xmax = 0 AS is_new)
    SELECT count(*) FILTER (WHERE is_new) INTO v_written FROM asked;
    IF p_named THEN
        UPDATE public.outbox SET status = 'pending'
        WHERE topic = 'ticker' AND status = 'dead' AND key = ANY (p_symbols);
        GET DIAGNOSTICS v_woken = ROW_COUNT;
    END IF;
    RETURN v_written + v_woken;
END
$$;

-- Tickers that a prediction of very many registered just now: the registry's trigger wrote their
-- events like anybody's, and 50,000 of those would keep everybody else's ticker waiting.
CREATE OR REPLACE FUNCTION ticker_stay_behind(p_symbols text[], p_priority integer) RETURNS void LANGUAGE sql AS $$
    UPDATE outbox SET priority = p_priority
    WHERE topic = 'ticker' AND key = ANY (p_symbols) AND status = 'pending' AND priority > p_priority
$$;
REVOKE ALL ON FUNCTION
    ticker_enqueue(p_symbols text[], p_priority integer, p_named boolean),
    ticker_stay_behind(p_symbols text[], p_priority integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/33_outbox_enqueue.sql', 'cf946143235371139672045b818bfaab04b0d82279c2715a3ccf0ffa1a5530c7')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
