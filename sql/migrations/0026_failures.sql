BEGIN;
-- The unusable answers of a provider in a row, of every kind and whether it is remote or local: its
-- breaker (`failures`) counts fewer of them.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE reckoner_providers ADD COLUMN IF NOT EXISTS failed_in_row integer NOT NULL DEFAULT 0;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0026_failures.sql', 'e472e1ba2c2b96ccc5e1058353b0de215b11edd0cabf482078c1981a480d2a81')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
