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
    FROM data_quality_log d WHERE d.symbol = r.symbol AND d.verdict <> 'refused') q;

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
            WHERE d.symbol = a.symbol AND d.range_from <= p_to AND d.range_to >= p_from) q
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

-- How old the newest bars of active tickers with coverage are. A ticker lags when its newest bar is
-- older than the session before the last settled one: by then a provider had a day for it.
CREATE OR REPLACE FUNCTION price_freshness()
RETURNS TABLE (tickers bigint, lagging bigint, oldest_symbol text, oldest_bar date) LANGUAGE sql STABLE AS $$
    WITH newest AS (
        SELECT r.symbol::text AS symbol, b.date, (
                   SELECT s.session FROM market_sessions s, session_last_settled(coalesce(r.calendar, symbol_calendar(r.symbol))) l
                   WHERE s.calendar = l.calendar AND s.ordinal = l.ordinal - 1) AS due
        FROM ticker_registry r
        CROSS JOIN LATERAL (SELECT max(p.date) AS date FROM our_bars p WHERE p.symbol = r.symbol) b
        WHERE r.status = 'active' AND b.date IS NOT NULL
          AND EXISTS (SELECT FROM price_coverage v WHERE v.symbol = r.symbol AND v."interval" = '1d')
    )
    SELECT count(*), count(*) FILTER (WHERE n.date < n.due),
           (array_agg(n.symbol ORDER BY n.date, n.symbol) FILTER (WHERE n.date < n.due))[1],
           min(n.date) FILTER (WHERE n.date < n.due)
    FROM newest n
$$;
REVOKE ALL ON FUNCTION
    validation_report(p_from date, p_to date, p_symbols text[]),
    price_freshness()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/43_symbol_stats.sql', 'c2d0b64ccbed85e1254cc91e4641347cdb75ab863e1293c7e42a9a8718f74d43')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
