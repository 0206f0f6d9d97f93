BEGIN;
-- The locks by which processes of Reckoner wait for each other.
--
-- Two are advisory locks: pairs of 1380271947 ("RECK" in ASCII) and their own number. Any role can take
-- them, so little depends on them.
--   1 armed        doorbell: held by the worker that sleeps with LISTEN, tried by each writer
--   2 migrating    one migration at a time, by psql or by `worker migrate`. Each file of sql/ begins
--                  with it as a number, because it must work before this file was applied
--
-- The others are locks on tables, which need a worker's rights: a role with nothing but CONNECT could
-- otherwise stop every sweep and every prediction. Their modes hinder no reader and no other writer.
--   3 sweeping     market_syncs, SHARE UPDATE EXCLUSIVE: one sweep at a time, for the length of one part
--     outcomes     market_calendars, SHARE UPDATE EXCLUSIVE: writers of a prediction_outcomes without UNIQUE
--     events       reckoner_installation, SHARE UPDATE EXCLUSIVE: writers of events for predictions that
--                  have none
--     sessions     market_sessions: ROW SHARE by batches that look up sessions, SHARE UPDATE EXCLUSIVE
--                  by a loader, EXCLUSIVE for a change of sessions
--
-- sql/schema/locks.py has the numbers that Python needs.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The names of the locks with a number, in that order; health shows who holds them.
CREATE OR REPLACE FUNCTION lock_names() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{armed,migrating,sweeping}'::pg_catalog.text[]
$$;

-- The number of a lock. IMMUTABLE, so that a statement with the name in it costs what the number costs.
CREATE OR REPLACE FUNCTION lock_number(p_name text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.array_position(public.lock_names(), p_name)
$$;
REVOKE ALL ON FUNCTION
    lock_names(),
    lock_number(p_name text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/05_locks.sql', '7f2a7b3c82bc49c78025ead6d2f611fe57975804898587c77b1090ead5ba425e')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
