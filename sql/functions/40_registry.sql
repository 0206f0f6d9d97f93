BEGIN;
-- The ticker registry: registering the symbols that predictions name.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Registers symbols that are new, with the first prediction that named each as its source. Sorted, so
-- that two writers lock in the same order. ON CONFLICT names no columns, because another program's
-- table may have other keys. p_prediction_ids: NULLs for symbols that a person registers. Returns the
-- new symbols.
CREATE OR REPLACE FUNCTION registry_register(p_symbols text[], p_prediction_ids integer[])
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    v_symbols text[];
    v_sources integer[];
BEGIN
    SELECT array_agg(s.symbol ORDER BY s.symbol), array_agg(s.prediction_id ORDER BY s.symbol)
    INTO v_symbols, v_sources
    FROM (SELECT DISTINCT ON (named.symbol) * FROM unnest(p_symbols, p_prediction_ids)
              AS named(symbol, prediction_id)
          WHERE named.symbol IS NOT NULL
            AND NOT EXISTS (SELECT FROM ticker_registry known WHERE known.symbol = named.symbol)
          ORDER BY named.symbol, named.prediction_id) s;
    RETURN QUERY
    INSERT INTO ticker_registry (symbol, first_seen_date, source_prediction_id, status, asset_type,
                                 calendar, provider_symbol, total_price_records, backfill_status,
                                 created_at, updated_at)
    SELECT r.symbol, (reckoner_now() AT TIME ZONE 'UTC')::date, v_sources[r.n], 'active',
           symbol_asset_type(coalesce(r.provider_symbol, r.symbol)),
           coalesce(r.calendar, symbol_default_calendar(coalesce(r.provider_symbol, r.symbol))),
           r.provider_symbol, 0, 'pending', reckoner_now(), reckoner_now()
    FROM symbols_by_rule(v_symbols) r -- in the order of the symbols
    ON CONFLICT DO NOTHING
    RETURNING symbol::text;
END
$$;

REVOKE ALL ON FUNCTION
    registry_register(p_symbols text[], p_prediction_ids integer[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/40_registry.sql', '112be9f816150e1aa75837a5596eccfab782c36ca16c6c80d54fdb113e65c0e2')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
