BEGIN;
-- Price coverage: the ranges of sessions for which providers answered, with or without bars. Written
-- by bars_merge() (42_prices.sql), read by ticker_plan() (42_ticker_plan.sql), jobs and reports.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The covered days of all sources. Ranges that overlap or follow each other are merged.
CREATE OR REPLACE FUNCTION coverage_ranges(p_symbol text, p_interval text) RETURNS datemultirange
LANGUAGE sql STABLE AS $$
    SELECT coalesce(range_agg(daterange(c."from", c."to", '[]')), '{}')
    FROM price_coverage c WHERE c.symbol = p_symbol AND c."interval" = p_interval
$$;

-- The first and the last covered day; NULLs where nothing is. There may be holes between the two.
CREATE OR REPLACE FUNCTION coverage_span(p_symbol text, p_interval text)
RETURNS TABLE (covered_from date, covered_to date) LANGUAGE sql STABLE AS $$
    SELECT min(c."from"), max(c."to")
    FROM price_coverage c WHERE c.symbol = p_symbol AND c."interval" = p_interval
$$;

-- The parts of p_from to p_to that no range covers, ascending. A part without a session of the calendar
-- is not a hole: a weekend between two ranges, or days beyond the loaded sessions.
CREATE OR REPLACE FUNCTION coverage_holes(
    p_symbol text, p_interval text, p_calendar text, p_from date, p_to date
) RETURNS TABLE ("from" date, "to" date) LANGUAGE sql STABLE AS $$
    SELECT lower(h.days), upper(h.days) - 1
    FROM unnest(datemultirange(CASE WHEN p_from <= p_to THEN daterange(p_from, p_to, '[]')
                                    ELSE 'empty' END)
                - coverage_ranges(p_symbol, p_interval)) AS h(days)
    WHERE EXISTS (SELECT FROM market_sessions s WHERE s.calendar = p_calendar
                  AND s.session >= lower(h.days) AND s.session < upper(h.days))
    ORDER BY 1
$$;

-- Adds a range for which a source answered, and merges it with ranges of the same source that it
-- overlaps or touches: no session lies between. The registry's row is the symbol's lock: without it
-- two transactions would each add a range that overlaps the other's. A symbol that is not registered
-- has no coverage.
CREATE OR REPLACE FUNCTION coverage_add(
    p_symbol text, p_interval text, p_from date, p_to date, p_source text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_calendar text;
    v_before   date; -- a range that ends on this day or later touches the new one
    v_after    date; -- as does one that begins on this day or earlier
BEGIN
    SELECT coalesce(r.calendar, symbol_calendar(r.symbol)) INTO v_calendar
    FROM ticker_registry r WHERE r.symbol = p_symbol FOR NO KEY UPDATE;
    IF NOT FOUND OR EXISTS (
        SELECT FROM price_coverage c WHERE c.symbol = p_symbol AND c."interval" = p_interval
        AND c.source = p_source AND c."from" <= p_from AND c."to" >= p_to) THEN
        RETURN;
    END IF;
    v_before := least(p_from - 1, (SELECT max(s.session) FROM market_sessions s
                                   WHERE s.calendar = v_calendar AND s.session < p_from));
    v_after := greatest(p_to + 1, (SELECT min(s.session) FROM market_sessions s
                                   WHERE s.calendar = v_calendar AND s.session > p_to));
    WITH joined AS (
        DELETE FROM price_coverage c
        WHERE c.symbol = p_symbol AND c."interval" = p_interval AND c.source = p_source
          AND c."from" <= v_after AND c."to" >= v_before
        RETURNING c."from", c."to"
    )
    INSERT INTO price_coverage (symbol, "interval", "from", "to", source)
    SELECT p_symbol, p_interval, least(p_from, min(j."from")), greatest(p_to, max(j."to")), p_source
    FROM joined j;
END
$$;

-- Takes days out of every range: sessions that were not known when the range was requested.
CREATE OR REPLACE FUNCTION coverage_remove(p_symbol text, p_interval text, p_days date[])
RETURNS void LANGUAGE sql AS $$
    WITH cut AS (
        DELETE FROM price_coverage c
        WHERE c.symbol = p_symbol AND c."interval" = p_interval
          AND EXISTS (SELECT FROM unnest(p_days) AS d(day) WHERE d.day BETWEEN c."from" AND c."to")
        RETURNING c."from", c."to", c.source
    )
    INSERT INTO price_coverage (symbol, "interval", "from", "to", source)
    SELECT p_symbol, p_interval, lower(left_over.days), upper(left_over.days) - 1, cut.source
    FROM cut CROSS JOIN LATERAL unnest(
        datemultirange(daterange(cut."from", cut."to", '[]'))
        - (SELECT range_agg(daterange(d.day, d.day, '[]')) FROM unnest(p_days) AS d(day))) AS left_over(days)
$$;
REVOKE ALL ON FUNCTION
    coverage_ranges(p_symbol text, p_interval text),
    coverage_span(p_symbol text, p_interval text),
    coverage_holes(p_symbol text, p_interval text, p_calendar text, p_from date, p_to date ),
    coverage_add(p_symbol text, p_interval text, p_from date, p_to date, p_source text ),
    coverage_remove(p_symbol text, p_interval text, p_days date[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/42_coverage.sql', 'c93faa629afc529e6c8e409f86abe9622dc8e225d2eba1c19de1b8687151b00a')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
