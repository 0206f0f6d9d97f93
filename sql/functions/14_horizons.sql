BEGIN;
-- The horizons, their columns in prediction_outcomes, and the rule of 0.5 %. market/horizons.py has the
-- same for Python; tests/market/test_horizons.py compares the two.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Sessions after the entry, ascending.
CREATE OR REPLACE FUNCTION horizon_sessions() RETURNS integer[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{1,3,7,30}'::integer[]
$$;

-- How far a return may be from 0, in percent, where nothing moved.
CREATE OR REPLACE FUNCTION neutral_band() RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 0.5::double precision
$$;

-- Bullish: more than +0.5 %. Bearish: less than -0.5 %. Neutral: within. NULL where the
-- sentiment or the return is unknown. p_return in percent.
CREATE OR REPLACE FUNCTION outcome_correct(p_sentiment text, p_return double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_sentiment
        WHEN 'bullish' THEN p_return > public.neutral_band()
        WHEN 'bearish' THEN p_return < -public.neutral_band()
        WHEN 'neutral' THEN abs(p_return) <= public.neutral_band()
    END
$$;

-- The columns of an outcome as rows, one for each horizon.
CREATE OR REPLACE FUNCTION outcome_horizons(p_outcome prediction_outcomes)
RETURNS TABLE (horizon text, sessions integer, price double precision, return_pct double precision,
               correct boolean, pnl_usd double precision) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    VALUES ('t1', 1, p_outcome.price_t1, p_outcome.return_t1, p_outcome.correct_t1, p_outcome.pnl_t1),
           ('t3', 3, p_outcome.price_t3, p_outcome.return_t3, p_outcome.correct_t3, p_outcome.pnl_t3),
           ('t7', 7, p_outcome.price_t7, p_outcome.return_t7, p_outcome.correct_t7, p_outcome.pnl_t7),
           ('t30', 30, p_outcome.price_t30, p_outcome.return_t30, p_outcome.correct_t30, p_outcome.pnl_t30)
$$;

-- A price with which can be computed; NULL for another: zero, NaN, infinity, or so large or small that a
-- return would overflow. None of ours is stored, but another program may write into the same tables.
CREATE OR REPLACE FUNCTION usable_price(p_price double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_price > 1e-100 AND p_price < 1e100 THEN p_price END
$$;
REVOKE ALL ON FUNCTION
    horizon_sessions()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/14_horizons.sql', '195cd50c58e11ba6565fdcc47b0da0d246b41959ef1408c7d0bdc8b92e6c54b6')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
