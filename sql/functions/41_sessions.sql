BEGIN;
-- Sessions and calendars as rows: which exist, which are over. Loaded by market/universe/sessions.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The time after a close by which providers have settled its bar. They change a currency's bar until
-- midnight in London, at most three hours after 17:00 in New York. On a day that ends early, futures on
-- energy and metals trade more than an hour longer than those on shares.
CREATE OR REPLACE FUNCTION session_settling(p_calendar text) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_calendar WHEN '24/5' THEN interval '3 hours 30 minutes'
                           WHEN 'CMES' THEN interval '1 hour 30 minutes'
                           ELSE interval '30 minutes' END
$$;

-- The same for a calendar without a rule of its own.
CREATE OR REPLACE FUNCTION session_settling() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT session_settling(NULL) $$;

-- The last session of a calendar that is over and settled.
CREATE OR REPLACE FUNCTION session_last_settled(p_calendar text) RETURNS market_sessions
LANGUAGE sql STABLE AS $$
    SELECT s FROM market_sessions s
    WHERE s.calendar = p_calendar AND s.closes_at <= reckoner_now() - session_settling(p_calendar)
    ORDER BY s.closes_at DESC LIMIT 1
$$;

-- The entry: the first session that closes at or after the moment; NULL before the
-- calendar's beginning and after its end.
CREATE OR REPLACE FUNCTION session_entry(p_calendar text, p_moment timestamptz) RETURNS date
LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- A moment before the first session's opening is outside of the calendar.
    RETURN (SELECT CASE WHEN s.ordinal > 1 OR s.opens_at <= p_moment THEN s.session END
            FROM market_sessions s
            WHERE s.calendar = p_calendar AND s.closes_at >= p_moment
            ORDER BY s.closes_at LIMIT 1);
END
$$;

-- The reason why a moment has no entry. A reason that begins with "sessions of" may pass, and its
-- outcome waits (50_outcomes.sql): the calendar ends before the moment, or cannot be computed now. A
-- moment more than a year ahead is an error of the source.
CREATE OR REPLACE FUNCTION session_no_entry(p_calendar text, p_moment timestamptz) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_calendar market_calendars;
    v_last     market_sessions;
BEGIN
    SELECT * INTO v_last FROM market_sessions s WHERE s.calendar = p_calendar
    ORDER BY s.closes_at DESC LIMIT 1;
    IF v_last.session IS NOT NULL THEN
        RETURN CASE
            WHEN p_moment > v_last.closes_at AND p_moment <= reckoner_now() + interval '1 year'
            THEN format('sessions of %s are known until %s', p_calendar, v_last.session)
            ELSE format('the moment %s is outside the calendar %s', p_moment, p_calendar) END;
    END IF;
    IF starts_with(p_calendar, '?') THEN
        RETURN calendar_unknown(p_calendar);
    END IF;
    SELECT * INTO v_calendar FROM market_calendars c WHERE c.calendar = p_calendar;
    RETURN CASE v_calendar.state
        WHEN 'unknown' THEN format('%s: set ticker_registry.calendar to one that exchange_calendars has', v_calendar.reason)
        WHEN 'failed' THEN format('sessions of %s cannot be computed: %s', p_calendar, v_calendar.reason)
        ELSE format('sessions of %s are not loaded yet', p_calendar) END;
END
$$;

-- The calendars in use that are due to be computed: never tried, without sessions, computed by another
-- version of the library, due for a retry, or ending less than p_days_ahead ahead although the library
-- has more. Called by the sweep and at a worker's start.
CREATE OR REPLACE FUNCTION sessions_wanted(p_days_ahead integer, p_version text) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT c.calendar
    FROM (SELECT 'XNYS' AS calendar UNION SELECT '24/7'
          UNION SELECT DISTINCT calendar FROM ticker_registry WHERE calendar NOT LIKE '?%'
          UNION SELECT upper((regexp_match(s.trigger, '^\s*(\S+) (?:open|close)', 'i'))[1]) FROM schedules s
          WHERE s.enabled AND s.trigger ~* '^\s*\S+ (open|close)') c
    LEFT JOIN market_calendars m ON m.calendar = c.calendar
    LEFT JOIN LATERAL (SELECT s.session FROM market_sessions s WHERE s.calendar = c.calendar
                       ORDER BY s.session DESC LIMIT 1) s ON true
    WHERE CASE
        WHEN m.library_version IS DISTINCT FROM p_version THEN true
        WHEN m.state <> 'loaded' THEN m.retry_at <= reckoner_now()
        ELSE s.session IS NULL
             OR (s.session < (reckoner_now() AT TIME ZONE 'UTC')::date + p_days_ahead
                 AND NOT (m.ends AND s.session >= m.known_until)) END
$$;

-- Whether a calendar has no sessions and may be computed now. A calendar that just failed is not
-- computed again for each ticker that has it.
CREATE OR REPLACE FUNCTION calendar_is_due(p_calendar text, p_version text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT starts_with(p_calendar, '?')
       AND NOT EXISTS (SELECT FROM market_sessions s WHERE s.calendar = p_calendar)
       AND NOT EXISTS (SELECT FROM market_calendars m WHERE m.calendar = p_calendar AND m.state <> 'loaded'
                       AND m.library_version = p_version AND m.retry_at > reckoner_now())
$$;

-- Records that a calendar could not be loaded, and the time of its retry: after a quarter of an hour,
-- then twice as long each time, at most a day. The stored sessions stay.
CREATE OR REPLACE FUNCTION calendar_failed(p_calendar text, p_state text, p_reason text, p_version text)
RETURNS market_calendars LANGUAGE sql AS $$
    INSERT INTO market_calendars AS m (calendar, state, reason, failures, library_version, retry_at)
    VALUES (p_calendar, p_state, left(one_line(p_reason), 200), 1, p_version, reckoner_now() + interval '15 minutes')
    ON CONFLICT (calendar) DO UPDATE
    SET state = excluded.state, reason = excluded.reason, failures = m.failures + 1,
        library_version = excluded.library_version,
        retry_at = reckoner_now() + least(interval '1 day', interval '15 minutes' * 2 ^ least(m.failures, 10))
    RETURNING m
$$;

-- Stores one calendar: the computed sessions with the rows of session_correction over them; ordinals
-- count from its first session. Outcomes whose entry or horizons move are computed anew in the same
-- transaction (53_outcomes_sessions.sql). p_version NULL: the given sessions are the stored ones, and
-- only corrections are new. Returns the number of sessions that are new or changed.
CREATE OR REPLACE FUNCTION sessions_merge(
    p_calendar text, p_sessions date[], p_opens timestamptz[], p_closes timestamptz[],
    p_version text, p_ends boolean, p_timezone text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_changed bigint;
    v_was     record;
    v_first   date;
    v_last    date;
    v_added   date[];
BEGIN
    -- One loader at a time: ordinals are unique only at the end of the transaction (05_locks.sql).
    LOCK TABLE market_sessions IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT array_agg(n.session ORDER BY n.session), array_agg(n.opens_at ORDER BY n.session),
           array_agg(n.closes_at ORDER BY n.session)
    INTO p_sessions, p_opens, p_closes
    FROM (SELECT coalesce(c.session, s.session) AS session,
                 CASE WHEN c.session IS NULL THEN s.opens_at ELSE c.opens_at END AS opens_at,
                 CASE WHEN c.session IS NULL THEN s.closes_at ELSE c.closes_at END AS closes_at
          FROM unnest(p_sessions, p_opens, p_closes) AS s(session, opens_at, closes_at)
          FULL JOIN (SELECT * FROM session_correction WHERE calendar = p_calendar) c ON c.session = s.session) n
    WHERE n.closes_at IS NOT NULL;

    SELECT min(d.session), max(d.session),
           array_agg(d.session ORDER BY d.session) FILTER (WHERE d.is_new AND d.closes_at <= reckoner_now())
    INTO v_first, v_last, v_added
    FROM (SELECT coalesce(f.session, o.session) AS session, o.session IS NULL AS is_new, f.closes_at
          FROM unnest(p_sessions, p_closes) AS f(session, closes_at)
          FULL JOIN (SELECT * FROM market_sessions WHERE calendar = p_calendar) o ON o.session = f.session
          WHERE f.closes_at IS DISTINCT FROM o.closes_at) d;
    -- Entries that may move: from one session more than the longest horizon before the first change,
    -- until the first session behind the last change.
    SELECT (SELECT s.session FROM market_sessions s WHERE s.calendar = p_calendar AND s.session < v_first
            ORDER BY s.session DESC OFFSET (SELECT max(h) FROM unnest(horizon_sessions()) AS h) LIMIT 1) AS entries_from,
           (SELECT s.session FROM market_sessions s WHERE s.calendar = p_calendar AND s.session > v_last
            ORDER BY s.session LIMIT 1) AS entries_to,
           EXISTS (SELECT FROM market_sessions s WHERE s.calendar = p_calendar) AS is_there
    INTO v_was;
    IF v_first IS NOT NULL THEN
        -- Batches that are processed with the old sessions end first (51_outcomes_process.sql).
        LOCK TABLE market_sessions IN EXCLUSIVE MODE;
    END IF;

    DELETE FROM market_sessions m WHERE m.calendar = p_calendar AND m.session <> ALL (p_sessions);
    WITH fresh AS (
        SELECT session, row_number() OVER (ORDER BY session) AS ordinal, opens_at, closes_at
        FROM unnest(p_sessions, p_opens, p_closes) AS f(session, opens_at, closes_at)
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

    IF v_was.is_there AND v_added IS NOT NULL THEN
        -- No request to a provider meant a session that was not stored then.
        PERFORM coverage_remove(r.symbol, i, v_added) FROM ticker_registry r, unnest('{1d,5m}'::text[]) AS i
        WHERE r.calendar = p_calendar
          AND EXISTS (SELECT FROM price_coverage c JOIN unnest(v_added) AS n(session)
                      ON n.session BETWEEN c."from" AND c."to" WHERE c.symbol = r.symbol);
    END IF;
    IF p_version IS NOT NULL THEN
        INSERT INTO market_calendars AS m
            (calendar, state, known_from, known_until, ends, timezone, loaded_at, library_version)
        VALUES (p_calendar, 'loaded', p_sessions[1], p_sessions[cardinality(p_sessions)], p_ends, p_timezone,
                reckoner_now(), p_version)
        ON CONFLICT (calendar) DO UPDATE
        SET state = 'loaded', reason = NULL, failures = 0, retry_at = NULL,
            known_from = excluded.known_from, known_until = excluded.known_until, ends = excluded.ends,
            timezone = excluded.timezone,
            loaded_at = excluded.loaded_at, library_version = excluded.library_version;
    END IF;
    IF NOT v_was.is_there THEN
        -- Ticker events that waited for this calendar (market/prices/plan.py) are ready at once.
        UPDATE outbox o SET status = 'pending'
        WHERE o.topic = 'ticker' AND o.status = 'pending' AND o.available_at > reckoner_now()
          AND starts_with(o.last_error, format('sessions of %s cannot', p_calendar));
    END IF;
    IF v_first IS NOT NULL THEN
        PERFORM outcomes_resession(p_calendar, coalesce(v_was.entries_from, '-infinity'),
                                   coalesce(v_was.entries_to, 'infinity'));
    END IF;
    RETURN v_changed;
END
$$;
REVOKE ALL ON FUNCTION
    session_last_settled(p_calendar text),
    session_entry(p_calendar text, p_moment timestamptz),
    session_no_entry(p_calendar text, p_moment timestamptz),
    sessions_wanted(p_days_ahead integer, p_version text),
    calendar_is_due(p_calendar text, p_version text),
    calendar_failed(p_calendar text, p_state text, p_reason text, p_version text),
    sessions_merge(p_calendar text, p_sessions date[], p_opens timestamptz[], p_closes timestamptz[], p_version text, p_ends boolean, p_timezone text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/41_sessions.sql', '4f9c080656fe50431d0d027d7b2fba46bdef9130ef8e30bc7462507ea39fd40b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
