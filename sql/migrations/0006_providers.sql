BEGIN;
-- More than one provider: what each may be asked for, how well it answered, what it said wrong.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Good and bad answers, decayed (half of it is gone in a week), as provider_scored leaves them.
ALTER TABLE reckoner_providers ADD COLUMN IF NOT EXISTS good double precision NOT NULL DEFAULT 0,
                               ADD COLUMN IF NOT EXISTS bad double precision NOT NULL DEFAULT 0,
                               ADD COLUMN IF NOT EXISTS scored_at timestamptz;

-- What a key may ask for, and what all workers together have asked for. Operators edit the
-- limits; NULL is no limit, and a provider without a row has none. Day and month end at midnight
-- of time_zone. One row holds all three windows, so that one statement reserves in all or none.
CREATE TABLE IF NOT EXISTS provider_quotas (
    name        text PRIMARY KEY,
    per_minute  integer CHECK (per_minute >= 0),
    per_day     integer CHECK (per_day >= 0),
    per_month   integer CHECK (per_month >= 0),
    time_zone   text NOT NULL DEFAULT 'UTC',
    minute_from timestamptz NOT NULL DEFAULT '-infinity',
    minute_used integer NOT NULL DEFAULT 0,
    day_from    timestamptz NOT NULL DEFAULT '-infinity',
    day_used    integer NOT NULL DEFAULT 0,
    month_from  timestamptz NOT NULL DEFAULT '-infinity',
    month_used  integer NOT NULL DEFAULT 0,
    note        text,
    -- A zone that does not exist fails here and not in a worker.
    CONSTRAINT provider_quotas_zone CHECK (timestamp '2000-01-01' AT TIME ZONE time_zone IS NOT NULL)
);
COMMENT ON TABLE provider_quotas IS
    'Requests that a provider allows per minute, day and month (NULL: any number), and those reserved.';

INSERT INTO provider_quotas (name, per_minute, per_day, time_zone, note) VALUES
    ('fmp', NULL, 250, 'America/New_York', 'free: 250 requests a day'),
    ('twelve_data', 8, 800, 'UTC', 'free: 8 credits a minute, 800 a day; a symbol is a credit'),
    ('polygon', 5, NULL, 'UTC', 'free: 5 requests a minute'),
    ('alpha_vantage', NULL, 25, 'America/New_York', 'free: 25 requests a day, one a second'),
    ('finnhub', 60, NULL, 'UTC', 'free: 60 requests a minute, none of them for daily bars'),
    ('stooq', NULL, NULL, 'Europe/Warsaw', 'a daily limit that it does not state')
ON CONFLICT (name) DO NOTHING;

INSERT INTO reckoner_providers (name, spacing) VALUES
    ('fmp', '0.25 seconds'), ('twelve_data', '0'), ('polygon', '0'),
    -- A fetch is two requests, and it wants a second between any two.
    ('alpha_vantage', '2.5 seconds'), ('finnhub', '0.05 seconds'), ('stooq', '2 seconds')
ON CONFLICT (name) DO NOTHING;

-- Coins as other programs and providers write them.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note) VALUES
    ('X:([A-Z0-9]{2,10})(USDT|USDC|USD|EUR|GBP|JPY)', '\1-\2', '24/7', 60, 'coins as Polygon writes them'),
    ('(?:BINANCE|COINBASE|KRAKEN):([A-Z0-9]{2,10})-?(USDT|USDC|USD|EUR)', '\1-\2', '24/7', 60,
     'coins with their exchange'),
    ('(BTC|ETH|SOL|XRP|ADA|DOGE|LTC)(USDT|USDC|USD|EUR)', '\1-\2', '24/7', 60, 'coins in one word')
ON CONFLICT (pattern) DO NOTHING;

-- Answers that were of no use, by hour and class; a week of them is kept.
CREATE TABLE IF NOT EXISTS provider_errors (
    name    text NOT NULL,
    hour    timestamptz NOT NULL,
    kind    text NOT NULL,
    count   bigint NOT NULL,
    message text,               -- the last one's
    PRIMARY KEY (name, hour, kind)
);

-- Closes that two providers do not agree on, as the daily cross-check found them.
CREATE TABLE IF NOT EXISTS provider_disagreements (
    symbol         varchar(20) NOT NULL,
    date           date NOT NULL,
    provider       text NOT NULL,       -- whose close is stored
    close          double precision NOT NULL,
    other_provider text NOT NULL,
    other_close    double precision NOT NULL,
    checked_at     timestamptz NOT NULL,
    PRIMARY KEY (symbol, date, provider, other_provider)
);
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0006_providers.sql', 'db6a81b6543d9f93888a8daa20ad8aad18fb7109eec50611928aecca951f7a52')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
