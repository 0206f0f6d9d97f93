BEGIN;
-- The universe: which symbols are followed, and why. Read by commands, tasks, coverage and the API.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A class of shares with a dash, as Yahoo writes it: BRK.B and BRK/B are BRK-B, and so one symbol. A letter
-- beyond D behind a dot is an exchange (the rule of 0003_attach.sql). Strips and upper-cases; NULL where the text
-- is not a symbol.
CREATE OR REPLACE FUNCTION universe_symbol(p_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(public.normalize_symbol(p_text), '^([A-Z]+)[./]([A-D])$', '\1-\2')
$$;

-- The ticker of an index's or a holder's symbol: the registered one of that name, else the one that is written
-- with a dot or a slash (BRK.B for BRK-B), else the symbol itself, which is not registered. Otherwise BRK.B and
-- BRK-B would be followed as two.
CREATE OR REPLACE FUNCTION universe_ticker(p_text text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        (SELECT r.symbol FROM public.ticker_registry r WHERE r.symbol = s.symbol),
        (SELECT r.symbol FROM public.ticker_registry r
         WHERE s.symbol ~ '^[A-Z]+-[A-D]$' AND r.symbol IN (replace(s.symbol, '-', '.'), replace(s.symbol, '-', '/'))
         ORDER BY r.symbol LIMIT 1),
        s.symbol)::text
    FROM (SELECT public.universe_symbol(p_text) AS symbol) s
$$;

-- The symbols that are followed, each with its reasons: prediction (one named it), index:NAME (it is or was
-- a member), held (quantity other than 0), manual (a person or another program registered it). An inactive or
-- invalid ticker is not tracked, so that active is true in each row.
-- A held symbol or a member that is not registered yet has a row too; tracked_register() registers it.
-- record_count, first_date, last_date, gaps_detected: of the bars that providers of ours gave. validation_rate:
-- as in symbol_stats. Each is a subquery of its own: a column that is not read costs nothing.
CREATE OR REPLACE VIEW tracked_symbols AS
SELECT t.symbol, coalesce(t.asset_type, symbol_asset_type(t.symbol)) AS asset_class, true AS active,
       array_remove(ARRAY[CASE WHEN t.is_predicted THEN 'prediction' END], NULL)
       || coalesce(t.indexes, '{}')
       || array_remove(ARRAY[CASE WHEN t.is_held THEN 'held' END, CASE WHEN t.is_manual THEN 'manual' END], NULL)
           AS reasons,
       t.date_added, t.last_backfill, t.backfill_status, t.backfill_error,
       (SELECT count(*) FROM our_bars p WHERE p.symbol = t.symbol) AS record_count,
       (SELECT min(p.date) FROM our_bars p WHERE p.symbol = t.symbol) AS first_date,
       (SELECT max(p.date) FROM our_bars p WHERE p.symbol = t.symbol) AS last_date,
       (SELECT 1 - sum(d.rejected)::float8 / nullif(sum(d.given), 0) FROM data_quality_log d
        WHERE d.symbol = t.symbol AND d."interval" = '1d' AND d.verdict <> 'refused') AS validation_rate,
       (SELECT count(*) FROM ( -- EXCEPT hashes, where NOT EXISTS looked each session up: 3 ms a symbol
            SELECT s.session FROM market_sessions s
            WHERE s.calendar = coalesce(t.calendar, symbol_calendar(t.symbol))
              AND s.session BETWEEN (SELECT min(p.date) FROM our_bars p WHERE p.symbol = t.symbol)
                                AND (SELECT max(p.date) FROM our_bars p WHERE p.symbol = t.symbol)
            EXCEPT SELECT p.date FROM our_bars p WHERE p.symbol = t.symbol) g) AS gaps_detected
FROM (
    SELECT coalesce(r.symbol::text, m.symbol, h.symbol) AS symbol, r.asset_type::text AS asset_type,
           r.source_prediction_id IS NOT NULL
               OR EXISTS (SELECT FROM prediction_outcomes o WHERE o.symbol = r.symbol) AS is_predicted,
           m.indexes, h.symbol IS NOT NULL AS is_held,
           r.registered_as = 'manual'
               OR (r.symbol IS NOT NULL AND r.registered_as IS NULL AND r.source_prediction_id IS NULL
                   AND NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.symbol = r.symbol)) AS is_manual,
           coalesce(r.first_seen_date::date, m.since, h.since) AS date_added,
           r.calendar, r.last_backfill, r.backfill_status, r.backfill_error
    FROM ticker_registry r
    FULL JOIN (SELECT CASE WHEN c.symbol ~ '^[A-Z]+[./-][A-D]$' THEN universe_ticker(c.symbol) -- 40 us each
                           ELSE upper(c.symbol) END AS symbol,
                      array_agg(DISTINCT 'index:' || c.index_name ORDER BY 'index:' || c.index_name) AS indexes,
                      (min(c.first_seen_at) AT TIME ZONE 'UTC')::date AS since
               FROM index_constituents c GROUP BY 1) m ON m.symbol = r.symbol::text
    FULL JOIN (SELECT universe_ticker(o.symbol) AS symbol,
                      (min(o.updated_at) AT TIME ZONE 'UTC')::date AS since
               FROM holdings o WHERE o.quantity <> 0 AND universe_symbol(o.symbol) IS NOT NULL
               GROUP BY 1) h ON h.symbol = coalesce(r.symbol::text, m.symbol)
    WHERE (r.symbol IS NULL OR r.status = 'active')
      -- Of the registry all but what an index or a holding brought that ended: an outcome is looked up for those alone.
      AND (m.symbol IS NOT NULL OR h.symbol IS NOT NULL OR r.registered_as IS DISTINCT FROM 'universe'
           OR EXISTS (SELECT FROM prediction_outcomes o WHERE o.symbol = r.symbol))
) t;
COMMENT ON VIEW tracked_symbols IS
    'The symbols that are followed and why; inactive and invalid tickers are not.';

-- Tracked, and no provider of ours has given a bar yet.
CREATE OR REPLACE VIEW tracked_new AS
SELECT t.* FROM tracked_symbols t
WHERE NOT EXISTS (SELECT FROM our_bars p WHERE p.symbol = t.symbol);
COMMENT ON VIEW tracked_new IS 'The tracked symbols without any bar.';

-- Registers the tracked symbols that are not registered yet. The registry's trigger writes their events;
-- they get a low priority, below every prediction and every sync, before anyone can claim them. Returns the
-- new symbols. Called by index_refresh(), holdings_import(), the sweep and tasks.
CREATE OR REPLACE FUNCTION tracked_register() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    v_new text[];
BEGIN
    v_new := ARRAY(
        SELECT s.symbol
        FROM (SELECT c.symbol FROM index_constituents c
              UNION
              SELECT o.symbol FROM holdings o WHERE o.quantity <> 0) s
        WHERE NOT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = s.symbol));
    IF v_new = '{}' THEN
        RETURN; -- the usual case, in which no symbol is looked up by its other names
    END IF;
    v_new := ARRAY(
        SELECT DISTINCT universe_symbol(s.symbol) FROM unnest(v_new) AS s(symbol)
        WHERE universe_symbol(s.symbol) IS NOT NULL
          AND NOT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = universe_ticker(s.symbol)));
    IF v_new = '{}' THEN
        RETURN;
    END IF;
    v_new := ARRAY(SELECT registry_register(v_new, '{}'));
    UPDATE ticker_registry SET registered_as = 'universe' WHERE symbol = ANY (v_new);
    PERFORM ticker_lower_priority(v_new, -10);
    RETURN QUERY SELECT unnest(v_new);
END
$$;
REVOKE ALL ON FUNCTION
    tracked_register()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/65_universe.sql', 'ed082033364655c6eaecd13c1457d96c091a01a24b9a683f199c6434765afc2c')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
