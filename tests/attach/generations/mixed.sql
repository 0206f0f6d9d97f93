-- A mixed generation of the source schema: half migrated by another program, half by hand, with
-- a year of its rows. Posts are signals and truth_social_shitposts; json in one column and jsonb
-- in the next, timestamps with and without a zone, columns in the order in which somebody added
-- them, a column dropped again, a trigger and a view of the owner's own, no uniqueness of
-- outcomes and no duplicates.

CREATE TABLE truth_social_shitposts (
    created_at  timestamp NOT NULL,
    updated_at  timestamp NOT NULL,
    id          SERIAL PRIMARY KEY,
    shitpost_id varchar(255) UNIQUE,
    username    varchar(100) NOT NULL,
    "timestamp" timestamp NOT NULL,
    content     text NOT NULL,
    raw_api_data jsonb
);

CREATE TABLE signals (
    id              SERIAL PRIMARY KEY,
    source          varchar(50) NOT NULL,
    author_username varchar(200) NOT NULL,
    text            text,
    signal_id       varchar(255) NOT NULL UNIQUE,
    platform_data   json,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    published_at    timestamptz NOT NULL
);

CREATE TABLE predictions (
    created_at       timestamp NOT NULL,
    updated_at       timestamptz NOT NULL,
    id               SERIAL PRIMARY KEY,
    analysis_status  varchar(50),
    thesis           text,
    confidence       double precision,
    market_impact    jsonb,
    shitpost_id      varchar(255),
    assets           json,
    llm_model        varchar(100)
);
ALTER TABLE predictions ADD COLUMN signal_id varchar(255);
ALTER TABLE predictions ADD COLUMN ensemble_results json;
ALTER TABLE predictions ADD COLUMN post_timestamp timestamptz;
CREATE INDEX idx_predictions_signal_id ON predictions (signal_id);

CREATE TABLE ticker_registry (
    updated_at           timestamptz NOT NULL,
    created_at           timestamp NOT NULL,
    id                   SERIAL PRIMARY KEY,
    status               varchar(20) NOT NULL,
    symbol               varchar(20) NOT NULL UNIQUE,
    total_price_records  integer,
    price_data_end       date,
    price_data_start     date,
    last_price_update    timestamp,
    source_prediction_id integer,
    first_seen_date      date NOT NULL,
    company_name         varchar(255)
);
ALTER TABLE ticker_registry ADD COLUMN exchange varchar(20);
ALTER TABLE ticker_registry ADD COLUMN status_reason varchar(255);
ALTER TABLE ticker_registry ADD COLUMN asset_type varchar(20);

CREATE TABLE market_prices (
    id             BIGSERIAL PRIMARY KEY,
    date           date NOT NULL,
    symbol         varchar(20) NOT NULL,
    source         varchar(50) DEFAULT 'yfinance',
    close          double precision NOT NULL,
    adjusted_close double precision,
    open           double precision,
    low            double precision,
    high           double precision,
    volume         bigint,
    created_at     timestamptz NOT NULL,
    updated_at     timestamp NOT NULL,
    last_updated   timestamp,
    has_dividend   boolean,
    has_split      boolean,
    is_market_open boolean DEFAULT true
);
CREATE UNIQUE INDEX idx_market_price_symbol_date ON market_prices (symbol, date);

CREATE TABLE prediction_outcomes (
    notes                 text,
    id                    SERIAL PRIMARY KEY,
    symbol                varchar(20) NOT NULL,
    prediction_id         integer NOT NULL REFERENCES predictions (id),
    is_complete           boolean,
    price_t30 double precision, price_t7 double precision, price_t3 double precision, price_t1 double precision,
    price_at_prediction   double precision,
    market_volatility     double precision,
    return_t1 double precision, pnl_t1 double precision, correct_t1 boolean,
    return_t3 double precision, pnl_t3 double precision, correct_t3 boolean,
    return_t7 double precision, pnl_t7 double precision, correct_t7 boolean,
    return_t30 double precision, pnl_t30 double precision, correct_t30 boolean,
    created_at            timestamp NOT NULL,
    updated_at            timestamptz NOT NULL,
    prediction_date       date NOT NULL,
    prediction_timeframe_days integer,
    prediction_sentiment  varchar(20),
    sector                varchar(50),
    last_price_update     timestamp
);
ALTER TABLE prediction_outcomes ADD COLUMN post_published_at timestamp;
ALTER TABLE prediction_outcomes ADD COLUMN prediction_confidence double precision;
CREATE INDEX idx_outcome_prediction_symbol ON prediction_outcomes (prediction_id, symbol);

CREATE TABLE events (
    id         BIGSERIAL PRIMARY KEY,
    payload    json NOT NULL,
    event_type varchar(100) NOT NULL,
    status     varchar(20) NOT NULL,
    created_at timestamp NOT NULL,
    updated_at timestamp NOT NULL
);

CREATE TABLE market_movements (
    id            SERIAL PRIMARY KEY,
    prediction_id integer NOT NULL REFERENCES predictions (id) ON DELETE CASCADE,
    asset         varchar(20) NOT NULL,
    movement_24h  double precision,
    created_at    timestamp NOT NULL,
    updated_at    timestamp NOT NULL
);

-- The owner's own trigger, on tables that we write to and listen at.
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON predictions FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON prediction_outcomes FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON market_prices FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- And a view, through which the owner's columns cannot be changed any more.
CREATE VIEW accuracy AS
SELECT o.symbol, count(*) FILTER (WHERE o.correct_t7) AS hits, avg(o.return_t7) AS mean_return
FROM prediction_outcomes o JOIN predictions p ON p.id = o.prediction_id
WHERE p.confidence > 0.5 GROUP BY o.symbol;

INSERT INTO truth_social_shitposts (shitpost_id, username, "timestamp", content, raw_api_data, created_at, updated_at)
SELECT (113000000000000 + n * 7919)::text, 'poster',
       timestamp '2023-08-01 00:17:41.5' + n * interval '28 hours 53 minutes', 'Post number ' || n,
       jsonb_build_object('id', n), '2023-08-01', '2023-08-01'
FROM generate_series(1, 200) n;

INSERT INTO signals (signal_id, source, author_username, text, platform_data, published_at, created_at, updated_at)
SELECT 'sig-' || n, 'truth_social', 'poster', 'Post number ' || n, NULL,
       timestamptz '2023-08-01 00:17:40.75-04' + n * interval '28 hours 53 minutes', '2024-03-01', '2024-03-01'
FROM generate_series(90, 300) n;

-- In order of age: only a shitpost, a shitpost and a signal that say different times, only a
-- signal; and now and then neither, with a post_timestamp or without, or links that lead nowhere.
INSERT INTO predictions (signal_id, shitpost_id, post_timestamp, assets, market_impact, confidence, thesis,
    analysis_status, llm_model, ensemble_results, created_at, updated_at)
SELECT CASE WHEN n % 20 = 11 THEN 'sig-lost-' || n WHEN n % 20 <> 12 AND n >= 90 THEN 'sig-' || n END,
       CASE WHEN n % 20 = 11 THEN 'lost-' || n WHEN n % 20 <> 12 AND n <= 200 THEN (113000000000000 + n * 7919)::text END,
       CASE WHEN n % 8 = 3 THEN NULL ELSE t.at AT TIME ZONE 'UTC' - (n % 3) * interval '30 minutes' END,
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
           WHEN 14 THEN ' [ ] '
           ELSE '[ "SPY" ,"QQQ" ]'
       END::json,
       CASE n % 9
           WHEN 0 THEN NULL
           WHEN 1 THEN 'null'
           WHEN 2 THEN '[]'
           WHEN 3 THEN '{"AAPL": "Bullish", "aapl": "bearish", "SPY": "NEUTRAL", "MSFT": "unclear"}'
           WHEN 4 THEN '{"tsla": "bearish", "GLD": null, "BTC-USD": 1}'
           ELSE '{"AAPL": "bullish", "TSLA": "bearish", "MSFT": "neutral", "SPY": "bearish",'
                ' "QQQ": "bullish", "GLD": "bullish", "BTC-USD": "bullish"}'
       END::jsonb,
       CASE WHEN n % 7 > 2 THEN (n % 21) / 20.0 END, 'Because of post number ' || n,
       CASE n % 7 WHEN 0 THEN 'bypassed' WHEN 1 THEN 'error' WHEN 2 THEN CASE WHEN n % 2 = 0 THEN 'pending' END
                  ELSE 'completed' END,
       'gpt-4', NULL, t.at, t.at AT TIME ZONE 'UTC'
FROM generate_series(1, 300) n
CROSS JOIN LATERAL (
    SELECT timestamp '2023-08-01 00:57:41' + n * interval '28 hours 53 minutes'
           + (n % 4) * interval '21 hours' AS at) t;

INSERT INTO ticker_registry (symbol, first_seen_date, source_prediction_id, status, status_reason,
    asset_type, exchange, total_price_records, created_at, updated_at)
SELECT symbol, date '2023-08-02', source, status, reason, kind, exchange, 0,
       timestamp '2023-08-02 10:00', '2023-08-02 10:00Z'
FROM (VALUES ('AAPL', 4, 'active', NULL, 'stock', 'NMS'), ('TSLA', 3, 'active', NULL, 'stock', 'NMS'),
             ('MSFT', 12, 'active', NULL, 'stock', NULL), ('SPY', 10, 'active', NULL, 'etf', 'PCX'),
             ('QQQ', 10, 'active', NULL, NULL, NULL), ('GLD', 13, 'active', NULL, 'etf', 'PCX'),
             ('BTC-USD', 8, 'active', NULL, 'crypto', NULL), ('^GSPC', 10, 'active', NULL, 'index', 'SNP'),
             ('CL=F', 10, 'active', NULL, 'commodity', NULL),
             ('RTN', 9, 'inactive', 'renamed to RTX', 'stock', NULL),
             ('TWTR', NULL, 'inactive', 'delisted', 'stock', 'NYQ'),
             ('FAKECO', 11, 'invalid', 'yfinance knows no such ticker', NULL, NULL))
     AS r (symbol, source, status, reason, kind, exchange);

INSERT INTO market_prices (symbol, date, open, high, low, close, volume, adjusted_close, last_updated,
    has_split, created_at, updated_at)
SELECT p.symbol, d::date, c.close * 0.995, c.close * 1.01, c.close * 0.99, c.close,
       1000000 + (d::date - date '2023-07-01') * 10, c.close * 0.99, d + interval '22 hours',
       false, d + interval '22 hours', d + interval '22 hours'
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

INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,
    prediction_confidence, price_at_prediction, price_t1, price_t3, price_t7, price_t30,
    return_t1, return_t3, return_t7, return_t30, correct_t7, pnl_t7, market_volatility,
    last_price_update, is_complete, notes, created_at, updated_at)
SELECT p.id, r.symbol, p.created_at::date, CASE p.id % 3 WHEN 0 THEN 'bullish' WHEN 1 THEN 'mixed' END, p.confidence,
       c.p0, c.p1, c.p3, c.p7, c.p30,
       (c.p1 / c.p0 - 1) * 100, (c.p3 / c.p0 - 1) * 100, (c.p7 / c.p0 - 1) * 100, (c.p30 / c.p0 - 1) * 100,
       c.p7 / c.p0 > 1.005, (c.p7 / c.p0 - 1) * 1000, 14.5, p.created_at + interval '40 days',
       CASE WHEN p.id <= 200 THEN true WHEN p.id % 5 = 0 THEN NULL ELSE false END,
       CASE WHEN p.id % 11 = 0 THEN 'checked by hand' END, p.created_at,
       (p.created_at + interval '40 days') AT TIME ZONE 'UTC'
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
WHERE p.analysis_status = 'completed' AND p.id < 290;

-- Dropped with its rows there: its place in every row stays.
ALTER TABLE prediction_outcomes DROP COLUMN notes;

INSERT INTO events (payload, event_type, status, created_at, updated_at)
SELECT format('{"prediction_id": %s}', n)::json, 'prediction_created',
       CASE n % 10 WHEN 0 THEN 'pending' ELSE 'completed' END, '2024-07-01', '2024-07-01'
FROM generate_series(1, 120) n;

INSERT INTO market_movements (prediction_id, asset, movement_24h, created_at, updated_at)
SELECT prediction_id, symbol, return_t1, created_at, created_at FROM prediction_outcomes WHERE id % 4 = 0;
