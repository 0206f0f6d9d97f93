-- The older generation of the source schema, as another program's ORM made it, with a year of
-- its rows. Posts are truth_social_shitposts; json columns, no CHECKs, timestamps without a
-- zone, created_at and updated_at NOT NULL without a default. prediction_outcomes has neither
-- foreign keys nor uniqueness, and the same outcome more than once.

CREATE TABLE truth_social_shitposts (
    id               SERIAL PRIMARY KEY,
    shitpost_id      varchar(255),
    content          text NOT NULL,
    "timestamp"      timestamp NOT NULL,
    username         varchar(100) NOT NULL,
    platform         varchar(50),
    text             text,
    language         varchar(10),
    replies_count    integer,
    reblogs_count    integer,
    favourites_count integer,
    account_verified boolean,
    has_media        boolean,
    media_attachments json,
    mentions         json,
    raw_api_data     json,
    created_at       timestamp NOT NULL,
    updated_at       timestamp NOT NULL
);
CREATE UNIQUE INDEX ix_truth_social_shitposts_shitpost_id ON truth_social_shitposts (shitpost_id);
CREATE INDEX ix_truth_social_shitposts_timestamp ON truth_social_shitposts ("timestamp");

CREATE TABLE predictions (
    id                 SERIAL PRIMARY KEY,
    shitpost_id        varchar(255) REFERENCES truth_social_shitposts (shitpost_id),
    assets             json,
    market_impact      json,
    confidence         double precision,
    thesis             text,
    analysis_status    varchar(50) NOT NULL,
    analysis_comment   varchar(255),
    engagement_score   double precision,
    viral_score        double precision,
    has_media          boolean,
    mentions_count     integer,
    llm_provider       varchar(50),
    llm_model          varchar(100),
    analysis_timestamp timestamp,
    created_at         timestamp NOT NULL,
    updated_at         timestamp NOT NULL
);
CREATE INDEX ix_predictions_shitpost_id ON predictions (shitpost_id);

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
    last_updated   timestamp,
    is_market_open boolean,
    has_split      boolean,
    has_dividend   boolean,
    created_at     timestamp NOT NULL,
    updated_at     timestamp NOT NULL
);
CREATE INDEX ix_market_prices_symbol ON market_prices (symbol);
CREATE INDEX ix_market_prices_date ON market_prices (date);
CREATE UNIQUE INDEX idx_market_price_symbol_date ON market_prices (symbol, date);

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
    market_volatility double precision,
    sector            varchar(50),
    last_price_update timestamp,
    is_complete       boolean,
    notes             text,
    created_at        timestamp NOT NULL,
    updated_at        timestamp NOT NULL
);
CREATE INDEX ix_prediction_outcomes_symbol ON prediction_outcomes (symbol);
CREATE INDEX ix_prediction_outcomes_prediction_date ON prediction_outcomes (prediction_date);
CREATE INDEX idx_prediction_outcome_prediction_id ON prediction_outcomes (prediction_id);

CREATE TABLE ticker_registry (
    id                   SERIAL PRIMARY KEY,
    symbol               varchar(20) NOT NULL,
    first_seen_date      date NOT NULL,
    source_prediction_id integer REFERENCES predictions (id),
    status               varchar(20) NOT NULL,
    status_reason        varchar(255),
    last_price_update    timestamp,
    price_data_start     date,
    price_data_end       date,
    total_price_records  integer,
    asset_type           varchar(20),
    exchange             varchar(20),
    created_at           timestamp NOT NULL,
    updated_at           timestamp NOT NULL
);
-- The column's own unique index, and once more by name.
CREATE UNIQUE INDEX ix_ticker_registry_symbol ON ticker_registry (symbol);
CREATE UNIQUE INDEX idx_ticker_registry_symbol ON ticker_registry (symbol);
CREATE INDEX idx_ticker_registry_status ON ticker_registry (status);

CREATE TABLE market_movements (
    id                     SERIAL PRIMARY KEY,
    prediction_id          integer NOT NULL REFERENCES predictions (id),
    asset                  varchar(20) NOT NULL,
    price_at_prediction    double precision,
    price_after_24h        double precision,
    movement_24h           double precision,
    prediction_correct_24h boolean,
    created_at             timestamp NOT NULL,
    updated_at             timestamp NOT NULL
);

CREATE TABLE subscribers (
    id                   SERIAL PRIMARY KEY,
    phone_number         varchar(20) NOT NULL UNIQUE,
    name                 varchar(100),
    is_active            boolean,
    confidence_threshold double precision,
    created_at           timestamp NOT NULL,
    updated_at           timestamp NOT NULL
);

CREATE TABLE llm_feedback (
    id             SERIAL PRIMARY KEY,
    prediction_id  integer NOT NULL REFERENCES predictions (id),
    feedback_type  varchar(50) NOT NULL,
    feedback_score double precision NOT NULL,
    feedback_notes text,
    created_at     timestamp NOT NULL,
    updated_at     timestamp NOT NULL
);

CREATE TABLE telegram_subscriptions (
    id                SERIAL PRIMARY KEY,
    chat_id           varchar(100) NOT NULL,
    chat_type         varchar(20) NOT NULL,
    is_active         boolean,
    alert_preferences json,
    last_alert_at     timestamp,
    created_at        timestamp NOT NULL,
    updated_at        timestamp NOT NULL
);
CREATE UNIQUE INDEX ix_telegram_subscriptions_chat_id ON telegram_subscriptions (chat_id);

-- A post every 29 hours or so, at all hours of day and night.
INSERT INTO truth_social_shitposts (shitpost_id, content, "timestamp", username, platform, text,
    language, replies_count, reblogs_count, favourites_count, account_verified, has_media,
    media_attachments, mentions, raw_api_data, created_at, updated_at)
SELECT (113000000000000 + n * 7919)::text, '<p>Post number ' || n || '</p>', t.at, 'poster',
       'truth_social', 'Post number ' || n, 'en', n % 900, n % 4000, n % 12000, true, n % 4 = 0,
       CASE WHEN n % 4 = 0 THEN '[{"type": "image"}]' ELSE '[]' END::json, '[]',
       format('{"id": "%s", "tags": [], "card": null}', 113000000000000 + n * 7919)::json,
       t.at + interval '4 minutes', t.at + interval '4 minutes'
FROM generate_series(1, 300) n
CROSS JOIN LATERAL (SELECT timestamp '2023-08-01 00:17:41.5' + n * interval '28 hours 53 minutes' AS at) t;

-- Analysed minutes or days after the post; every fifteenth has lost its post.
INSERT INTO predictions (shitpost_id, assets, market_impact, confidence, thesis, analysis_status,
    analysis_comment, engagement_score, viral_score, has_media, mentions_count, llm_provider,
    llm_model, analysis_timestamp, created_at, updated_at)
SELECT CASE WHEN n % 15 <> 14 THEN s.shitpost_id END,
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
           WHEN 14 THEN '["MSFT"]'
           ELSE '[ "SPY" ,"QQQ" ]'
       END::json,
       CASE n % 9
           WHEN 0 THEN NULL
           WHEN 1 THEN 'null'
           WHEN 2 THEN '{}'
           WHEN 3 THEN '{"AAPL": "Bullish", "aapl": "bearish", "SPY": "NEUTRAL", "MSFT": "unclear"}'
           WHEN 4 THEN '{"tsla": "bearish", "GLD": null, "BTC-USD": 1}'
           ELSE '{"AAPL": "bullish", "TSLA": "bearish", "MSFT": "neutral", "SPY": "bearish",'
                ' "QQQ": "bullish", "GLD": "bullish", "BTC-USD": "bullish"}'
       END::json,
       CASE WHEN n % 7 > 2 THEN (n % 21) / 20.0 END,
       'Because of post number ' || n,
       CASE n % 7 WHEN 0 THEN 'bypassed' WHEN 1 THEN 'error' WHEN 2 THEN 'pending' ELSE 'completed' END,
       CASE n % 7 WHEN 0 THEN 'no financial content' WHEN 1 THEN 'timeout' END,
       (n % 100) / 100.0, (n % 37) / 37.0, n % 4 = 0, n % 3, 'openai', 'gpt-4',
       t.at, t.at, t.at + (n % 5) * interval '1 day'
FROM generate_series(1, 300) n
JOIN truth_social_shitposts s ON s.id = n
CROSS JOIN LATERAL (SELECT s."timestamp" + interval '40 minutes' + (n % 4) * interval '21 hours' AS at) t;

-- json takes what jsonb refuses.
UPDATE predictions SET assets = '["AAPL\u0000", "TSLA"]' WHERE id = 145;
UPDATE predictions SET market_impact = '{"TSLA": "\ud800"}' WHERE id = 143;

INSERT INTO ticker_registry (symbol, first_seen_date, source_prediction_id, status, status_reason,
    asset_type, exchange, total_price_records, created_at, updated_at)
SELECT symbol, date '2023-08-02', source, status, reason, kind, exchange, 0,
       timestamp '2023-08-02 10:00', timestamp '2023-08-02 10:00'
FROM (VALUES ('AAPL', 4, 'active', NULL, 'stock', 'NMS'), ('TSLA', 3, 'active', NULL, 'stock', 'NMS'),
             ('MSFT', 12, 'active', NULL, 'stock', NULL), ('SPY', 10, 'active', NULL, 'etf', 'PCX'),
             ('QQQ', 10, 'active', NULL, NULL, NULL), ('GLD', 13, 'active', NULL, 'etf', 'PCX'),
             ('BTC-USD', 8, 'active', NULL, 'crypto', NULL), ('^GSPC', 10, 'active', NULL, 'index', 'SNP'),
             ('CL=F', 10, 'active', NULL, 'commodity', NULL), ('brk.b', NULL, 'active', NULL, NULL, NULL),
             ('RTN', 9, 'inactive', 'renamed to RTX', 'stock', NULL),
             ('TWTR', NULL, 'inactive', 'delisted', 'stock', 'NYQ'),
             ('FAKECO', 11, 'invalid', 'yfinance knows no such ticker', NULL, NULL))
     AS r (symbol, source, status, reason, kind, exchange);

INSERT INTO market_prices (symbol, date, open, high, low, close, volume, adjusted_close, source,
    last_updated, is_market_open, has_split, has_dividend, created_at, updated_at)
SELECT p.symbol, d::date, c.close * 0.995, c.close * 1.01, c.close * 0.99, c.close,
       1000000 + (d::date - date '2023-07-01') * 10, c.close * 0.99, 'yfinance',
       d + interval '22 hours', true, false, false, d + interval '22 hours', d + interval '22 hours'
FROM (VALUES ('AAPL', 180.0::float8), ('TSLA', 240), ('MSFT', 390), ('SPY', 470), ('QQQ', 400),
             ('GLD', 190), ('BTC-USD', 42000)) AS p (symbol, base)
CROSS JOIN generate_series(timestamp '2023-07-03', timestamp '2024-10-31', interval '1 day') d
CROSS JOIN LATERAL (
    SELECT p.base * (1 + 0.08 * sin((d::date - date '2023-07-01') / 17.0 + p.base)) AS close) c
WHERE p.symbol = 'BTC-USD' OR extract(isodow FROM d) < 6;

UPDATE ticker_registry r
SET price_data_start = f.first, price_data_end = f.last, total_price_records = f.bars,
    last_price_update = timestamp '2024-10-31 22:00'
FROM (SELECT symbol, min(date) AS first, max(date) AS last, count(*) AS bars
      FROM market_prices GROUP BY symbol) f
WHERE f.symbol = r.symbol;

-- Outcomes as that program reckoned them: calendar days, the nearest earlier close in place of
-- a missing one. The last hundred predictions are still without T+30, or without anything.
INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,
    prediction_confidence, prediction_timeframe_days, price_at_prediction, price_t1, price_t3,
    price_t7, price_t30, return_t1, return_t3, return_t7, return_t30, correct_t1, correct_t3,
    correct_t7, correct_t30, pnl_t1, pnl_t3, pnl_t7, pnl_t30, market_volatility, sector,
    last_price_update, is_complete, notes, created_at, updated_at)
SELECT p.id, r.symbol, p.created_at::date, 'bullish', p.confidence, 7, c.p0, c.p1, c.p3, c.p7, c.p30,
       (c.p1 / c.p0 - 1) * 100, (c.p3 / c.p0 - 1) * 100, (c.p7 / c.p0 - 1) * 100, (c.p30 / c.p0 - 1) * 100,
       c.p1 / c.p0 > 1.005, c.p3 / c.p0 > 1.005, c.p7 / c.p0 > 1.005, c.p30 / c.p0 > 1.005,
       (c.p1 / c.p0 - 1) * 1000, (c.p3 / c.p0 - 1) * 1000, (c.p7 / c.p0 - 1) * 1000, (c.p30 / c.p0 - 1) * 1000,
       14.5, NULL, date_trunc('day', p.created_at + interval '40 days'),
       CASE WHEN p.id <= 200 THEN true WHEN p.id % 5 = 0 THEN NULL ELSE false END,
       CASE WHEN p.id % 11 = 0 THEN 'checked by hand' END, p.created_at, p.created_at + interval '40 days'
FROM predictions p
JOIN ticker_registry r ON p.assets::text LIKE '%"' || r.symbol || '"%' AND r.total_price_records > 0
CROSS JOIN LATERAL (
    SELECT max(m.close) FILTER (WHERE n = 0) AS p0, max(m.close) FILTER (WHERE n = 1) AS p1,
           max(m.close) FILTER (WHERE n = 3 AND p.id <= 270) AS p3,
           max(m.close) FILTER (WHERE n = 7 AND p.id <= 250) AS p7,
           max(m.close) FILTER (WHERE n = 30 AND p.id <= 200) AS p30
    FROM (VALUES (0), (1), (3), (7), (30)) AS h (n)
    CROSS JOIN LATERAL (
        SELECT m.close FROM market_prices m WHERE m.symbol = r.symbol AND m.date <= p.created_at::date + n
        ORDER BY m.date DESC LIMIT 1) m) c
WHERE p.analysis_status = 'completed' AND p.id < 290 AND p.id NOT IN (143, 145);

-- The same outcome again: two of it, three of it, a complete one beside an incomplete one.
INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,
    price_at_prediction, price_t1, is_complete, created_at, updated_at)
SELECT d.prediction_id, d.symbol, o.prediction_date, 'bearish', o.price_at_prediction * d.factor,
       o.price_t1 * d.factor, d.factor = 1, o.created_at + interval '1 minute', o.updated_at
FROM (VALUES (12, 'AAPL', 1.0), (12, 'AAPL', 1.01), (31, 'SPY', 1.0), (236, 'AAPL', 0.99), (236, 'TSLA', 1.0))
     AS d (prediction_id, symbol, factor)
JOIN prediction_outcomes o USING (prediction_id, symbol);

INSERT INTO market_movements (prediction_id, asset, price_at_prediction, price_after_24h, movement_24h,
    prediction_correct_24h, created_at, updated_at)
SELECT prediction_id, symbol, price_at_prediction, price_t1, return_t1, correct_t1, created_at, updated_at
FROM prediction_outcomes WHERE id % 3 = 0;

INSERT INTO subscribers (phone_number, name, is_active, confidence_threshold, created_at, updated_at)
SELECT '+1555' || 1000000 + n, 'subscriber ' || n, n % 3 > 0, 0.7, '2023-09-01', '2023-09-01'
FROM generate_series(1, 40) n;

INSERT INTO llm_feedback (prediction_id, feedback_type, feedback_score, feedback_notes, created_at, updated_at)
SELECT n * 5, 'accuracy', (n % 10) / 10.0, NULL, '2024-01-01', '2024-01-01'
FROM generate_series(1, 60) n;

INSERT INTO telegram_subscriptions (chat_id, chat_type, is_active, alert_preferences, created_at, updated_at)
SELECT (500000 + n)::text, CASE WHEN n % 4 = 0 THEN 'group' ELSE 'private' END, n % 6 > 0,
       format('{"min_confidence": %s, "quiet_hours": null}', (n % 10) / 10.0)::json, '2024-02-01', '2024-02-01'
FROM generate_series(1, 50) n;
