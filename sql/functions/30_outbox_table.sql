BEGIN;
-- The outbox's CHECK and triggers. An inserted or requeued event wakes a sleeping worker, and
-- UPDATE outbox SET status = 'pending' resets the counts of earlier attempts. The triggers are
-- listed in 90_triggers.sql.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The outbox's one CHECK (migrations/0005). Any plain word is a topic. The topics are listed in
-- worker/topics.py, and a new one needs no migration. An event of a topic that no worker works on
-- waits, and outbox_stuck shows it.
CREATE OR REPLACE FUNCTION outbox_is_sound(p_topic text, p_status text, p_lease bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN p_topic ~ '^[a-z][a-z_]{0,29}$'
       AND CASE WHEN p_status = 'processing' THEN p_lease IS NOT NULL
                ELSE p_lease IS NULL AND p_status IN ('pending', 'failed', 'dead') END;
END
$$;

-- Rings for an INSERT by hand. Another trigger's INSERT does not fire it, and rings by itself where
-- it wrote a row: to find that here would take a transition table, which copies every writer's rows.
CREATE OR REPLACE FUNCTION outbox_inserted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM public.doorbell_ring();
    RETURN NULL;
END
$$;

-- Fires for an operator's UPDATE alone: the functions in 32_outbox_end.sql change the lease when they
-- requeue an event, an operator's statement does not. It runs with the owner's rights, because a role
-- may have UPDATE without INSERT; the rules for such functions are in 90_triggers.sql.
CREATE OR REPLACE FUNCTION outbox_requeued() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_place bigint; -- the id of a row that stands for the symbol's one waiting event
BEGIN
    IF (TG_RELID, TG_OP, TG_LEVEL) IS DISTINCT FROM ('public.outbox'::regclass::oid, 'UPDATE', 'ROW') THEN
        RAISE 'not the trigger of this table';
    END IF;
    IF OLD.status = 'processing' AND OLD.topic = 'ticker' THEN
        -- An INSERT waits for a concurrent one of the same symbol; a SELECT would miss the row that
        -- the other transaction is about to commit.
        IF NOT public.reckoner_dry_run() THEN
            INSERT INTO public.outbox (topic, key) VALUES ('ticker', OLD.key)
            ON CONFLICT (key) WHERE topic = 'ticker' AND status <> 'processing' DO NOTHING
            RETURNING id INTO v_place;
        ELSIF NOT EXISTS (SELECT FROM public.outbox WHERE key = OLD.key AND topic = 'ticker' AND status <> 'processing') THEN
            v_place := 0;
        END IF;
        IF v_place IS NULL THEN
            -- Another event for this symbol waits and will do the same work.
            RAISE NOTICE 'event % is not requeued: % has a waiting event', OLD.id, OLD.key;
            RETURN NULL;
        END IF;
        DELETE FROM public.outbox WHERE id = v_place; -- until this commits, no other event takes the place
    END IF;
    NEW.trail := public.outbox_trail(OLD, 'requeued', NULL, OLD.last_error);
    NEW.attempts := 0;
    NEW.crashes := 0;
    NEW.lease := NULL;
    NEW.leased_by := NULL;
    NEW.leased_until := NULL;
    NEW.last_error := NULL;
    NEW.updated_at := public.reckoner_now();
    IF NEW.available_at = OLD.available_at THEN
        NEW.available_at := public.reckoner_now();
    END IF;
    PERFORM public.doorbell_ring();
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION
    outbox_inserted(),
    outbox_requeued()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/30_outbox_table.sql', '271ec41e67031979749d3a7c125fc90798b47e4bec49c1734db681d2c82c6a81')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
