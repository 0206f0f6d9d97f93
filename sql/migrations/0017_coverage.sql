BEGIN;
-- Price coverage: the sessions for which providers answered, with or without bars.
-- One row per range and source, so that a hole between two ranges is a fact. It takes the place of
-- ticker_registry.fetched_from and fetched_to. Those two columns stay, because migrate drops no
-- column of a table that another program may own; nothing reads or writes them any more.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE TABLE IF NOT EXISTS price_coverage (
    symbol     varchar(20) NOT NULL,
    "interval" text NOT NULL CHECK ("interval" IN ('1d', '5m')),
    "from"     date NOT NULL,           -- a session's date, as is "to"; both are in the range
    "to"       date NOT NULL,
    source     text NOT NULL,           -- the provider that answered
    PRIMARY KEY (symbol, "interval", source, "from"),
    CHECK ("from" <= "to")
);
COMMENT ON TABLE price_coverage IS
    'Ranges of sessions for which providers answered, with or without bars; ranges of one source neither overlap nor touch.';

-- The source of the newest bar of the range stands for all of it: the old columns did not say whose it was.
-- Only into an empty table: `migrate --remove` leaves it with the prices, and the old columns would
-- bring back ranges that were removed since.
INSERT INTO price_coverage (symbol, "interval", "from", "to", source)
SELECT r.symbol, '1d', r.fetched_from, r.fetched_to,
       coalesce((SELECT p.source FROM market_prices p
                 WHERE p.symbol = r.symbol AND p.fetched_at IS NOT NULL
                   AND p.date BETWEEN r.fetched_from AND r.fetched_to
                 ORDER BY p.date DESC LIMIT 1), 'unknown')
FROM ticker_registry r
WHERE r.fetched_from <= r.fetched_to
  AND NOT EXISTS (SELECT FROM price_coverage);
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0017_coverage.sql', '7daaedf4ea418f1879e41d0572e4cb1d2654b52f702b435f1aa0f18a1df41c89')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
