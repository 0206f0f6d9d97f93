BEGIN;
-- The daily sync: after each session's close the tickers of its calendar get their newest bar, and
-- what is missing of the week before. Called by market/prices/sync.py and worker/sweep.py; a sweep
-- that finds nothing due reads the registry's calendars and a row for each.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Calendars of which a session is over that was not synchronised, and that session; p_claimed: also
-- those that a worker is just doing. Only of tickers that we fetched: what another program
-- registered before us waits until somebody names it.
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

-- The due calendars, claimed for so many seconds; none that another worker has.
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

CREATE OR REPLACE FUNCTION sync_renew(p_calendars text[], p_seconds double precision) RETURNS void
LANGUAGE sql AS $$
    UPDATE market_syncs SET claimed_until = reckoner_now() + make_interval(secs => p_seconds)
    WHERE calendar = ANY (p_calendars) AND claimed_until IS NOT NULL
$$;

-- Synchronises a calendar up to a session: a job and its events for what its tickers lack of the
-- week before. A parked ticker stays parked. Once per calendar and session, by the first worker;
-- returns how many symbols it asks for.
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
        PERFORM job_write('sync', p_session - 7, p_session, -5, false, v_symbols);
    END IF;
    RETURN cardinality(v_symbols);
END
$$;

-- Symbols, of these or of all, that lack the newest session of the calendar whose whole market
-- providers give at once.
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

-- The sweep's part. Returns how many symbols it asked for.
CREATE OR REPLACE FUNCTION sweep_sync() RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(sync_start(d.calendar, d.session)), 0)::bigint FROM sync_due(false) d
$$;

-- Jobs that are over, in bites: the daily ones after 30 days, the others after p_days.
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
    ('functions/63_sync.sql', 'a12b5bbd6a79c0973e43bcb02e08eb5c0600784385beabd897d2f5ea593a5418')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
