BEGIN;
-- The doorbell wakes sleeping workers, and sends no NOTIFY while any worker is awake.
--
-- NOTIFY takes a database-wide lock at commit, so one NOTIFY per insert makes every writer
-- of the database commit one after the other. A worker that is awake reads the outbox again
-- anyway; only a sleeping one needs a notification. So:
--
--   worker, going to sleep            writer, in the statement's trigger
--   1. doorbell_arm():                a. insert the outbox row
--      take the armed lock            b. doorbell_ring(): try the lock shared, until commit
--   2. claim once more                     refused -> a worker sleeps: NOTIFY
--   3. wait for a notification             granted -> a worker is awake: nothing
--                                     c. commit: the row becomes visible, THEN locks go
--
-- Why no wake-up is lost. Take a writer W and a worker S that arms.
--   * b comes after 1: the shared lock is refused, W notifies, S receives it at W's commit.
--   * b comes before 1, and W has not committed: W holds the lock shared, so 1 fails
--     ('busy'), and S does not sleep but tries again after milliseconds.
--   * b comes before 1, and W has committed: locks are released after the commit is
--     visible, so when S gets the lock in 1, its claim in 2 sees W's row.
-- The second claim (2), after taking the lock, covers the third case.
--
-- Several workers: one worker holds the lock ('armed'), and every writer rings. The others find it
-- held ('guarded') and sleep too, because NOTIFY reaches every connection that listens. When the
-- holder wakes, it disarms and works; when it finds more events than it can take, it calls
-- doorbell_call() for the others. Polling finds events whose notification is lost: the holder was
-- killed at the wrong moment, or a pooler swallows notifications.
--
-- The lock is a session lock of the LISTEN connection, which must therefore not go through
-- a transaction pooler; a worker whose echoes do not arrive there polls and never arms.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Called by every trigger that writes an event (of outbox, predictions and ticker_registry), in the
-- writer's transaction. It names its functions in full,
-- because a search_path of its own costs every writer a microsecond. It declares no variable: PL/pgSQL
-- would resolve the variable's type with the search_path of the session's first caller.
CREATE OR REPLACE FUNCTION doorbell_ring() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(1380271947, public.lock_number('armed'))
       -- A full notification queue fails the writer's COMMIT, where no handler can catch the error.
       -- Without a notification the event only waits for the next poll.
       AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5
       -- PREPARE TRANSACTION is refused to whoever has notified, and his work is lost. Where
       -- somebody made room for prepared transactions the poll finds what this does not tell.
       AND (pg_catalog.current_setting('max_prepared_transactions') OPERATOR(pg_catalog.=) '0'
            OR pg_catalog.current_setting('reckoner.ring', true) OPERATOR(pg_catalog.=) 'on')
    THEN
        PERFORM pg_catalog.pg_notify('reckoner', '');
    END IF;
END
$$;

-- Called by worker/listening/doorbell.py on the LISTEN connection, which holds no lock yet.
--   armed    this connection holds the lock: every writer rings from now on
--   guarded  another worker holds it: writers ring, and NOTIFY reaches this connection too
--   busy     writers are between insert and commit: try again shortly
CREATE OR REPLACE FUNCTION doorbell_arm() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF pg_try_advisory_lock(1380271947, lock_number('armed')) THEN
        RETURN 'armed';
    END IF;
    IF EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 1380271947 AND objid = lock_number('armed') AND objsubid = 2
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND mode = 'ExclusiveLock' AND granted
    ) THEN
        RETURN 'guarded';
    END IF;
    RETURN 'busy';
END
$$;

CREATE OR REPLACE FUNCTION doorbell_disarm() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT pg_advisory_unlock(1380271947, lock_number('armed'))
$$;

-- Wakes the other workers. Called by a worker that claimed all it can take while events may be left.
CREATE OR REPLACE FUNCTION doorbell_call(p_worker text) RETURNS void
LANGUAGE sql AS $$
    SELECT pg_notify('reckoner', '')
    WHERE EXISTS (
        SELECT FROM reckoner_workers
        WHERE name <> p_worker AND last_seen_at > reckoner_now() - interval '1 minute'
    )
$$;
REVOKE ALL ON FUNCTION
    doorbell_ring(),
    doorbell_arm(),
    doorbell_disarm(),
    doorbell_call(p_worker text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/20_doorbell.sql', 'f2abed482d9eff0d89e32a46971ce4137baa8db1ec86d26ceafce3ee2fdb0503')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
