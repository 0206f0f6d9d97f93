BEGIN;
-- Storing bars, and what to fetch. Called by market/prices/storage.py and market/prices/backfill.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- What a fetch for this symbol has to bring: one range of sessions that holds
--   the history before the earliest moment that needs it (p_backfill_days calendar days),
--   the sessions since the last answer,
--   those that an open outcome needs and no bar was there for,
--   and what jobs are owed (62_jobs.sql).
-- p_from: a person wants everything since that date. The range always joins what providers
-- answered for before, so that fetched_from .. fetched_to never claims a hole.
-- fetch_from is NULL when nothing is missing. last_bar: the last bar that a provider of ours
-- gave, or where there is none the last that another program stored.
-- fetch_to is NULL when the calendar has no sessions yet.
-- Notes in the registry that work is going on, and what symbol_rules says of the ticker.
DROP FUNCTION IF EXISTS ticker_plan(text, integer, boolean, date);
CREATE OR REPLACE FUNCTION ticker_plan(
    p_symbol text, p_backfill_days integer, p_refetch boolean, p_from date DEFAULT NULL
)
RETURNS TABLE (symbol text, provider_symbol text, asset_type text, calendar text, status text,
               fetch_from date, fetch_to date, asked_from date, asked_to date,
               first_bar date, last_bar date)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_registry ticker_registry;
    v_rule     record;
    v_calendar text;
    v_last     market_sessions;
    v_want     date;
    v_gap      date;
    v_owed     date;
    v_from     date;
BEGIN
    SELECT * INTO v_registry FROM ticker_registry r WHERE r.symbol = p_symbol;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_calendar := coalesce(v_registry.calendar, symbol_calendar(p_symbol));
    SELECT r.provider_symbol, r.calendar INTO v_rule FROM symbol_rule(p_symbol) r;
    IF v_registry.provider_symbol IS NULL THEN
        -- A rule that came after the ticker; a calendar that is not the default was chosen.
        v_registry.provider_symbol := v_rule.provider_symbol;
        IF v_calendar IN ('XNYS', '24/7') THEN
            v_calendar := coalesce(v_rule.calendar, v_calendar);
        END IF;
    END IF;
    v_last := session_last_settled(v_calendar);
    SELECT min(o.prediction_date) INTO v_want FROM prediction_outcomes o
    WHERE o.symbol = p_symbol AND o.entry_session IS NOT NULL;
    v_want := coalesce(least(v_want, v_registry.fetched_from + p_backfill_days),
                       (reckoner_now() AT TIME ZONE 'UTC')::date) - p_backfill_days;
    -- An outcome that waits for a session that should have a bar by now.
    SELECT min(s.session) INTO v_gap
    FROM prediction_outcomes o
    JOIN market_sessions e ON e.calendar = v_calendar AND e.session = o.entry_session
    JOIN market_sessions s ON s.calendar = v_calendar AND s.session <= v_last.session
                          AND s.ordinal IN (e.ordinal, e.ordinal + 1, e.ordinal + 3,
                                            e.ordinal + 7, e.ordinal + 30)
    WHERE o.symbol = p_symbol AND o.outcome_state IN ('awaiting_prices', 'maturing')
      AND s.ordinal > v_last.ordinal - 10
      AND NOT EXISTS (SELECT FROM market_prices p WHERE p.symbol = p_symbol AND p.date = s.session
                      AND p.fetched_at IS NOT NULL);
    v_from := CASE
        WHEN p_from IS NOT NULL THEN least(p_from, v_registry.fetched_to + 1)
        WHEN p_refetch OR v_registry.fetched_from IS NULL OR v_want < v_registry.fetched_from THEN v_want
        ELSE least(v_gap, CASE WHEN v_registry.fetched_to < v_last.session
                               THEN v_registry.fetched_to + 1 END)
    END;
    SELECT min(s.want_from) INTO v_owed FROM price_job_symbols s WHERE s.symbol = p_symbol AND s.state = 'open';
    IF v_owed IS NOT NULL THEN
        v_from := least(v_from, v_owed, v_registry.fetched_to + 1);
    END IF;
    IF v_from > v_last.session THEN
        v_from := NULL;
    END IF;
    IF v_from IS NOT NULL THEN
        UPDATE ticker_registry r
        SET backfill_status = 'in_progress', calendar = v_calendar,
            provider_symbol = v_registry.provider_symbol, updated_at = reckoner_now()
        WHERE r.symbol = p_symbol;
    END IF;
    RETURN QUERY SELECT
        p_symbol, coalesce(v_registry.provider_symbol, p_symbol)::text,
        symbol_asset_type(coalesce(v_registry.provider_symbol, p_symbol)), v_calendar,
        v_registry.status::text, v_from, v_last.session,
        v_registry.fetched_from, v_registry.fetched_to,
        (SELECT min(p.date) FROM market_prices p WHERE p.symbol = p_symbol),
        (SELECT coalesce(max(p.date) FILTER (WHERE p.fetched_at IS NOT NULL), max(p.date))
         FROM market_prices p WHERE p.symbol = p_symbol);
END
$$;

-- Whether stored closes disagree with fetched ones by more than rounding: then the basis
-- changed (a split, a restatement) and bars of the two must not stand side by side. What
-- another program stored counts only where no provider of ours gave a bar for these days.
CREATE OR REPLACE FUNCTION bars_basis_changed(p_symbol text, p_dates date[], p_closes double precision[])
RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH met AS (
        SELECT abs(p.close / f.close - 1) > 0.001 AS differs, p.fetched_at IS NOT NULL AS is_ours
        FROM unnest(p_dates, p_closes) AS f(date, close)
        JOIN market_prices p ON p.symbol = p_symbol AND p.date = f.date
    )
    SELECT coalesce(bool_or(differs) FILTER (WHERE is_ours), bool_or(differs), false) FROM met
$$;

-- The days of a symbol that had a split or a dividend: those told with the bars, and all that are
-- known. Who knows nothing of them takes nothing from what others told.
CREATE OR REPLACE FUNCTION bar_marks(p_symbol text, p_splits date[], p_dividends date[])
RETURNS TABLE (date date, has_split boolean, has_dividend boolean) LANGUAGE sql STABLE AS $$
    SELECT m.date, bool_or(m.kind = 'split'), bool_or(m.kind = 'dividend')
    FROM (SELECT a.date, a.kind FROM corporate_actions a WHERE a.symbol = p_symbol
          UNION ALL SELECT unnest(p_splits), 'split'
          UNION ALL SELECT unnest(p_dividends), 'dividend') m
    GROUP BY m.date
$$;

-- Takes over what a provider told of p_from to p_to: new bars are inserted, different ones
-- replaced, another program's marked as given by us (fetched_at), equal ones not touched.
-- p_dates is ascending, a date once; the other columns are as long. p_splits, p_dividends: the
-- days that had one. p_rebased: the basis of the prices changed, so that a stored bar of the range
-- which the new history lacks goes away; it would stand beside bars of another basis. What is
-- replaced or goes away is kept in market_price_revisions. p_payload_id: the answer that the bars
-- were read from. revised counts stored closes that changed.
-- Plans are made once, by one who knows nothing of the arrays' lengths, perhaps on an empty table:
-- so no loops in loops, and no scan of what the table will have become.
DROP FUNCTION IF EXISTS bars_staging();
DROP FUNCTION IF EXISTS bars_merge(text, text, date, date, boolean);
DROP FUNCTION IF EXISTS bars_merge(text, text, date, date, boolean, bigint);
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
BEGIN
    IF NOT EXISTS (SELECT FROM market_prices WHERE symbol = p_symbol AND date BETWEEN v_first AND v_last)
       AND source_keeps_unique('market_prices', ARRAY['date', 'symbol']) THEN
        -- All are new. ON CONFLICT would cost the server half as much again.
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
            inserted := NULL; -- another program stored one of them meanwhile, and now we see it
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
            -- Nor does he forget the adjusted closes that others told.
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
                 old_source, old_payload_id, old_fetched_at, new_close, new_source, new_payload_id, replaced_at)
            SELECT p_symbol, date, old_open, old_high, old_low, old_close, old_adjusted_close, old_volume,
                   old_source, old_payload_id, old_fetched_at, close, p_source, p_payload_id, v_now
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
                source = excluded.source, last_updated = excluded.last_updated,
                has_split = excluded.has_split, has_dividend = excluded.has_dividend,
                is_market_open = true, fetched_at = excluded.fetched_at, updated_at = excluded.updated_at,
                payload_id = excluded.payload_id
        )
        SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new AND NOT is_gone),
               count(*) FILTER (WHERE abs(old_close / close - 1) > 1e-9)
        INTO inserted, updated, revised FROM met;
    END IF;

    UPDATE ticker_registry r
    SET status = CASE WHEN r.status = 'invalid' THEN 'active' ELSE r.status END,
        status_reason = CASE WHEN r.status = 'invalid' THEN NULL ELSE r.status_reason END,
        price_data_start = f.date, price_data_end = l.date,
        total_price_records = (SELECT count(*) FROM market_prices p WHERE p.symbol = p_symbol),
        last_price_update = v_now, fetched_from = least(r.fetched_from, p_from),
        fetched_to = greatest(r.fetched_to, p_to), backfill_status = 'completed',
        backfill_error = NULL, last_backfill = v_now, updated_at = v_now
    FROM (SELECT min(date) AS date FROM market_prices WHERE symbol = p_symbol) f,
         (SELECT max(date) AS date FROM market_prices WHERE symbol = p_symbol) l
    WHERE r.symbol = p_symbol;
    RETURN NEXT;
END
$$;

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
    ticker_plan(p_symbol text, p_backfill_days integer, p_refetch boolean, p_from date),
    bars_basis_changed(p_symbol text, p_dates date[], p_closes double precision[]),
    bar_marks(p_symbol text, p_splits date[], p_dividends date[]),
    bars_merge(p_symbol text, p_source text, p_payload_id bigint, p_from date, p_to date, p_rebased boolean, p_dates date[], p_opens double precision[], p_highs double precision[], p_lows double precision[], p_closes double precision[], p_adjusted_closes double precision[], p_volumes bigint[], p_splits date[], p_dividends date[] )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/42_prices.sql', '6509ca9f569ba50b09bb735d0a5f7347ad44d03f2c8f1fd2833ba1d47c1a592a')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
