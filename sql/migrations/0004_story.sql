BEGIN;
-- What an event went through, so that `explain` can tell it: when it was claimed last, and how
-- each claim before that one ended. An event that succeeds at once costs nothing more.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE outbox ADD COLUMN IF NOT EXISTS claimed_at timestamptz,
                   ADD COLUMN IF NOT EXISTS trail jsonb;
ALTER TABLE outbox_history ADD COLUMN IF NOT EXISTS claimed_at timestamptz,
                           ADD COLUMN IF NOT EXISTS trail jsonb;
COMMENT ON COLUMN outbox.trail IS
    'How earlier claims ended: [{"from", "to", "worker", "end", "until", "error"}, …], the first ten and the last forty.';

-- How far a worker's own clock is from the database's, in seconds; nothing depends on it.
ALTER TABLE reckoner_workers ADD COLUMN IF NOT EXISTS clock_skew double precision;
-- Whether it serves metrics: the eldest that does tells of the whole queue.
ALTER TABLE reckoner_workers ADD COLUMN IF NOT EXISTS exports boolean NOT NULL DEFAULT false;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0004_story.sql', 'e02b7a263674e05d6dc60ff4779fab212d631966360fb681988f98882694373a')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
