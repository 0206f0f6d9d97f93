BEGIN;
-- Five-minute bars: a table partitioned by month, and what is known of each symbol's.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Partitions are UTC months. intraday_partitions_ensure() and intraday_partition_drop() make and drop them
-- (functions/43_intraday_partitions.sql). The names of the columns are those of other systems.
CREATE TABLE IF NOT EXISTS price_history_intraday (
    symbol          varchar(20) NOT NULL,
    "interval"      text NOT NULL,
    ts              timestamptz NOT NULL,       -- the bar's start
    open            double precision,
    high            double precision,
    low             double precision,
    close           double precision NOT NULL,
    volume          bigint,
    source_provider text NOT NULL,
    raw_hash        text,                       -- sha256 of the payload that the bar was read from
    pulled_at       timestamptz NOT NULL,
    PRIMARY KEY (symbol, "interval", ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE price_history_intraday IS
    'Five-minute bars of sessions, final ones only; ts is the start in UTC. Partitioned by month, dropped whole after INTRADAY_RETENTION_DAYS.';

-- One row per symbol whose five-minute bars were asked for. Written by intraday_store() and the claims of
-- functions/43_intraday.sql; coverage reads it instead of the bars.
CREATE TABLE IF NOT EXISTS intraday_symbols (
    symbol        varchar(20) PRIMARY KEY,
    last_bar      timestamptz,                  -- the start of the newest stored bar
    last_session  date,                         -- its session
    session_bars  integer NOT NULL DEFAULT 0,   -- how many bars of that session are stored
    answered_to   timestamptz,                  -- a provider answered for everything before
    provider      text,                         -- the one that answered last
    polled_at     timestamptz,
    next_at       timestamptz,                  -- not polled before, after an answer without the newest bar or a failure
    misses        integer NOT NULL DEFAULT 0,   -- such answers and failures in a row
    error         text,                         -- of the last one that failed
    claimed_by    text,                         -- the worker that fetches it now
    claimed_until timestamptz
);
COMMENT ON TABLE intraday_symbols IS
    'What is known of each symbol''s five-minute bars: the newest one, the last answer, and the worker that fetches now.';

-- Validations and fetches of both intervals are in one log and one audit.
ALTER TABLE data_quality_log ADD COLUMN IF NOT EXISTS "interval" text NOT NULL DEFAULT '1d';
ALTER TABLE ingestion_audit ADD COLUMN IF NOT EXISTS "interval" text NOT NULL DEFAULT '1d';
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0033_intraday.sql', 'fe47874d99f54281cbfc4ffe420b25f4cc5adad6f0109f3de488f3c16359a78b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
