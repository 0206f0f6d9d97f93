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
CREATE OR REPLACE FUNCTION predictions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    INSERT INTO outbox (topic, key, available_at, created_at, updated_at)
    SELECT 'prediction', n.id, t.now, t.now, t.now
    FROM added n CROSS JOIN (SELECT reckoner_now() AS now) t
    WHERE n.analysis_status = 'completed' AND has_assets(n.assets::text);
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
    INSERT INTO outbox (topic, key, available_at, created_at, updated_at)
    SELECT 'prediction', n.id, t.now, t.now, t.now
    FROM changed n JOIN was o USING (id) CROSS JOIN (SELECT reckoner_now() AS now) t
    WHERE n.analysis_status = 'completed' AND has_assets(n.assets::text)
      AND (n.assets::text, n.market_impact::text, n.analysis_status)
          IS DISTINCT FROM (o.assets::text, o.market_impact::text, o.analysis_status);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'reckoner: no event written for changed predictions: %', SQLERRM;
    RETURN NULL;
END
$$;

-- A ticker that is registered, by anyone, is backfilled at once.
CREATE OR REPLACE FUNCTION registry_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    PERFORM ticker_enqueue(array_agg(n.symbol::text), 0, true)
    FROM added n
    WHERE n.status = 'active' AND normalize_symbol(n.symbol) = n.symbol
    HAVING count(*) > 0;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'reckoner: no event written, the sweep will find these tickers: %', SQLERRM;
    RETURN NULL;
END
$$;

-- Puts a trigger where it is missing; one that is there is not touched, so that migrating
-- again takes no lock on the owner's table.
CREATE OR REPLACE FUNCTION source_attach_trigger(
    p_table regclass, p_trigger text, p_event text, p_referencing text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = p_table AND tgname = p_trigger) THEN
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION %I()', p_trigger, p_event, p_table, p_referencing, p_trigger);
    END IF;
END
$$;

-- Makes what depends on the tables that are found: the view and the triggers. Called by
-- this file and at every `worker migrate`.
CREATE OR REPLACE FUNCTION source_attach() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM source_attach_view();
    INSERT INTO reckoner_installation (last_prediction_id, installed_at)
    SELECT coalesce(max(id), 0), reckoner_now() FROM predictions
    HAVING NOT EXISTS (SELECT FROM reckoner_installation);
    PERFORM source_attach_trigger('public.ticker_registry', 'registry_inserted', 'INSERT',
                                  'NEW TABLE AS added');
    PERFORM source_attach_trigger('public.predictions', 'predictions_inserted', 'INSERT',
                                  'NEW TABLE AS added');
    PERFORM source_attach_trigger('public.predictions', 'predictions_updated', 'UPDATE',
                                  'OLD TABLE AS was NEW TABLE AS changed');
END
$$;

-- What source_attach() would have to do, for `worker migrate --check`.
CREATE OR REPLACE FUNCTION source_missing() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('trigger %s on %s is missing or disabled', t.trigger, t.source)
    FROM (VALUES ('predictions', 'predictions_inserted'), ('predictions', 'predictions_updated'),
                 ('ticker_registry', 'registry_inserted')) AS t(source, trigger)
    WHERE NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = to_regclass('public.' || t.source)
                               AND tgname = t.trigger AND tgenabled IN ('O', 'A'))
    UNION ALL
    SELECT 'view prediction_inputs is missing' WHERE to_regclass('public.prediction_inputs') IS NULL
$$;

SELECT source_attach();
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/90_triggers.sql', '59552089f7b1fdee7e17a5d2859922748632eb254a9d315cd6ca3a2e42285f01')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
