-- What goes wrong in the trigger is the writer's error.
-- lost: RAISE WARNING 'reckoner: no event written, the sweep will find these predictions: %', SQLERRM;
-- lost: RETURN NULL;
-- instead: RAISE;
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
                RAISE;
            END IF;
            v_has_last := false;
        END;
    END LOOP;
END
$$;
