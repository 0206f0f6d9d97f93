BEGIN;
-- The plan of a fetch, and the registry's record of it. Called by market/prices/plan.py and
-- market/prices/store.py. The plan only reads; ticker_fetch_started() and ticker_fetch_concluded() write.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A ticker's name at providers, and its calendar: from the registry, else from symbol_rules, where a
-- rule may be younger than the ticker. A calendar that is not a default was set on purpose and stays.
CREATE OR REPLACE FUNCTION ticker_listing(p_symbol text)
RETURNS TABLE (provider_symbol text, calendar text, status text) LANGUAGE sql STABLE AS $$
    SELECT coalesce(r.provider_symbol, u.provider_symbol, r.symbol)::text,
           CASE WHEN starts_with(c.calendar, '?') THEN symbol_calendar(r.symbol)
                WHEN r.provider_symbol IS NULL AND c.calendar IN ('XNYS', '24/7')
                THEN coalesce(u.calendar, c.calendar) ELSE c.calendar END,
           r.status::text
    FROM ticker_registry r
    CROSS JOIN LATERAL (SELECT coalesce(r.calendar, symbol_calendar(r.symbol)) AS calendar) c
    LEFT JOIN LATERAL symbol_rule(r.symbol) u ON true
    WHERE r.symbol = p_symbol
$$;

-- The calendars of these tickers that have no sessions yet: they are loaded before the plan is made.
CREATE OR REPLACE FUNCTION ticker_calendars_missing(p_symbols text[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT l.calendar
    FROM unnest(p_symbols) AS n(symbol) CROSS JOIN LATERAL ticker_listing(n.symbol) l
    WHERE NOT starts_with(l.calendar, '?')
      AND NOT EXISTS (SELECT FROM market_sessions s WHERE s.calendar = l.calendar)
$$;

-- What a symbol lacks: one row, none for a symbol that is not registered.
-- The wanted range begins p_backfill_days calendar days before the earliest moment of the symbol's
-- predictions, and ends with the last settled session. Missing is
--   each part of the wanted range without price coverage; with p_refetch all of it,
--   with p_since every day since that date,
--   each session without a bar that an open outcome needs, up to ten sessions back,
--   and the open rows of jobs (62_jobs.sql): holes of the coverage; of a sync or stale job sessions without a bar.
-- missing_from              the first missing day; NULL when nothing is missing
-- request_from, request_to  the range of the one request: it covers all missing days and reaches to the
--                           stored bars on either side, so that a change of their basis shows
-- whole_from                the beginning of all stored and wanted days, which are requested when the
--                           basis changed
-- last_session              NULL when the calendar has no sessions yet
-- covered_to                the end of the coverage
-- last_bar                  the last bar of ours, or where there is none the last of another program
-- jobs                      the jobs that the fetch serves
CREATE OR REPLACE FUNCTION ticker_lack(p_symbol text, p_backfill_days integer, p_refetch boolean, p_since date)
RETURNS TABLE (symbol text, provider_symbol text, asset_type text, calendar text, status text,
               missing_from date, request_from date, request_to date, whole_from date,
               last_session date, covered_to date, last_bar date, jobs bigint[])
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_listing  record;
    v_last     market_sessions;
    v_span     record;
    v_jobs     record;
    v_want     date;
    v_first    date; -- the first bar that is stored
    v_missing  daterange;
    v_request  daterange;
    v_whole    date;
    v_last_bar date;
BEGIN
    SELECT * INTO v_listing FROM ticker_listing(p_symbol);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_last := session_last_settled(v_listing.calendar);
    SELECT * INTO v_span FROM coverage_span(p_symbol, '1d');
    SELECT min(o.prediction_date) INTO v_want FROM prediction_outcomes o
    WHERE o.symbol = p_symbol AND o.entry_session IS NOT NULL;
    v_want := coalesce(least(v_want, v_span.covered_from + p_backfill_days),
                       (reckoner_now() AT TIME ZONE 'UTC')::date) - p_backfill_days;
    SELECT coalesce(array_agg(o.job_id ORDER BY o.job_id), '{}') AS ids,
           min(o.want_from) FILTER (WHERE NOT o.is_sync) AS history_from,
           min(o.want_from) FILTER (WHERE o.is_sync) AS sync_from
    INTO v_jobs
    FROM (SELECT s.job_id, s.want_from, coalesce(j.kind IN ('sync', 'update', 'stale'), false) AS is_sync
          FROM price_job_symbols s LEFT JOIN price_jobs j ON j.id = s.job_id
          WHERE s.symbol = p_symbol AND s.state = 'open') o;
    v_missing := (
        SELECT CASE WHEN min(m."from") <= max(m."to") THEN daterange(min(m."from"), max(m."to"), '[]') END
        FROM (
            SELECT v_want AS "from", v_last.session AS "to" WHERE p_refetch
            UNION ALL
            -- Begins at the coverage's end at the latest: otherwise it would leave a hole.
            SELECT least(p_since, v_span.covered_to + 1), v_last.session WHERE p_since IS NOT NULL
            UNION ALL
            SELECT h."from", h."to"
            FROM coverage_holes(p_symbol, '1d', v_listing.calendar,
                                CASE WHEN p_since IS NULL THEN least(v_want, v_jobs.history_from)
                                     ELSE v_jobs.history_from END, v_last.session) h
            UNION ALL
            SELECT g.session, g.session
            FROM outcome_gaps(p_symbol, v_listing.calendar, v_last.ordinal) g WHERE p_since IS NULL
            UNION ALL
            SELECT s.session, s.session FROM market_sessions s
            WHERE s.calendar = v_listing.calendar AND s.session BETWEEN v_jobs.sync_from AND v_last.session
              AND NOT EXISTS (SELECT FROM our_bars p WHERE p.symbol = p_symbol AND p.date = s.session)
        ) m);
    v_last_bar := coalesce(
        (SELECT p.date FROM our_bars p WHERE p.symbol = p_symbol ORDER BY p.date DESC LIMIT 1),
        (SELECT max(p.date) FROM market_prices p WHERE p.symbol = p_symbol));
    IF v_missing IS NOT NULL THEN
        v_first := (SELECT min(p.date) FROM market_prices p WHERE p.symbol = p_symbol);
        v_whole := least(lower(v_missing), v_span.covered_from, v_first);
        v_request := CASE WHEN p_refetch OR v_first IS NULL OR v_span.covered_from IS NULL
            THEN daterange(v_whole, v_last.session, '[]')
            ELSE request_around(p_symbol, v_listing.calendar, v_missing, v_whole, v_last.session) END;
    END IF;
    RETURN QUERY SELECT
        p_symbol, v_listing.provider_symbol, symbol_asset_type(v_listing.provider_symbol),
        v_listing.calendar, v_listing.status, lower(v_missing), lower(v_request), upper(v_request) - 1,
        v_whole, v_last.session, v_span.covered_to, v_last_bar, v_jobs.ids;
END
$$;

-- The plan of a fetch for this symbol: what it lacks, and all sessions from whole_from to last_session.
CREATE OR REPLACE FUNCTION ticker_plan(
    p_symbol text, p_backfill_days integer, p_refetch boolean, p_since date DEFAULT NULL
)
RETURNS TABLE (symbol text, provider_symbol text, asset_type text, calendar text, status text,
               missing_from date, request_from date, request_to date, whole_from date,
               last_session date, sessions date[], covered_to date, last_bar date, jobs bigint[])
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT l.symbol, l.provider_symbol, l.asset_type, l.calendar, l.status, l.missing_from, l.request_from,
           l.request_to, l.whole_from, l.last_session,
           ARRAY(SELECT s.session FROM market_sessions s WHERE s.calendar = l.calendar
                 AND s.session BETWEEN l.whole_from AND l.last_session ORDER BY s.session),
           l.covered_to, l.last_bar, l.jobs
    FROM ticker_lack(p_symbol, p_backfill_days, p_refetch, p_since) l;
END
$$;

-- The plans of a bulk top-up: of symbols that lack the session and no other between it and p_before, the
-- session before, which is their last bar. Without their sessions, which for 5,000 symbols are gigabytes.
CREATE OR REPLACE FUNCTION bulk_plans(p_calendar text, p_symbols text[], p_before date, p_session date)
RETURNS TABLE (symbol text, provider_symbol text, asset_type text, calendar text, status text,
               missing_from date, request_from date, request_to date, whole_from date, last_session date,
               covered_to date, last_bar date, jobs bigint[], timezone text, names jsonb)
LANGUAGE sql STABLE AS $$
    SELECT l.*, c.timezone, (SELECT jsonb_agg(n) FROM symbol_names(l.symbol, l.provider_symbol, l.whole_from, l.last_session) n)
    FROM unnest(p_symbols) AS s(symbol)
    CROSS JOIN LATERAL ticker_lack(s.symbol, 1, false, NULL) l
    LEFT JOIN market_calendars c ON c.calendar = l.calendar
    WHERE l.calendar = p_calendar AND l.status = 'active' AND l.covered_to IS NOT NULL
      AND l.missing_from > p_before AND l.last_bar = p_before AND l.request_to = p_session
$$;

-- The same for a symbol that is not registered, from p_since on: the request that registering it would
-- lead to, and the number of its sessions. NULLs where its calendar has none yet.
CREATE OR REPLACE FUNCTION ticker_plan_new(p_symbol text, p_since date)
RETURNS TABLE (request_from date, request_to date, sessions bigint) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN l.session IS NOT NULL THEN p_since END, l.session,
           (SELECT count(*) FROM market_sessions s
            WHERE s.calendar = l.calendar AND s.session BETWEEN p_since AND l.session)
    FROM session_last_settled(symbol_calendar(p_symbol)) l
$$;

-- The settled sessions that an open outcome needs, among the ten until p_last, and that have no bar of
-- ours: providers may have it by now.
CREATE OR REPLACE FUNCTION outcome_gaps(p_symbol text, p_calendar text, p_last integer)
RETURNS TABLE (session date) LANGUAGE sql STABLE AS $$
    SELECT s.session
    FROM prediction_outcomes o
    JOIN market_sessions e ON e.calendar = p_calendar AND e.session = o.entry_session
    CROSS JOIN unnest(0 || horizon_sessions()) AS h(n)
    JOIN market_sessions s ON s.calendar = p_calendar AND s.ordinal = e.ordinal + h.n AND s.ordinal <= p_last
    WHERE o.symbol = p_symbol AND o.outcome_state IN ('awaiting_prices', 'maturing')
      AND s.ordinal > p_last - 10
      AND NOT EXISTS (SELECT FROM our_bars p WHERE p.symbol = p_symbol AND p.date = s.session)
$$;

-- A missing range, extended on either side by five sessions and to the nearest stored bar, within
-- p_from to p_to. The stored bars in it are compared with the answer.
CREATE OR REPLACE FUNCTION request_around(
    p_symbol text, p_calendar text, p_missing daterange, p_from date, p_to date
) RETURNS daterange LANGUAGE sql STABLE AS $$
    SELECT daterange(
        least(lower(p_missing),
              (SELECT max(p.date) FROM market_prices p
               WHERE p.symbol = p_symbol AND p.date >= p_from AND p.date < lower(p_missing)),
              (SELECT min(b.session)
               FROM (SELECT s.session FROM market_sessions s
                     WHERE s.calendar = p_calendar AND s.session >= p_from AND s.session < lower(p_missing)
                     ORDER BY s.session DESC LIMIT 5) b)),
        greatest(upper(p_missing) - 1,
                 (SELECT min(p.date) FROM market_prices p
                  WHERE p.symbol = p_symbol AND p.date >= upper(p_missing) AND p.date <= p_to),
                 (SELECT max(a.session)
                  FROM (SELECT s.session FROM market_sessions s
                        WHERE s.calendar = p_calendar AND s.session >= upper(p_missing) AND s.session <= p_to
                        ORDER BY s.session LIMIT 5) a)),
        '[]')
$$;

-- Records that a fetch begins, with the name and the calendar that it uses: ticker_remap() compares the
-- name under which the stored bars were fetched.
CREATE OR REPLACE FUNCTION ticker_fetch_started(p_symbol text, p_calendar text, p_provider_symbol text)
RETURNS void LANGUAGE sql AS $$
    UPDATE ticker_registry
    SET backfill_status = 'in_progress', calendar = p_calendar,
        provider_symbol = coalesce(provider_symbol, nullif(p_provider_symbol, symbol)),
        updated_at = reckoner_now()
    WHERE symbol = p_symbol
$$;

-- Records that providers do not know a ticker that has recent bars. The first time says nothing yet: providers
-- lose a symbol for an hour. Returns when to ask again; NULL where that was an hour ago and nobody has
-- given bars since.
CREATE OR REPLACE FUNCTION ticker_doubted(p_symbol text) RETURNS timestamptz LANGUAGE sql AS $$
    UPDATE ticker_registry
    SET unknown_at = CASE WHEN unknown_at > greatest(last_backfill, reckoner_now() - interval '7 days')
                          THEN unknown_at ELSE reckoner_now() END
    WHERE symbol = p_symbol
    RETURNING CASE WHEN unknown_at > reckoner_now() - interval '1 hour' THEN unknown_at + interval '1 hour' END
$$;

-- Records the end of a fetch in the registry. p_status NULL: status and reason stay.
CREATE OR REPLACE FUNCTION ticker_fetch_concluded(
    p_symbol text, p_status text, p_reason text, p_backfill_status text, p_backfill_error text
) RETURNS void LANGUAGE sql AS $$
    UPDATE ticker_registry
    SET status = coalesce(p_status, status),
        status_reason = CASE WHEN p_status IS NULL THEN status_reason ELSE left(p_reason, 255) END,
        backfill_status = p_backfill_status, backfill_error = one_line(p_backfill_error),
        last_backfill = reckoner_now(), updated_at = reckoner_now()
    WHERE symbol = p_symbol
$$;
REVOKE ALL ON FUNCTION
    ticker_listing(p_symbol text),
    ticker_calendars_missing(p_symbols text[]),
    ticker_lack(p_symbol text, p_backfill_days integer, p_refetch boolean, p_since date),
    ticker_plan(p_symbol text, p_backfill_days integer, p_refetch boolean, p_since date),
    bulk_plans(p_calendar text, p_symbols text[], p_before date, p_session date),
    ticker_plan_new(p_symbol text, p_since date),
    outcome_gaps(p_symbol text, p_calendar text, p_last integer),
    request_around(p_symbol text, p_calendar text, p_missing daterange, p_from date, p_to date ),
    ticker_fetch_started(p_symbol text, p_calendar text, p_provider_symbol text),
    ticker_doubted(p_symbol text),
    ticker_fetch_concluded(p_symbol text, p_status text, p_reason text, p_backfill_status text, p_backfill_error text )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/42_ticker_plan.sql', 'cba4035bd63bb90f01ca8e0264366de10ef6f82f8a0f2ae3ab16502f8cd07a74')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
