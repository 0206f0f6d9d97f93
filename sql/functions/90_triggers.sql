BEGIN;
-- The triggers on the tables that others write: predictions, and the registry.
--
-- They fire once per statement, write with the owner's rights and a fixed search_path, wait
-- for no lock longer than a blink, and whatever goes wrong inside them becomes a WARNING:
-- the writer's statement succeeds and the sweep finds the prediction.
--
-- The exception guard is a subtransaction: 13 us a statement, 6 % of a transaction of 5,000
-- single-row inserts (1,174 ms with it, 1,111 without, 740 without the trigger), and from its
-- 65th statement on such a transaction overflows the snapshots' cache of subtransactions until
-- it commits. Without the guard any fault of ours (a renamed table, a refused right, a lock)
-- would be an error in somebody else's program. It stays.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A writer that is traced says SET LOCAL reckoner.traceparent = '00-…'; its event carries it.
CREATE OR REPLACE FUNCTION writers_payload() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN coalesce(current_setting('reckoner.traceparent', true), '') = '' THEN '{}'::jsonb
                ELSE jsonb_build_object('traceparent', current_setting('reckoner.traceparent', true)) END
$$;

CREATE OR REPLACE FUNCTION predictions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    v_now     timestamptz;
    v_payload jsonb;
BEGIN
    v_now := reckoner_now(); -- here and not where it is declared, which the guard does not cover
    v_payload := writers_payload();
    INSERT INTO outbox (topic, key, payload, available_at, created_at, updated_at)
    SELECT 'prediction', n.id, v_payload, v_now, v_now, v_now FROM added n
    WHERE n.analysis_status = 'completed' AND has_assets(n.assets::text);
    IF FOUND THEN
        PERFORM doorbell_ring();
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'reckoner: no event written, the sweep will find these predictions: %', SQLERRM;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION predictions_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    INSERT INTO outbox (topic, key, payload, available_at, created_at, updated_at)
    SELECT 'prediction', n.id, t.payload, t.now, t.now, t.now
    FROM changed n JOIN was o USING (id)
    CROSS JOIN (SELECT reckoner_now() AS now, writers_payload() AS payload) t
    WHERE n.analysis_status = 'completed' AND has_assets(n.assets::text)
      AND (n.assets::text, n.market_impact::text, n.analysis_status)
          IS DISTINCT FROM (o.assets::text, o.market_impact::text, o.analysis_status);
    IF FOUND THEN
        PERFORM doorbell_ring();
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'reckoner: no event written, the sweep will find these changes: %', SQLERRM;
    RETURN NULL;
END
$$;

-- A ticker that is registered, by anyone, is backfilled at once.
CREATE OR REPLACE FUNCTION registry_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    -- Coverage of a row that was deleted: without this the ticker would never be fetched again.
    DELETE FROM price_coverage c USING added a WHERE c.symbol = a.symbol;
    PERFORM ticker_enqueue(array_agg(n.symbol::text), 0, true), doorbell_ring()
    FROM added n
    WHERE n.status = 'active' AND normalize_symbol(n.symbol) = n.symbol
    HAVING count(*) > 0;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'reckoner: no event written, the sweep will find these tickers: %', SQLERRM;
    RETURN NULL;
END
$$;

-- Every trigger of ours, and what it says.
CREATE OR REPLACE FUNCTION reckoner_triggers()
RETURNS TABLE (source text, trigger_name text, definition text) LANGUAGE sql IMMUTABLE AS $$
    VALUES
    ('outbox', 'outbox_inserted',
     'AFTER INSERT ON public.outbox FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)'),
    ('outbox', 'outbox_redriven',
     'BEFORE UPDATE OF status ON public.outbox FOR EACH ROW'
     ' WHEN (NEW.status = ''pending'' AND NEW.lease IS NOT DISTINCT FROM OLD.lease)'),
    ('ticker_registry', 'registry_inserted',
     'AFTER INSERT ON public.ticker_registry REFERENCING NEW TABLE AS added FOR EACH STATEMENT'),
    ('predictions', 'predictions_inserted',
     'AFTER INSERT ON public.predictions REFERENCING NEW TABLE AS added FOR EACH STATEMENT'),
    ('predictions', 'predictions_updated',
     'AFTER UPDATE ON public.predictions REFERENCING OLD TABLE AS was NEW TABLE AS changed'
     ' FOR EACH STATEMENT')
$$;

-- Those that are missing or switched off.
CREATE OR REPLACE FUNCTION source_missing_triggers()
RETURNS TABLE (source text, trigger_name text, definition text, is_there boolean)
LANGUAGE sql STABLE AS $$
    SELECT t.*, g.tgname IS NOT NULL
    FROM reckoner_triggers() t
    LEFT JOIN pg_trigger g ON g.tgrelid = to_regclass('public.' || t.source) AND g.tgname = t.trigger_name
    WHERE g.tgenabled IS NULL OR g.tgenabled NOT IN ('O', 'A')
$$;

-- Makes what depends on the tables that are found: the view and the triggers. What is there
-- and works is not touched, so that migrating again takes no lock on the owner's tables.
-- Called by this file and at every `worker migrate`.
CREATE OR REPLACE FUNCTION source_attach() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_missing record;
BEGIN
    PERFORM source_attach_view();
    INSERT INTO reckoner_installation (last_prediction_id, installed_at)
    SELECT coalesce(max(id), 0), reckoner_now() FROM predictions
    HAVING NOT EXISTS (SELECT FROM reckoner_installation);
    FOR v_missing IN SELECT * FROM source_missing_triggers() LOOP
        IF v_missing.is_there THEN
            EXECUTE format('ALTER TABLE public.%I ENABLE TRIGGER %I', v_missing.source, v_missing.trigger_name);
        ELSE
            EXECUTE format('CREATE TRIGGER %I %s EXECUTE FUNCTION %I()',
                           v_missing.trigger_name, v_missing.definition, v_missing.trigger_name);
        END IF;
    END LOOP;
END
$$;

-- What source_attach() would have to do, for `worker migrate --check`.
CREATE OR REPLACE FUNCTION source_missing() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('trigger %s on %s is %s', trigger_name, source,
                  CASE WHEN is_there THEN 'disabled' ELSE 'missing' END)
    FROM source_missing_triggers()
    UNION ALL
    SELECT 'view prediction_inputs is missing' WHERE to_regclass('public.prediction_inputs') IS NULL
$$;

SELECT source_attach();
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/90_triggers.sql', '8f97f78237b7934b3e10a66935510c9c91576c4f8c5373c040275bfa1d6719e1')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
