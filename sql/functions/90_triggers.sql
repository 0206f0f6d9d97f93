BEGIN;
-- The triggers on tables that other programs write: predictions, and the registry.
--
-- They fire once per statement, write with the owner's rights and a fixed search_path, and wait at most
-- 100 ms for a lock. Any error inside them becomes a WARNING: the writer's statement succeeds, and the
-- sweep finds the prediction.
--
-- The exception handler is a subtransaction. It costs 13 us a statement, 6 % of a transaction of 5,000
-- single-row inserts (1,174 ms with it, 1,111 without, 740 without the trigger). From its 65th statement
-- on such a transaction overflows the snapshots' cache of subtransactions until it commits. Without the
-- handler any fault here (a renamed table, a missing right, a lock) would be an error in another
-- program, so it stays.
--
-- No stranger's code runs with the owner's rights (tests/sql/test_definers.py):
--   * No other role may call these functions or make a trigger of them. On another table than their
--     own they read no column.
--   * Their search_path is pg_catalog: in `public` others may have made an operator or a function that
--     fits better. Functions that they call inherit it, and so name `public` in full.
--   * The columns of another program's table may have types, casts and operators of its own. They are
--     read by concat() alone, which calls a type's output function and no cast, and compared as bytes
--     (*<>).
--
-- The writer's lastval() stays what it was (tests/sql/test_lastval.py). An event's id comes from a
-- sequence, and lastval() returns the number of the session's last sequence. So each function reads
-- lastval() first, and uses reckoner_lastval last: setval() in a session makes its number the given one.
-- A session without a lastval() gets an error from it, and the body runs once more without.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The payload of a writer's event. A traced writer runs SET LOCAL reckoner.traceparent = '00-…', and the
-- event carries it. Anyone can set it, also to a megabyte, so that only W3C's form is accepted.
CREATE OR REPLACE FUNCTION writers_payload() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN octet_length(t.parent) = 55
                 AND t.parent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
                THEN jsonb_build_object('traceparent', t.parent) ELSE '{}'::jsonb END
    FROM (SELECT current_setting('reckoner.traceparent', true) AS parent) t
$$;

-- Writes an event for each inserted prediction. It names the times, which have defaults: a default is
-- evaluated for each row and column, which cost 3 % of an INSERT of one row and of 50,000.
CREATE OR REPLACE FUNCTION predictions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    v_now      timestamptz;
    v_payload  jsonb;
    v_last     bigint;
    v_has_last boolean; -- NULL: not yet read
BEGIN
    LOOP
        BEGIN
            IF (TG_RELID, TG_OP, TG_LEVEL) IS DISTINCT FROM ('public.predictions'::regclass::oid, 'INSERT', 'STATEMENT') THEN
                RAISE 'not the trigger of this table';
            END IF;
            IF v_has_last IS NULL THEN
                v_last := lastval();
                v_has_last := true;
            END IF;
            v_now := public.reckoner_now(); -- not in DECLARE, which the handler does not cover
            v_payload := public.writers_payload();
            INSERT INTO public.outbox (topic, key, payload, available_at, created_at, updated_at)
            SELECT 'prediction', concat(n.id), v_payload, v_now, v_now, v_now FROM added n
            WHERE concat(n.analysis_status) = 'completed' AND public.has_assets(concat(n.assets));
            IF FOUND THEN
                PERFORM public.doorbell_ring();
                IF v_has_last THEN -- one expression, because a PERFORM of two calls goes through the executor
                    v_last := setval('public.reckoner_lastval', v_last + 0 * nextval('public.reckoner_lastval'));
                END IF;
            END IF;
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            IF v_has_last IS NOT NULL THEN
                RAISE WARNING 'reckoner: no event written, the sweep will find these predictions: %', SQLERRM;
                RETURN NULL;
            END IF;
            v_has_last := false;
        END;
    END LOOP;
END
$$;

-- Writes an event for each updated prediction whose assets, market_impact or status differ.
CREATE OR REPLACE FUNCTION predictions_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    v_last     bigint;
    v_has_last boolean; -- as in predictions_inserted()
BEGIN
    LOOP
        BEGIN
            IF (TG_RELID, TG_OP, TG_LEVEL) IS DISTINCT FROM ('public.predictions'::regclass::oid, 'UPDATE', 'STATEMENT') THEN
                RAISE 'not the trigger of this table';
            END IF;
            IF v_has_last IS NULL THEN
                v_last := lastval();
                v_has_last := true;
            END IF;
            INSERT INTO public.outbox (topic, key, payload, available_at, created_at, updated_at)
            SELECT 'prediction', concat(n.id), t.payload, t.now, t.now, t.now
            FROM changed n JOIN was o ON concat(n.id) = concat(o.id)
            CROSS JOIN (SELECT public.reckoner_now() AS now, public.writers_payload() AS payload) t
            WHERE concat(n.analysis_status) = 'completed' AND public.has_assets(concat(n.assets))
              AND ROW(n.assets, n.market_impact, n.analysis_status)::record
                  *<> ROW(o.assets, o.market_impact, o.analysis_status)::record;
            IF FOUND THEN
                PERFORM public.doorbell_ring();
                IF v_has_last THEN
                    v_last := setval('public.reckoner_lastval', v_last + 0 * nextval('public.reckoner_lastval'));
                END IF;
            END IF;
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            IF v_has_last IS NOT NULL THEN
                RAISE WARNING 'reckoner: no event written, the sweep will find these changes: %', SQLERRM;
                RETURN NULL;
            END IF;
            v_has_last := false;
        END;
    END LOOP;
END
$$;

-- Writes an event for each ticker that any program registers, so that it is fetched at once.
CREATE OR REPLACE FUNCTION registry_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    v_last     bigint;
    v_has_last boolean; -- as in predictions_inserted()
BEGIN
    LOOP
        BEGIN
            IF (TG_RELID, TG_OP, TG_LEVEL) IS DISTINCT FROM ('public.ticker_registry'::regclass::oid, 'INSERT', 'STATEMENT') THEN
                RAISE 'not the trigger of this table';
            END IF;
            IF v_has_last IS NULL THEN
                v_last := lastval();
                v_has_last := true;
            END IF;
            -- Deletes the coverage of an earlier row of the symbol: with it the ticker would never be fetched.
            DELETE FROM public.price_coverage c USING (SELECT concat(symbol) AS symbol FROM added) a
            WHERE c.symbol OPERATOR(pg_catalog.=) a.symbol;
            PERFORM public.ticker_enqueue(array_agg(n.symbol), 0, true), public.doorbell_ring()
            FROM (SELECT concat(symbol) AS symbol, concat(status) AS status FROM added) n
            WHERE n.status = 'active' AND public.normalize_symbol(n.symbol) = n.symbol
            HAVING count(*) > 0;
            IF FOUND AND v_has_last THEN
                v_last := setval('public.reckoner_lastval', v_last + 0 * nextval('public.reckoner_lastval'));
            END IF;
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            IF v_has_last IS NOT NULL THEN
                RAISE WARNING 'reckoner: no event written, the sweep will find these tickers: %', SQLERRM;
                RETURN NULL;
            END IF;
            v_has_last := false;
        END;
    END LOOP;
END
$$;

-- All triggers of ours, with their definitions.
CREATE OR REPLACE FUNCTION reckoner_triggers()
RETURNS TABLE (source text, trigger_name text, definition text) LANGUAGE sql IMMUTABLE AS $$
    VALUES
    ('outbox', 'outbox_inserted',
     'AFTER INSERT ON public.outbox FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)'),
    ('outbox', 'outbox_requeued',
     'BEFORE UPDATE OF status ON public.outbox FOR EACH ROW'
     ' WHEN (NEW.status = ''pending'' AND NEW.lease IS NOT DISTINCT FROM OLD.lease)'),
    ('market_snapshot_history', 'snapshot_history_guard',
     'BEFORE DELETE OR UPDATE OR TRUNCATE ON public.market_snapshot_history FOR EACH STATEMENT'),
    ('ticker_registry', 'registry_inserted',
     'AFTER INSERT ON public.ticker_registry REFERENCING NEW TABLE AS added FOR EACH STATEMENT'),
    ('schedules', 'schedules_written',
     'BEFORE INSERT OR UPDATE OF name, task, params, trigger, timezone, enabled, paused_until, pause_reason, paused_by,'
     ' misfire, misfire_grace_s, queue, priority, dependencies, maintenance_windows, preflight_checks, safety, hooks,'
     ' notes, version ON public.schedules FOR EACH ROW'),
    ('job_run', 'runs_ended',
     'AFTER UPDATE OF status ON public.job_run FOR EACH ROW'
     ' WHEN (NEW.status IN (''ok'', ''error'') AND OLD.status IS DISTINCT FROM NEW.status AND NEW.schedule IS NOT NULL)'),
    ('predictions', 'predictions_inserted',
     'AFTER INSERT ON public.predictions REFERENCING NEW TABLE AS added FOR EACH STATEMENT'),
    ('predictions', 'predictions_updated',
     'AFTER UPDATE ON public.predictions REFERENCING OLD TABLE AS was NEW TABLE AS changed'
     ' FOR EACH STATEMENT')
$$;

-- The triggers that are missing or disabled.
CREATE OR REPLACE FUNCTION source_missing_triggers()
RETURNS TABLE (source text, trigger_name text, definition text, is_there boolean)
LANGUAGE sql STABLE AS $$
    SELECT t.*, g.tgname IS NOT NULL
    FROM reckoner_triggers() t
    LEFT JOIN pg_trigger g ON g.tgrelid = to_regclass('public.' || t.source) AND g.tgname = t.trigger_name
    WHERE g.tgenabled IS NULL OR g.tgenabled NOT IN ('O', 'A')
$$;

-- Triggers of ours on tables that were renamed: every statement there would get a warning from them.
CREATE OR REPLACE FUNCTION source_stray_triggers()
RETURNS TABLE (tablename text, trigger_name text) LANGUAGE sql STABLE AS $$
    SELECT g.tgrelid::regclass::text, t.trigger_name
    FROM reckoner_triggers() t
    JOIN pg_proc p ON p.proname = t.trigger_name AND p.pronamespace = 'public'::regnamespace
    JOIN pg_trigger g ON g.tgfoid = p.oid AND g.tgname = t.trigger_name AND NOT g.tgisinternal
    JOIN pg_class c ON c.oid = g.tgrelid
    WHERE g.tgrelid <> to_regclass('public.' || t.source) AND pg_has_role(c.relowner, 'USAGE')
$$;

-- Creates the objects that depend on the tables that are found: the view and the triggers. It leaves
-- those that exist and work, so that migrating again takes no lock on the owner's tables. Called by
-- this file and at every `worker migrate`.
CREATE OR REPLACE FUNCTION source_attach() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_row   record;
    v_stale boolean := EXISTS (SELECT FROM source_stale());
BEGIN
    PERFORM source_attach_view(); -- before the stray triggers go, which tell it that a table was renamed
    IF to_regclass('public.predictions') IS NULL THEN
        RAISE '%', source_lacks();
    END IF;
    INSERT INTO reckoner_installation (last_prediction_id)
    -- Below every id where there is none: the first may be negative.
    SELECT coalesce(max(id)::bigint, '-9223372036854775808') FROM predictions
    HAVING NOT EXISTS (SELECT FROM reckoner_installation);
    FOR v_row IN SELECT * FROM source_stray_triggers() LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', v_row.trigger_name, v_row.tablename);
    END LOOP;
    FOR v_row IN SELECT * FROM source_missing_triggers() LOOP
        IF v_row.is_there THEN
            EXECUTE format('ALTER TABLE public.%I ENABLE TRIGGER %I', v_row.source, v_row.trigger_name);
        ELSE
            EXECUTE format('CREATE TRIGGER %I %s EXECUTE FUNCTION %I()',
                           v_row.trigger_name, v_row.definition, v_row.trigger_name);
        END IF;
    END LOOP;
    IF v_stale THEN -- events that wait because the view did not show their predictions
        UPDATE outbox SET status = 'pending'
        WHERE topic = 'prediction' AND lease IS NULL AND status <> 'dead'
          AND last_error LIKE 'the prediction cannot be seen: %';
    END IF;
END
$$;

-- The objects that source_attach() would create, for `worker migrate --check`.
CREATE OR REPLACE FUNCTION source_missing() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('trigger %s on %s is %s', trigger_name, source,
                  CASE WHEN is_there THEN 'disabled' ELSE 'missing' END)
    FROM source_missing_triggers()
    UNION ALL
    SELECT format('trigger %s is on %s, which is another table now', trigger_name, tablename)
    FROM source_stray_triggers()
    UNION ALL
    SELECT source_stale()
    UNION ALL
    SELECT source_lacks() WHERE source_lacks() IS NOT NULL
$$;

SELECT source_attach();
REVOKE ALL ON FUNCTION
    writers_payload(),
    predictions_inserted(),
    predictions_updated(),
    registry_inserted(),
    reckoner_triggers(),
    source_missing_triggers(),
    source_stray_triggers(),
    source_attach(),
    source_missing()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/90_triggers.sql', 'c67e5ed93997141110c7ca6019cfc6c7f3e6c1cf268a4c9c41088c61f4e5c0f9')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
