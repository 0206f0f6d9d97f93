BEGIN;
-- The topics that a worker works on, so that outbox_stuck distinguishes an event of a topic without
-- workers from one that waits for its turn. NULL: a worker of a release that did not record them.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE reckoner_workers ADD COLUMN IF NOT EXISTS topics text[];
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0019_topics.sql', 'ec0355006b3d8725b22aa267e43a83c46850b1333335f3b6b79be0e55100c535')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
