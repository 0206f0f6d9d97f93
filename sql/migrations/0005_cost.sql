BEGIN;
-- What an insert into the outbox costs a writer, and what a night's outcomes cost us.
--
-- A statement that inserts one row reads and compiles every CHECK and every index predicate of the
-- table anew: three CHECKs were 11 us of it, a list of words in a predicate 2 more each. So there is
-- one CHECK, and the predicates ask what is cheap to ask: a lease exists exactly while an event is in
-- processing, so "leased" is said with the lease. And the trigger that rings keeps no copy of the
-- inserted rows any more; what inserts inside another trigger rings itself (90_triggers.sql).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

ALTER TABLE outbox
    DROP CONSTRAINT IF EXISTS outbox_topic_check,
    DROP CONSTRAINT IF EXISTS outbox_status_check,
    DROP CONSTRAINT IF EXISTS outbox_lease_while_processing,
    DROP CONSTRAINT IF EXISTS outbox_sound;
ALTER TABLE outbox ADD CONSTRAINT outbox_sound CHECK (
    CASE status WHEN 'processing' THEN lease IS NOT NULL
                WHEN 'pending' THEN lease IS NULL
                WHEN 'failed' THEN lease IS NULL
                WHEN 'dead' THEN lease IS NULL
                ELSE false END
    AND (topic = 'prediction' OR topic = 'ticker'));

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
    ('migrations/0005_cost.sql', '6ff02f8546f140498b7dec225a295a3e08275bfa5ba3a2848d0cefb16d079874')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
