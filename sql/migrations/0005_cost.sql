BEGIN;
-- What an insert into the outbox costs a writer, and what a night's outcomes cost us.
--
-- A statement that inserts one row reads and compiles every CHECK and every index predicate of the
-- table anew: CHECKs that say it all were 11 us of it, a list of words in a predicate 2 more each. So
-- there is one CHECK, which calls a function that a session compiles once (PL/pgSQL, because one in
-- SQL would be written out in its place), and the predicates ask what is cheap to ask: a lease exists
-- exactly while an event is in processing, so "leased" is said with the lease. And the trigger that rings keeps no copy of the
-- inserted rows any more; what inserts inside another trigger rings itself (90_triggers.sql).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE outbox
    DROP CONSTRAINT IF EXISTS outbox_topic_check,
    DROP CONSTRAINT IF EXISTS outbox_status_check,
    DROP CONSTRAINT IF EXISTS outbox_lease_while_processing,
    DROP CONSTRAINT IF EXISTS outbox_sound;
CREATE OR REPLACE FUNCTION outbox_is_sound(p_topic text, p_status text, p_lease bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN p_topic IN ('prediction', 'ticker')
       AND CASE WHEN p_status = 'processing' THEN p_lease IS NOT NULL
                ELSE p_lease IS NULL AND p_status IN ('pending', 'failed', 'dead') END;
END
$$;
ALTER TABLE outbox ADD CONSTRAINT outbox_sound CHECK (outbox_is_sound(topic, status, lease));

DROP INDEX IF EXISTS outbox_ready;
CREATE INDEX outbox_ready ON outbox (topic, priority DESC, available_at, id)
    WHERE lease IS NULL AND status <> 'dead' AND crashes = 0;
DROP INDEX IF EXISTS outbox_suspects;
CREATE INDEX outbox_suspects ON outbox (available_at, id)
    WHERE crashes > 0 AND lease IS NULL AND status <> 'dead';
DROP INDEX IF EXISTS outbox_processing;
CREATE INDEX outbox_processing ON outbox (topic, key) WHERE lease IS NOT NULL;
DROP TRIGGER IF EXISTS outbox_inserted ON outbox; -- made again, without a transition table

-- What identifies an outcome and is known before its prices: how the functions of
-- 50_outcomes.sql hand rows to each other.
DO $$
BEGIN
    IF to_regtype('public.outcome_key') IS NULL THEN
        CREATE TYPE outcome_key AS (
            prediction_id integer, symbol text, day date, sentiment text,
            confidence double precision, entry date, reason text);
    END IF;
END
$$;

-- A symbol's outcomes that may change now: those that wait for a bar, and those whose next horizon
-- is over; not the thousands that mature later.
CREATE INDEX IF NOT EXISTS prediction_outcomes_waiting ON prediction_outcomes (symbol, outcome_state, due_at)
    WHERE outcome_state IN ('awaiting_prices', 'maturing');
DROP INDEX IF EXISTS prediction_outcomes_open;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0005_cost.sql', 'cff35c07531c974f64a8cb031b5ce41aa7efbf5ed57c98d5d8f81bf7c515c973')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
