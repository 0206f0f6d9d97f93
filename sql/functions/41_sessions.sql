BEGIN;
-- Sessions as data: which exist, which are over. Loaded by market/universe/sessions.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- How long after a close its bar can be trusted: by then providers have settled it.
CREATE OR REPLACE FUNCTION session_settling() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT interval '30 minutes' $$;

-- The last session of a calendar that is over and settled.
CREATE OR REPLACE FUNCTION session_last_settled(p_calendar text) RETURNS market_sessions
LANGUAGE sql STABLE AS $$
    SELECT s FROM market_sessions s
    WHERE s.calendar = p_calendar AND s.closes_at <= reckoner_now() - session_settling()
    ORDER BY s.closes_at DESC LIMIT 1
$$;

-- The entry: the first session that closes at or after the moment; NULL before the
-- calendar's beginning and after its end.
CREATE OR REPLACE FUNCTION session_entry(p_calendar text, p_moment timestamptz) RETURNS date
LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Before the first session opens nothing is known of the calendar.
    RETURN (SELECT CASE WHEN s.ordinal > 1 OR s.opens_at <= p_moment THEN s.session END
            FROM market_sessions s
            WHERE s.calendar = p_calendar AND s.closes_at >= p_moment
            ORDER BY s.closes_at LIMIT 1);
END
$$;

-- Calendars in use whose sessions are missing or end less than a year (and a month's slack)
-- ahead. Asked by the sweep and when a worker starts.
CREATE OR REPLACE FUNCTION sessions_wanted(p_days_ahead integer) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT c.calendar
    FROM (SELECT 'XNYS' AS calendar UNION SELECT '24/7'
          UNION SELECT DISTINCT calendar FROM ticker_registry WHERE calendar IS NOT NULL) c
    LEFT JOIN LATERAL (SELECT s.session FROM market_sessions s WHERE s.calendar = c.calendar
                       ORDER BY s.session DESC LIMIT 1) s ON true
    WHERE s.session IS NULL
       OR s.session < (reckoner_now() AT TIME ZONE 'UTC')::date + p_days_ahead
$$;

-- Brings one calendar to what is staged in session_staging; ordinals count from its first
-- session. An unforeseen holiday disappears here like any other correction.
CREATE OR REPLACE FUNCTION sessions_merge(p_calendar text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_changed bigint;
BEGIN
    -- One loader at a time; ordinals are unique at the end of the transaction only.
    PERFORM pg_advisory_xact_lock(1380271947, hashtext('calendar ' || p_calendar));
    DELETE FROM market_sessions m WHERE m.calendar = p_calendar
        AND NOT EXISTS (SELECT FROM session_staging s WHERE s.session = m.session);
    WITH fresh AS (
        SELECT session, row_number() OVER (ORDER BY session) AS ordinal, opens_at, closes_at
        FROM session_staging
    ), merged AS (
        INSERT INTO market_sessions AS m (calendar, session, ordinal, opens_at, closes_at)
        SELECT p_calendar, f.session, f.ordinal, f.opens_at, f.closes_at FROM fresh f
        LEFT JOIN market_sessions o ON o.calendar = p_calendar AND o.session = f.session
        WHERE (o.ordinal, o.opens_at, o.closes_at)
              IS DISTINCT FROM (f.ordinal::integer, f.opens_at, f.closes_at)
        ORDER BY f.session
        ON CONFLICT (calendar, session) DO UPDATE
        SET ordinal = excluded.ordinal, opens_at = excluded.opens_at, closes_at = excluded.closes_at
        RETURNING 1)
    SELECT count(*) INTO v_changed FROM merged;
    RETURN v_changed;
END
$$;
REVOKE ALL ON FUNCTION
    session_settling(),
    session_last_settled(p_calendar text),
    session_entry(p_calendar text, p_moment timestamptz),
    sessions_wanted(p_days_ahead integer),
    sessions_merge(p_calendar text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/41_sessions.sql', '4d3cae8fb95778fce4653723a928fc80fefe9c85eda51946c2d397ded68aad5f')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
