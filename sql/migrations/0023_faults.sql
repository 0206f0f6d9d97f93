BEGIN;
-- What a worker cannot do at present, in words, and since when: an error that is no event's own fault (a
-- function that is missing, a right that was revoked, a table that another session has locked). NULL: it
-- can do everything. Written by worker_fault() (functions/36_workers.sql).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE reckoner_workers ADD COLUMN IF NOT EXISTS fault text,
                             ADD COLUMN IF NOT EXISTS fault_since timestamptz;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0023_faults.sql', '16f401908c5e726f041d1dd396f3af61ae493c054a1b9845c721c79770effb9b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
