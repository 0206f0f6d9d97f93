BEGIN;
-- Which topics a worker works on, so that an event of a topic that no worker knows can be told from
-- one that waits for its turn. NULL: a worker of a release that did not say so.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE reckoner_workers ADD COLUMN IF NOT EXISTS topics text[];
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0019_topics.sql', '7311728773a77d398672734e56f2218c8122d6065b026a37d1a3daf4fa6d40d5')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
