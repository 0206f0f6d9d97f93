BEGIN;
-- Coverage in words: why a symbol's bars are stale or missing, and what mends it. Called by commands, pages
-- and people; the figures are in 69_freshness.sql.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Why the newest bar of a symbol is not there, in words, and the command or statement that mends it. NULLs
-- where the bars are fresh, and no command where a worker is at it. p_behind: as in coverage_symbols.
CREATE OR REPLACE FUNCTION coverage_reason(
    p_symbol text, p_behind integer, OUT reason text, OUT remedy text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_ticker   ticker_registry;
    v_calendar text;
    v_event    record;
    v_last     market_sessions;
BEGIN
    SELECT * INTO v_ticker FROM ticker_registry r WHERE r.symbol = p_symbol;
    IF NOT FOUND THEN
        reason := 'not registered yet';
        remedy := 'python -m market backfill-stale-daily';
        RETURN;
    END IF;
    v_calendar := coalesce(v_ticker.calendar, symbol_calendar(v_ticker.symbol));
    SELECT o.status, o.last_error, o.available_at, o.lease IS NOT NULL AS is_leased INTO v_event
    FROM outbox o WHERE o.topic = 'ticker' AND o.key = p_symbol
    ORDER BY o.lease IS NULL, o.status = 'dead', o.id LIMIT 1;
    v_last := session_last_settled(v_calendar);
    IF v_ticker.status <> 'active' THEN
        reason := format('%s%s: not tracked', v_ticker.status, coalesce(' (' || v_ticker.status_reason || ')', ''));
        remedy := format('python -m market set-ticker %s --status active', p_symbol);
    ELSIF starts_with(v_calendar, '?') THEN
        reason := split_part(calendar_unknown(v_calendar), ': INSERT', 1);
        remedy := 'INSERT' || split_part(calendar_unknown(v_calendar), ': INSERT', 2);
    ELSIF v_last.session IS NULL THEN
        reason := session_no_entry(v_calendar, reckoner_now());
        remedy := 'python -m worker sweep';
    ELSIF p_behind = 0 THEN
        RETURN;
    ELSIF v_event.is_leased THEN
        reason := 'a worker fetches it now';
    ELSIF v_event.status = 'dead' THEN
        reason := 'its event is parked: ' || coalesce(v_event.last_error, 'no reason given');
        remedy := format('python -m worker requeue --ticker %s', p_symbol);
    ELSIF v_event.status IS NOT NULL THEN
        reason := CASE WHEN v_event.available_at > reckoner_now()
                       THEN format('tried again at %s: %s', v_event.available_at::timestamptz(0),
                                   coalesce(v_event.last_error, 'delayed'))
                       WHEN EXISTS (SELECT FROM worker_status w WHERE w.alive) THEN 'waits for a worker'
                       ELSE 'waits: no worker is alive' END;
        remedy := CASE WHEN reason LIKE '%no worker is alive' THEN 'python -m worker' END;
    ELSIF v_ticker.backfill_status = 'failed' THEN
        reason := 'the last fetch failed: ' || coalesce(v_ticker.backfill_error, 'no reason given');
        remedy := 'python -m market backfill-stale-daily';
    ELSIF v_ticker.last_backfill IS NULL THEN
        reason := 'never fetched';
        remedy := 'python -m market backfill-stale-daily';
    ELSIF (SELECT v.covered_to FROM coverage_span(p_symbol, '1d') v) >= v_last.session THEN
        reason := format('providers answered up to %s and gave no newer bar', v_last.session);
        remedy := CASE WHEN p_behind > 5 OR p_behind IS NULL
                       THEN format('python -m market set-ticker %s --status inactive', p_symbol)
                       ELSE 'python -m market backfill-stale-daily' END;
    ELSE
        reason := 'not fetched since ' || v_ticker.last_backfill::timestamptz(0);
        remedy := 'python -m market backfill-stale-daily';
    END IF;
    reason := one_line(reason);
END
$$;

-- Symbols whose daily bars are stale or missing, the oldest first, with the reason and what mends it.
-- p_limit NULL: all.
CREATE OR REPLACE FUNCTION coverage_stale(p_limit integer DEFAULT 50)
RETURNS TABLE (symbol text, last date, sessions_behind integer, bucket text, reason text, remedy text)
LANGUAGE sql STABLE SET TimeZone = 'UTC' AS $$
    SELECT s.symbol, s.last_daily, s.sessions_behind, s.daily_bucket, w.reason, w.remedy
    FROM (SELECT c.* FROM coverage_symbols c WHERE c.daily_bucket IN ('>48h', 'none')
          ORDER BY c.last_daily NULLS FIRST, c.symbol LIMIT p_limit) s
    CROSS JOIN LATERAL coverage_reason(s.symbol, s.sessions_behind) w
    ORDER BY s.last_daily NULLS FIRST, s.symbol
$$;

-- One symbol's row of coverage_symbols, with its calendar, the newest finished session, and why it is not
-- fresh. NULL where it is neither tracked nor registered.
CREATE OR REPLACE FUNCTION coverage_symbol(p_symbol text) RETURNS jsonb
LANGUAGE sql STABLE SET TimeZone = 'UTC' AS $$
    SELECT jsonb_build_object(
        'symbol', n.symbol, 'tracked', s.symbol IS NOT NULL, 'calendar', c.calendar,
        'newest_session', (session_last_settled(c.calendar)).session,
        'last_daily', s.last_daily, 'sessions_behind', s.sessions_behind, 'daily_bucket', s.daily_bucket,
        'last_5m', s.last_5m, 'm5_bars', s.m5_bars, 'm5_expected', s.m5_expected, 'm5_bucket', s.m5_bucket,
        'provider', s.provider, 'backfill_error', s.backfill_error, 'reason', w.reason, 'remedy', w.remedy)
    FROM (SELECT coalesce(normalize_symbol(p_symbol), p_symbol) AS symbol) n
    LEFT JOIN ticker_registry r ON r.symbol = n.symbol
    CROSS JOIN LATERAL (SELECT coalesce(r.calendar, symbol_calendar(n.symbol)) AS calendar) c
    LEFT JOIN coverage_symbols s ON s.symbol = n.symbol
    CROSS JOIN LATERAL coverage_reason(n.symbol, s.sessions_behind) w
    WHERE r.symbol IS NOT NULL OR s.symbol IS NOT NULL
$$;
REVOKE ALL ON FUNCTION
    coverage_reason(p_symbol text, p_behind integer, OUT reason text, OUT remedy text),
    coverage_stale(p_limit integer),
    coverage_symbol(p_symbol text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/69_freshness_reasons.sql', 'dfc3953eb2992a79120ad69d4952cf75e3f3e8753ba0edf626ac86b504705087')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
