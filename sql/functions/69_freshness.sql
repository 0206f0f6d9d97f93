BEGIN;
-- Coverage: how complete and how fresh the stored bars of each tracked symbol are. Age counts sessions of
-- the symbol's own calendar that are over and settled, so that weekends, holidays and early closes are
-- not stale in any time zone. The four buckets have the names that readers know: `<=24h` has the newest
-- finished session, `24-48h` is one session behind, `>48h` more, `none` has no bar, or a calendar by
-- which no age can be counted. Read by commands, health, metrics and the API; coverage_snapshot() writes.
-- (The ranges for which providers answered are another thing: 42_coverage.sql.)
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- One row per tracked symbol. last_daily: its newest bar of ours. sessions_behind: finished sessions since
-- then; NULL without a bar or a calendar. m5_bars, m5_expected: five-minute bars of the newest finished
-- session, and how many it has room for. provider: of the newest daily bar.
-- Each symbol costs one lookup in the index of market_prices, and none in the five-minute bars, because
-- intraday_symbols knows the newest one. Columns that are not read cost nothing.
CREATE OR REPLACE VIEW coverage_symbols AS
WITH tracked AS (
    -- A name that is not a symbol, of another program's registry, has no bars.
    SELECT t.symbol, coalesce(r.calendar, symbol_calendar(t.symbol)) AS calendar, t.backfill_error
    FROM tracked_symbols t LEFT JOIN ticker_registry r ON r.symbol = t.symbol
    WHERE t.symbol !~ '[^-A-Z0-9.^=:/]'
), calendars AS MATERIALIZED ( -- once for each calendar, and not for each symbol
    SELECT c.calendar, n.session, n.ordinal, n.opens_at, n.closes_at, b.session AS before
    FROM (SELECT DISTINCT t.calendar FROM tracked t) c
    CROSS JOIN LATERAL (
        SELECT s.* FROM market_sessions s
        WHERE s.calendar = c.calendar AND s.closes_at <= reckoner_now() - session_settling(c.calendar)
        ORDER BY s.closes_at DESC LIMIT 1) n
    LEFT JOIN market_sessions b ON b.calendar = c.calendar AND b.ordinal = n.ordinal - 1
)
SELECT t.symbol, d.last_daily,
       CASE WHEN d.last_daily >= c.session THEN 0
            WHEN d.last_daily IS NOT NULL THEN c.ordinal - coalesce(
                (SELECT s.ordinal FROM market_sessions s
                 WHERE s.calendar = t.calendar AND s.session <= d.last_daily
                 ORDER BY s.session DESC LIMIT 1), 0) END AS sessions_behind,
       CASE WHEN d.last_daily >= c.session THEN '<=24h' WHEN d.last_daily >= c.before THEN '24-48h'
            WHEN d.last_daily IS NOT NULL AND c.session IS NOT NULL THEN '>48h' ELSE 'none' END AS daily_bucket,
       i.last_bar AS last_5m,
       CASE WHEN i.last_session IS NULL OR c.session IS NULL THEN 0
            WHEN i.last_session = c.session THEN i.session_bars
            ELSE (SELECT count(*) FROM price_history_intraday p
                  WHERE p.symbol = t.symbol AND p."interval" = '5m'
                    AND p.ts >= c.opens_at AND p.ts < c.closes_at)::integer END AS m5_bars,
       (extract(epoch FROM c.closes_at - c.opens_at) / 300)::integer AS m5_expected,
       CASE WHEN i.last_session IS NULL OR c.session IS NULL THEN 'none'
            WHEN i.last_session = c.session THEN '<=24h'
            WHEN i.last_session > c.session -- of the session under way
                THEN CASE WHEN EXISTS (SELECT FROM price_history_intraday p
                                       WHERE p.symbol = t.symbol AND p."interval" = '5m'
                                         AND p.ts >= c.opens_at AND p.ts < c.closes_at)
                          THEN '<=24h' ELSE '24-48h' END
            WHEN i.last_session >= c.before THEN '24-48h' ELSE '>48h' END AS m5_bucket,
       d.provider, t.backfill_error
FROM tracked t
LEFT JOIN calendars c ON c.calendar = t.calendar
LEFT JOIN intraday_symbols i ON i.symbol = t.symbol
LEFT JOIN LATERAL (
    SELECT p.date AS last_daily, p.source::text AS provider FROM our_bars p
    WHERE p.symbol = t.symbol ORDER BY p.date DESC LIMIT 1) d ON true;
COMMENT ON VIEW coverage_symbols IS
    'Tracked symbols with their newest bars, and how many finished sessions these are behind.';

-- The figures of one interval: how many symbols each bucket has, newest bars by symbol, and stale symbols.
CREATE OR REPLACE FUNCTION coverage_figures(
    p_fresh bigint, p_behind bigint, p_stale bigint, p_missing bigint, p_last jsonb, p_list jsonb
) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object(
        'count', p_fresh + p_behind, 'last', coalesce(p_last, '{}'),
        'freshness', jsonb_build_object('<=24h', p_fresh, '24-48h', p_behind, '>48h', p_stale, 'none', p_missing),
        'stale', coalesce(p_list, '[]'), 'stale_48h', p_stale, 'missing', p_missing)
$$;

-- The percentage, with one decimal; 100 only where it is all.
CREATE OR REPLACE FUNCTION coverage_percent(p_some bigint, p_all bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_all = 0 THEN 0 ELSE trunc(1000.0 * p_some / p_all) / 10 END::double precision
$$;

-- The state of the bars in a word and a sentence.
CREATE OR REPLACE FUNCTION coverage_status(
    p_symbols bigint, p_daily jsonb, p_m5 jsonb
) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object(
        'label', CASE
            WHEN p_symbols = 0 THEN 'idle'
            WHEN f.daily_pct < 90 OR f.stale > 0 OR f.missing > 0 OR (f.m5_any AND f.m5_fresh = 0) THEN 'degraded'
            WHEN f.m5_stale > 0 THEN 'warning' ELSE 'ok' END,
        'summary', CASE WHEN p_symbols = 0 THEN 'no symbol is tracked'
            ELSE format('daily bars of %s of %s symbols are fresh', f.fresh, p_symbols)
                 || CASE WHEN f.behind > 0 THEN format(', %s a session behind', f.behind) ELSE '' END
                 || CASE WHEN f.stale > 0 THEN format(', %s stale', f.stale) ELSE '' END
                 || CASE WHEN f.missing > 0 THEN format(', %s missing', f.missing) ELSE '' END
                 || CASE WHEN NOT f.m5_any THEN ''
                         WHEN f.m5_fresh = 0 THEN '; no five-minute bar of the last session'
                         ELSE format('; five-minute bars of %s', f.m5_fresh)
                              || CASE WHEN f.m5_behind > 0 THEN format(', %s a session behind', f.m5_behind) ELSE '' END
                              || CASE WHEN f.m5_stale > 0 THEN format(', %s stale', f.m5_stale) ELSE '' END END END,
        'daily_pct', f.daily_pct, 'm5_pct', f.m5_pct, 'stale_daily', f.stale, 'stale_m5', f.m5_stale,
        'thresholds', jsonb_build_object('daily_pct', 90, 'stale_daily', 0, 'missing_daily', 0, 'stale_m5', 0))
    FROM (SELECT coverage_percent((p_daily -> 'count')::bigint, p_symbols) AS daily_pct,
                 coverage_percent((p_m5 -> 'count')::bigint, p_symbols) AS m5_pct,
                 (p_daily -> 'freshness' -> '<=24h')::bigint AS fresh, (p_daily -> 'freshness' -> '24-48h')::bigint AS behind,
                 (p_daily -> 'stale_48h')::bigint AS stale, (p_daily -> 'missing')::bigint AS missing,
                 (p_m5 -> 'freshness' -> '24-48h')::bigint AS m5_behind, (p_m5 -> 'stale_48h')::bigint AS m5_stale,
                 (p_m5 -> 'missing')::bigint < p_symbols AS m5_any,
                 (p_m5 -> 'freshness' -> '<=24h')::bigint AS m5_fresh) f
$$;

-- The newest snapshots' figures, oldest first.
CREATE OR REPLACE FUNCTION coverage_history(p_count integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'at', h.taken_at, 'label', h.label, 'symbols', h.symbols, 'daily_pct', h.daily_pct, 'm5_pct', h.m5_pct,
        'stale_daily', h.stale_daily, 'missing_daily', h.missing_daily, 'stale_m5', h.stale_m5)
        ORDER BY h.hour), '[]')
    FROM (SELECT * FROM coverage_health WHERE hour <= reckoner_now() ORDER BY hour DESC LIMIT p_count) h
$$;

-- The newest snapshot; a row of NULLs where there is none. One of before the clock was set back is not read.
CREATE OR REPLACE FUNCTION coverage_newest() RETURNS coverage_health LANGUAGE sql STABLE AS $$
    SELECT h FROM coverage_health h WHERE h.hour <= reckoner_now() ORDER BY h.hour DESC LIMIT 1
$$;

-- A report with where it comes from: `db` computed now, `cache` a snapshot's, of p_at.
CREATE OR REPLACE FUNCTION coverage_sourced(p_report jsonb, p_source text, p_at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET TimeZone = 'UTC' AS $$
    SELECT p_report || jsonb_build_object('meta', jsonb_build_object(
        'source', p_source, 'updated_at', p_at,
        'snapshot_age_seconds', floor(extract(epoch FROM reckoner_now() - (coverage_newest()).taken_at)),
        'history', coverage_history(48)))
$$;

-- Computes the report from the bars. Called by coverage() and coverage_snapshot(). The settings forbid plans
-- that read all bars, which the planner takes for small tables and keeps when they grow.
CREATE OR REPLACE FUNCTION coverage_computed() RETURNS jsonb
LANGUAGE plpgsql STABLE SET TimeZone = 'UTC' SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_report jsonb;
BEGIN
    WITH each AS MATERIALIZED (
        SELECT s.symbol, s.last_daily, s.daily_bucket, s.last_5m, s.m5_bucket FROM coverage_symbols s
    ), daily AS (
        SELECT count(*) AS symbols, coverage_figures(
            count(*) FILTER (WHERE e.daily_bucket = '<=24h'), count(*) FILTER (WHERE e.daily_bucket = '24-48h'),
            count(*) FILTER (WHERE e.daily_bucket = '>48h'), count(*) FILTER (WHERE e.daily_bucket = 'none'),
            jsonb_object_agg(e.symbol, e.last_daily) FILTER (WHERE e.last_daily IS NOT NULL),
            (SELECT jsonb_agg(jsonb_build_object('symbol', l.symbol, 'last', l.last_daily, 'bucket', l.daily_bucket)
                              ORDER BY l.last_daily NULLS FIRST, l.symbol)
             FROM (SELECT * FROM each a WHERE a.daily_bucket IN ('>48h', 'none')
                   ORDER BY a.last_daily NULLS FIRST, a.symbol LIMIT 50) l)) AS figures
        FROM each e
    ), m5 AS (
        SELECT coverage_figures(
            count(*) FILTER (WHERE e.m5_bucket = '<=24h'), count(*) FILTER (WHERE e.m5_bucket = '24-48h'),
            count(*) FILTER (WHERE e.m5_bucket = '>48h'), count(*) FILTER (WHERE e.m5_bucket = 'none'),
            jsonb_object_agg(e.symbol, e.last_5m) FILTER (WHERE e.last_5m IS NOT NULL),
            (SELECT jsonb_agg(jsonb_build_object('symbol', l.symbol, 'last', l.last_5m, 'bucket', l.m5_bucket)
                              ORDER BY l.last_5m NULLS FIRST, l.symbol)
             FROM (SELECT * FROM each a WHERE a.m5_bucket IN ('>48h', 'none')
                   ORDER BY a.last_5m NULLS FIRST, a.symbol LIMIT 50) l)) AS figures
        FROM each e
    )
    SELECT jsonb_build_object(
        'generated_at', reckoner_now(), 'symbols', d.symbols, 'tracked_count', (SELECT count(*) FROM tracked_symbols),
        'indices', coverage_indices(), 'daily', d.figures, 'm5', m.figures,
        'status', coverage_status(d.symbols, d.figures, m.figures))
    INTO v_report FROM daily d, m5 m;
    RETURN v_report;
END
$$;

-- The number of active members of each index.
CREATE OR REPLACE FUNCTION coverage_indices() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT '{"SP500": 0, "NASDAQ100": 0, "DOW30": 0}'::jsonb || coalesce(jsonb_object_agg(c.index_name, c.n), '{}')
    FROM (SELECT index_name, count(*) AS n FROM index_constituents WHERE is_active GROUP BY index_name) c
$$;

-- The report where none can be computed: the newest snapshot's figures, or zeros, with the reason.
CREATE OR REPLACE FUNCTION coverage_unknown(p_reason text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET TimeZone = 'UTC' AS $$
DECLARE
    v_newest coverage_health := coverage_newest();
    v_none   jsonb := coverage_figures(0, 0, 0, 0, NULL, NULL);
    v_report jsonb;
BEGIN
    v_report := coalesce(v_newest.report, jsonb_build_object(
        'symbols', 0, 'tracked_count', 0, 'indices', '{"SP500": 0, "NASDAQ100": 0, "DOW30": 0}'::jsonb,
        'daily', v_none, 'm5', v_none, 'status', coverage_status(0, v_none, v_none)));
    v_report := jsonb_set(v_report, '{generated_at}', to_jsonb(reckoner_now()));
    v_report := jsonb_set(v_report, '{status,label}', '"unknown"');
    v_report := jsonb_set(v_report, '{status,summary}', to_jsonb(
        'coverage could not be computed: ' || one_line(p_reason)
        || coalesce('; the figures are of ' || v_newest.taken_at::timestamptz(0), '')));
    RETURN coverage_sourced(v_report, 'cache', v_newest.taken_at);
END
$$;

-- How complete and how fresh the bars are now, as one document. Where the statement fails or reaches its
-- timeout, the label is `unknown`, and the figures are those of the newest snapshot. A person who cancels
-- the statement gets no document.
CREATE OR REPLACE FUNCTION coverage() RETURNS jsonb LANGUAGE plpgsql STABLE SET TimeZone = 'UTC' AS $$
DECLARE
    v_timeout interval;
BEGIN
    RETURN coverage_sourced(coverage_computed(), 'db', reckoner_now());
EXCEPTION
    WHEN query_canceled THEN
        -- The message is in the server's language, so the time decides whose cancel it was.
        v_timeout := current_setting('statement_timeout')::interval;
        IF v_timeout = interval '0' OR clock_timestamp() - statement_timestamp() < v_timeout THEN
            RAISE;
        END IF;
        RETURN coverage_unknown('it took longer than ' || current_setting('statement_timeout'));
    WHEN OTHERS THEN
        RETURN coverage_unknown(SQLERRM);
END
$$;

-- The newest snapshot as coverage() returned it, without a look at any bar; computed where there is none.
CREATE OR REPLACE FUNCTION coverage_cached() RETURNS jsonb LANGUAGE plpgsql STABLE SET TimeZone = 'UTC' AS $$
DECLARE
    v_newest coverage_health := coverage_newest();
BEGIN
    RETURN CASE WHEN v_newest.report IS NULL THEN coverage()
                ELSE coverage_sourced(v_newest.report, 'cache', v_newest.taken_at) END;
END
$$;

-- Takes a snapshot for this hour, in the place of one that was taken before. Returns what coverage() returns.
CREATE OR REPLACE FUNCTION coverage_snapshot() RETURNS jsonb LANGUAGE plpgsql SET TimeZone = 'UTC' AS $$
DECLARE
    v_report jsonb := coverage();
    v_hour   timestamptz := date_trunc('hour', reckoner_now(), 'UTC');
BEGIN
    UPDATE coverage_health SET report = NULL WHERE report IS NOT NULL AND hour <> v_hour;
    INSERT INTO coverage_health AS h (hour, taken_at, label, summary, symbols, daily_pct, m5_pct, stale_daily,
                                      missing_daily, stale_m5, report)
    SELECT v_hour, reckoner_now(), s.label, s.summary, (v_report -> 'symbols')::integer, s.daily_pct, s.m5_pct,
           s.stale_daily, (v_report -> 'daily' -> 'missing')::integer, s.stale_m5, v_report - 'meta'
    FROM jsonb_to_record(v_report -> 'status') AS s (
        label text, summary text, daily_pct double precision, m5_pct double precision,
        stale_daily integer, stale_m5 integer)
    ON CONFLICT (hour) DO UPDATE
    SET taken_at = excluded.taken_at, label = excluded.label, summary = excluded.summary,
        symbols = excluded.symbols, daily_pct = excluded.daily_pct, m5_pct = excluded.m5_pct,
        stale_daily = excluded.stale_daily, missing_daily = excluded.missing_daily,
        stale_m5 = excluded.stale_m5, report = excluded.report;
    RETURN v_report || jsonb_build_object('meta', coverage_sourced('{}', v_report -> 'meta' ->> 'source',
        (v_report -> 'meta' ->> 'updated_at')::timestamptz) -> 'meta');
END
$$;

-- The sweep's part: one snapshot an hour, and while all is not well every five minutes one in the place of
-- the hour's, so that health says soon that a fault is over. A database that never had a symbol gets none.
-- Deletes snapshots older than p_days, and returns their number.
CREATE OR REPLACE FUNCTION sweep_coverage(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_newest  coverage_health := coverage_newest();
    v_deleted bigint;
BEGIN
    IF v_newest.hour = date_trunc('hour', reckoner_now(), 'UTC')
           AND (v_newest.label IN ('ok', 'idle') OR v_newest.taken_at > reckoner_now() - interval '5 minutes')
       OR v_newest.hour IS NULL AND NOT EXISTS (SELECT FROM coverage_symbols) THEN
        RETURN 0;
    END IF;
    PERFORM coverage_snapshot();
    DELETE FROM coverage_health WHERE hour < reckoner_now() - make_interval(days => p_days);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted;
END
$$;
REVOKE ALL ON FUNCTION
    coverage_figures(p_fresh bigint, p_behind bigint, p_stale bigint, p_missing bigint, p_last jsonb, p_list jsonb ),
    coverage_percent(p_some bigint, p_all bigint),
    coverage_status(p_symbols bigint, p_daily jsonb, p_m5 jsonb ),
    coverage_history(p_count integer),
    coverage_newest(),
    coverage_sourced(p_report jsonb, p_source text, p_at timestamptz),
    coverage_computed(),
    coverage_indices(),
    coverage_unknown(p_reason text),
    coverage(),
    coverage_cached(),
    coverage_snapshot(),
    sweep_coverage(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/69_freshness.sql', 'db0777a84c56969c55add8300b588dbb0230f33c3caf06aaa43e46adf25614af')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
