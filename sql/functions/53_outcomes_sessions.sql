BEGIN;
-- Moving outcomes when a calendar's sessions change: by a correction, a longer calendar, or another
-- version of the library. They are computed anew in the transaction that changes the sessions. Called
-- by sessions_merge() (41_sessions.sql), the trigger on session_correction, and the sweep.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Computes anew the outcomes of a calendar's tickers that have no entry, or one from p_from to p_to.
-- Known values that change are kept in words (revision). Where the prediction was deleted, its moment is
-- not known: the entry stays, or moves to the next session where its own is gone. Returns the number of
-- rows that changed.
CREATE OR REPLACE FUNCTION outcomes_resession(p_calendar text, p_from date, p_to date) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_before  prediction_outcomes[];
    v_keys    outcome_key[];
    v_changed bigint;
BEGIN
    v_before := ARRAY(
        SELECT o FROM prediction_outcomes o
        WHERE o.symbol = ANY (ARRAY(SELECT r.symbol FROM ticker_registry r
                                    WHERE coalesce(r.calendar, symbol_calendar(r.symbol)) = p_calendar))
          AND o.engine_version IS NOT NULL
          AND (o.entry_session BETWEEN p_from AND p_to OR o.entry_session IS NULL)
        ORDER BY o.prediction_id, o.symbol FOR UPDATE);
    IF v_before = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM bars_reading(array_agg(b.prediction_id), array_agg(b.symbol::text)) FROM unnest(v_before) b;
    v_keys := ARRAY(
        SELECT ROW(b.prediction_id, b.symbol, b.prediction_date, b.prediction_sentiment, b.prediction_confidence, e.entry,
                   CASE WHEN e.entry IS NULL THEN session_no_entry(p_calendar, i.moment) END)::outcome_key
        FROM unnest(v_before) b
        LEFT JOIN prediction_inputs i ON i.prediction_id = b.prediction_id
        -- OFFSET 0: evaluated once, and not once for each use.
        CROSS JOIN LATERAL (SELECT CASE WHEN i.prediction_id IS NOT NULL THEN session_entry(p_calendar, i.moment)
            ELSE (SELECT min(s.session) FROM market_sessions s
                  WHERE s.calendar = p_calendar AND s.session >= b.entry_session) END AS entry OFFSET 0) e
        WHERE i.prediction_id IS NOT NULL OR b.entry_session IS NOT NULL);
    PERFORM outcomes_write(v_keys);
    SELECT count(*) INTO v_changed
    FROM unnest(v_before) b
    JOIN prediction_outcomes o ON o.prediction_id = b.prediction_id AND o.symbol || '' = b.symbol
    WHERE o.updated_at <> b.updated_at;
    UPDATE prediction_outcomes o
    SET revision = right(concat_ws('; ', nullif(c.revision, ''),
            format('sessions of %s changed on %s: ', p_calendar, (reckoner_now() AT TIME ZONE 'UTC')::date) || c.was), 500)
    FROM (
        SELECT b.prediction_id, b.symbol, b.revision,
               concat_ws(', ', CASE WHEN n.entry_session IS DISTINCT FROM b.entry_session
                                    THEN format('entry was %s', b.entry_session) END, h.was) AS was
        FROM unnest(v_before) b
        JOIN prediction_outcomes n ON n.prediction_id = b.prediction_id AND n.symbol || '' = b.symbol
        CROSS JOIN LATERAL (
            SELECT string_agg(format('return_%s was %s', x.horizon, round(x.return_pct::numeric, 4)), ', '
                              ORDER BY x.sessions) AS was
            FROM outcome_horizons(b::prediction_outcomes) x
            JOIN outcome_horizons(n::prediction_outcomes) y ON y.sessions = x.sessions
            WHERE x.return_pct IS NOT NULL
              AND (y.return_pct IS NULL OR abs(y.return_pct - x.return_pct) > 0.01)) h
        WHERE b.price_at_prediction IS NOT NULL) c
    WHERE c.was <> '' AND o.prediction_id = c.prediction_id AND o.symbol || '' = c.symbol;
    RETURN v_changed;
END
$$;

-- Records that a session did not take place (no times), or its true times, and moves the outcomes:
--   SELECT session_correction('XHKG', '2023-09-01', 'typhoon Saola');
-- To undo it: DELETE FROM session_correction WHERE …; the next sweep restores the calendar's own session.
CREATE OR REPLACE FUNCTION session_correction(
    p_calendar text, p_session date, p_reason text DEFAULT NULL,
    p_opens_at timestamptz DEFAULT NULL, p_closes_at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO session_correction AS c (calendar, session, opens_at, closes_at, reason)
    VALUES (p_calendar, p_session, p_opens_at, p_closes_at, p_reason)
    ON CONFLICT (calendar, session) DO UPDATE
    SET opens_at = excluded.opens_at, closes_at = excluded.closes_at, origin = 'operator',
        reason = excluded.reason, made_at = excluded.made_at
$$;

-- The trigger on session_correction: applies the correction to the stored sessions.
CREATE OR REPLACE FUNCTION session_corrected() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_calendar text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        -- The calendar's own session is not stored: the next sweep computes the calendar anew.
        UPDATE market_calendars SET library_version = NULL WHERE calendar = OLD.calendar;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    v_calendar := NEW.calendar;
    -- Locks before the sessions are read: another loader may be about to change them.
    LOCK TABLE public.market_sessions IN SHARE UPDATE EXCLUSIVE MODE;
    PERFORM sessions_merge(p_calendar => v_calendar, p_sessions => s.sessions, p_opens => s.opens,
                           p_closes => s.closes, p_version => NULL, p_ends => NULL)
    FROM (SELECT array_agg(m.session) AS sessions, array_agg(m.opens_at) AS opens, array_agg(m.closes_at) AS closes
          FROM market_sessions m WHERE m.calendar = v_calendar) s
    WHERE s.sessions IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER session_corrected AFTER INSERT OR UPDATE OR DELETE ON session_correction
FOR EACH ROW EXECUTE FUNCTION session_corrected();

-- Finds sessions that did not take place, and records corrections for them. A witness is an active
-- ticker whose coverage includes the session, and that has bars of ours on at least five of the eight
-- sessions before it and on three of the eight behind it. A session did not take place where no ticker
-- of the calendar has a bar, and an index or at least three tickers are witnesses: a share alone may
-- have been suspended, an index is not. Reads at most the 25 tickers of a calendar with most bars, in
-- calendars that have new prices since the last sweep. Coins have no closed day. Returns the number of
-- corrections.
CREATE OR REPLACE FUNCTION sweep_closures() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_calendar record;
    v_found    bigint;
    v_all      bigint := 0;
BEGIN
    FOR v_calendar IN
        SELECT m.calendar, max(r.last_price_update) AS priced_at FROM market_calendars m
        JOIN ticker_registry r ON r.calendar = m.calendar AND r.status = 'active'
        WHERE m.calendar <> '24/7'
        GROUP BY m.calendar, m.checked_until
        HAVING max(r.last_price_update) > coalesce(m.checked_until, '-infinity')
        ORDER BY m.calendar
    LOOP
        WITH tickers AS MATERIALIZED (
            SELECT r.symbol, r.asset_type, v.covered_from, v.covered_to FROM ticker_registry r
            CROSS JOIN LATERAL coverage_span(r.symbol, '1d') v
            WHERE r.calendar = v_calendar.calendar AND r.status = 'active' AND v.covered_to IS NOT NULL
            ORDER BY (r.asset_type = 'index') IS TRUE DESC, r.total_price_records DESC NULLS LAST, r.symbol LIMIT 25
        ), barred AS MATERIALIZED (
            SELECT p.date, p.symbol FROM tickers l
            JOIN our_bars p ON p.symbol = l.symbol
        ), barless AS MATERIALIZED (
            SELECT s.session, s.ordinal FROM market_sessions s
            WHERE s.calendar = v_calendar.calendar
              AND s.session BETWEEN (SELECT min(covered_from) FROM tickers) AND (SELECT max(covered_to) FROM tickers)
              AND s.ordinal <= (session_last_settled(v_calendar.calendar)).ordinal - 3
              AND NOT EXISTS (SELECT FROM barred b WHERE b.date = s.session)
              AND NOT EXISTS (SELECT FROM session_correction c
                              WHERE c.calendar = s.calendar AND c.session = s.session)
        ), witnesses AS (
            SELECT u.session, l.symbol, l.asset_type FROM barless u
            JOIN tickers l ON EXISTS (SELECT FROM price_coverage c WHERE c.symbol = l.symbol AND c."interval" = '1d'
                                     AND u.session BETWEEN c."from" AND c."to")
            CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE n.ordinal < u.ordinal) AS before,
                       count(*) FILTER (WHERE n.ordinal > u.ordinal) AS behind
                FROM market_sessions n JOIN barred b ON b.symbol = l.symbol AND b.date = n.session
                WHERE n.calendar = v_calendar.calendar AND n.ordinal BETWEEN u.ordinal - 8 AND u.ordinal + 8) t
            WHERE t.before >= 5 AND t.behind >= 3
        ), proved AS (
            SELECT w.session, string_agg(w.symbol, ', ' ORDER BY w.symbol) AS names FROM witnesses w
            GROUP BY w.session
            HAVING (count(*) >= 3 OR bool_or(w.asset_type = 'index'))
               AND NOT EXISTS (SELECT FROM ticker_registry r
                               JOIN our_bars p ON p.symbol = r.symbol AND p.date = w.session
                               WHERE r.calendar = v_calendar.calendar)
        )
        INSERT INTO session_correction (calendar, session, origin, reason)
        SELECT v_calendar.calendar, p.session, 'evidence',
               left('no ticker has a bar, though sessions before and behind it have: ' || p.names, 200)
        FROM proved p ORDER BY p.session
        ON CONFLICT (calendar, session) DO NOTHING;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        v_all := v_all + v_found;
        UPDATE market_calendars SET checked_until = v_calendar.priced_at WHERE calendar = v_calendar.calendar;
    END LOOP;
    RETURN v_all;
END
$$;

-- Computes anew the calendars of open outcomes whose entry is not a session of their ticker's calendar,
-- as after UPDATE ticker_registry SET calendar = …. They have no due_at, and would wait for ever.
-- Calendars without sessions are left. Returns the number of rows that changed.
CREATE OR REPLACE FUNCTION sweep_misplaced() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_calendar text;
    v_changed  bigint := 0;
BEGIN
    FOR v_calendar IN
        SELECT DISTINCT r.calendar FROM prediction_outcomes o JOIN ticker_registry r ON r.symbol = o.symbol
        WHERE o.outcome_state IN ('awaiting_prices', 'maturing') AND o.due_at IS NULL
          AND o.entry_session IS NOT NULL AND o.engine_version IS NOT NULL
          AND EXISTS (SELECT FROM market_sessions s WHERE s.calendar = r.calendar)
          AND NOT EXISTS (SELECT FROM market_sessions s WHERE s.calendar = r.calendar AND s.session = o.entry_session)
        ORDER BY r.calendar
    LOOP
        v_changed := v_changed + outcomes_resession(v_calendar, '-infinity', 'infinity');
    END LOOP;
    RETURN v_changed;
END
$$;
REVOKE ALL ON FUNCTION
    outcomes_resession(p_calendar text, p_from date, p_to date),
    session_correction(p_calendar text, p_session date, p_reason text, p_opens_at timestamptz, p_closes_at timestamptz),
    session_corrected(),
    sweep_closures(),
    sweep_misplaced()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/53_outcomes_sessions.sql', '54057e78b0a0ac5d98f7574bd18e596d60d5987b2db69898bdc917b187c34b41')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
