BEGIN;
-- Symbols: their spelling, and the calendar and asset type that follow from it.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Strips and upper-cases a text; NULL where it is not a symbol. "C": only ASCII letters change case.
-- A segment that is empty, . or .. is refused, because it would change a provider's path: ../../X.
CREATE OR REPLACE FUNCTION normalize_symbol(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT symbol
    -- What is far too long is not looked at: btrim() takes eight times its size, and of 200 MB that failed.
    FROM (SELECT CASE WHEN octet_length(p_text) <= 1000
                      THEN upper(btrim(p_text, E' \t\r\n\f\x0b') COLLATE "C") END AS symbol) s
    WHERE symbol ~ '^[-A-Z0-9.^=:/]{1,20}$' AND symbol !~ '^\.+$|(^|/)\.{0,2}(/|$)'
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

-- The provider's spelling and the calendar of symbols: for each of p_symbols, in their order, the
-- first of symbol_rules, by priority and pattern, that matches the whole symbol. n: its place.
-- Rules for one symbol, a suffix or a prefix are looked up in hash tables. Only the few others are
-- tried as regular expressions (0014_rules.sql classifies them). The SETs allow hash joins even where
-- the caller forbids them: without hashing, 5,000 symbols were compared with each rule one by one.
CREATE OR REPLACE FUNCTION symbols_by_rule(p_symbols text[])
RETURNS TABLE (n bigint, symbol text, matched boolean, provider_symbol text, calendar text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = on SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT a.symbol, a.n FROM unnest(p_symbols) WITH ORDINALITY AS a(symbol, n)
    ), matching AS (
        SELECT a.n, r.* FROM given a JOIN symbol_rules r ON r.kind = 'exact' AND r.literal = a.symbol
        UNION ALL
        SELECT a.n, r.*
        FROM given a CROSS JOIN LATERAL generate_series(2, length(a.symbol)) AS start
        JOIN symbol_rules r ON r.kind = 'suffix' AND r.literal = substr(a.symbol, start)
        UNION ALL
        SELECT a.n, r.*
        FROM given a JOIN symbol_rules r ON r.kind = 'prefix' AND r.literal = left(a.symbol, strpos(a.symbol, ':'))
        WHERE a.symbol ~ ('^(?:' || r.pattern || ')$')
        UNION ALL
        SELECT a.n, r.* FROM given a JOIN symbol_rules r ON r.kind = 'pattern'
            AND a.symbol ~ ('^(?:' || r.pattern || ')$')
    ), best AS MATERIALIZED (
        SELECT DISTINCT ON (m.n) m.n, m.pattern, m.provider_symbol, m.calendar
        FROM matching m ORDER BY m.n, m.priority DESC, m.pattern
    )
    SELECT a.n, a.symbol, b.n IS NOT NULL,
           nullif(regexp_replace(a.symbol, '^(?:' || b.pattern || ')$', b.provider_symbol), a.symbol), b.calendar
    FROM given a LEFT JOIN best b ON b.n = a.n
    ORDER BY a.n;
END
$$;

-- The same for one symbol; no row where no rule matches.
CREATE OR REPLACE FUNCTION symbol_rule(p_symbol text)
RETURNS TABLE (provider_symbol text, calendar text) LANGUAGE sql STABLE AS $$
    SELECT s.provider_symbol, s.calendar FROM symbols_by_rule(ARRAY[p_symbol]) s WHERE s.matched
$$;

-- The calendar of a symbol in its provider's spelling for which no rule names one: coins have their own,
-- plain symbols are listed in New York, and nothing else borrows its sessions. An unknown calendar begins
-- with a question mark: ?.XX for a suffix, ?XX: for a prefix, else the symbol. calendar_unknown() says so.
CREATE OR REPLACE FUNCTION symbol_default_calendar(p_symbol text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN symbol_asset_type(p_symbol) = 'crypto' THEN '24/7'
                WHEN p_symbol ~ '^[A-Z][A-Z0-9-]*$' THEN 'XNYS'
                ELSE '?' || coalesce(CASE WHEN p_symbol !~ '^\^' THEN substring(p_symbol FROM '\.[A-Z0-9]+$') END,
                                     substring(p_symbol FROM '^[A-Z0-9]+:'), p_symbol) END
$$;

-- The calendar's name in exchange_calendars, which market/universe/sessions.py loads, or an unknown one.
CREATE OR REPLACE FUNCTION symbol_calendar(p_symbol text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(s.calendar, symbol_default_calendar(coalesce(s.provider_symbol, p_symbol)))
    FROM symbols_by_rule(ARRAY[p_symbol]) s
$$;

-- Why a calendar is unknown, and the statement that makes it known. NULL for one that has a name.
CREATE OR REPLACE FUNCTION calendar_unknown(p_calendar text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT format('no calendar is known for %s: INSERT INTO symbol_rules (pattern, calendar) VALUES (%L, %L)',
                  CASE WHEN k.word ~ '^\.' THEN 'symbols that end in ' WHEN k.word ~ ':$' THEN 'symbols that begin with '
                       ELSE '' END || k.word,
                  CASE WHEN k.word ~ '^\.' THEN '.+\' || k.word WHEN k.word ~ ':$' THEN k.word || '.+'
                       ELSE regexp_replace(k.word, '([.^])', '\\\1', 'g') END, 'XNYS or another')
    FROM (SELECT substr(p_calendar, 2) AS word) k WHERE starts_with(p_calendar, '?')
$$;

-- JSON that jsonb cannot hold (\u0000, lone surrogates, numbers beyond numeric) as its text:
-- otherwise one such row would fail the batch of all others.
CREATE OR REPLACE FUNCTION safe_jsonb(p_json json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN p_json::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN to_jsonb('unreadable JSON: ' || left(p_json::text, 100));
END
$$;

-- Whether a prediction has assets. Reads the text, so that json and jsonb give the same answer and
-- no cast can fail. Called by the triggers and by prediction_inputs. A long text counts as assets without a
-- match, and is read when it is processed: matching 200 MB takes 16 s and 800 MB, each time.
CREATE OR REPLACE FUNCTION has_assets(p_assets text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_assets LIKE '["_%' OR octet_length(p_assets) > 10000
                    OR p_assets !~ '^\s*(null|\[\s*\]|\{\s*\}|"\s*")?\s*$', false)
$$;
REVOKE ALL ON FUNCTION
    calendar_unknown(p_calendar text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/11_symbols.sql', '2ee72a06f89ab040a5ee424ece68f9931ce0705c2662cea1e4390274bdc51676')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
