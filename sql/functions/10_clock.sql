BEGIN;
-- The one clock. Leases, retries, ages and "is this session over" ask it and nothing else,
-- so a worker whose own clock is wrong changes nothing, and a test moves time for the
-- whole system by setting reckoner.clock_offset (for one session, or for all by
-- postgresql.conf and a reload). STABLE, so that the claim can use its index.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE OR REPLACE FUNCTION reckoner_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT statement_timestamp()
         + coalesce(nullif(current_setting('reckoner.clock_offset', true), ''), '0')::interval
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/10_clock.sql', 'dd769c9cebf5e55a7b39f0bd3fd027926a5c30b49f794e34fc6af61a4fc43813')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
