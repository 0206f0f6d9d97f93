BEGIN;
-- Nobody but the owner moves the clock, and a sweep that does not happen shows.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE TABLE IF NOT EXISTS reckoner_clock (
    name         text PRIMARY KEY,
    stopped_at   timestamptz,                   -- NULL: it goes on
    clock_offset interval NOT NULL DEFAULT '0'
);
COMMENT ON TABLE reckoner_clock IS
    'Clocks for tests: sessions whose setting reckoner.clock is a name from here live by it. Empty otherwise.';

-- When a sweep last came to its end.
ALTER TABLE reckoner_installation ADD COLUMN IF NOT EXISTS swept_at timestamptz;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0013_rights.sql', '9a11b2ffe41a1faa549026cf4626f2849d740afe7315a77fc6b23973f78d5732')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
