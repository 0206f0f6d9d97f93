BEGIN;
-- Snapshots: a symbol's indicators, computed in Python from its bars (market/snapshots/), stored here.
--
-- A snapshot is never of other bars than those stored, unless market_snapshot_due says so. A store
-- computes it before its transaction, from the bars as they will be, while it holds no lock:
--
--   store                                            another store of the symbol
--   1. snapshot_bars_after(), compute
--   2. bars_merge(): writes bars, then the due row   a. bars_merge(): writes bars
--   3. snapshot_store(): compares the digests,       b. waits for the due row
--      writes the snapshot, deletes the due row
--   4. commit                                        c. compares with the bars of both
--
-- Each transaction writes its bars before it has the due row, and compares in a later statement, which sees
-- what was committed before. So the one that is last compares with the bars of all. Where the digests
-- differ the due row stays, and the sweep computes the snapshot. Bars that no function of ours changed
-- are found by snapshots_walk(). Of the benchmark's bars the same is true, but for a revision that commits
-- between 1 and 4: the walk finds it.
--
-- Only bars of ours count, because another program's may be adjusted in another way.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A digest of what indicators are computed from: a symbol's bars until p_until (NULL: all). NULL without
-- bars. 0.6 ms for 2,500 bars. Hashes may differ between versions of PostgreSQL: after an upgrade the walk
-- finds each snapshot once.
CREATE OR REPLACE FUNCTION bars_digest(p_symbol text, p_until date DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT bit_xor(hash_record_extended(ROW(p.date, p.open::float8, p.high::float8, p.low::float8,
                                                    p.close::float8, p.volume::bigint), 0))
            FROM market_prices p
            WHERE p.symbol = p_symbol AND p.fetched_at IS NOT NULL AND p.date <= coalesce(p_until, 'infinity'));
END
$$;

-- The bars of symbols in the form that numpy reads: each column a string of big-endian numbers, ascending by
-- date. dates: days since 2000-01-01, four bytes each; the others doubles, NaN for NULL. digest:
-- bars_digest(). Strings, because an array costs twice as much to build and ten times to read.
CREATE OR REPLACE FUNCTION snapshot_bars(p_symbols text[], p_until date DEFAULT NULL)
RETURNS TABLE (symbol text, bars integer, digest bigint, dates bytea, opens bytea, highs bytea, lows bytea,
               closes bytea, volumes bytea)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT n.symbol, b.* FROM unnest(p_symbols) AS n(symbol)
    CROSS JOIN LATERAL (
        SELECT count(*)::integer, bit_xor(hash_record_extended(ROW(o.date, o.open, o.high, o.low, o.close, o.volume), 0)),
               string_agg(int4send(o.date - '2000-01-01'), ''), string_agg(float8send(coalesce(o.open, 'NaN')), ''),
               string_agg(float8send(coalesce(o.high, 'NaN')), ''), string_agg(float8send(coalesce(o.low, 'NaN')), ''),
               string_agg(float8send(o.close), ''), string_agg(float8send(coalesce(o.volume, 'NaN'::float8)), '')
        FROM (SELECT p.date, p.open::float8 AS open, p.high::float8 AS high, p.low::float8 AS low,
                     p.close::float8 AS close, p.volume::bigint AS volume
              FROM market_prices p
              WHERE p.symbol = n.symbol AND p.fetched_at IS NOT NULL
                AND p.date <= coalesce(p_until, 'infinity')
              ORDER BY p.date) o) b;
END
$$;

-- The same of one symbol as bars_merge() with these arguments will leave it (42_prices.sql). Reads only.
CREATE OR REPLACE FUNCTION snapshot_bars_after(
    p_symbol text, p_from date, p_to date, p_rebased boolean, p_dates date[], p_opens double precision[],
    p_highs double precision[], p_lows double precision[], p_closes double precision[], p_volumes bigint[]
)
RETURNS TABLE (symbol text, bars integer, digest bigint, dates bytea, opens bytea, highs bytea, lows bytea,
               closes bytea, volumes bytea)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY
    SELECT p_symbol, count(*)::integer, bit_xor(hash_record_extended(ROW(o.date, o.open, o.high, o.low, o.close, o.volume), 0)),
           string_agg(int4send(o.date - '2000-01-01'), ''), string_agg(float8send(coalesce(o.open, 'NaN')), ''),
           string_agg(float8send(coalesce(o.high, 'NaN')), ''), string_agg(float8send(coalesce(o.low, 'NaN')), ''),
           string_agg(float8send(o.close), ''), string_agg(float8send(coalesce(o.volume, 'NaN'::float8)), '')
    FROM (SELECT p.date, p.open::float8 AS open, p.high::float8 AS high, p.low::float8 AS low,
                 p.close::float8 AS close, p.volume::bigint AS volume
          FROM market_prices p
          WHERE p.symbol = p_symbol AND p.fetched_at IS NOT NULL
            AND NOT (p_rebased AND p.date BETWEEN p_from AND p_to)
            AND NOT EXISTS (SELECT FROM unnest(p_dates) AS g(date) WHERE g.date = p.date)
          UNION ALL
          SELECT * FROM unnest(p_dates, p_opens, p_highs, p_lows, p_closes, p_volumes)
          ORDER BY 1) o;
END
$$;

-- Marks snapshots as due: that of a symbol whose bars changed from p_since on, and those that compare with
-- it. The last statement about bars of a transaction: it takes the lock of these symbols, in their order,
-- because a refresh takes many too.
CREATE OR REPLACE FUNCTION snapshot_mark(p_symbol text, p_since date, p_reason text) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO market_snapshot_due AS d (symbol, since, reason)
    SELECT m.symbol, reckoner_now(),
           CASE m.symbol WHEN p_symbol THEN p_reason ELSE format('the bars of %s changed', p_symbol) END
    FROM (SELECT p_symbol AS symbol
          UNION SELECT s.symbol FROM market_snapshot s
          WHERE s.benchmark = p_symbol AND s.as_of_date >= p_since) m
    ORDER BY m.symbol
    ON CONFLICT (symbol) DO UPDATE SET reason = excluded.reason, not_before = '-infinity';
END
$$;

-- Marks all snapshots of symbols that have bars of ours, or these. Returns how many.
CREATE OR REPLACE FUNCTION snapshots_mark_all(p_symbols text[], p_reason text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_marked bigint;
BEGIN
    INSERT INTO market_snapshot_due AS d (symbol, since, reason)
    SELECT r.symbol, reckoner_now(), p_reason FROM ticker_registry r
    WHERE (p_symbols IS NULL OR r.symbol = ANY (p_symbols))
      AND EXISTS (SELECT FROM our_bars b WHERE b.symbol = r.symbol)
    ORDER BY r.symbol
    ON CONFLICT (symbol) DO UPDATE SET reason = excluded.reason, not_before = '-infinity';
    GET DIAGNOSTICS v_marked = ROW_COUNT;
    RETURN v_marked;
END
$$;

-- Whether a snapshot was computed before the next bar could be stored, so that it is what was known on its
-- day. A backfill of a ticker that was delisted long ago is not, nor is a refresh during a halt.
CREATE OR REPLACE FUNCTION snapshot_timely(p_as_of timestamptz, p_computed timestamptz, p_expiry timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_computed < coalesce(p_expiry, p_as_of + interval '1 day')
$$;

-- Stores snapshots, an array of objects whose keys are columns of market_snapshot. Each has symbol and
-- bars_digest; without bars it has no more, and the symbol's snapshot goes. A snapshot of bars that are
-- not those stored is left out and its symbol stays due. A snapshot that is replaced by one of another day,
-- or by one that comes too late for its day, is kept in the history: it is what was known. An error costs the caller nothing but the snapshots: outcomes
-- do not wait for them. Returns the symbols, whether each was stored, and why not.
CREATE OR REPLACE FUNCTION snapshot_store(p_rows jsonb) RETURNS TABLE (symbol text, stored boolean, reason text)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_symbols text[] := ARRAY(SELECT e ->> 'symbol' FROM jsonb_array_elements(p_rows) e ORDER BY 1);
    v_good    text[];
    v_error   text;
BEGIN
    -- Takes the lock, also where the bars did not change.
    INSERT INTO market_snapshot_due AS d (symbol, since, reason)
    SELECT n, reckoner_now(), 'it is being computed' FROM unnest(v_symbols) AS n ORDER BY n
    ON CONFLICT (symbol) DO UPDATE SET since = d.since;
    BEGIN
        v_good := ARRAY(
            SELECT e ->> 'symbol' FROM jsonb_array_elements(p_rows) e
            WHERE bars_digest(e ->> 'symbol') IS NOT DISTINCT FROM (e ->> 'bars_digest')::bigint
              AND NOT EXISTS (SELECT FROM our_bars o WHERE o.symbol = e ->> 'benchmark'
                              AND o.date > coalesce((e ->> 'benchmark_as_of')::date, '-infinity')
                              AND o.date <= (e ->> 'as_of_date')::date));
        INSERT INTO market_snapshot_history
        SELECT reckoner_now(), s.* FROM market_snapshot s
        JOIN jsonb_array_elements(p_rows) e ON s.symbol = e ->> 'symbol'
        WHERE s.symbol = ANY (v_good) AND snapshot_timely(s.as_of_timestamp, s.analysis_timestamp, s.expiry_timestamp)
          AND (s.as_of_date IS DISTINCT FROM (e ->> 'as_of_date')::date
               OR NOT snapshot_timely(s.as_of_timestamp, reckoner_now(), s.expiry_timestamp))
        ON CONFLICT DO NOTHING;
        DELETE FROM market_snapshot s WHERE s.symbol = ANY (v_good);
        INSERT INTO market_snapshot
        SELECT f.*
        FROM jsonb_array_elements(p_rows) e
        CROSS JOIN LATERAL snapshot_facts(e ->> 'symbol', (e ->> 'as_of_date')::date) c
        CROSS JOIN LATERAL jsonb_populate_record(NULL::market_snapshot, e || to_jsonb(c)) f
        WHERE f.symbol = ANY (v_good) AND e ? 'current_price';
        DELETE FROM market_snapshot_due d WHERE d.symbol = ANY (v_good);
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
            RAISE;
        WHEN OTHERS THEN
            v_error := one_line(SQLERRM);
            v_good := '{}';
            UPDATE market_snapshot_due d SET reason = v_error, not_before = reckoner_now() + interval '1 hour'
            WHERE d.symbol = ANY (v_symbols);
    END;
    RETURN QUERY SELECT n, n = ANY (v_good),
                        CASE WHEN n <> ALL (v_good) THEN coalesce(v_error, 'its bars changed meanwhile') END
                 FROM unnest(v_symbols) AS n;
END
$$;

-- Notes why a symbol's snapshot could not be computed; the sweep tries again an hour later.
CREATE OR REPLACE FUNCTION snapshot_failed(p_symbol text, p_reason text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO market_snapshot_due (symbol, since, reason, not_before)
    VALUES (p_symbol, reckoner_now(), one_line(p_reason), reckoner_now() + interval '1 hour')
    ON CONFLICT (symbol) DO UPDATE SET reason = excluded.reason, not_before = excluded.not_before
$$;

-- What a snapshot says that bars do not: when its session closed, when the next bar can be stored, and
-- the company, from the index that has or last had it, else from columns that another program's registry
-- may have.
CREATE OR REPLACE FUNCTION snapshot_facts(p_symbol text, p_as_of date)
RETURNS TABLE (analysis_type text, as_of_timestamp timestamptz, analysis_timestamp timestamptz,
               expiry_timestamp timestamptz, name text, sector text, industry text, market_cap double precision)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY
    SELECT 'technical_snapshot', coalesce(s.closes_at, (p_as_of + 1)::timestamp AT TIME ZONE 'UTC'), reckoner_now(),
           (SELECT n.closes_at + session_settling(c.calendar) FROM market_sessions n
            WHERE n.calendar = c.calendar AND n.closes_at > s.closes_at ORDER BY n.closes_at LIMIT 1),
           left(coalesce(m.name, j.row ->> 'company_name'), 255), left(coalesce(m.sector, j.row ->> 'sector'), 255),
           left(coalesce(m.industry, j.row ->> 'industry'), 255),
           CASE WHEN jsonb_typeof(j.row -> 'market_cap') = 'number' THEN (j.row ->> 'market_cap')::float8 END
    FROM (SELECT p_symbol AS symbol) n
    LEFT JOIN ticker_registry r ON r.symbol = n.symbol
    CROSS JOIN LATERAL (SELECT coalesce(r.calendar, symbol_calendar(n.symbol)) AS calendar) c
    CROSS JOIN LATERAL (SELECT to_jsonb(r) AS row) j
    LEFT JOIN market_sessions s ON s.calendar = c.calendar AND s.session = p_as_of
    LEFT JOIN LATERAL (SELECT i.name, i.sector, i.industry FROM index_constituents i
                       WHERE i.symbol = n.symbol ORDER BY i.is_active DESC, i.last_seen_at DESC, i.index_name
                       LIMIT 1) m ON true;
END
$$;

-- Finds snapshots that are not of the stored bars, and symbols with bars and no snapshot, and marks them as
-- due: after an UPDATE of market_prices by hand, a restore, a new version of the indicators or another
-- benchmark. p_engine: the version; NULL: not compared. Compares p_span symbols a call, in their order, and then begins anew; 0.6 ms each with
-- 2,500 bars. Returns how many it marked.
CREATE OR REPLACE FUNCTION snapshots_walk(p_span integer, p_engine text, p_benchmark text) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_cursor  text := (SELECT snapshots_cursor FROM reckoner_installation);
    v_symbols text[];
    v_marked  bigint;
BEGIN
    v_symbols := ARRAY(
        SELECT n.symbol FROM (
            (SELECT r.symbol::text FROM ticker_registry r WHERE r.symbol > v_cursor ORDER BY r.symbol LIMIT p_span)
            UNION
            (SELECT s.symbol::text FROM market_snapshot s WHERE s.symbol > v_cursor ORDER BY s.symbol LIMIT p_span)) n
        ORDER BY n.symbol LIMIT p_span);
    UPDATE reckoner_installation
    SET snapshots_cursor = CASE WHEN cardinality(v_symbols) < p_span THEN '' ELSE v_symbols[p_span] END
    WHERE v_symbols <> '{}' OR snapshots_cursor <> '';
    WITH known AS MATERIALIZED (
        SELECT n AS symbol, s.bars_digest, s.engine_version, s.as_of_date, s.benchmark, s.benchmark_as_of,
               s.benchmark_digest, bars_digest(n) AS stored
        FROM unnest(v_symbols) AS n LEFT JOIN market_snapshot s ON s.symbol = n
        WHERE NOT EXISTS (SELECT FROM market_snapshot_due d WHERE d.symbol = n)
    ), benchmarks AS MATERIALIZED (
        SELECT b.*, bars_digest(b.benchmark, b.benchmark_as_of) AS stored
        FROM (SELECT DISTINCT k.benchmark, k.benchmark_as_of FROM known k WHERE k.benchmark_as_of IS NOT NULL) b
    )
    INSERT INTO market_snapshot_due (symbol, since, reason)
    SELECT k.symbol, reckoner_now(),
           CASE WHEN k.bars_digest IS NULL THEN 'it has bars and no snapshot'
                WHEN k.stored IS DISTINCT FROM k.bars_digest THEN 'it is of other bars than those stored'
                WHEN k.engine_version <> p_engine THEN 'it is of another version of the indicators'
                ELSE 'it compares with other bars of the benchmark' END
    FROM known k
    LEFT JOIN benchmarks b ON b.benchmark = k.benchmark AND b.benchmark_as_of = k.benchmark_as_of
    WHERE k.stored IS DISTINCT FROM k.bars_digest
       OR k.engine_version <> p_engine
       OR (k.bars_digest IS NOT NULL AND k.benchmark IS DISTINCT FROM p_benchmark)
       OR k.benchmark_digest IS DISTINCT FROM b.stored
       OR EXISTS (SELECT FROM our_bars o WHERE o.symbol = k.benchmark AND o.date <= k.as_of_date
                  AND o.date > coalesce(k.benchmark_as_of, '-infinity'))
    ORDER BY k.symbol
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_marked = ROW_COUNT;
    RETURN v_marked;
END
$$;

-- Symbols whose snapshot is to be computed now, the longest due first.
CREATE OR REPLACE FUNCTION snapshots_due(p_limit integer) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT d.symbol::text FROM market_snapshot_due d WHERE d.not_before <= reckoner_now()
    ORDER BY d.since, d.symbol LIMIT p_limit
$$;

-- Records snapshots in the history: of the day p_as_of, or each of its own day (NULL). A day that has a row
-- keeps it, and only what was computed in time is recorded. One row for each day with something to say, and
-- always for p_as_of.
--   recorded, already  snapshots of the day; those that were in the history before
--   due                are not recorded: their bars changed, and the sweep computes them first
--   never              symbols with a bar of p_as_of and neither: their snapshot of that day was never
--                      computed, or later, and what was known then is not computed afterwards
CREATE OR REPLACE FUNCTION snapshot_history_record(p_as_of date DEFAULT NULL)
RETURNS TABLE (as_of date, recorded bigint, already bigint, due bigint, never bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH found AS MATERIALIZED (
        SELECT s.symbol, s.analysis_type, s.as_of_date,
               EXISTS (SELECT FROM market_snapshot_due d WHERE d.symbol = s.symbol) AS is_due,
               EXISTS (SELECT FROM market_snapshot_history h WHERE h.symbol = s.symbol
                       AND h.analysis_type = s.analysis_type AND h.as_of_date = s.as_of_date) AS is_there
        FROM market_snapshot s
        WHERE (p_as_of IS NULL OR s.as_of_date = p_as_of)
          AND snapshot_timely(s.as_of_timestamp, s.analysis_timestamp, s.expiry_timestamp)
    ), added AS (
        INSERT INTO market_snapshot_history
        SELECT reckoner_now(), s.* FROM market_snapshot s JOIN found f USING (symbol, analysis_type, as_of_date)
        WHERE NOT f.is_due AND NOT f.is_there
        ORDER BY s.symbol
        ON CONFLICT DO NOTHING
        RETURNING as_of_date
    ), counted AS (
        SELECT f.as_of_date, count(*) FILTER (WHERE f.is_there) AS already,
               count(*) FILTER (WHERE f.is_due AND NOT f.is_there) AS due
        FROM found f GROUP BY f.as_of_date
    )
    SELECT coalesce(c.as_of_date, p_as_of), coalesce(a.recorded, 0),
           CASE WHEN p_as_of IS NULL THEN coalesce(c.already, 0)
                ELSE (SELECT count(*) FROM market_snapshot_history h WHERE h.as_of_date = p_as_of) END,
           coalesce(c.due, 0),
           CASE WHEN p_as_of IS NULL THEN 0
                ELSE (SELECT count(*) FROM ticker_registry r
                      WHERE EXISTS (SELECT FROM our_bars b WHERE b.symbol = r.symbol AND b.date = p_as_of)
                        AND NOT EXISTS (SELECT FROM market_snapshot_history h
                                        WHERE h.symbol = r.symbol AND h.as_of_date = p_as_of)
                        AND NOT EXISTS (SELECT FROM found f WHERE f.symbol = r.symbol)) END
    FROM counted c
    FULL JOIN (SELECT p_as_of AS as_of_date WHERE p_as_of IS NOT NULL) w USING (as_of_date)
    LEFT JOIN (SELECT as_of_date, count(*) AS recorded FROM added GROUP BY as_of_date) a USING (as_of_date)
    WHERE p_as_of IS NOT NULL OR a.recorded > 0 OR c.due > 0
    ORDER BY 1 DESC;
END
$$;

-- Deletes history of days more than p_days ago, at most p_limit rows a call, the oldest first. Returns how
-- many. The only way to delete: snapshot_history_guard() refuses all others.
CREATE OR REPLACE FUNCTION snapshot_history_prune(p_days integer, p_limit integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_pruned bigint;
BEGIN
    IF p_days < 1 THEN
        RETURN 0; -- keep all
    END IF;
    DELETE FROM market_snapshot_history WHERE ctid = ANY (ARRAY(
        SELECT h.ctid FROM market_snapshot_history h
        WHERE h.as_of_date < (reckoner_now() AT TIME ZONE 'UTC')::date - p_days
        ORDER BY h.as_of_date LIMIT p_limit));
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    RETURN v_pruned;
END
$$;

-- The trigger by which history is only inserted, by its owner too. It asks the call stack, which no session
-- can set: a setting would be one SET away from an accident.
CREATE OR REPLACE FUNCTION snapshot_history_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_stack text;
BEGIN
    GET DIAGNOSTICS v_stack = PG_CONTEXT;
    IF TG_OP = 'DELETE' AND v_stack ~ 'PL/pgSQL function (public\.)?snapshot_history_prune\(integer,integer\)' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of market_snapshot_history is refused: it says what was known on a day', TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'SELECT snapshot_history_prune(days) deletes rows that are older than so many days.';
END
$$;

-- All indicators of a snapshot's row as one object, with what raw_analysis adds. Called by the views below.
CREATE OR REPLACE FUNCTION snapshot_values(p_row jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (p_row OPERATOR(pg_catalog.-)
            '{recorded_at,symbol,analysis_type,as_of_date,as_of_timestamp,analysis_timestamp,expiry_timestamp,'
            'current_price,bars,bars_digest,benchmark,benchmark_as_of,benchmark_digest,engine_version,name,sector,'
            'industry,market_cap,raw_analysis}'::pg_catalog.text[])
           OPERATOR(pg_catalog.||) (p_row OPERATOR(pg_catalog.->) 'raw_analysis')
$$;

-- raw_analysis: all indicators as one object. expiry_timestamp: in the past from the moment on at which its
-- bars changed; is_due, due_reason: whether they did, and how.
CREATE OR REPLACE VIEW market_analysis_cache AS
SELECT s.symbol::text AS symbol, s.analysis_type, s.current_price, s.as_of_timestamp, s.analysis_timestamp,
       least(s.expiry_timestamp, d.since) AS expiry_timestamp, d.symbol IS NOT NULL AS is_due,
       d.reason AS due_reason, s.as_of_date, s.bars, s.benchmark, s.benchmark_as_of, s.name, s.sector, s.industry, s.market_cap,
       snapshot_values(to_jsonb(s)) AS raw_analysis, s.engine_version,
       s.sma_5, s.sma_8, s.sma_10, s.sma_14, s.sma_20, s.sma_21, s.sma_50, s.sma_100, s.sma_150, s.sma_200,
       s.ema_8, s.ema_10, s.ema_21, s.ema_200, s.rsi, s.atr_value, s.atr_percent, s.atr_distance, s.adx,
       s.plus_di, s.minus_di, s.macd, s.macd_signal, s.macd_histogram, s.perf_1d, s.perf_3d, s.perf_5d,
       s.perf_20d, s.perf_60d, s.perf_120d, s.perf_252d, s.perf_mtd, s.perf_qtd, s.perf_ytd,
       s.pct_dist_ema8, s.pct_dist_ema21, s.pct_dist_ema200, s.atr_dist_ema8, s.atr_dist_ema21,
       s.atr_dist_ema200, s.range_pos_20d, s.range_pos_50d, s.range_pos_52w, s.ma_aligned, s.ma_bucket,
       s.td_buy_setup, s.td_sell_setup, s.td_buy_complete, s.td_sell_complete, s.td_perfect_buy,
       s.td_perfect_sell, s.td_buy_countdown, s.td_sell_countdown, s.gaps_unfilled_up,
       s.gaps_unfilled_down, s.trend_up_count, s.trend_down_count, s.stage_label, s.stage_slope_pct,
       s.stage_dist_pct, s.rs_mansfield_pct, s.volatility_level, s.volatility_percentile,
       s.volatility_trend
FROM market_snapshot s LEFT JOIN market_snapshot_due d ON d.symbol = s.symbol;
COMMENT ON VIEW market_analysis_cache IS 'market_snapshot under the name that other programs read.';

-- What was known on each day. recorded_at: when the row was written; analysis_timestamp: when it was computed.
CREATE OR REPLACE VIEW market_analysis_history AS
SELECT h.symbol::text AS symbol, h.analysis_type, h.as_of_date, h.recorded_at, h.current_price, h.as_of_timestamp,
       h.analysis_timestamp, h.expiry_timestamp, h.bars, h.benchmark, h.benchmark_as_of, h.name, h.sector, h.industry, h.market_cap,
       snapshot_values(to_jsonb(h)) AS raw_analysis, h.engine_version,
       h.sma_5, h.sma_8, h.sma_10, h.sma_14, h.sma_20, h.sma_21, h.sma_50, h.sma_100, h.sma_150, h.sma_200,
       h.ema_8, h.ema_10, h.ema_21, h.ema_200, h.rsi, h.atr_value, h.atr_percent, h.atr_distance, h.adx,
       h.plus_di, h.minus_di, h.macd, h.macd_signal, h.macd_histogram, h.perf_1d, h.perf_3d, h.perf_5d,
       h.perf_20d, h.perf_60d, h.perf_120d, h.perf_252d, h.perf_mtd, h.perf_qtd, h.perf_ytd,
       h.pct_dist_ema8, h.pct_dist_ema21, h.pct_dist_ema200, h.atr_dist_ema8, h.atr_dist_ema21,
       h.atr_dist_ema200, h.range_pos_20d, h.range_pos_50d, h.range_pos_52w, h.ma_aligned, h.ma_bucket,
       h.td_buy_setup, h.td_sell_setup, h.td_buy_complete, h.td_sell_complete, h.td_perfect_buy,
       h.td_perfect_sell, h.td_buy_countdown, h.td_sell_countdown, h.gaps_unfilled_up,
       h.gaps_unfilled_down, h.trend_up_count, h.trend_down_count, h.stage_label, h.stage_slope_pct,
       h.stage_dist_pct, h.rs_mansfield_pct, h.volatility_level, h.volatility_percentile,
       h.volatility_trend
FROM market_snapshot_history h;
COMMENT ON VIEW market_analysis_history IS 'market_snapshot_history under the name that other programs read.';
REVOKE ALL ON FUNCTION
    bars_digest(p_symbol text, p_until date),
    snapshot_bars(p_symbols text[], p_until date),
    snapshot_bars_after(p_symbol text, p_from date, p_to date, p_rebased boolean, p_dates date[], p_opens double precision[], p_highs double precision[], p_lows double precision[], p_closes double precision[], p_volumes bigint[] ),
    snapshot_mark(p_symbol text, p_since date, p_reason text),
    snapshots_mark_all(p_symbols text[], p_reason text),
    snapshot_timely(p_as_of timestamptz, p_computed timestamptz, p_expiry timestamptz),
    snapshot_store(p_rows jsonb),
    snapshot_failed(p_symbol text, p_reason text),
    snapshot_facts(p_symbol text, p_as_of date),
    snapshots_walk(p_span integer, p_engine text, p_benchmark text),
    snapshots_due(p_limit integer),
    snapshot_history_record(p_as_of date),
    snapshot_history_prune(p_days integer, p_limit integer),
    snapshot_history_guard()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/43_snapshots.sql', 'c2cbd0fb46475489c1628f54180da02a413491e78264267daf2c7f9292d2eff1')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
