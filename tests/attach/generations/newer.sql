-- The newer generation of the source schema, as another program's ORM and its hand-run scripts
-- made it, with a year of its rows. Posts are signals; jsonb columns, CHECKs, a unique
-- constraint and foreign keys on prediction_outcomes, intraday columns and fundamentals that
-- are not ours, and a table named events.

CREATE TABLE signals (
    id              SERIAL PRIMARY KEY,
    signal_id       varchar(255) NOT NULL,
    source          varchar(50) NOT NULL,
    source_url      varchar(1000),
    text            text,
    title           varchar(500),
    author_username varchar(200) NOT NULL,
    author_verified boolean,
    published_at    timestamp NOT NULL,
    likes_count     integer,
    shares_count    integer,
    has_media       boolean,
    platform_data   json,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX ix_signals_signal_id ON signals (signal_id);
CREATE INDEX ix_signals_source_published ON signals (source, published_at);

-- What is left of the time before signals: nothing points to it any more.
CREATE TABLE truth_social_shitposts (
    id          SERIAL PRIMARY KEY,
    shitpost_id varchar(255) UNIQUE,
    content     text NOT NULL,
    "timestamp" timestamp NOT NULL,
    username    varchar(100) NOT NULL,
    created_at  timestamp NOT NULL,
    updated_at  timestamp NOT NULL
);

CREATE TABLE predictions (
    id                    SERIAL PRIMARY KEY,
    signal_id             varchar(255) NOT NULL,
    post_timestamp        timestamptz,
    assets                jsonb,
    market_impact         jsonb,
    confidence            double precision,
    calibrated_confidence double precision,
    thesis                text,
    analysis_status       varchar(50) NOT NULL,
    analysis_comment      varchar(255),
    engagement_score      double precision,
    has_media             boolean,
    llm_provider          varchar(50),
    llm_model             varchar(100),
    analysis_timestamp    timestamptz,
    ensemble_results      jsonb,
    ensemble_metadata     jsonb,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    CONSTRAINT predictions_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES signals (signal_id),
    CONSTRAINT ck_predictions_analysis_status
        CHECK (analysis_status IN ('completed', 'bypassed', 'error', 'pending')),
    CONSTRAINT ck_predictions_confidence_range
        CHECK (confidence IS NULL OR (confidence >= 0.0 AND confidence <= 1.0))
);
CREATE INDEX idx_predictions_signal_id ON predictions (signal_id);
CREATE INDEX idx_predictions_analysis_status ON predictions (analysis_status);
CREATE INDEX idx_predictions_created_at ON predictions (created_at);

CREATE TABLE market_prices (
    id             SERIAL PRIMARY KEY,
    symbol         varchar(20) NOT NULL,
    date           date NOT NULL,
    open           double precision,
    high           double precision,
    low            double precision,
    close          double precision NOT NULL,
    volume         bigint,
    adjusted_close double precision,
    source         varchar(50),
    last_updated   timestamptz,
    is_market_open boolean,
    has_split      boolean,
    has_dividend   boolean,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT uq_market_prices_symbol_date UNIQUE (symbol, date)
);
CREATE INDEX ix_market_prices_date ON market_prices (date);

CREATE TABLE ticker_registry (
    id                   SERIAL PRIMARY KEY,
    symbol               varchar(20) NOT NULL,
    first_seen_date      date NOT NULL,
    source_prediction_id integer REFERENCES predictions (id),
    status               varchar(20) NOT NULL,
    status_reason        varchar(255),
    last_price_update    timestamptz,
    price_data_start     date,
    price_data_end       date,
    total_price_records  integer,
    asset_type           varchar(20),
    exchange             varchar(20),
    company_name         varchar(255),
    sector               varchar(100),
    industry             varchar(100),
    market_cap           bigint,
    pe_ratio             double precision,
    forward_pe           double precision,
    dividend_yield       double precision,
    beta                 double precision,
    description          text,
    fundamentals_updated_at timestamp,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CONSTRAINT ticker_registry_symbol_key UNIQUE (symbol),
    CONSTRAINT ck_ticker_registry_status CHECK (status IN ('active', 'inactive', 'invalid'))
);
CREATE INDEX idx_ticker_registry_sector ON ticker_registry (sector);

CREATE TABLE prediction_outcomes (
    id                    SERIAL PRIMARY KEY,
    prediction_id         integer NOT NULL,
    symbol                varchar(20) NOT NULL,
    prediction_date       date NOT NULL,
    prediction_sentiment  varchar(20),
    prediction_confidence double precision,
    prediction_timeframe_days integer,
    price_at_prediction   double precision,
    price_t1  double precision,
    price_t3  double precision,
    price_t7  double precision,
    price_t30 double precision,
    return_t1  double precision,
    return_t3  double precision,
    return_t7  double precision,
    return_t30 double precision,
    correct_t1  boolean,
    correct_t3  boolean,
    correct_t7  boolean,
    correct_t30 boolean,
    pnl_t1  double precision,
    pnl_t3  double precision,
    pnl_t7  double precision,
    pnl_t30 double precision,
    sector              varchar(50),
    last_price_update   timestamptz,
    is_complete         boolean,
    post_published_at   timestamp,
    price_at_post       double precision,
    price_at_next_close double precision,
    price_1h_after      double precision,
    return_same_day     double precision,
    return_1h           double precision,
    correct_same_day    boolean,
    correct_1h          boolean,
    pnl_same_day        double precision,
    pnl_1h              double precision,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT uq_prediction_outcomes_pred_symbol UNIQUE (prediction_id, symbol),
    CONSTRAINT ck_prediction_outcomes_sentiment CHECK
        (prediction_sentiment IN ('bullish', 'bearish', 'neutral') OR prediction_sentiment IS NULL),
    CONSTRAINT prediction_outcomes_prediction_id_fkey FOREIGN KEY (prediction_id) REFERENCES predictions (id),
    CONSTRAINT fk_prediction_outcomes_symbol FOREIGN KEY (symbol) REFERENCES ticker_registry (symbol)
);
CREATE INDEX idx_prediction_outcome_symbol_date ON prediction_outcomes (symbol, prediction_date);

-- A queue of its own, which has nothing to do with ours.
CREATE TABLE events (
    id             SERIAL PRIMARY KEY,
    event_type     varchar(100) NOT NULL,
    consumer_group varchar(100) NOT NULL,
    payload        json NOT NULL,
    status         varchar(20) NOT NULL,
    claimed_by     varchar(100),
    completed_at   timestamp,
    error          text,
    attempt        integer NOT NULL,
    max_attempts   integer NOT NULL,
    next_retry_at  timestamp,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE INDEX ix_events_claimable ON events (consumer_group, status, next_retry_at);

CREATE TABLE price_snapshots (
    id             SERIAL PRIMARY KEY,
    prediction_id  integer NOT NULL REFERENCES predictions (id),
    symbol         varchar(20) NOT NULL REFERENCES ticker_registry (symbol),
    price          double precision NOT NULL CHECK (price > 0),
    captured_at    timestamptz NOT NULL,
    source         varchar(50) DEFAULT 'yfinance_fast_info',
    market_status  varchar(20),
    created_at     timestamptz DEFAULT now(),
    updated_at     timestamptz DEFAULT now(),
    CONSTRAINT uq_price_snapshot_pred_symbol UNIQUE (prediction_id, symbol)
);

CREATE TABLE calibration_curves (
    id           SERIAL PRIMARY KEY,
    timeframe    varchar(10) NOT NULL,
    fitted_at    timestamptz NOT NULL,
    n_samples    integer NOT NULL,
    bin_stats    jsonb NOT NULL,
    lookup_table jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE telegram_subscriptions (
    id                SERIAL PRIMARY KEY,
    chat_id           varchar(100) NOT NULL UNIQUE,
    chat_type         varchar(20) NOT NULL,
    is_active         boolean,
    alert_preferences jsonb,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);

INSERT INTO signals (signal_id, source, source_url, text, author_username, author_verified,
    published_at, likes_count, shares_count, has_media, platform_data, created_at, updated_at)
SELECT 'sig-' || n, CASE WHEN n % 5 = 0 THEN 'twitter' ELSE 'truth_social' END,
       'https://example.org/' || n, 'Post number ' || n, 'poster', true, t.at, n % 9000, n % 4000,
       n % 4 = 0, format('{"upvotes": %s}', n % 700)::json,
       (t.at + interval '4 minutes') AT TIME ZONE 'UTC', (t.at + interval '4 minutes') AT TIME ZONE 'UTC'
FROM generate_series(1, 320) n
CROSS JOIN LATERAL (SELECT timestamp '2023-08-01 00:17:41.25' + n * interval '28 hours 53 minutes' AS at) t;

INSERT INTO truth_social_shitposts (shitpost_id, content, "timestamp", username, created_at, updated_at)
SELECT 'sig-' || n, '<p>Post number ' || n || '</p>', timestamp '2020-01-01' + n * interval '1 day',
       'poster', '2023-08-01', '2023-08-01'
FROM generate_series(1, 90) n;

-- post_timestamp is the post's time for most; for every fourth the time of the insertion, and
-- every ninth has none.
INSERT INTO predictions (signal_id, post_timestamp, assets, market_impact, confidence,
    calibrated_confidence, thesis, analysis_status, analysis_comment, engagement_score, has_media,
    llm_provider, llm_model, analysis_timestamp, ensemble_results, created_at, updated_at)
SELECT s.signal_id,
       CASE WHEN n % 9 = 0 THEN NULL WHEN n % 4 = 0 THEN t.at ELSE s.published_at AT TIME ZONE 'UTC' END,
       CASE n % 16
           WHEN 0 THEN NULL
           WHEN 1 THEN 'null'
           WHEN 2 THEN '[]'
           WHEN 3 THEN '"TSLA"'
           WHEN 4 THEN '["aapl"]'
           WHEN 5 THEN '["AAPL", "AAPL", " aapl "]'
           WHEN 6 THEN '["US Dollar index", "", null, 7, {"name": "oil"}]'
           WHEN 7 THEN '["SPY", "defence stocks", "QQQ"]'
           WHEN 8 THEN '["BTC-USD"]'
           WHEN 9 THEN '["RTN", "TSLA"]'
           WHEN 10 THEN '["^GSPC", "CL=F"]'
           WHEN 11 THEN '["FAKECO"]'
           WHEN 12 THEN '["AAPL", "TSLA", "MSFT"]'
           WHEN 13 THEN '["GLD"]'
           WHEN 14 THEN '{}'
           ELSE '["SPY", "QQQ"]'
       END::jsonb,
       CASE n % 9
           WHEN 0 THEN NULL
           WHEN 1 THEN 'null'
           WHEN 2 THEN '{}'
           WHEN 3 THEN '{"AAPL": "Bullish", "aapl": "bearish", "SPY": "NEUTRAL", "MSFT": "unclear"}'
           WHEN 4 THEN '{"tsla": "bearish", "GLD": null, "BTC-USD": 1}'
           ELSE '{"AAPL": "bullish", "TSLA": "bearish", "MSFT": "neutral", "SPY": "bearish",'
                ' "QQQ": "bullish", "GLD": "bullish", "BTC-USD": "bullish"}'
       END::jsonb,
       CASE WHEN n % 7 > 2 THEN (n % 21) / 20.0 END,
       CASE WHEN n % 7 > 2 AND n % 2 = 0 THEN (n % 21) / 25.0 END,
       'Because of post number ' || n,
       CASE n % 7 WHEN 0 THEN 'bypassed' WHEN 1 THEN 'error' WHEN 2 THEN 'pending' ELSE 'completed' END,
       CASE n % 7 WHEN 0 THEN 'no financial content' WHEN 1 THEN 'timeout' END,
       (n % 100) / 100.0, n % 4 = 0, 'anthropic', 'claude', t.at,
       CASE WHEN n % 6 = 0 THEN '[{"model": "a", "agrees": true}]'::jsonb END, t.at, t.at + (n % 5) * interval '1 day'
FROM generate_series(1, 300) n
JOIN signals s ON s.id = n
CROSS JOIN LATERAL (
    SELECT s.published_at AT TIME ZONE 'UTC' + interval '40 minutes' + (n % 4) * interval '21 hours' AS at) t;

INSERT INTO ticker_registry (symbol, first_seen_date, source_prediction_id, status, status_reason,
    asset_type, exchange, total_price_records, company_name, sector, market_cap, beta, created_at, updated_at)
SELECT symbol, date '2023-08-02', source, status, reason, kind, exchange, 0, symbol || ' Inc.', sector,
       1000000000000, 1.1, '2023-08-02 10:00Z', '2023-08-02 10:00Z'
FROM (VALUES ('AAPL', 4, 'active', NULL, 'stock', 'NMS', 'Technology'), ('TSLA', 3, 'active', NULL, 'stock', 'NMS', NULL),
             ('MSFT', 12, 'active', NULL, 'stock', NULL, 'Technology'), ('SPY', 10, 'active', NULL, 'etf', 'PCX', NULL),
             ('QQQ', 10, 'active', NULL, NULL, NULL, NULL), ('GLD', 13, 'active', NULL, 'etf', 'PCX', NULL),
             ('BTC-USD', 8, 'active', NULL, 'crypto', NULL, NULL), ('^GSPC', 10, 'active', NULL, 'index', 'SNP', NULL),
             ('CL=F', 10, 'active', NULL, 'commodity', NULL, NULL),
             ('RTN', 9, 'inactive', 'renamed to RTX', 'stock', NULL, NULL),
             ('TWTR', NULL, 'inactive', 'delisted', 'stock', 'NYQ', NULL),
             ('FAKECO', 11, 'invalid', 'yfinance knows no such ticker', NULL, NULL, NULL))
     AS r (symbol, source, status, reason, kind, exchange, sector);

INSERT INTO market_prices (symbol, date, open, high, low, close, volume, adjusted_close, source,
    last_updated, is_market_open, has_split, has_dividend, created_at, updated_at)
SELECT p.symbol, d::date, c.close * 0.995, c.close * 1.01, c.close * 0.99, c.close,
       1000000 + (d::date - date '2023-07-01') * 10, c.close * 0.99, 'yfinance',
       t.at, true, CASE WHEN p.symbol = 'GLD' THEN NULL ELSE false END, false, t.at, t.at
FROM (VALUES ('AAPL', 180.0::float8), ('TSLA', 240), ('MSFT', 390), ('SPY', 470), ('QQQ', 400),
             ('GLD', 190), ('BTC-USD', 42000)) AS p (symbol, base)
CROSS JOIN generate_series(timestamp '2023-07-03', timestamp '2024-10-31', interval '1 day') d
CROSS JOIN LATERAL (
    SELECT p.base * (1 + 0.08 * sin((d::date - date '2023-07-01') / 17.0 + p.base)) AS close) c
CROSS JOIN LATERAL (SELECT (d + interval '22 hours') AT TIME ZONE 'UTC' AS at) t
WHERE p.symbol = 'BTC-USD' OR extract(isodow FROM d) < 6;

UPDATE ticker_registry r
SET price_data_start = f.first, price_data_end = f.last, total_price_records = f.bars,
    last_price_update = '2024-10-31 22:00Z'
FROM (SELECT symbol, min(date) AS first, max(date) AS last, count(*) AS bars
      FROM market_prices GROUP BY symbol) f
WHERE f.symbol = r.symbol;

-- Outcomes as that program reckoned them, from the post's day on. The last hundred predictions
-- are still without T+30, or without anything.
INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,
    prediction_confidence, price_at_prediction, price_t1, price_t3, price_t7, price_t30,
    return_t1, return_t3, return_t7, return_t30, correct_t1, correct_t3, correct_t7, correct_t30,
    pnl_t1, pnl_t3, pnl_t7, pnl_t30, sector, last_price_update, is_complete, post_published_at,
    price_at_post, price_1h_after, return_1h, correct_1h, pnl_1h, created_at, updated_at)
SELECT p.id, r.symbol, s.published_at::date, CASE WHEN p.id % 13 > 0 THEN 'bullish' END, p.confidence,
       c.p0, c.p1, c.p3, c.p7, c.p30,
       (c.p1 / c.p0 - 1) * 100, (c.p3 / c.p0 - 1) * 100, (c.p7 / c.p0 - 1) * 100, (c.p30 / c.p0 - 1) * 100,
       c.p1 / c.p0 > 1.005, c.p3 / c.p0 > 1.005, c.p7 / c.p0 > 1.005, c.p30 / c.p0 > 1.005,
       (c.p1 / c.p0 - 1) * 1000, (c.p3 / c.p0 - 1) * 1000, (c.p7 / c.p0 - 1) * 1000, (c.p30 / c.p0 - 1) * 1000,
       r.sector, date_trunc('day', p.created_at + interval '40 days'),
       CASE WHEN p.id <= 200 THEN true WHEN p.id % 5 = 0 THEN NULL ELSE false END, s.published_at,
       c.p0 * 1.001, c.p0 * 1.002, 0.0999, false, 0.999, p.created_at, p.created_at + interval '40 days'
FROM predictions p
JOIN signals s USING (signal_id)
JOIN ticker_registry r ON p.assets::text LIKE '%"' || r.symbol || '"%' AND r.total_price_records > 0
CROSS JOIN LATERAL (
    SELECT max(m.close) FILTER (WHERE n = 0) AS p0, max(m.close) FILTER (WHERE n = 1) AS p1,
           max(m.close) FILTER (WHERE n = 3 AND p.id <= 270) AS p3,
           max(m.close) FILTER (WHERE n = 7 AND p.id <= 250) AS p7,
           max(m.close) FILTER (WHERE n = 30 AND p.id <= 200) AS p30
    FROM (VALUES (0), (1), (3), (7), (30)) AS h (n)
    CROSS JOIN LATERAL (
        SELECT m.close FROM market_prices m WHERE m.symbol = r.symbol AND m.date <= s.published_at::date + n
        ORDER BY m.date DESC LIMIT 1) m) c
WHERE p.analysis_status = 'completed' AND p.id < 290;

INSERT INTO events (event_type, consumer_group, payload, status, claimed_by, completed_at, error,
    attempt, max_attempts, next_retry_at, created_at, updated_at)
SELECT CASE n % 3 WHEN 0 THEN 'prediction_created' WHEN 1 THEN 'signals_stored' ELSE 'prices_backfilled' END,
       CASE n % 2 WHEN 0 THEN 'market_data' ELSE 'notifications' END, format('{"prediction_id": %s}', n)::json,
       CASE n % 10 WHEN 0 THEN 'pending' WHEN 1 THEN 'dead_letter' ELSE 'completed' END,
       'worker-' || n % 3, CASE WHEN n % 10 > 1 THEN timestamp '2024-07-01' END,
       CASE WHEN n % 10 = 1 THEN 'HTTP 429' END, n % 4, 3, NULL, '2024-07-01', '2024-07-01'
FROM generate_series(1, 200) n;

INSERT INTO price_snapshots (prediction_id, symbol, price, captured_at, market_status)
SELECT prediction_id, symbol, price_at_prediction, created_at, 'open'
FROM prediction_outcomes WHERE id % 2 = 0;

INSERT INTO calibration_curves (timeframe, fitted_at, n_samples, bin_stats, lookup_table, created_at, updated_at)
SELECT t, '2024-06-01', 140, '[{"bin": 0.5, "n": 12}]', '{"0.5": 0.41}', '2024-06-01', '2024-06-01'
FROM unnest(ARRAY ['t1', 't3', 't7', 't30']) t;

INSERT INTO telegram_subscriptions (chat_id, chat_type, is_active, alert_preferences, created_at, updated_at)
SELECT (500000 + n)::text, CASE WHEN n % 4 = 0 THEN 'group' ELSE 'private' END, n % 6 > 0,
       jsonb_build_object('min_confidence', (n % 10) / 10.0), '2024-02-01', '2024-02-01'
FROM generate_series(1, 50) n;
