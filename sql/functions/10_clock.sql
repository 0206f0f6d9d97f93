BEGIN;
-- The one clock. Leases, retries, ages and the end of sessions are read from it alone, so a worker
-- whose own clock is wrong changes nothing. STABLE, so that the claim can use its index.
--
-- A test moves time by a row of reckoner_clock, which only the owner writes, and the row's name in
-- the setting reckoner.clock (of a session, a database, a server). The setting alone moves nothing:
-- with a setting that did, a writer's events waited until the year 2326.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The time of a named clock; the real time where there is no such clock.
CREATE OR REPLACE FUNCTION reckoner_clock_now(p_name text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        (SELECT coalesce(c.stopped_at, pg_catalog.statement_timestamp())
                OPERATOR(pg_catalog.+) c.clock_offset
         FROM public.reckoner_clock c WHERE c.name OPERATOR(pg_catalog.=) p_name),
        pg_catalog.statement_timestamp())
$$;

-- The table is read by a function of its own, so that this one is inlined: it runs once for each row.
CREATE OR REPLACE FUNCTION reckoner_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(pg_catalog.current_setting('reckoner.clock', true), '') OPERATOR(pg_catalog.=) ''
                THEN pg_catalog.statement_timestamp()
                ELSE public.reckoner_clock_now(pg_catalog.current_setting('reckoner.clock', true)) END
$$;

-- Whether the transaction is a command's dry run: it does everything and is rolled back. What would
-- take an id of a sequence, which no rollback gives back, is then counted and not inserted.
-- sql/database.py sets it. It is no safeguard: a session that sets it writes no ticker events of its
-- own, and the sweep finds those.
CREATE OR REPLACE FUNCTION reckoner_dry_run() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(pg_catalog.current_setting('reckoner.dry_run', true), '') OPERATOR(pg_catalog.=) 'on'
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/10_clock.sql', '96150d1b7b4cbb25abb107b96893297d8d43109dc3bb3109d4287b6d8df55756')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
