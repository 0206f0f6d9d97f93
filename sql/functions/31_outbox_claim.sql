BEGIN;
-- Claiming and renewing: give an event a lease, and prolong it. Called by worker/queue/outbox.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Claims up to p_limit ready events of a topic, highest priority first, then oldest, each with a new
-- fencing token. An event whose key is in processing waits: so an UPDATE of a prediction is processed
-- after its INSERT, and a ticker is fetched once. Two claims in the same instant can both pass that
-- test; then both events were committed before either was read, and both have the same effects.
-- One index range per priority, so that events waiting for a later time are not read.
--
-- p_after: the end of an earlier claim of this worker, {priority: [available_at, id]}; the claim reads
-- what lies behind it. While a transaction holds an old snapshot, every event that was claimed since
-- stays at the beginning of the index, and a claim from there would read them all again.
-- worker/queue/claim_cursor.py decides when a full scan ('{}') is due.
--
-- Every plan for these statements is the same walk along an index, also on a table that was empty
-- when it was last analysed. So a scalar subquery stands where NOT EXISTS could become a join with
-- all events in processing, and an array of ids where a join could read the whole table.
CREATE OR REPLACE FUNCTION outbox_claim(
    p_topic text, p_worker text, p_limit integer, p_lease_seconds double precision,
    p_after jsonb DEFAULT '{}'
) RETURNS SETOF outbox LANGUAGE plpgsql AS $$
DECLARE
    v_now      timestamptz := reckoner_now();
    v_priority smallint;
    v_below    integer := 32768; -- above every priority
    v_left     integer := p_limit;
    v_at       timestamptz;
    v_id       bigint;
    v_ids      bigint[];
BEGIN
    LOOP
        v_priority := outbox_priority_below(p_topic, v_below, p_after);
        EXIT WHEN v_priority IS NULL;
        v_below := v_priority;
        v_at := coalesce((p_after -> v_priority::text ->> 0)::timestamptz, '-infinity');
        v_id := coalesce((p_after -> v_priority::text ->> 1)::bigint, 0);

        v_ids := ARRAY(
            SELECT o.id FROM outbox o
            WHERE o.topic = p_topic AND o.lease IS NULL AND o.status <> 'dead' AND o.crashes = 0
              AND o.priority = v_priority AND o.available_at <= v_now
              AND (o.available_at, o.id) > (v_at, v_id)
              AND (SELECT p.id FROM outbox p WHERE p.topic = o.topic AND p.key = o.key
                   AND p.lease IS NOT NULL LIMIT 1) IS NULL
            ORDER BY o.available_at, o.id
            LIMIT v_left FOR UPDATE OF o SKIP LOCKED);
        IF v_ids <> '{}' THEN
            RETURN QUERY
            UPDATE outbox o
            SET status = 'processing', lease = nextval('outbox_lease'), leased_by = p_worker,
                leased_until = v_now + make_interval(secs => p_lease_seconds), updated_at = v_now,
                claimed_at = v_now
            WHERE o.id = ANY (v_ids)
            RETURNING o.*;
            v_left := v_left - cardinality(v_ids);
            EXIT WHEN v_left <= 0;
        END IF;
    END LOOP;
END
$$;

-- The highest priority below p_below in which a topic may have a waiting event. A priority in p_after
-- counts without a look, so that nothing before its position is read.
CREATE OR REPLACE FUNCTION outbox_priority_below(p_topic text, p_below integer, p_after jsonb)
RETURNS smallint LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_known integer := (SELECT max(k::integer) FROM jsonb_object_keys(p_after) k WHERE k::integer < p_below);
    v_found integer;
BEGIN
    SELECT o.priority INTO v_found FROM outbox o
    WHERE o.topic = p_topic AND o.lease IS NULL AND o.status <> 'dead' AND o.crashes = 0
      AND o.priority < p_below AND o.priority > coalesce(v_known, -32769)
    ORDER BY o.priority DESC LIMIT 1;
    RETURN coalesce(v_found, v_known);
END
$$;

-- Claims one crashed event of p_topics (NULL: of any topic). A worker runs it with nothing else in flight:
-- if it crashes the worker again, no other event loses its lease.
CREATE OR REPLACE FUNCTION outbox_claim_crashed(
    p_worker text, p_lease_seconds double precision, p_topics text[] DEFAULT NULL
) RETURNS SETOF outbox LANGUAGE sql AS $$
    UPDATE outbox o
    SET status = 'processing', lease = nextval('outbox_lease'), leased_by = p_worker,
        leased_until = reckoner_now() + make_interval(secs => p_lease_seconds),
        updated_at = reckoner_now(), claimed_at = reckoner_now()
    WHERE o.id = (
        SELECT s.id FROM outbox s
        WHERE s.lease IS NULL AND s.status <> 'dead' AND s.crashes > 0
          AND s.available_at <= reckoner_now() AND (p_topics IS NULL OR s.topic = ANY (p_topics))
          AND (SELECT p.id FROM outbox p WHERE p.topic = s.topic AND p.key = s.key
               AND p.lease IS NOT NULL LIMIT 1) IS NULL
        ORDER BY s.available_at, s.id
        LIMIT 1 FOR UPDATE OF s SKIP LOCKED)
    RETURNING o.*
$$;

-- The time at which the next waiting event of these topics is due: a worker sleeps no longer.
-- p_after: {topic: position}, as for the claim.
CREATE OR REPLACE FUNCTION outbox_next_at(p_topics text[], p_after jsonb DEFAULT '{}')
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_topic    text;
    v_position jsonb;
    v_priority integer;
    v_at       timestamptz;
    v_next     timestamptz;
BEGIN
    SELECT min(available_at) INTO v_next FROM outbox
    WHERE lease IS NULL AND status <> 'dead' AND crashes > 0 AND topic = ANY (p_topics);
    FOREACH v_topic IN ARRAY p_topics LOOP
        v_position := coalesce(p_after -> v_topic, '{}');
        v_priority := 32768;
        LOOP
            v_priority := outbox_priority_below(v_topic, v_priority, v_position);
            EXIT WHEN v_priority IS NULL;
            SELECT o.available_at INTO v_at FROM outbox o
            WHERE o.topic = v_topic AND o.lease IS NULL AND o.status <> 'dead' AND o.crashes = 0
              AND o.priority = v_priority
              AND (o.available_at, o.id) > (
                  coalesce((v_position -> v_priority::text ->> 0)::timestamptz, '-infinity'),
                  coalesce((v_position -> v_priority::text ->> 1)::bigint, 0))
            ORDER BY o.available_at, o.id LIMIT 1;
            v_next := least(v_next, v_at);
        END LOOP;
    END LOOP;
    RETURN v_next;
END
$$;

-- Locks those of the given events whose lease is still the given one, until the caller's transaction
-- ends. Returns their ids; the leases of the others have passed to another worker.
-- p_claims: [{"id", "lease"}].
CREATE OR REPLACE FUNCTION outbox_lock(p_claims jsonb) RETURNS SETOF bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN -- the settings as in outbox_finish()
    RETURN QUERY
    SELECT o.id FROM jsonb_to_recordset(p_claims) AS c(id bigint, lease bigint)
    JOIN outbox o ON o.id = c.id
    WHERE o.lease = c.lease
    ORDER BY o.id FOR UPDATE OF o;
END
$$;

-- Renews leases of a worker; returns how many it has. p_leases: the leases that it works on, NULL for all.
-- An unconfirmed claim may commit long after its worker gave up waiting for the answer. The worker
-- does not name the lease of such a claim, so it ends.
-- SKIP LOCKED: otherwise one row that another session has locked would withhold the heartbeat, and the
-- worker would lose every lease. outbox_expire() leaves a locked row alone as well.
CREATE OR REPLACE FUNCTION outbox_renew(
    p_worker text, p_lease_seconds double precision, p_leases bigint[] DEFAULT NULL
) RETURNS bigint LANGUAGE sql AS $$
    WITH mine AS (
        SELECT id FROM outbox
        WHERE lease IS NOT NULL AND leased_by = p_worker AND (p_leases IS NULL OR lease = ANY (p_leases))
    ), renewed AS (
        UPDATE outbox SET leased_until = reckoner_now() + make_interval(secs => p_lease_seconds)
        WHERE id = ANY (ARRAY(
            SELECT id FROM outbox
            WHERE lease IS NOT NULL AND leased_by = p_worker AND (p_leases IS NULL OR lease = ANY (p_leases))
            ORDER BY id FOR UPDATE SKIP LOCKED))
    )
    SELECT count(*) FROM mine
$$;
REVOKE ALL ON FUNCTION
    outbox_claim(p_topic text, p_worker text, p_limit integer, p_lease_seconds double precision, p_after jsonb),
    outbox_priority_below(p_topic text, p_below integer, p_after jsonb),
    outbox_claim_crashed(p_worker text, p_lease_seconds double precision, p_topics text[]),
    outbox_next_at(p_topics text[], p_after jsonb),
    outbox_lock(p_claims jsonb),
    outbox_renew(p_worker text, p_lease_seconds double precision, p_leases bigint[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/31_outbox_claim.sql', 'ae0b7fd1aa7da2e02a730b5e2d47e64bc5cde4a00d52616b4ff3d5aeeea0c550')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
