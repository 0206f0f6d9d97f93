BEGIN;
-- Storing daily bars. Called by market/prices/bars_table.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The days of a symbol that had a split or a dividend: those given with the bars, and all that are
-- stored. Splits and dividends from one provider are kept when another answers later.
CREATE OR REPLACE FUNCTION bar_marks(p_symbol text, p_splits date[], p_dividends date[])
RETURNS TABLE (date date, has_split boolean, has_dividend boolean) LANGUAGE sql STABLE AS $$
    SELECT m.date, bool_or(m.kind = 'split'), bool_or(m.kind = 'dividend')
    FROM (SELECT a.date, a.kind FROM corporate_actions a WHERE a.symbol = p_symbol
          UNION ALL SELECT unnest(p_splits), 'split'
          UNION ALL SELECT unnest(p_dividends), 'dividend') m
    GROUP BY m.date
$$;

-- The prices, with the close where there is none. Called by bars_merge().
CREATE OR REPLACE FUNCTION bars_filled(p_prices double precision[], p_closes double precision[])
RETURNS double precision[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(coalesce(u.price, u.close) ORDER BY u.n)
    FROM unnest(p_prices, p_closes) WITH ORDINALITY AS u (price, close, n)
$$;

-- Flags stored bars with the fields that were left out of them (p_fields, one text a date).
CREATE OR REPLACE FUNCTION bars_flag(p_symbol text, p_dates date[], p_fields text[]) RETURNS void
LANGUAGE sql AS $$
    UPDATE market_prices p SET bar_flags = f.fields
    FROM unnest(p_dates, p_fields) AS f (date, fields)
    WHERE p.symbol = p_symbol AND p.date = f.date AND p.bar_flags IS DISTINCT FROM f.fields
$$;

-- Stores a provider's bars for p_from to p_to: inserts new ones, replaces different ones, marks another
-- program's as ours (fetched_at), and leaves equal ones. The range becomes price coverage. A bar that
-- is replaced or deleted is kept in market_price_revisions.
--   p_payload_id           the payload that the bars were read from
--   p_rebased              the split basis changed: a stored bar of the range that is not among the new
--                          ones is deleted, because it has the old basis
--   p_dates                ascending, without duplicates; the other columns have the same length
--   p_splits, p_dividends  the days that had one
--   revised                the number of stored closes that changed
-- The plans are made once, without the arrays' lengths, perhaps on an empty table. So nested loops and
-- table scans are forbidden, which would be slow on a full table.
CREATE OR REPLACE FUNCTION bars_merge(
    p_symbol text, p_source text, p_payload_id bigint, p_from date, p_to date, p_rebased boolean,
    p_dates date[], p_opens double precision[], p_highs double precision[], p_lows double precision[],
    p_closes double precision[], p_adjusted_closes double precision[], p_volumes bigint[],
    p_splits date[], p_dividends date[]
)
RETURNS TABLE (inserted bigint, updated bigint, revised bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    v_now   timestamptz := reckoner_now();
    v_first date := least(p_from, p_dates[1]);
    v_last  date := greatest(p_to, p_dates[cardinality(p_dates)]);
    v_since date := p_dates[1]; -- the first bar that changes
    v_gone  bigint := 0;
    v_name  name;
BEGIN
    PERFORM bars_writing(p_symbol); -- before the caller fills the outcomes (42_bars_met.sql)
    -- Another program's table may demand a value: the close stands in for a price that is not known.
    FOR v_name IN SELECT a.attname FROM pg_attribute a
                  WHERE a.attrelid = 'market_prices'::regclass AND a.attnotnull
                    AND a.attname IN ('open', 'high', 'low', 'adjusted_close', 'volume') LOOP
        CASE v_name
            WHEN 'open' THEN p_opens := bars_filled(p_opens, p_closes);
            WHEN 'high' THEN p_highs := bars_filled(p_highs, p_closes);
            WHEN 'low' THEN p_lows := bars_filled(p_lows, p_closes);
            WHEN 'adjusted_close' THEN p_adjusted_closes := bars_filled(p_adjusted_closes, p_closes);
            ELSE p_volumes := ARRAY(SELECT coalesce(u.v, 0) FROM unnest(p_volumes) WITH ORDINALITY u(v, n)
                                    ORDER BY u.n);
        END CASE;
    END LOOP;
    IF NOT EXISTS (SELECT FROM market_prices WHERE symbol = p_symbol AND date BETWEEN v_first AND v_last)
       AND source_keeps_unique('market_prices', ARRAY['date', 'symbol']) THEN
        -- All are new. ON CONFLICT would cost half as much again.
        BEGIN
            INSERT INTO market_prices
                (symbol, date, open, high, low, close, adjusted_close, volume, source, last_updated,
                 has_split, has_dividend, is_market_open, fetched_at, created_at, updated_at, payload_id)
            SELECT p_symbol, b.date, b.open, b.high, b.low, b.close, b.adjusted_close, b.volume, p_source, v_now,
                   coalesce(m.has_split, false), coalesce(m.has_dividend, false), true, v_now, v_now, v_now,
                   p_payload_id
            FROM unnest(p_dates, p_opens, p_highs, p_lows, p_closes, p_adjusted_closes, p_volumes)
                 AS b (date, open, high, low, close, adjusted_close, volume)
            LEFT JOIN bar_marks(p_symbol, p_splits, p_dividends) m ON m.date = b.date
            ORDER BY b.date;
            GET DIAGNOSTICS inserted = ROW_COUNT;
            updated := 0;
            revised := 0;
        EXCEPTION WHEN unique_violation THEN
            inserted := NULL; -- another program stored one of them meanwhile: the statement below finds it
        END;
    END IF;
    IF inserted IS NULL THEN
        WITH met AS MATERIALIZED (
            SELECT coalesce(g.date, p.date) AS date, p.date IS NULL AS is_new, g.date IS NULL AS is_gone,
                   g.open, g.high, g.low, g.close, a.adjusted_close, g.volume, g.has_split, g.has_dividend,
                   p.open AS old_open, p.high AS old_high, p.low AS old_low, p.close AS old_close,
                   p.adjusted_close AS old_adjusted_close, p.volume AS old_volume,
                   p.source AS old_source, p.payload_id AS old_payload_id, p.fetched_at AS old_fetched_at
            FROM (SELECT b.*, coalesce(m.has_split, false) AS has_split,
                         coalesce(m.has_dividend, false) AS has_dividend
                  FROM unnest(p_dates, p_opens, p_highs, p_lows, p_closes, p_adjusted_closes, p_volumes)
                       AS b (date, open, high, low, close, adjusted_close, volume)
                  LEFT JOIN bar_marks(p_symbol, p_splits, p_dividends) m ON m.date = b.date) g
            FULL JOIN (SELECT * FROM market_prices
                       WHERE symbol = p_symbol AND date BETWEEN v_first AND v_last) p ON p.date = g.date
            -- Adjusted closes of another provider are kept where this one has none.
            CROSS JOIN LATERAL (
                SELECT coalesce(g.adjusted_close,
                                CASE WHEN NOT p_rebased AND p.fetched_at IS NOT NULL
                                          AND abs(p.close / g.close - 1) <= 0.001
                                     THEN p.adjusted_close END) AS adjusted_close) a
            WHERE CASE WHEN g.date IS NULL THEN p_rebased AND p.date BETWEEN p_from AND p_to
                  ELSE p.fetched_at IS NULL
                       OR (p.open, p.high, p.low, p.close, p.adjusted_close, p.volume, p.has_split, p.has_dividend)
                          IS DISTINCT FROM
                          (g.open, g.high, g.low, g.close, a.adjusted_close, g.volume, g.has_split, g.has_dividend)
                  END
        ), kept AS (
            INSERT INTO market_price_revisions
                (symbol, date, old_open, old_high, old_low, old_close, old_adjusted_close, old_volume,
                 old_source, old_payload_id, old_fetched_at, new_close, new_source, new_payload_id)
            SELECT p_symbol, date, old_open, old_high, old_low, old_close, old_adjusted_close, old_volume,
                   old_source, old_payload_id, old_fetched_at, close, p_source, p_payload_id
            FROM met
            WHERE NOT is_new
              AND (is_gone OR old_volume IS DISTINCT FROM volume
                   OR EXISTS (SELECT FROM (VALUES (old_open, open), (old_high, high), (old_low, low),
                                                  (old_close, close)) AS was (old, new)
                              WHERE was.old IS DISTINCT FROM was.new
                                AND coalesce(abs(was.old / nullif(was.new, 0) - 1) > 1e-9, true)))
            ORDER BY date
        ), gone AS (
            DELETE FROM market_prices p USING met m
            WHERE m.is_gone AND p.symbol = p_symbol AND p.date BETWEEN v_first AND v_last AND p.date = m.date
        ), written AS (
            INSERT INTO market_prices AS p
                (symbol, date, open, high, low, close, adjusted_close, volume, source, last_updated,
                 has_split, has_dividend, is_market_open, fetched_at, created_at, updated_at, payload_id)
            SELECT p_symbol, date, open, high, low, close, adjusted_close, volume, p_source, v_now,
                   has_split, has_dividend, true, v_now, v_now, v_now, p_payload_id
            FROM met WHERE NOT is_gone ORDER BY date
            ON CONFLICT (symbol, date) DO UPDATE
            SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
                adjusted_close = excluded.adjusted_close, volume = excluded.volume,
                source = excluded.source, last_updated = excluded.last_updated, bar_flags = NULL,
                has_split = excluded.has_split, has_dividend = excluded.has_dividend,
                is_market_open = true, fetched_at = excluded.fetched_at, updated_at = excluded.updated_at,
                payload_id = excluded.payload_id
        )
        SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new AND NOT is_gone),
               count(*) FILTER (WHERE abs(old_close / close - 1) > 1e-9),
               count(*) FILTER (WHERE is_gone), min(date)
        INTO inserted, updated, revised, v_gone, v_since FROM met;
    END IF;

    UPDATE ticker_registry r
    SET status = CASE WHEN r.status = 'invalid' THEN 'active' ELSE r.status END,
        status_reason = CASE WHEN r.status = 'invalid' THEN NULL ELSE r.status_reason END,
        price_data_start = f.date, price_data_end = l.date,
        total_price_records = (SELECT count(*) FROM market_prices p WHERE p.symbol = p_symbol),
        last_price_update = v_now, backfill_status = 'completed',
        backfill_error = NULL, last_backfill = v_now, updated_at = v_now
    FROM (SELECT min(date) AS date FROM market_prices WHERE symbol = p_symbol) f,
         (SELECT max(date) AS date FROM market_prices WHERE symbol = p_symbol) l
    WHERE r.symbol = p_symbol;
    PERFORM coverage_add(p_symbol, '1d', p_from, p_to, p_source);
    IF inserted + updated + v_gone > 0 THEN
        PERFORM snapshot_mark(p_symbol, v_since, 'its bars changed'); -- 43_snapshots.sql
    END IF;
    RETURN NEXT;
END
$$;

-- A ticker's stored bars: how many, of which dates and sources, and how its last fetch ended.
CREATE OR REPLACE VIEW price_stats AS
SELECT r.symbol, r.status, r.asset_type, coalesce(r.calendar, symbol_calendar(r.symbol)) AS calendar,
       p.bars, p.first_bar, p.last_bar, p.sources, p.splits, p.dividends,
       p.last_close, r.last_price_update, r.backfill_status, r.backfill_error
FROM ticker_registry r
LEFT JOIN LATERAL (
    SELECT count(*) AS bars, min(date) AS first_bar, max(date) AS last_bar,
           string_agg(DISTINCT source, ',') AS sources,
           count(*) FILTER (WHERE has_split) AS splits,
           count(*) FILTER (WHERE has_dividend) AS dividends,
           (array_agg(close ORDER BY date DESC))[1] AS last_close
    FROM market_prices WHERE market_prices.symbol = r.symbol
) p ON true;
REVOKE ALL ON FUNCTION
    bar_marks(p_symbol text, p_splits date[], p_dividends date[]),
    bars_filled(p_prices double precision[], p_closes double precision[]),
    bars_flag(p_symbol text, p_dates date[], p_fields text[]),
    bars_merge(p_symbol text, p_source text, p_payload_id bigint, p_from date, p_to date, p_rebased boolean, p_dates date[], p_opens double precision[], p_highs double precision[], p_lows double precision[], p_closes double precision[], p_adjusted_closes double precision[], p_volumes bigint[], p_splits date[], p_dividends date[] )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/42_prices.sql', '5c202d6d10219950972357043eb4f7a9926b93a6daed3cab0c142a34d555eefd')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
