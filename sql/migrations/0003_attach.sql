BEGIN;
-- What attaching to other people's databases and a year of Yahoo taught: symbols that
-- providers spell differently, workers that sleep, outcomes whose prices were restated.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- How a symbol as predictions write it is spelled by providers, and whose sessions it has.
-- The first rule in order of (priority DESC, pattern) whose pattern matches counts. Operators
-- add rows; a rule counts for tickers whose provider_symbol is NULL from their next fetch on.
CREATE TABLE IF NOT EXISTS symbol_rules (
    pattern         text PRIMARY KEY,       -- regular expression over the whole, upper-cased symbol
    provider_symbol text,                   -- what providers call it, \1 is the first group; NULL: the same
    calendar        text,                   -- name in exchange_calendars; NULL: XNYS, or 24/7 for crypto
    priority        integer NOT NULL DEFAULT 0,
    note            text,
    -- A pattern that is no regular expression fails here and not in a worker.
    CONSTRAINT symbol_rules_pattern_compiles CHECK ('' ~ pattern IS NOT NULL)
);
COMMENT ON TABLE symbol_rules IS
    'Renames and spellings: pattern -> provider_symbol, calendar. Operators may add rows.';

INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note) VALUES
    -- Renamed: the old symbol's history goes on under the new one.
    ('FB', 'META', NULL, 100, 'Facebook became Meta Platforms in 2022'),
    ('RTN', 'RTX', NULL, 100, 'Raytheon merged into RTX in 2020'),
    ('CBS', 'PARA', NULL, 100, 'CBS became ViacomCBS in 2019, Paramount in 2022'),
    -- Class shares; A to D, because single letters behind them are exchanges.
    ('([A-Z]+)[./]([A-D])', '\1-\2', NULL, 50, 'class shares: BRK.B, BRK/B'),
    ('([A-Z0-9]+)/(USD|USDT|USDC|EUR|GBP|JPY|BTC|ETH)', '\1-\2', '24/7', 60, 'crypto pairs'),
    -- Google's prefixes.
    ('(?:NASDAQ|NYSE|NYSEARCA|NYSEAMERICAN):([A-Z]+)', '\1', NULL, 40, 'US exchanges'),
    ('(?:NASDAQ|NYSE|NYSEARCA|NYSEAMERICAN):([A-Z]+)[./]([A-D])', '\1-\2', NULL, 41, 'US class shares'),
    ('KRX:([0-9]{6})', '\1.KS', 'XKRX', 40, 'Korea Exchange'),
    ('KOSDAQ:([0-9]{6})', '\1.KQ', 'XKRX', 40, 'KOSDAQ'),
    ('LON:([A-Z0-9.]+)', '\1.L', 'XLON', 40, 'London'),
    ('ETR:([A-Z0-9]+)', '\1.DE', 'XETR', 40, 'Xetra'),
    ('FRA:([A-Z0-9]+)', '\1.F', 'XFRA', 40, 'Frankfurt'),
    ('EPA:([A-Z0-9]+)', '\1.PA', 'XPAR', 40, 'Paris'),
    ('AMS:([A-Z0-9]+)', '\1.AS', 'XAMS', 40, 'Amsterdam'),
    ('EBR:([A-Z0-9]+)', '\1.BR', 'XBRU', 40, 'Brussels'),
    ('BIT:([A-Z0-9]+)', '\1.MI', 'XMIL', 40, 'Milan'),
    ('BME:([A-Z0-9]+)', '\1.MC', 'XMAD', 40, 'Madrid'),
    ('SWX:([A-Z0-9]+)', '\1.SW', 'XSWX', 40, 'Zurich'),
    ('STO:([A-Z0-9-]+)', '\1.ST', 'XSTO', 40, 'Stockholm'),
    ('CPH:([A-Z0-9-]+)', '\1.CO', 'XCSE', 40, 'Copenhagen'),
    ('HEL:([A-Z0-9]+)', '\1.HE', 'XHEL', 40, 'Helsinki'),
    ('TSE:([A-Z0-9.-]+)', '\1.TO', 'XTSE', 40, 'Toronto'),
    ('TYO:([0-9A-Z]{4})', '\1.T', 'XTKS', 40, 'Tokyo'),
    ('HKG:([0-9]{4,5})', '\1.HK', 'XHKG', 40, 'Hong Kong'),
    ('SHA:([0-9]{6})', '\1.SS', 'XSHG', 40, 'Shanghai'),
    ('SHE:([0-9]{6})', '\1.SZ', 'XSHG', 40, 'Shenzhen keeps Shanghai''s sessions'),
    ('TPE:([0-9]{4,6})', '\1.TW', 'XTAI', 40, 'Taiwan'),
    ('ASX:([A-Z0-9]+)', '\1.AX', 'XASX', 40, 'Australia'),
    ('BOM:([0-9]{6})', '\1.BO', 'XBOM', 40, 'Bombay'),
    ('NSE:([A-Z0-9-]+)', '\1.NS', 'XBOM', 40, 'India''s two exchanges keep the same sessions'),
    -- Yahoo's suffixes: spelled as providers do, with sessions of their own.
    ('.+\.L', NULL, 'XLON', 0, 'London'),
    ('.+\.DE', NULL, 'XETR', 0, 'Xetra'),
    ('.+\.F', NULL, 'XFRA', 0, 'Frankfurt'),
    ('.+\.PA', NULL, 'XPAR', 0, 'Paris'),
    ('.+\.AS', NULL, 'XAMS', 0, 'Amsterdam'),
    ('.+\.BR', NULL, 'XBRU', 0, 'Brussels'),
    ('.+\.LS', NULL, 'XLIS', 0, 'Lisbon'),
    ('.+\.IR', NULL, 'XDUB', 0, 'Dublin'),
    ('.+\.MI', NULL, 'XMIL', 0, 'Milan'),
    ('.+\.MC', NULL, 'XMAD', 0, 'Madrid'),
    ('.+\.SW', NULL, 'XSWX', 0, 'Zurich'),
    ('.+\.VI', NULL, 'XWBO', 0, 'Vienna'),
    ('.+\.ST', NULL, 'XSTO', 0, 'Stockholm'),
    ('.+\.HE', NULL, 'XHEL', 0, 'Helsinki'),
    ('.+\.CO', NULL, 'XCSE', 0, 'Copenhagen'),
    ('.+\.OL', NULL, 'XOSL', 0, 'Oslo'),
    ('.+\.WA', NULL, 'XWAR', 0, 'Warsaw'),
    ('.+\.IS', NULL, 'XIST', 0, 'Istanbul'),
    ('.+\.TA', NULL, 'XTAE', 0, 'Tel Aviv'),
    ('.+\.JO', NULL, 'XJSE', 0, 'Johannesburg'),
    ('.+\.TO', NULL, 'XTSE', 0, 'Toronto'),
    ('.+\.V', NULL, 'XTSE', 0, 'TSX Venture keeps Toronto''s sessions'),
    ('.+\.MX', NULL, 'XMEX', 0, 'Mexico'),
    ('.+\.SA', NULL, 'BVMF', 0, 'Sao Paulo'),
    ('.+\.T', NULL, 'XTKS', 0, 'Tokyo'),
    ('.+\.HK', NULL, 'XHKG', 0, 'Hong Kong'),
    ('.+\.SS', NULL, 'XSHG', 0, 'Shanghai'),
    ('.+\.SZ', NULL, 'XSHG', 0, 'Shenzhen keeps Shanghai''s sessions'),
    ('.+\.KS', NULL, 'XKRX', 0, 'Korea Exchange'),
    ('.+\.KQ', NULL, 'XKRX', 0, 'KOSDAQ'),
    ('.+\.TW', NULL, 'XTAI', 0, 'Taiwan'),
    ('.+\.TWO', NULL, 'XTAI', 0, 'Taipei Exchange keeps Taiwan''s sessions'),
    ('.+\.AX', NULL, 'XASX', 0, 'Australia'),
    ('.+\.NZ', NULL, 'XNZE', 0, 'New Zealand'),
    ('.+\.SI', NULL, 'XSES', 0, 'Singapore'),
    ('.+\.BO', NULL, 'XBOM', 0, 'Bombay'),
    ('.+\.NS', NULL, 'XBOM', 0, 'India''s two exchanges keep the same sessions'),
    ('.+\.JK', NULL, 'XIDX', 0, 'Jakarta'),
    ('.+\.KL', NULL, 'XKLS', 0, 'Kuala Lumpur'),
    ('.+\.BK', NULL, 'XBKK', 0, 'Bangkok')
ON CONFLICT (pattern) DO NOTHING;

-- A worker that sleeps on purpose (WORKER_IDLE=sleepy) is not dead until it should have woken.
ALTER TABLE reckoner_workers ADD COLUMN IF NOT EXISTS asleep_until timestamptz;

-- The symbol of a provider's last bad answer, if its last failure was one.
ALTER TABLE reckoner_providers ADD COLUMN IF NOT EXISTS bad_symbol text;

-- prediction_outcomes.revision: what an outcome said before its prices were restated.
-- market_prices.fetched_at: when a provider of ours gave the bar. Other programs store bars too,
-- also of days that are not over; only those that we fetched reach an outcome.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public'
                   AND table_name = 'prediction_outcomes' AND column_name = 'revision') THEN
        ALTER TABLE prediction_outcomes ADD COLUMN revision text;
    END IF;
    IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public'
                   AND table_name = 'market_prices' AND column_name = 'fetched_at') THEN
        ALTER TABLE market_prices ADD COLUMN fetched_at timestamptz;
    END IF;
    -- An installation of ours from before this column: what lies in the ranges that its
    -- providers answered for is theirs.
    IF EXISTS (SELECT FROM reckoner_installation) THEN
        UPDATE market_prices p SET fetched_at = now() FROM ticker_registry r
        WHERE r.symbol = p.symbol AND p.date BETWEEN r.fetched_from AND r.fetched_to
          AND p.fetched_at IS NULL;
    END IF;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0003_attach.sql', '934b2103b0ef2252372c7aae220f2534fc59e1093a242a3a4416a5fa5f2a4ac8')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
