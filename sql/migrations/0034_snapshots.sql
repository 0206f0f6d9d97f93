BEGIN;
-- Snapshots: the indicators of a symbol's newest stored bars, and what they were on each day before.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The columns behind raw_analysis are those of COLUMNS in market/indicators/, computed there from bars of
-- ours alone, adjusted for splits. NULL: the window is not full (tests/sql/test_snapshots.py).
CREATE TABLE IF NOT EXISTS market_snapshot (
    symbol             varchar(20) NOT NULL,
    analysis_type      text NOT NULL DEFAULT 'technical_snapshot',
    as_of_date         date NOT NULL,           -- the session of the newest bar
    as_of_timestamp    timestamptz NOT NULL,    -- its close
    analysis_timestamp timestamptz NOT NULL,    -- when it was computed
    expiry_timestamp   timestamptz,             -- when the next bar can be stored, or since when it is due
    current_price      double precision NOT NULL, -- the newest close
    bars               integer NOT NULL,        -- how many it was computed from
    bars_digest        bigint NOT NULL,         -- of those bars: bars_digest() of 43_snapshots.sql
    benchmark          text,                    -- compared with in stage and relative strength
    benchmark_as_of    date,                    -- its newest bar that was used
    benchmark_digest   bigint,                  -- of its bars until as_of_date
    engine_version     text NOT NULL,           -- of market/indicators/
    name               text,
    sector             text,
    industry           text,
    market_cap         double precision,
    raw_analysis       jsonb NOT NULL DEFAULT '{}',
    sma_5                 double precision,
    sma_8                 double precision,
    sma_10                double precision,
    sma_14                double precision,
    sma_20                double precision,
    sma_21                double precision,
    sma_50                double precision,
    sma_100               double precision,
    sma_150               double precision,
    sma_200               double precision,
    ema_8                 double precision,
    ema_10                double precision,
    ema_21                double precision,
    ema_200               double precision,
    rsi                   double precision,
    atr_value             double precision,
    atr_percent           double precision,
    atr_distance          double precision,
    adx                   double precision,
    plus_di               double precision,
    minus_di              double precision,
    macd                  double precision,
    macd_signal           double precision,
    macd_histogram        double precision,
    perf_1d               double precision,
    perf_3d               double precision,
    perf_5d               double precision,
    perf_20d              double precision,
    perf_60d              double precision,
    perf_120d             double precision,
    perf_252d             double precision,
    perf_mtd              double precision,
    perf_qtd              double precision,
    perf_ytd              double precision,
    pct_dist_ema8         double precision,
    pct_dist_ema21        double precision,
    pct_dist_ema200       double precision,
    atr_dist_ema8         double precision,
    atr_dist_ema21        double precision,
    atr_dist_ema200       double precision,
    range_pos_20d         double precision,
    range_pos_50d         double precision,
    range_pos_52w         double precision,
    ma_aligned            boolean,
    ma_bucket             text,
    td_buy_setup          integer,
    td_sell_setup         integer,
    td_buy_complete       boolean,
    td_sell_complete      boolean,
    td_perfect_buy        boolean,
    td_perfect_sell       boolean,
    td_buy_countdown      integer,
    td_sell_countdown     integer,
    gaps_unfilled_up      integer,
    gaps_unfilled_down    integer,
    trend_up_count        integer,
    trend_down_count      integer,
    stage_label           text,
    stage_slope_pct       double precision,
    stage_dist_pct        double precision,
    rs_mansfield_pct      double precision,
    volatility_level      text,
    volatility_percentile double precision,
    volatility_trend      text,
    PRIMARY KEY (symbol, analysis_type)
);
COMMENT ON TABLE market_snapshot IS
    'Indicators of the newest stored daily bar, one row a symbol; market_snapshot_due names those whose bars changed since.';
-- A change of the benchmark's bars asks for them.
CREATE INDEX IF NOT EXISTS market_snapshot_benchmark ON market_snapshot (benchmark, as_of_date);

-- recorded_at is first, so that a column that a later migration adds is the last in both tables.
CREATE TABLE IF NOT EXISTS market_snapshot_history (
    recorded_at        timestamptz NOT NULL,
    LIKE market_snapshot,
    PRIMARY KEY (symbol, analysis_type, as_of_date)
);
COMMENT ON TABLE market_snapshot_history IS
    'Each snapshot as it was on its day. Rows are only inserted; snapshot_history_prune() alone deletes, by age.';
CREATE INDEX IF NOT EXISTS market_snapshot_history_day ON market_snapshot_history (as_of_date);

-- Symbols whose snapshot is not of the bars that are stored. The transaction that changes bars writes the
-- row and the one that computed the snapshot from them deletes it, which may be the same. Its lock lets one
-- transaction at a time decide; no prediction takes it.
CREATE TABLE IF NOT EXISTS market_snapshot_due (
    symbol     varchar(20) PRIMARY KEY,
    since      timestamptz NOT NULL,
    reason     text NOT NULL,
    not_before timestamptz NOT NULL DEFAULT '-infinity' -- after a failure
);
COMMENT ON TABLE market_snapshot_due IS
    'Symbols whose snapshot is to be computed anew, and why.';

-- How far the sweep's walk has come that compares snapshots with their bars.
ALTER TABLE reckoner_installation ADD COLUMN IF NOT EXISTS snapshots_cursor text NOT NULL DEFAULT '';
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0034_snapshots.sql', '062ccac36236a04810fe984a73f1be80ce5d6e71ec80516b17173fd819c8786f')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
