BEGIN;
-- Only the owner moves the clock, and health reports a sweep that does not happen.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE TABLE IF NOT EXISTS reckoner_clock (
    name         text PRIMARY KEY,
    stopped_at   timestamptz,                   -- NULL: the clock runs
    clock_offset interval NOT NULL DEFAULT '0'
);
COMMENT ON TABLE reckoner_clock IS
    'Clocks for tests: a session whose setting reckoner.clock is a name from here takes its time from it. Empty otherwise.';

-- The end of the last sweep.
ALTER TABLE reckoner_installation ADD COLUMN IF NOT EXISTS swept_at timestamptz;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0013_rights.sql', '3567ee28fbda6a9b85e52498dcf88b8738c825ab0a734979312a5e79b294f0d0')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
