BEGIN;
-- The daily sync: after each session's close, fetches the newest bar of the calendar's tickers, and their
-- missing bars of the week before. Called by market/prices/sync.py and worker/sweep.py. A sweep that
-- finds no due calendar reads the registry's calendars and a row for each.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The calendars with a settled session that was not synchronised, and that session; p_claimed: also the
-- calendars that a worker has claimed. Only calendars of tickers with coverage: a ticker that another
-- program registered before the installation waits until a prediction or a person names it.
CREATE OR REPLACE FUNCTION sync_due(p_claimed boolean) RETURNS TABLE (calendar text, session date)
LANGUAGE sql STABLE AS $$
    SELECT c.calendar, s.session
    FROM (SELECT DISTINCT r.calendar FROM ticker_registry r
          WHERE r.status = 'active' AND r.calendar IS NOT NULL
            AND EXISTS (SELECT FROM price_coverage v WHERE v.symbol = r.symbol AND v."interval" = '1d')) c
    CROSS JOIN LATERAL session_last_settled(c.calendar) s
    LEFT JOIN market_syncs m ON m.calendar = c.calendar
    WHERE s.session IS NOT NULL AND (m.session IS NULL OR m.session < s.session)
      AND (p_claimed OR m.claimed_until IS NULL OR m.claimed_until <= reckoner_now())
$$;

-- Claims the due calendars that no other worker has, for so many seconds. Returns them.
CREATE OR REPLACE FUNCTION sync_claim(p_seconds double precision)
RETURNS TABLE (calendar text, session date) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH claimed AS (
        INSERT INTO market_syncs AS m (calendar, session, claimed_until)
        SELECT d.calendar, '-infinity', reckoner_now() + make_interval(secs => p_seconds)
        FROM sync_due(false) d ORDER BY d.calendar
        ON CONFLICT (calendar) DO UPDATE SET claimed_until = excluded.claimed_until
        WHERE m.claimed_until IS NULL OR m.claimed_until <= reckoner_now()
        RETURNING m.calendar)
    SELECT d.calendar, d.session FROM sync_due(true) d JOIN claimed USING (calendar) ORDER BY 1;
END
$$;

-- Prolongs the claims of calendars.
CREATE OR REPLACE FUNCTION sync_renew(p_calendars text[], p_seconds double precision) RETURNS void
LANGUAGE sql AS $$
    UPDATE market_syncs SET claimed_until = reckoner_now() + make_interval(secs => p_seconds)
    WHERE calendar = ANY (p_calendars) AND claimed_until IS NOT NULL
$$;

-- Synchronises a calendar up to a session: writes a job with events for the bars that its tickers lack of
-- the week before. A dead event stays dead. The first call for a calendar and session writes the job,
-- and later ones return 0. Returns the number of symbols.
CREATE OR REPLACE FUNCTION sync_start(p_calendar text, p_session date) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_symbols text[];
BEGIN
    INSERT INTO market_syncs AS m (calendar, session) VALUES (p_calendar, p_session)
    ON CONFLICT (calendar) DO UPDATE SET session = excluded.session, claimed_until = NULL
    WHERE m.session < excluded.session;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    v_symbols := ARRAY(
        SELECT w.symbol FROM job_wants('sync', NULL, p_session - 7, p_session) w
        JOIN ticker_registry r ON r.symbol = w.symbol
        WHERE r.calendar = p_calendar
          AND EXISTS (SELECT FROM price_coverage v WHERE v.symbol = r.symbol AND v."interval" = '1d')
          AND NOT EXISTS (SELECT FROM outbox o WHERE o.topic = 'ticker' AND o.key = w.symbol
                          AND o.status = 'dead'));
    IF v_symbols <> '{}' THEN
        PERFORM job_write(p_kind => 'sync', p_from => p_session - 7, p_to => p_session, p_priority => -5,
                          p_named => false, p_symbols => v_symbols);
    END IF;
    RETURN cardinality(v_symbols);
END
$$;

-- The symbols, of these or of all, that lack the newest settled session of XNYS: for that calendar some
-- providers give the whole market in one request.
CREATE OR REPLACE FUNCTION sync_lacking(p_symbols text[], OUT session date, OUT symbols text[])
LANGUAGE plpgsql STABLE AS $$
BEGIN
    session := (session_last_settled('XNYS')).session;
    symbols := ARRAY(
        SELECT w.symbol FROM job_wants('update', p_symbols, session, session) w
        JOIN ticker_registry r ON r.symbol = w.symbol
        WHERE r.calendar = 'XNYS' ORDER BY w.symbol);
END
$$;

-- The sweep's part: synchronises all due calendars. Returns the number of symbols.
CREATE OR REPLACE FUNCTION sweep_sync() RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(sync_start(d.calendar, d.session)), 0)::bigint FROM sync_due(false) d
$$;

-- Deletes old jobs, at most ten a call: syncs and updates after 30 days, the others after p_days. Returns
-- the number of their rows.
CREATE OR REPLACE FUNCTION sweep_jobs(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_jobs   bigint[];
    v_pruned bigint;
BEGIN
    v_jobs := ARRAY(SELECT id FROM price_jobs WHERE created_at < reckoner_now() - make_interval(
        days => CASE WHEN kind IN ('sync', 'update') THEN least(30, p_days) ELSE p_days END)
        ORDER BY id LIMIT 10);
    DELETE FROM price_job_symbols WHERE job_id = ANY (v_jobs);
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    DELETE FROM price_jobs WHERE id = ANY (v_jobs);
    RETURN v_pruned;
END
$$;
REVOKE ALL ON FUNCTION
    sync_due(p_claimed boolean),
    sync_claim(p_seconds double precision),
    sync_renew(p_calendars text[], p_seconds double precision),
    sync_start(p_calendar text, p_session date),
    sync_lacking(p_symbols text[], OUT session date, OUT symbols text[]),
    sweep_sync(),
    sweep_jobs(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/63_sync.sql', '86aa2fc79b943f00f243751f0d03502996811d84d463442deb15bbdfd4127742')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
