BEGIN;
-- The ticker registry: registering the symbols that predictions name.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Registers symbols that are new, with the first prediction that named each as its source. Sorted, so
-- that two writers lock in the same order. ON CONFLICT names no columns, because another program's
-- table may have other keys. p_prediction_ids: NULLs for symbols that a person registers. An id that is
-- too large for the column is not recorded: the ticker is registered all the same. Returns the new
-- symbols.
CREATE OR REPLACE FUNCTION registry_register(p_symbols text[], p_prediction_ids bigint[])
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    v_symbols text[];
    v_sources bigint[];
    v_widest  bigint := (SELECT CASE a.attlen WHEN 2 THEN 32767 WHEN 4 THEN 2147483647
                                     ELSE 9223372036854775807 END
                         FROM pg_attribute a WHERE a.attrelid = 'public.ticker_registry'::regclass
                           AND a.attname = 'source_prediction_id');
BEGIN
    SELECT array_agg(s.symbol ORDER BY s.symbol), array_agg(s.prediction_id ORDER BY s.symbol)
    INTO v_symbols, v_sources
    FROM (SELECT DISTINCT ON (named.symbol) * FROM unnest(p_symbols, p_prediction_ids)
              AS named(symbol, prediction_id)
          WHERE named.symbol IS NOT NULL
            AND NOT EXISTS (SELECT FROM ticker_registry known WHERE known.symbol = named.symbol)
          ORDER BY named.symbol, named.prediction_id) s;
    IF reckoner_dry_run() THEN
        RETURN QUERY SELECT unnest(v_symbols);
        RETURN;
    END IF;
    RETURN QUERY
    INSERT INTO ticker_registry (symbol, first_seen_date, source_prediction_id, status, asset_type,
                                 calendar, provider_symbol, total_price_records, backfill_status,
                                 created_at, updated_at)
    SELECT r.symbol, (reckoner_now() AT TIME ZONE 'UTC')::date,
           CASE WHEN v_sources[r.n] BETWEEN -v_widest AND v_widest THEN v_sources[r.n] END, 'active',
           symbol_asset_type(coalesce(r.provider_symbol, r.symbol)),
           coalesce(r.calendar, symbol_default_calendar(coalesce(r.provider_symbol, r.symbol))),
           r.provider_symbol, 0, 'pending', reckoner_now(), reckoner_now()
    FROM symbols_by_rule(v_symbols) r -- in the order of the symbols
    ON CONFLICT DO NOTHING
    RETURNING symbol::text;
END
$$;
-- Records that a person registers tickers, also those that were there already: it is a reason to follow them.
CREATE OR REPLACE FUNCTION registry_by_hand(p_symbols text[]) RETURNS void LANGUAGE sql AS $$
    UPDATE ticker_registry SET registered_as = 'manual'
    WHERE symbol = ANY (p_symbols) AND registered_as IS DISTINCT FROM 'manual'
$$;
REVOKE ALL ON FUNCTION
    registry_register(p_symbols text[], p_prediction_ids bigint[]),
    registry_by_hand(p_symbols text[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/40_registry.sql', 'a859daad496de540e38a7d6c05af2e7754849299301f61c015e3cd32a5d8bc82')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
