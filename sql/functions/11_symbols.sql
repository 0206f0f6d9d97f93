BEGIN;
-- What a symbol is, and what follows from how it is written.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Stripped and upper-cased, or NULL where it is no symbol. "C": only ASCII letters change case.
CREATE OR REPLACE FUNCTION normalize_symbol(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT symbol
    FROM (SELECT upper(btrim(p_text, E' \t\r\n\f\x0b') COLLATE "C") AS symbol) s
    WHERE symbol ~ '^[-A-Z0-9.^=:/]{1,20}$'
$$;

CREATE OR REPLACE FUNCTION symbol_asset_type(p_symbol text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_symbol ~ '^[A-Z0-9]+[-/](USD|USDT|USDC|EUR|GBP|JPY|BTC|ETH)$' THEN 'crypto'
        WHEN p_symbol LIKE '^%' THEN 'index'
        WHEN p_symbol LIKE '%=F' THEN 'commodity'
        WHEN p_symbol LIKE '%=X' THEN 'currency'
        ELSE 'stock'
    END
$$;

-- How providers spell a symbol and whose sessions it keeps, by the first of symbol_rules that
-- matches the whole of it; no row where none does.
CREATE OR REPLACE FUNCTION symbol_rule(p_symbol text)
RETURNS TABLE (provider_symbol text, calendar text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT nullif(regexp_replace(p_symbol, '^(?:' || r.pattern || ')$', r.provider_symbol), p_symbol),
           r.calendar
    FROM symbol_rules r
    WHERE p_symbol ~ ('^(?:' || r.pattern || ')$')
    ORDER BY r.priority DESC, r.pattern LIMIT 1;
END
$$;

-- The calendar's name in exchange_calendars; market/universe/sessions.py loads it.
CREATE OR REPLACE FUNCTION symbol_calendar(p_symbol text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((SELECT calendar FROM symbol_rule(p_symbol)),
                    CASE WHEN symbol_asset_type(p_symbol) = 'crypto' THEN '24/7' ELSE 'XNYS' END)
$$;

-- JSON that jsonb cannot hold (\u0000, lone surrogates, numbers beyond numeric) as its text,
-- so that one such row says what is wrong with it and spoils nothing for the others.
CREATE OR REPLACE FUNCTION safe_jsonb(p_json json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN p_json::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN to_jsonb('unreadable JSON: ' || left(p_json::text, 100));
END
$$;

-- Whether a prediction names anything at all. On the text, so that json and jsonb do alike
-- and nothing in it can fail; used by the triggers and by prediction_inputs.
CREATE OR REPLACE FUNCTION has_assets(p_assets text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_assets LIKE '["_%' OR p_assets !~ '^\s*(null|\[\s*\]|\{\s*\}|"\s*")?\s*$', false)
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/11_symbols.sql', '44ec6e3756ef49aa7ac66f481b2a7ae11c3b4ce84064cc533153317cb3ca5d30')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
