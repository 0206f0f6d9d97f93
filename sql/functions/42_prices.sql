BEGIN;
-- Storing bars, and what to fetch. Called by market/prices.py and market/backfill.py.
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

-- An empty place for COPY, made once per connection; a commit empties it too.
CREATE OR REPLACE FUNCTION bars_staging() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('pg_temp.bar_staging') IS NULL THEN
        CREATE TEMP TABLE bar_staging (
            date date NOT NULL, open double precision, high double precision, low double precision,
            close double precision NOT NULL, adjusted_close double precision, volume bigint,
            has_split boolean NOT NULL, has_dividend boolean NOT NULL
        ) ON COMMIT DELETE ROWS;
    ELSE
        DELETE FROM pg_temp.bar_staging; -- of an earlier symbol in this transaction
    END IF;
END
$$;

-- Takes over what is staged: new bars are inserted, different ones replaced and another
-- program's marked as given by us (fetched_at), equal ones not touched, in one statement. p_from, p_to: the range that the provider was asked for and
-- answered. p_rebased: the basis of the prices changed, so that a stored bar of the range
-- which the new history lacks goes away; it would stand beside bars of another basis.
-- revised counts stored closes that changed. p_payload_id: the answer that the bars were read from.
DROP FUNCTION IF EXISTS bars_merge(text, text, date, date, boolean);
CREATE OR REPLACE FUNCTION bars_merge(
    p_symbol text, p_source text, p_from date, p_to date, p_rebased boolean, p_payload_id bigint DEFAULT NULL
)
RETURNS TABLE (inserted bigint, updated bigint, revised bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    IF p_rebased THEN
        DELETE FROM market_prices p
        WHERE p.symbol = p_symbol AND p.date BETWEEN p_from AND p_to
          AND NOT EXISTS (SELECT FROM pg_temp.bar_staging s WHERE s.date = p.date);
    END IF;
    WITH fresh AS (
        SELECT s.*, p.symbol IS NULL AS is_new,
               coalesce(abs(p.close / s.close - 1) > 1e-9, false) AS is_revised
        FROM pg_temp.bar_staging b
        LEFT JOIN market_prices p ON p.symbol = p_symbol AND p.date = b.date
        LEFT JOIN (SELECT date, bool_or(kind = 'split') AS split, bool_or(kind = 'dividend') AS dividend
                   FROM corporate_actions WHERE symbol = p_symbol GROUP BY date) a ON a.date = b.date
        -- Who knows nothing of splits and dividends takes nothing from what others told of them.
        CROSS JOIN LATERAL (
            SELECT b.date, b.open, b.high, b.low, b.close,
                   coalesce(b.adjusted_close,
                            CASE WHEN NOT p_rebased AND p.fetched_at IS NOT NULL AND abs(p.close / b.close - 1) <= 0.001
                                 THEN p.adjusted_close END) AS adjusted_close,
                   b.volume, b.has_split OR coalesce(a.split, false) AS has_split,
                   b.has_dividend OR coalesce(a.dividend, false) AS has_dividend) s
        WHERE p.symbol IS NULL OR p.fetched_at IS NULL
           OR (p.open, p.high, p.low, p.close, p.adjusted_close, p.volume, p.has_split, p.has_dividend)
              IS DISTINCT FROM
              (s.open, s.high, s.low, s.close, s.adjusted_close, s.volume, s.has_split, s.has_dividend)
    ), written AS (
        INSERT INTO market_prices AS p
            (symbol, date, open, high, low, close, adjusted_close, volume, source, last_updated,
             has_split, has_dividend, is_market_open, fetched_at, created_at, updated_at, payload_id)
        SELECT p_symbol, date, open, high, low, close, adjusted_close, volume, p_source, v_now,
               has_split, has_dividend, true, v_now, v_now, v_now, p_payload_id
        FROM fresh ORDER BY date
        ON CONFLICT (symbol, date) DO UPDATE
        SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
            adjusted_close = excluded.adjusted_close, volume = excluded.volume,
            source = excluded.source, last_updated = excluded.last_updated,
            has_split = excluded.has_split, has_dividend = excluded.has_dividend,
            is_market_open = true, fetched_at = excluded.fetched_at, updated_at = excluded.updated_at,
            payload_id = excluded.payload_id
    )
    SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new),
           count(*) FILTER (WHERE is_revised)
    INTO inserted, updated, revised FROM fresh;

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
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/42_prices.sql', '52a58b5d161f3102c3be63575cad0c70e0eb71e88aed4ef748216011a27deed6')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
