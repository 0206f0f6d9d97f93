BEGIN;
-- The advisory locks of Reckoner. Each is a pair of numbers: 1380271947 ("RECK" in ASCII) and its own.
--
--   1 armed        doorbell: held by the worker that sleeps with LISTEN, tried by each writer
--   2 migrating    one migration at a time, by psql or by `worker migrate`. Each file of sql/ begins
--                  with it as a number, because it must work before this file was applied
--   3 sweeping     one sweep at a time, for the length of one part
--   4 outcomes     writers of a prediction_outcomes without UNIQUE (prediction_id, symbol)
--   5 events       writers of events for predictions that have none; two at once would write two
--   6 sessions     shared by batches that look up sessions, exclusive for a change of sessions
--   hashtext('calendar ' || name)   one loader of a calendar at a time
--
-- sql/schema/locks.py has the numbers that Python needs.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The names, in the order of their numbers.
CREATE OR REPLACE FUNCTION lock_names() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{armed,migrating,sweeping,outcomes,events,sessions}'::pg_catalog.text[]
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
    ('functions/05_locks.sql', 'e5cee3365445f9e63a5bbd8387b824d2019126addad7ec34f769f3b908fe9a10')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
