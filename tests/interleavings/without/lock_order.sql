-- Symbols are registered in the order in which a batch names them.
-- lost: SELECT array_agg(s.symbol ORDER BY s.symbol), array_agg(s.prediction_id ORDER BY s.symbol)
-- instead: SELECT array_agg(s.symbol ORDER BY array_position(p_symbols, s.symbol)), array_agg(s.prediction_id ORDER BY array_position(p_symbols, s.symbol))
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
    SELECT array_agg(s.symbol ORDER BY array_position(p_symbols, s.symbol)), array_agg(s.prediction_id ORDER BY array_position(p_symbols, s.symbol))
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
