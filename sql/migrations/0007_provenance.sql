BEGIN;
-- Where every stored price comes from, what was wrong with what came, and what it replaced.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The bytes of providers' answers, each body once. Bars and the audit name them by id; a row that
-- is pruned after RAW_RETENTION_DAYS leaves those ids dangling, because taking them out of the
-- bars would rewrite every bar there is. The audit keeps the hash.
CREATE TABLE IF NOT EXISTS provider_payloads (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- never used twice
    sha256       text NOT NULL UNIQUE,      -- of the body as it came
    provider     text NOT NULL,
    url          text NOT NULL,             -- without key; of the first answer with this body
    status       integer,                   -- of HTTP; NULL for a file
    class        text NOT NULL,             -- what the answer was taken for: ok, bad_answer, …
    size         integer NOT NULL,          -- bytes, not compressed
    body         bytea NOT NULL,            -- compressed by zlib; python -m market payload ID
    fetched_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL       -- kept RAW_RETENTION_DAYS from then; a day exact
);
-- The body is compressed; trying again costs time for nothing.
ALTER TABLE provider_payloads ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS provider_payloads_seen ON provider_payloads (last_seen_at);

-- One row for each batch that was validated. What the score is made of: market/validation.py.
CREATE TABLE IF NOT EXISTS data_quality_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol     text NOT NULL,
    checked_at timestamptz NOT NULL,
    provider   text NOT NULL,
    range_from date NOT NULL,               -- what was asked for
    range_to   date NOT NULL,
    given      integer NOT NULL,            -- rows of the answer
    rejected   integer NOT NULL,            -- of them cannot be bars
    flagged    integer NOT NULL,            -- oddities that may be true, and were used
    expected   integer NOT NULL,            -- sessions from the first bar on
    missing    integer NOT NULL,            -- of them without a bar
    parts      jsonb NOT NULL,              -- {"rows": 1, "units": 1, "splits": 1, …}, 0 to 1 each
    notes      text[] NOT NULL,             -- the first lines of what was found
    score      double precision NOT NULL,   -- 0 to 1
    verdict    text NOT NULL CHECK (verdict IN ('accepted', 'flagged', 'refused'))
);
CREATE INDEX IF NOT EXISTS data_quality_log_symbol ON data_quality_log (symbol, checked_at);
CREATE INDEX IF NOT EXISTS data_quality_log_checked ON data_quality_log (checked_at);

-- Splits and dividends, as the last provider that told of them says.
CREATE TABLE IF NOT EXISTS corporate_actions (
    symbol        text NOT NULL,
    date          date NOT NULL,            -- the first session at the new price
    kind          text NOT NULL CHECK (kind IN ('split', 'dividend')),
    value         double precision NOT NULL,-- new shares for an old one; or amount per share of today
    provider      text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (symbol, date, kind)
);

-- What a bar said before it was replaced. old_fetched_at NULL: another program's bar.
-- new_close NULL: the bar was taken away. Adjusted closes alone are not kept: they follow from
-- corporate_actions, and every dividend changes all of them.
CREATE TABLE IF NOT EXISTS market_price_revisions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol         text NOT NULL,
    date           date NOT NULL,
    old_open       double precision,
    old_high       double precision,
    old_low        double precision,
    old_close      double precision,
    old_adjusted_close double precision,
    old_volume     bigint,
    old_source     text,
    old_payload_id bigint,
    old_fetched_at timestamptz,
    new_close      double precision,
    new_source     text NOT NULL,
    new_payload_id bigint,
    replaced_at    timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS market_price_revisions_bar ON market_price_revisions (symbol, date, replaced_at);

-- One row per symbol and run, whatever came of it.
CREATE TABLE IF NOT EXISTS ingestion_audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol      text NOT NULL,
    finished_at timestamptz NOT NULL,
    job         text,                       -- what asked for it: event 17, fetch-prices
    outcome     text NOT NULL,              -- fetched, unknown, later, failed
    provider    text,                       -- whose bars were used
    range_from  date,                       -- what was asked for
    range_to    date,
    rows        integer NOT NULL,           -- bars used
    inserted    integer NOT NULL,
    updated     integer NOT NULL,
    rejected    integer NOT NULL,
    score       double precision,
    hash        text,                       -- sha256 of the answer that was used
    payload_id  bigint,                     -- in provider_payloads, while it is kept
    duration    double precision NOT NULL,  -- seconds that providers took
    error       text,
    -- Everyone who was asked, in order: [{"provider", "class", "message", "score", "hash", "payload_id", "seconds"}, …]
    asked       jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS ingestion_audit_symbol ON ingestion_audit (symbol, finished_at);
CREATE INDEX IF NOT EXISTS ingestion_audit_finished ON ingestion_audit (finished_at);

-- market_prices.payload_id: the answer that a bar was read from. Nullable and without a default,
-- so that another program's table is locked for a blink; no foreign key, see above.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public'
                   AND table_name = 'market_prices' AND column_name = 'payload_id') THEN
        ALTER TABLE market_prices ADD COLUMN payload_id bigint;
    END IF;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0007_provenance.sql', 'f27a2000107723621ceb28ac952e6dadb604628b4b5f090e32ab0202d7dae09f')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
