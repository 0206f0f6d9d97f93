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
    WHERE symbol ~ '^[-A-Z0-9.^=:/]{1,20}$' AND symbol !~ '^[.]+$|(^|/)[.]{0,2}(/|$)'
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
-- first of symbol_rules that matches the whole symbol: by priority, one of the provider's own before one of
-- all, one with dates before one without, and by pattern. n: its place. p_provider NULL: rules of all
-- providers only. p_date NULL: those that hold today.
-- Rules for one symbol, a suffix or a prefix are looked up in hash tables. Only the few others are
-- tried as regular expressions (0029_names.sql classifies them). The SETs allow hash joins even where
-- the caller forbids them: without hashing, 5,000 symbols were compared with each rule one by one.
CREATE OR REPLACE FUNCTION symbols_named(p_symbols text[], p_provider text, p_date date)
RETURNS TABLE (n bigint, symbol text, matched boolean, provider_symbol text, calendar text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = on SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_date date := coalesce(p_date, (public.reckoner_now() AT TIME ZONE 'UTC')::date);
BEGIN
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT a.symbol, a.n FROM unnest(p_symbols) WITH ORDINALITY AS a(symbol, n)
    ), rules AS MATERIALIZED (
        SELECT * FROM public.symbol_rules r
        WHERE (r.provider IS NULL OR r.provider = p_provider)
          AND (r.valid_from IS NULL OR r.valid_from <= v_date) AND (r.valid_until IS NULL OR r.valid_until > v_date)
    ), matching AS (
        SELECT a.n, r.* FROM given a JOIN rules r ON r.kind = 'exact' AND r.literal = a.symbol
        UNION ALL
        SELECT a.n, r.*
        FROM given a CROSS JOIN LATERAL generate_series(2, length(a.symbol)) AS start
        JOIN rules r ON r.kind = 'suffix' AND r.literal = substr(a.symbol, start)
        WHERE CASE WHEN r.pattern LIKE '([%' THEN a.symbol ~ ('^(?:' || r.pattern || ')$') ELSE true END
        UNION ALL
        SELECT a.n, r.*
        FROM given a JOIN rules r ON r.kind = 'prefix' AND r.literal = left(a.symbol, strpos(a.symbol, ':'))
        WHERE a.symbol ~ ('^(?:' || r.pattern || ')$')
        UNION ALL
        SELECT a.n, r.* FROM given a JOIN rules r ON r.kind = 'pattern'
            AND a.symbol ~ ('^(?:' || r.pattern || ')$')
    ), best AS MATERIALIZED (
        SELECT DISTINCT ON (m.n) m.n, m.pattern, m.provider_symbol, m.calendar
        FROM matching m
        ORDER BY m.n, m.priority DESC, m.provider IS NULL, (m.valid_from IS NULL AND m.valid_until IS NULL), m.pattern
    )
    SELECT a.n, a.symbol, b.n IS NOT NULL,
           nullif(regexp_replace(a.symbol, '^(?:' || b.pattern || ')$', b.provider_symbol), a.symbol), b.calendar
    FROM given a LEFT JOIN best b ON b.n = a.n
    ORDER BY a.n;
END
$$;

-- The same by the rules of all providers that hold today.
CREATE OR REPLACE FUNCTION symbols_by_rule(p_symbols text[])
RETURNS TABLE (n bigint, symbol text, matched boolean, provider_symbol text, calendar text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT * FROM public.symbols_named(p_symbols, NULL, NULL)
$$;

-- A rule with dates or a provider gets a pattern of its own, by a comment in the regular expression: a
-- pattern may have several rules, and stays the key (0029_names.sql).
CREATE OR REPLACE FUNCTION symbol_rule_named() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_when text := concat_ws(', ', NEW.provider, 'from ' || to_char(NEW.valid_from, 'YYYY-MM-DD'),
                             'until ' || to_char(NEW.valid_until, 'YYYY-MM-DD'));
BEGIN
    NEW.pattern := regexp_replace(NEW.pattern, '\(\?#[^)]*\)$', '')
                   || CASE WHEN v_when = '' THEN '' ELSE format('(?#%s)', v_when) END;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER symbol_rule_named BEFORE INSERT OR UPDATE ON symbol_rules
FOR EACH ROW WHEN (NEW.provider IS NOT NULL OR NEW.valid_from IS NOT NULL OR NEW.valid_until IS NOT NULL
                   OR NEW.pattern ~ '\(\?#[^)]*\)$')
EXECUTE FUNCTION symbol_rule_named();

-- The names of a ticker at providers, where they are not p_name, its name of today, on all days from p_from
-- to p_to: a row for each provider of which a rule speaks (NULL: all others) and each span of days; none
-- where all names are p_name. A rule for p_symbol counts, else one for p_name, so that FB and META have the
-- same names. One for p_symbol does not where an operator wrote another name into the registry. Called by
-- market/prices/plan.py.
CREATE OR REPLACE FUNCTION symbol_names(p_symbol text, p_name text, p_from date, p_to date)
RETURNS TABLE (provider text, "from" date, "to" date, name text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_providers text[];
    v_cuts      date[];
    v_today     text;
    v_plain     text;
BEGIN
    WITH special AS MATERIALIZED (
        SELECT r.provider, r.valid_from, r.valid_until FROM symbol_rules r
        WHERE (r.provider IS NOT NULL OR r.valid_from IS NOT NULL OR r.valid_until IS NOT NULL)
          -- An exact rule is compared, because compiling its expression takes longer than all else here.
          AND CASE WHEN r.kind = 'exact' THEN r.literal IN (p_symbol, p_name)
                   ELSE p_symbol ~ ('^(?:' || r.pattern || ')$') OR p_name ~ ('^(?:' || r.pattern || ')$') END
    )
    SELECT (SELECT array_agg(DISTINCT s.provider) FROM special s),
           ARRAY(SELECT p_from UNION SELECT c.day FROM special s, LATERAL (VALUES (s.valid_from), (s.valid_until)) AS c(day)
                 WHERE c.day > p_from AND c.day <= p_to ORDER BY 1)
    INTO v_providers, v_cuts;
    IF v_providers IS NULL THEN
        RETURN; -- no rule has a date or a provider
    END IF;
    SELECT coalesce(s.provider_symbol, p_symbol) INTO v_today FROM public.symbols_by_rule(ARRAY[p_symbol]) s;
    SELECT coalesce(s.provider_symbol, p_name) INTO v_plain FROM public.symbols_by_rule(ARRAY[p_name]) s;
    RETURN QUERY
    SELECT w.provider, w."from", w."to", w.name
    FROM (SELECT v.provider, k.day AS "from", coalesce(k.next - 1, p_to) AS "to", f.name,
                 bool_or(f.name <> p_name) OVER () AS differs
          FROM (SELECT unnest(v_providers) UNION SELECT NULL) AS v(provider)
          CROSS JOIN (SELECT c.day, lead(c.day) OVER (ORDER BY c.day) AS next FROM unnest(v_cuts) AS c(day)) k
          CROSS JOIN LATERAL (
              SELECT max(coalesce(s.provider_symbol, s.symbol)) FILTER (WHERE s.n = 1) AS of_symbol,
                     max(coalesce(s.provider_symbol, s.symbol)) FILTER (WHERE s.n = 2) AS of_name
              FROM public.symbols_named(ARRAY[p_symbol, p_name], v.provider, k.day) s) s
          CROSS JOIN LATERAL (
              SELECT CASE WHEN p_name = v_today AND s.of_symbol <> p_name THEN s.of_symbol
                          WHEN s.of_name <> v_plain THEN s.of_name ELSE p_name END AS name) f) w
    WHERE w.differs ORDER BY 1 NULLS FIRST, 2;
END
$$;

-- The same for one symbol; no row where no rule matches.
CREATE OR REPLACE FUNCTION symbol_rule(p_symbol text)
RETURNS TABLE (provider_symbol text, calendar text) LANGUAGE sql STABLE AS $$
    SELECT s.provider_symbol, s.calendar FROM public.symbols_by_rule(ARRAY[p_symbol]) s WHERE s.matched
$$;

-- The calendar of a symbol in its provider's spelling for which no rule names one: coins have their own,
-- plain symbols are listed in New York, and nothing else borrows its sessions. An unknown calendar begins
-- with a question mark: ?.XX for a suffix, ?XX: for a prefix, else the symbol. calendar_unknown() says so.
CREATE OR REPLACE FUNCTION symbol_default_calendar(p_symbol text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN public.symbol_asset_type(p_symbol) = 'crypto' THEN '24/7'
                WHEN p_symbol ~ '^[A-Z][A-Z0-9-]*$' THEN 'XNYS'
                ELSE '?' || coalesce(CASE WHEN p_symbol !~ '^\^' THEN substring(p_symbol FROM '\.[A-Z0-9]+$') END,
                                     substring(p_symbol FROM '^[A-Z0-9]+:'), p_symbol) END
$$;

-- The calendar's name in exchange_calendars, which market/universe/sessions.py loads, or an unknown one.
CREATE OR REPLACE FUNCTION symbol_calendar(p_symbol text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(s.calendar, public.symbol_default_calendar(coalesce(s.provider_symbol, p_symbol)))
    FROM public.symbols_by_rule(ARRAY[p_symbol]) s
$$;

-- Why a calendar is unknown, and the statement that makes it known. NULL for one that has a name.
CREATE OR REPLACE FUNCTION calendar_unknown(p_calendar text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT format('no calendar is known for %s: INSERT INTO symbol_rules (pattern, calendar) VALUES (''%s'', ''%s'')',
                  CASE WHEN k.word ~ '^\.' THEN 'symbols that end in ' WHEN k.word ~ ':$' THEN 'symbols that begin with '
                       ELSE '' END || k.word,
                  CASE WHEN k.word ~ '^\.' THEN '.+\' || k.word WHEN k.word ~ ':$' THEN k.word || '.+'
                       ELSE regexp_replace(k.word, '([.^])', '\\\1', 'g') END, 'XNYS or another')
    FROM (SELECT substr(p_calendar, 2) AS word) k WHERE starts_with(p_calendar, '?')
$$;

-- JSON that jsonb cannot hold (lone surrogates, numbers beyond numeric) as its text:
-- otherwise one such row would fail the batch of all others.
CREATE OR REPLACE FUNCTION safe_jsonb(p_json json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN p_json::jsonb;
EXCEPTION WHEN untranslatable_character THEN
    -- A character that no text of this database can hold (in LATIN1 \u65e5, anywhere \u0000).
    BEGIN
        RETURN regexp_replace(p_json::text, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u[0-9a-fA-F]{4}', E'\\1?', 'g')::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN to_jsonb('unreadable JSON: ' || left(p_json::text, 100));
    END;
WHEN data_exception OR program_limit_exceeded THEN
    RETURN to_jsonb('unreadable JSON: ' || left(p_json::text, 100));
END
$$;

-- Whether a prediction has assets. Reads the text, so that json and jsonb give the same answer and
-- no cast can fail. Called by the triggers and by prediction_inputs. A long text counts as assets without a
-- match, and is read when it is processed: matching 200 MB takes 16 s and 800 MB, each time.
CREATE OR REPLACE FUNCTION has_assets(p_assets text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_assets LIKE '["_%' OR octet_length(p_assets) > 10000
                    OR p_assets !~ '^[[:space:]]*(null|[[][[:space:]]*[]]|[{][[:space:]]*[}]|"[[:space:]]*")?[[:space:]]*$', false)
$$;
REVOKE ALL ON FUNCTION
    symbol_rule_named(),
    symbol_names(p_symbol text, p_name text, p_from date, p_to date),
    calendar_unknown(p_calendar text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/11_symbols.sql', '7656ea007e0f1debbcd8f219c3bbb46f87f18a8c5511345954103ac3196cb508')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
