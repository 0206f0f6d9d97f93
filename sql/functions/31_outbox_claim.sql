BEGIN;
-- Claiming, renewing and letting go: how an event gets a lease. Called by worker/outbox.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Up to p_limit ready events of a topic, highest priority first, then oldest, each with a
-- new fencing token. Events of one key are never worked on by two claims at once (that
-- orders an UPDATE of a prediction after the INSERT, and fetches a ticker once): an event
-- whose key is in processing waits. Two claims in the same instant can still both pass
-- that test; then both events were committed before either is read, and both do the same.
-- One index range per priority, so that events waiting for a later time are not walked over.
CREATE OR REPLACE FUNCTION outbox_claim(
    p_topic text, p_worker text, p_limit integer, p_lease_seconds double precision
) RETURNS SETOF outbox LANGUAGE plpgsql AS $$
DECLARE
    v_now      timestamptz := reckoner_now();
    v_priority smallint;
    v_below    integer := 32768; -- above every priority
    v_left     integer := p_limit;
    v_taken    integer;
BEGIN
    LOOP
        SELECT o.priority INTO v_priority FROM outbox o
        WHERE o.topic = p_topic AND o.status IN ('pending', 'failed') AND o.crashes = 0
          AND o.priority < v_below
        ORDER BY o.priority DESC LIMIT 1;
        EXIT WHEN NOT FOUND;
        v_below := v_priority;

        RETURN QUERY
        WITH ready AS MATERIALIZED (
            SELECT o.id FROM outbox o
            WHERE o.topic = p_topic AND o.status IN ('pending', 'failed') AND o.crashes = 0
              AND o.priority = v_priority AND o.available_at <= v_now
              AND NOT EXISTS (SELECT FROM outbox p WHERE p.topic = o.topic AND p.key = o.key
                              AND p.status = 'processing')
            ORDER BY o.available_at, o.id
            LIMIT v_left FOR UPDATE OF o SKIP LOCKED
        )
        UPDATE outbox o
        SET status = 'processing', lease = nextval('outbox_lease'), leased_by = p_worker,
            leased_until = v_now + make_interval(secs => p_lease_seconds), updated_at = v_now,
            claimed_at = v_now
        FROM ready WHERE o.id = ready.id
        RETURNING o.*;

        GET DIAGNOSTICS v_taken = ROW_COUNT;
        v_left := v_left - v_taken;
        EXIT WHEN v_left <= 0;
    END LOOP;
END
$$;

-- One event that an earlier worker did not survive, of any topic. A worker runs it with
-- nothing else in flight, so that a poisonous event takes no innocent one with it again.
CREATE OR REPLACE FUNCTION outbox_claim_suspect(p_worker text, p_lease_seconds double precision)
RETURNS SETOF outbox LANGUAGE sql AS $$
    UPDATE outbox o
    SET status = 'processing', lease = nextval('outbox_lease'), leased_by = p_worker,
        leased_until = reckoner_now() + make_interval(secs => p_lease_seconds),
        updated_at = reckoner_now(), claimed_at = reckoner_now()
    WHERE o.id = (
        SELECT s.id FROM outbox s
        WHERE s.status IN ('pending', 'failed') AND s.crashes > 0
          AND s.available_at <= reckoner_now()
          AND NOT EXISTS (SELECT FROM outbox p WHERE p.topic = s.topic AND p.key = s.key
                          AND p.status = 'processing')
        ORDER BY s.available_at, s.id
        LIMIT 1 FOR UPDATE OF s SKIP LOCKED)
    RETURNING o.*
$$;

-- When the next waiting event of these topics is due: the longest that a worker may sleep.
CREATE OR REPLACE FUNCTION outbox_next_at(p_topics text[]) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_topic    text;
    v_below    integer;
    v_at       timestamptz;
    v_next     timestamptz;
BEGIN
    SELECT min(available_at) INTO v_next FROM outbox
    WHERE status IN ('pending', 'failed') AND crashes > 0;
    FOREACH v_topic IN ARRAY p_topics LOOP
        v_below := 32768;
        LOOP
            SELECT o.priority, o.available_at INTO v_below, v_at FROM outbox o
            WHERE o.topic = v_topic AND o.status IN ('pending', 'failed') AND o.crashes = 0
              AND o.priority < v_below
            ORDER BY o.priority DESC, o.available_at LIMIT 1;
            EXIT WHEN NOT FOUND;
            v_next := least(v_next, v_at);
        END LOOP;
    END LOOP;
    RETURN v_next;
END
$$;

-- Locks those of the given events whose lease still is the given one, until the caller's
-- transaction ends: what follows in it is guarded. Returns their ids; what is missing is lost.
CREATE OR REPLACE FUNCTION outbox_hold(p_ids bigint[], p_leases bigint[]) RETURNS SETOF bigint
LANGUAGE sql AS $$
    SELECT o.id FROM outbox o JOIN unnest(p_ids, p_leases) AS c(id, lease) USING (id)
    WHERE o.lease = c.lease
    ORDER BY o.id FOR UPDATE OF o
$$;

-- Prolongs every lease of a worker; returns how many.
CREATE OR REPLACE FUNCTION outbox_renew(p_worker text, p_lease_seconds double precision)
RETURNS bigint LANGUAGE sql AS $$
    WITH renewed AS (
        UPDATE outbox SET leased_until = reckoner_now() + make_interval(secs => p_lease_seconds)
        WHERE status = 'processing' AND leased_by = p_worker
        RETURNING 1)
    SELECT count(*) FROM renewed
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/31_outbox_claim.sql', 'a0f7705e83e5fc0b140997eb7c9aaf5b524ffbeb5e2dafa3cf68e34ff7b296a1')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
