BEGIN;
-- The universe: members of indexes, holdings, and why a ticker is registered.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A row for each index that is followed. An operator adds one by INSERT: the bounds of a list of members,
-- and where each source has it. A source without a value is not asked.
CREATE TABLE IF NOT EXISTS market_indexes (
    name         text PRIMARY KEY CHECK (name ~ '^[A-Z0-9_]{1,20}$'),
    title        text NOT NULL,                       -- for people
    least        integer NOT NULL,                    -- a list of fewer or more symbols changes nothing
    most         integer NOT NULL,
    most_leaving integer NOT NULL,                    -- in one refresh without a person's consent
    fmp          text CHECK (fmp ~ '^[A-Za-z0-9_-]+$'),          -- of /stable/…
    wikipedia    text CHECK (wikipedia ~ '^[^/?#[:cntrl:]]+$'),  -- a page's title
    csv          text CHECK (csv ~ '^[^/?#\\[:cntrl:]]+$' AND csv !~ '^[.]+$'), -- a file in INDEX_CSV_DIR
    tried_at     timestamptz,                         -- the last refresh, and what came of it
    refreshed_at timestamptz,                         -- the last one that was applied
    provider     text,                                -- the source of that one
    failure      text,                                -- why the last one was not applied
    failed_since timestamptz,
    CONSTRAINT market_indexes_bounds CHECK (0 < least AND least <= most AND most_leaving >= 0)
);
COMMENT ON TABLE market_indexes IS
    'The indexes that are followed: bounds, sources, and what came of the last refresh. One row each.';

INSERT INTO market_indexes (name, title, least, most, most_leaving, fmp, wikipedia, csv) VALUES
    ('SP500', 'S&P 500', 490, 510, 10, 'sp500-constituent', 'List_of_S&P_500_companies', 'SP500.csv'),
    ('NASDAQ100', 'Nasdaq-100', 95, 110, 10, 'nasdaq-constituent', 'Nasdaq-100', 'NASDAQ100.csv'),
    ('DOW30', 'Dow Jones Industrial Average', 30, 30, 3, 'dowjones-constituent',
     'Dow_Jones_Industrial_Average', 'DOW30.csv')
ON CONFLICT (name) DO NOTHING;

-- A row for each period of membership: a symbol that leaves and returns has two. The periods of a symbol do
-- not overlap; index_refresh() (functions/66_constituents.sql) writes them. became_inactive_at: the refresh
-- that did not find the symbol any more; the symbol left after last_seen_at.
CREATE TABLE IF NOT EXISTS index_constituents (
    index_name         text NOT NULL,
    symbol             varchar(20) NOT NULL,
    name               text,
    sector             text,
    industry           text,
    is_active          boolean NOT NULL DEFAULT true,
    first_seen_at      timestamptz NOT NULL,
    last_seen_at       timestamptz NOT NULL,
    became_inactive_at timestamptz,
    source             text NOT NULL DEFAULT 'operator',
    PRIMARY KEY (index_name, symbol, first_seen_at),
    CONSTRAINT index_constituents_period CHECK (
        is_active = (became_inactive_at IS NULL) AND first_seen_at <= last_seen_at
        AND (became_inactive_at IS NULL OR became_inactive_at > first_seen_at))
);
ALTER TABLE index_constituents ALTER COLUMN first_seen_at SET DEFAULT reckoner_now(),
                               ALTER COLUMN last_seen_at SET DEFAULT reckoner_now();
CREATE UNIQUE INDEX IF NOT EXISTS index_constituents_active ON index_constituents (index_name, symbol)
    WHERE is_active;
CREATE INDEX IF NOT EXISTS index_constituents_symbol ON index_constituents (symbol);
COMMENT ON TABLE index_constituents IS
    'Members of indexes, one row per period of membership; at most one active row per index and symbol.';

-- Written by SQL, `market import-holdings` and the API. A quantity below 0 is a short position, and 0 is
-- not held.
CREATE TABLE IF NOT EXISTS holdings (
    symbol     varchar(20) NOT NULL,
    quantity   numeric NOT NULL,
    account    text NOT NULL DEFAULT 'main',
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account, symbol),
    CONSTRAINT holdings_quantity CHECK (quantity > '-Infinity' AND quantity < 'Infinity') -- nor NaN
);
ALTER TABLE holdings ALTER COLUMN updated_at SET DEFAULT reckoner_now();
COMMENT ON TABLE holdings IS 'Held symbols by account; the universe follows them.';

-- ticker_registry.registered_as: 'universe': an index or a holding brought the ticker. 'manual': a person
-- registered it. NULL: a prediction named it, where it has a source or an outcome; else another program or a
-- person registered it. Nullable and without a default, so that another program's table is locked for a blink.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public'
                   AND table_name = 'ticker_registry' AND column_name = 'registered_as') THEN
        ALTER TABLE ticker_registry ADD COLUMN registered_as text;
    END IF;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0032_universe.sql', 'ab30ee3b447d82386bed37a2b2aba1b546d11568cdb4526269c4539ceab9415a')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
