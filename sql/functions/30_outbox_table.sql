BEGIN;
-- What the outbox does by itself: an inserted or requeued event wakes a sleeping worker,
-- and a plain UPDATE outbox SET status = 'pending' resets what the earlier tries left. The
-- triggers themselves are listed in 90_triggers.sql.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The outbox's one CHECK (migrations/0005). Any plain word is a topic: which topics there are is
-- the worker's registry (worker/topics.py), and a new one needs no migration. An event of a topic
-- that no worker knows waits, and outbox_stuck shows it.
CREATE OR REPLACE FUNCTION outbox_is_sound(p_topic text, p_status text, p_lease bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN p_topic ~ '^[a-z][a-z_]{0,29}$'
       AND CASE WHEN p_status = 'processing' THEN p_lease IS NOT NULL
                ELSE p_lease IS NULL AND p_status IN ('pending', 'failed', 'dead') END;
END
$$;

-- Not for what another trigger inserts, which rings itself if it wrote anything: a transition
-- table, to ask that here, would cost every writer a copy of the rows.
CREATE OR REPLACE FUNCTION outbox_inserted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM public.doorbell_ring();
    RETURN NULL;
END
$$;

-- Only for an operator's UPDATE: the verbs in 32_outbox_end.sql always change the lease when they
-- requeue an event, an operator's statement leaves it as it is. With the owner's rights, because
-- whoever may UPDATE need not be allowed to INSERT; written as 90_triggers.sql says.
CREATE OR REPLACE FUNCTION outbox_redriven() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_place bigint;
BEGIN
    IF (TG_RELID, TG_OP, TG_LEVEL) IS DISTINCT FROM ('public.outbox'::regclass::oid, 'UPDATE', 'ROW') THEN
        RAISE 'not the trigger of this table';
    END IF;
    IF OLD.status = 'processing' AND OLD.topic = 'ticker' THEN
        -- The place of a symbol's one waiting event is asked for as an insert does it, which waits
        -- for whoever is about to take it; what is only read is not yet what will be committed.
        INSERT INTO public.outbox (topic, key) VALUES ('ticker', OLD.key)
        ON CONFLICT (key) WHERE topic = 'ticker' AND status <> 'processing' DO NOTHING
        RETURNING id INTO v_place;
        IF v_place IS NULL THEN
            -- Another event for this symbol waits already and will do the same work.
            RAISE NOTICE 'event % left as it is: % has a waiting event', OLD.id, OLD.key;
            RETURN NULL;
        END IF;
        DELETE FROM public.outbox WHERE id = v_place; -- and nobody else gets it before we commit
    END IF;
    NEW.trail := public.outbox_trail(OLD, 're-driven', NULL, OLD.last_error);
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
    outbox_redriven()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/30_outbox_table.sql', '42573dea8aefc40ee96d3611d25db4d381c1e9ce891b28e0f35dfc5d1f9c73cb')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
