BEGIN;
-- The stored bars of a symbol compared with the sessions of its calendar. For people:
--   SELECT * FROM symbol_stats WHERE symbol = 'AAPL';
--   SELECT * FROM validation_report('2024-01-01', '2024-12-31') WHERE score < 0.6;
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- records, first_date, last_date: of all stored bars. sessions: the calendar's sessions between the two
-- dates; gaps: those without a bar, ascending. validation_rate: the share of valid rows in the answers that
-- were used and are in data_quality_log; NULL where none is. currency: from the provider; NULL where it
-- gave none.
CREATE OR REPLACE VIEW symbol_stats AS
SELECT r.symbol::text AS symbol, r.status::text AS status, r.asset_type::text AS asset_type, r.currency,
       c.calendar, p.records, p.first_date, p.last_date, s.sessions, q.validation_rate,
       cardinality(s.gaps) AS gap_count, s.gaps
FROM ticker_registry r
CROSS JOIN LATERAL (SELECT coalesce(r.calendar, symbol_calendar(r.symbol)) AS calendar) c
CROSS JOIN LATERAL (
    SELECT count(*) AS records, min(p.date) AS first_date, max(p.date) AS last_date
    FROM market_prices p WHERE p.symbol = r.symbol) p
CROSS JOIN LATERAL (
    SELECT count(*) AS sessions,
           coalesce(array_agg(m.session ORDER BY m.session) FILTER (WHERE b.date IS NULL), '{}') AS gaps
    FROM market_sessions m LEFT JOIN market_prices b ON b.symbol = r.symbol AND b.date = m.session
    WHERE m.calendar = c.calendar AND m.session BETWEEN p.first_date AND p.last_date) s
CROSS JOIN LATERAL (
    SELECT 1 - sum(d.rejected)::float8 / nullif(sum(d.given), 0) AS validation_rate
    FROM data_quality_log d
    WHERE d.symbol = r.symbol AND d."interval" = '1d' AND d.verdict <> 'refused') q;

-- One row per symbol (NULL: every active ticker) for the sessions of a range that are over. Only bars
-- of ours count.
-- expected: sessions; from the first bar on where earlier days are covered, because then the listing is
-- younger than the range. nulls: stored bars without an open, high, low or volume. rejected, flagged: rows
-- of the answers that have a day in the range. completeness: stored / expected. score: completeness x the
-- score of the last such answer that was used; where no session was expected that score alone, NULL without
-- one. providers: bars by source.
CREATE OR REPLACE FUNCTION validation_report(p_from date, p_to date, p_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, expected bigint, stored bigint, missing bigint, nulls bigint, rejected bigint,
               flagged bigint, refused bigint, completeness double precision, score double precision, providers jsonb)
LANGUAGE sql STABLE AS $$
    WITH wanted AS (
        SELECT r.symbol::text AS symbol, coalesce(r.calendar, symbol_calendar(r.symbol)) AS calendar,
               CASE WHEN (SELECT v.covered_from FROM coverage_span(r.symbol, '1d') v) <= p_from
                    THEN greatest(p_from, (SELECT min(p.date) FROM our_bars p WHERE p.symbol = r.symbol))
                    ELSE p_from END AS since
        FROM ticker_registry r
        WHERE CASE WHEN p_symbols IS NULL THEN r.status = 'active' ELSE r.symbol = ANY (p_symbols) END
    ), counted AS (
        SELECT a.symbol, e.*, q.*, b.*
        FROM wanted a
        CROSS JOIN LATERAL (
            SELECT count(*) AS expected, count(p.date) AS stored
            FROM market_sessions s LEFT JOIN our_bars p ON p.symbol = a.symbol AND p.date = s.session
            WHERE s.calendar = a.calendar AND s.session BETWEEN a.since AND p_to
              AND s.closes_at <= reckoner_now() - session_settling(a.calendar)) e
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE num_nulls(p.open, p.high, p.low, p.volume) > 0) AS nulls
            FROM market_prices p WHERE p.symbol = a.symbol AND p.date BETWEEN p_from AND p_to
              AND p.fetched_at IS NOT NULL) n
        CROSS JOIN LATERAL (
            SELECT n.nulls, coalesce(sum(d.rejected), 0)::bigint AS rejected,
                   coalesce(sum(d.flagged), 0)::bigint AS flagged,
                   count(*) FILTER (WHERE d.verdict = 'refused') AS refused,
                   (array_agg(d.score ORDER BY d.checked_at DESC, d.id DESC)
                    FILTER (WHERE d.verdict <> 'refused'))[1] AS last_score
            FROM data_quality_log d
            WHERE d.symbol = a.symbol AND d."interval" = '1d' AND d.range_from <= p_to AND d.range_to >= p_from) q
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_object_agg(g.source, g.n), '{}') AS providers
            FROM (SELECT coalesce(p.source, 'unknown') AS source, count(*) AS n FROM our_bars p
                  WHERE p.symbol = a.symbol AND p.date BETWEEN p_from AND p_to GROUP BY 1) g) b
    )
    SELECT c.symbol, c.expected, c.stored, c.expected - c.stored, c.nulls, c.rejected, c.flagged, c.refused,
           c.stored::float8 / nullif(c.expected, 0),
           CASE WHEN c.expected > 0 OR c.last_score IS NOT NULL
                THEN round((coalesce(c.stored::float8 / nullif(c.expected, 0), 1)
                            * coalesce(c.last_score, 1))::numeric, 4)::float8 END,
           c.providers
    FROM counted c ORDER BY c.symbol
$$;

-- The tickers whose newest bars are expected: active, and traded. A ticker without a bar for the last
-- 30 days of its coverage is not traded any more, or it would be requested every day. Read by health and
-- by the syncs of all tickers (62_jobs.sql), so that a sync fetches all that health calls stale.
-- covered_to: NULL where no provider was asked yet.
CREATE OR REPLACE VIEW expected_tickers AS
SELECT r.symbol::text AS symbol, coalesce(r.calendar, symbol_calendar(r.symbol)) AS calendar, v.covered_to
FROM ticker_registry r
LEFT JOIN LATERAL (SELECT max(c."to") AS covered_to FROM price_coverage c
                   WHERE c.symbol = r.symbol AND c."interval" = '1d') v ON true
WHERE r.status = 'active' AND normalize_symbol(r.symbol) = r.symbol
  AND (v.covered_to IS NULL
       OR v.covered_to - coalesce(r.price_data_end, (SELECT max(p.date) FROM our_bars p WHERE p.symbol = r.symbol)) <= 30);

-- The session before the last settled one: by now a provider had a day for its bar.
CREATE OR REPLACE FUNCTION session_due(p_calendar text) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT s.session FROM market_sessions s, session_last_settled(p_calendar) l
    WHERE s.calendar = l.calendar AND s.ordinal = l.ordinal - 1
$$;

-- How old the newest bars of expected tickers with coverage are.
-- lagging: the newest bar is older than the session that is due. silent: of those, the tickers for which
-- providers answered up to that session, and gave no bar.
CREATE OR REPLACE FUNCTION price_freshness()
RETURNS TABLE (tickers bigint, lagging bigint, oldest_symbol text, oldest_bar date,
               silent bigint, silent_symbol text) LANGUAGE sql STABLE AS $$
    WITH newest AS (
        SELECT t.symbol, t.covered_to, b.date, session_due(t.calendar) AS due
        FROM expected_tickers t
        CROSS JOIN LATERAL (SELECT max(p.date) AS date FROM our_bars p WHERE p.symbol = t.symbol) b
        WHERE t.covered_to IS NOT NULL
    ), late AS (
        SELECT * FROM newest n WHERE coalesce(n.date, '-infinity') < n.due
    )
    SELECT (SELECT count(*) FROM newest), count(*),
           (array_agg(l.symbol ORDER BY l.date NULLS FIRST, l.symbol))[1], min(l.date),
           count(*) FILTER (WHERE l.covered_to >= l.due),
           (array_agg(l.symbol ORDER BY l.date NULLS FIRST, l.symbol) FILTER (WHERE l.covered_to >= l.due))[1]
    FROM late l
$$;
REVOKE ALL ON FUNCTION
    validation_report(p_from date, p_to date, p_symbols text[]),
    session_due(p_calendar text),
    price_freshness()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/43_symbol_stats.sql', '6789b5eead74b7cfe2ef93632b28e99be2b1e8d47eb7c46540a298cb23d160cc')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
