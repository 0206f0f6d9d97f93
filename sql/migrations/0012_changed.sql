BEGIN;
-- How far the sweep's second slow walk has come, which looks for predictions that were changed
-- while no trigger saw it. Apart from the first, because a step of it costs more and is shorter.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE reckoner_installation ADD COLUMN IF NOT EXISTS changed_cursor bigint NOT NULL DEFAULT 0;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0012_changed.sql', '91336ae89e910fb45d71b6367f57027961ed6893fb00e453ba07ab990156a67c')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
