BEGIN;
-- The cross-check: stored closes compared with those of another provider. Called by
-- market/prices/cross_check.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A sample of symbols whose bars were fetched in the last day, another one each day, with the sessions
-- to compare: the newest five of the same provider.
CREATE OR REPLACE FUNCTION cross_check_sample(p_count integer)
RETURNS TABLE (symbol text, provider_symbol text, asset_type text, calendar text, source text, days date[])
LANGUAGE sql STABLE AS $$
    SELECT r.symbol::text, coalesce(r.provider_symbol, r.symbol)::text,
           symbol_asset_type(coalesce(r.provider_symbol, r.symbol)),
           coalesce(r.calendar, symbol_calendar(r.symbol)), b.source, b.days
    FROM ticker_registry r
    CROSS JOIN LATERAL (
        SELECT n.source, array_agg(n.date ORDER BY n.date) AS days
        FROM (SELECT p.date, p.source::text AS source,
                     first_value(p.source) OVER (ORDER BY p.date DESC) AS newest
              FROM our_bars p WHERE p.symbol = r.symbol
              ORDER BY p.date DESC LIMIT 5) n
        WHERE n.source = n.newest GROUP BY n.source) b
    WHERE r.status = 'active' AND r.last_price_update > reckoner_now() - interval '1 day'
    ORDER BY md5(r.symbol || (reckoner_now() AT TIME ZONE 'UTC')::date::text), r.symbol
    LIMIT p_count
$$;

-- Compares the closes, records those that differ with both values, and deletes records of closes that
-- agree by now. Tolerance: a coin has another price on each exchange; shares differ by rounding and
-- late trades.
CREATE OR REPLACE FUNCTION cross_check(
    p_symbol text, p_other text, p_dates date[], p_closes double precision[]
)
RETURNS TABLE (compared bigint, differ bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_tolerance double precision := CASE symbol_asset_type(p_symbol) WHEN 'crypto' THEN 0.02 ELSE 0.005 END;
BEGIN
    WITH met AS (
        SELECT p.date, p.source, p.close, o.close AS other_close,
               abs(o.close / p.close - 1) > v_tolerance AS differs
        FROM unnest(p_dates, p_closes) AS o(date, close)
        JOIN our_bars p ON p.symbol = p_symbol AND p.date = o.date
        WHERE o.close > 0 AND p.source <> p_other
    ), settled AS (
        DELETE FROM provider_disagreements d USING met
        WHERE d.symbol = p_symbol AND d.other_provider = p_other AND d.date = met.date AND NOT met.differs
    ), kept AS (
        INSERT INTO provider_disagreements AS d
            (symbol, date, provider, close, other_provider, other_close)
        SELECT p_symbol, date, source, close, p_other, other_close
        FROM met WHERE differs ORDER BY date
        ON CONFLICT (symbol, date, provider, other_provider) DO UPDATE
        SET close = excluded.close, other_close = excluded.other_close, checked_at = excluded.checked_at
    )
    SELECT count(*), count(*) FILTER (WHERE differs) INTO compared, differ FROM met;
    RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION
    cross_check_sample(p_count integer),
    cross_check(p_symbol text, p_other text, p_dates date[], p_closes double precision[] )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/46_cross_check.sql', '79b5ce6405c15963acb76546cc582e821f1f1a8afbb3d566f590ac8d469ad1d1')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
