BEGIN;
-- Five-minute bars: which are wanted, who fetches them, and storing them. Called by market/prices/intraday/.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The symbols whose five-minute bars are followed: tracked ones whose daily bars were fetched before. A ticker
-- that another program registered before the installation waits until a prediction or a person names it.
CREATE OR REPLACE VIEW intraday_tracked AS
SELECT r.symbol::text AS symbol, coalesce(r.calendar, symbol_calendar(r.symbol))::text AS calendar
FROM tracked_symbols t JOIN ticker_registry r ON r.symbol = t.symbol
WHERE r.status = 'active'
  AND EXISTS (SELECT FROM price_coverage v WHERE v.symbol = r.symbol AND v."interval" = '1d');
COMMENT ON VIEW intraday_tracked IS 'The symbols whose five-minute bars are polled and fetched each night, with their calendars.';

-- The sessions of a calendar that are polled now, as one range: opened, and not yet settled. final_to: the
-- end of the last bar that is final after p_settle seconds. No row between the sessions.
CREATE OR REPLACE FUNCTION intraday_window(p_calendar text, p_settle double precision)
RETURNS TABLE (opens_at timestamptz, final_to timestamptz) LANGUAGE sql STABLE AS $$
    SELECT min(w.opens_at), max(w.final_to)
    FROM (SELECT s.opens_at, least(s.closes_at, date_bin('5 minutes', reckoner_now() - make_interval(secs => p_settle), s.opens_at)) AS final_to
          FROM market_sessions s
          WHERE s.calendar = p_calendar AND s.opens_at <= reckoner_now()
            AND s.closes_at > reckoner_now() - session_settling(p_calendar)
            AND s.closes_at < reckoner_now() + interval '7 days') w
    WHERE w.final_to > w.opens_at
    HAVING count(*) > 0
$$;

-- The tracked symbols whose bars are wanted now. p_polls: a final bar of a session under way is missing.
-- p_nights: no provider has answered for the last settled session. The one that is furthest behind comes
-- first.
CREATE OR REPLACE FUNCTION intraday_due(p_settle double precision, p_polls boolean, p_nights boolean)
RETURNS TABLE (symbol text, behind_since timestamptz) LANGUAGE sql STABLE AS $$
    SELECT t.symbol, coalesce(i.answered_to, '-infinity')
    FROM (SELECT c.calendar, w.opens_at, w.final_to, (session_last_settled(c.calendar)).session AS settled
          FROM (SELECT DISTINCT calendar FROM intraday_tracked) c
          LEFT JOIN LATERAL intraday_window(c.calendar, p_settle) w ON true) c
    JOIN intraday_tracked t ON t.calendar = c.calendar
    LEFT JOIN intraday_symbols i ON i.symbol = t.symbol
    WHERE (i.next_at IS NULL OR i.next_at <= reckoner_now())
      AND (i.claimed_until IS NULL OR i.claimed_until <= reckoner_now())
      AND ((p_polls AND c.final_to > greatest(i.answered_to, c.opens_at))
           OR (p_nights AND c.settled IS NOT NULL
               AND NOT EXISTS (SELECT FROM price_coverage v WHERE v.symbol = t.symbol AND v."interval" = '5m'
                               AND c.settled BETWEEN v."from" AND v."to")))
$$;

-- Claims at most p_limit symbols for a worker, for p_seconds: those that are due, or of these (p_symbols).
-- No two workers have one symbol. A claim ends with the answer (intraday_store, intraday_failed), or by
-- itself where the worker died. Returns the symbols.
CREATE OR REPLACE FUNCTION intraday_claim(
    p_worker text, p_limit integer, p_seconds double precision, p_settle double precision,
    p_polls boolean, p_nights boolean, p_symbols text[] DEFAULT NULL
) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    v_due text[] := CASE WHEN p_symbols IS NOT NULL THEN p_symbols ELSE ARRAY(
        SELECT d.symbol FROM intraday_due(p_settle, p_polls, p_nights) d
        ORDER BY d.behind_since, d.symbol) END;
BEGIN
    INSERT INTO intraday_symbols (symbol)
    SELECT n FROM unnest(v_due) AS n WHERE NOT EXISTS (SELECT FROM intraday_symbols i WHERE i.symbol = n)
    ORDER BY n ON CONFLICT DO NOTHING;
    RETURN QUERY
    UPDATE intraday_symbols i SET claimed_by = p_worker, claimed_until = reckoner_now() + make_interval(secs => p_seconds)
    WHERE i.symbol = ANY (ARRAY(
        SELECT s.symbol FROM intraday_symbols s
        WHERE s.symbol = ANY (v_due) AND (s.claimed_until IS NULL OR s.claimed_until <= reckoner_now())
          -- Another worker may have had the answer since the list was made.
          AND (p_symbols IS NOT NULL OR s.next_at IS NULL OR s.next_at <= reckoner_now())
        ORDER BY array_position(v_due, s.symbol::text) LIMIT p_limit FOR UPDATE SKIP LOCKED))
    RETURNING i.symbol::text;
END
$$;

-- Prolongs the claims of a worker; returns those that it still has.
CREATE OR REPLACE FUNCTION intraday_renew(p_worker text, p_symbols text[], p_seconds double precision)
RETURNS SETOF text LANGUAGE sql AS $$
    UPDATE intraday_symbols SET claimed_until = reckoner_now() + make_interval(secs => p_seconds)
    WHERE symbol = ANY (p_symbols) AND claimed_by = p_worker AND claimed_until > reckoner_now()
    RETURNING symbol::text
$$;

-- Gives back the claims of a worker that it has no answer for.
CREATE OR REPLACE FUNCTION intraday_release(p_worker text, p_symbols text[]) RETURNS void LANGUAGE sql AS $$
    UPDATE intraday_symbols SET claimed_by = NULL, claimed_until = NULL
    WHERE symbol = ANY (p_symbols) AND claimed_by = p_worker
$$;

-- The wanted five-minute bars of a symbol: one row, none for a symbol that is not registered. now: of the
-- database; final is what has ended by then. The sessions are the last p_sessions that have opened, without
-- those that are covered (unless p_refetch), and without those of which retention drops the bars after
-- p_keep_days. p_sessions NULL: of a poll, what is not settled yet, from the last answer on. settled: the
-- calendar's last settled session; until then an answer becomes coverage.
CREATE OR REPLACE FUNCTION intraday_plan(p_symbol text, p_sessions integer, p_refetch boolean, p_keep_days integer)
RETURNS TABLE (symbol text, provider_symbol text, asset_type text, calendar text, status text, now timestamptz,
               since timestamptz, dates date[], opens_at timestamptz[], closes_at timestamptz[], last_close double precision,
               settled date)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_answered timestamptz := CASE WHEN p_sessions IS NULL THEN
        (SELECT i.answered_to FROM intraday_symbols i WHERE i.symbol = p_symbol) END;
BEGIN
    RETURN QUERY
    SELECT p_symbol, l.provider_symbol, coalesce(r.asset_type::text, symbol_asset_type(l.provider_symbol)),
           l.calendar, l.status, reckoner_now(), greatest(v_answered, s.opens[1]), s.dates, s.opens, s.closes,
           (SELECT b.close FROM our_bars b WHERE b.symbol = p_symbol AND b.date < s.dates[1]
            ORDER BY b.date DESC LIMIT 1),
           (session_last_settled(l.calendar)).session
    FROM ticker_listing(p_symbol) l
    JOIN ticker_registry r ON r.symbol = p_symbol
    CROSS JOIN LATERAL (
        SELECT array_agg(w.session ORDER BY w.session) AS dates, array_agg(w.opens_at ORDER BY w.session) AS opens,
               array_agg(w.closes_at ORDER BY w.session) AS closes
        FROM (SELECT m.session, m.opens_at, m.closes_at FROM market_sessions m
              WHERE m.calendar = l.calendar AND m.opens_at <= reckoner_now()
                AND m.closes_at < reckoner_now() + interval '7 days'
                AND m.closes_at > reckoner_now() - CASE WHEN p_sessions IS NULL THEN session_settling(l.calendar)
                                                        ELSE make_interval(days => p_keep_days) END
              ORDER BY m.closes_at DESC LIMIT p_sessions) w
        WHERE coalesce(w.closes_at > v_answered, true)
          AND (p_sessions IS NULL OR p_refetch OR NOT EXISTS (
              SELECT FROM price_coverage v WHERE v.symbol = p_symbol AND v."interval" = '5m'
              AND w.session BETWEEN v."from" AND v."to"))) s;
END
$$;

-- Stores five-minute bars of several symbols in one statement each: inserts new ones, replaces different
-- ones, and leaves equal ones as they are. Ends the claims on the symbols.
--   p_symbols, p_sources, p_hashes   one each a symbol; the provider, and the sha256 of what it answered
--   p_from, p_to                     the settled sessions that it answered for: they become coverage; NULL: none
--   p_answered, p_missed             until when it answered; whether its answer lacked the newest final bar
--   p_counts, p_firsts, p_lasts      how many bars it has, and their first and last start; NULLs without any
--   p_numbers, …                     the bars, ascending by symbol and time: the number of its symbol from 1, its
--                                    start in seconds since 1970, and its fields
-- revised: the number of stored closes that changed, and notes: a line each for the first ones.
-- The plans are made once, without the arrays' lengths, perhaps on an empty table: so table scans are forbidden.
CREATE OR REPLACE FUNCTION intraday_store(
    p_symbols text[], p_sources text[], p_hashes text[], p_from date[], p_to date[], p_answered timestamptz[],
    p_missed boolean[], p_counts bigint[], p_firsts bigint[], p_lasts bigint[], p_numbers bigint[], p_starts bigint[], p_opens double precision[], p_highs double precision[],
    p_lows double precision[], p_closes double precision[], p_volumes bigint[]
)
RETURNS TABLE (symbol text, inserted bigint, updated bigint, revised bigint, notes text[])
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_now  timestamptz := reckoner_now();
    v_done boolean := false;
BEGIN
    -- First of all, because another session that makes a month holds its lock until it commits.
    IF cardinality(p_starts) > 0 THEN
        PERFORM intraday_partitions_ensure(to_timestamp((SELECT min(s) FROM unnest(p_firsts) AS s)),
                                           to_timestamp((SELECT max(s) FROM unnest(p_lasts) AS s)));
    END IF;
    IF NOT EXISTS (SELECT FROM unnest(p_symbols, p_firsts, p_lasts) AS n(symbol, first, last)
                   CROSS JOIN LATERAL (SELECT FROM price_history_intraday h
                                       WHERE h.symbol = n.symbol AND h."interval" = '5m'
                                         AND h.ts >= to_timestamp(n.first) AND h.ts <= to_timestamp(n.last) LIMIT 1) h) THEN
        -- All are new. ON CONFLICT would cost half as much again.
        BEGIN
            INSERT INTO price_history_intraday
                (symbol, "interval", ts, open, high, low, close, volume, source_provider, raw_hash, pulled_at)
            SELECT p_symbols[b.number], '5m', to_timestamp(b.start), b.open, b.high, b.low, b.close, b.volume,
                   p_sources[b.number], p_hashes[b.number], v_now
            FROM unnest(p_numbers, p_starts, p_opens, p_highs, p_lows, p_closes, p_volumes)
                 AS b(number, start, open, high, low, close, volume);
            v_done := true;
        EXCEPTION WHEN unique_violation THEN
            NULL; -- another session stored one of them meanwhile: the statement below finds it
        END;
    END IF;
    IF v_done THEN
        RETURN QUERY
        SELECT n.symbol, n.bars, 0::bigint, 0::bigint, '{}'::text[]
        FROM unnest(p_symbols, p_counts) AS n(symbol, bars);
    ELSE
        RETURN QUERY
        WITH given AS MATERIALIZED (
            SELECT b.number, p_symbols[b.number] AS symbol, to_timestamp(b.start) AS ts,
                   b.open, b.high, b.low, b.close, b.volume
            FROM unnest(p_numbers, p_starts, p_opens, p_highs, p_lows, p_closes, p_volumes)
                 AS b(number, start, open, high, low, close, volume)
        ), stored AS MATERIALIZED (
            SELECT n.symbol, h.ts, h.open, h.high, h.low, h.close, h.volume
            FROM unnest(p_symbols, p_firsts, p_lasts) AS n(symbol, first, last)
            CROSS JOIN LATERAL (SELECT * FROM price_history_intraday h
                                WHERE h.symbol = n.symbol AND h."interval" = '5m'
                                  AND h.ts >= to_timestamp(n.first) AND h.ts <= to_timestamp(n.last)) h
        ), met AS MATERIALIZED (
            SELECT g.*, s.ts IS NULL AS is_new, s.close AS old_close
            FROM given g LEFT JOIN stored s ON s.symbol = g.symbol AND s.ts = g.ts
            WHERE s.ts IS NULL OR (s.open, s.high, s.low, s.close, s.volume)
                                  IS DISTINCT FROM (g.open, g.high, g.low, g.close, g.volume)
        ), written AS (
            INSERT INTO price_history_intraday AS h
                (symbol, "interval", ts, open, high, low, close, volume, source_provider, raw_hash, pulled_at)
            SELECT m.symbol, '5m', m.ts, m.open, m.high, m.low, m.close, m.volume,
                   p_sources[m.number], p_hashes[m.number], v_now
            FROM met m ORDER BY m.symbol, m.ts
            ON CONFLICT (symbol, "interval", ts) DO UPDATE
            SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
                volume = excluded.volume, source_provider = excluded.source_provider,
                raw_hash = excluded.raw_hash, pulled_at = excluded.pulled_at
        )
        SELECT n.symbol, count(*) FILTER (WHERE m.is_new), count(*) FILTER (WHERE NOT m.is_new),
               count(*) FILTER (WHERE m.is_revised),
               coalesce((array_agg(format('%s: close %s, %s was stored', to_char(m.ts AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                                          m.close, m.old_close) ORDER BY m.ts) FILTER (WHERE m.is_revised))[1:5], '{}')
        FROM unnest(p_symbols) WITH ORDINALITY AS n(symbol, number)
        LEFT JOIN LATERAL (SELECT *, abs(m.old_close / m.close - 1) > 1e-9 AS is_revised
                           FROM met m WHERE m.number = n.number) m ON true
        GROUP BY n.number, n.symbol ORDER BY n.number;
    END IF;
    INSERT INTO intraday_symbols AS i
        (symbol, last_bar, last_session, session_bars, answered_to, provider, polled_at, misses, next_at)
    SELECT n.symbol, l.bar, s.session, coalesce(s.bars, 0), n.answered_to, n.source, v_now,
           CASE WHEN n.missed THEN 1 ELSE 0 END, CASE WHEN n.missed THEN v_now + interval '30 seconds' END
    FROM unnest(p_symbols, p_sources, p_answered, p_missed, p_lasts) AS n(symbol, source, answered_to, missed, last)
    LEFT JOIN ticker_registry r ON r.symbol = n.symbol
    LEFT JOIN intraday_symbols o ON o.symbol = n.symbol
    CROSS JOIN LATERAL (SELECT greatest(o.last_bar, to_timestamp(n.last)) AS bar) l
    LEFT JOIN LATERAL (
        SELECT m.session, (SELECT count(*) FROM price_history_intraday h WHERE h.symbol = n.symbol
                           AND h."interval" = '5m' AND h.ts >= m.opens_at AND h.ts < m.closes_at)::integer AS bars
        FROM market_sessions m
        WHERE m.calendar = coalesce(r.calendar, symbol_calendar(r.symbol)) AND m.closes_at > l.bar
        ORDER BY m.closes_at LIMIT 1) s ON true
    ORDER BY n.symbol
    ON CONFLICT (symbol) DO UPDATE
    SET last_bar = excluded.last_bar, last_session = excluded.last_session, session_bars = excluded.session_bars,
        answered_to = greatest(i.answered_to, excluded.answered_to),
        provider = excluded.provider, polled_at = v_now, error = NULL, claimed_by = NULL, claimed_until = NULL,
        misses = CASE WHEN excluded.misses > 0 THEN i.misses + 1 ELSE 0 END,
        next_at = CASE WHEN excluded.misses > 0
                       THEN v_now + make_interval(secs => least(300, 30 * 2 ^ least(i.misses, 10))) END;
    PERFORM coverage_add(n.symbol, '5m', n."from", n."to", n.source)
    FROM unnest(p_symbols, p_from, p_to, p_sources) AS n(symbol, "from", "to", source)
    WHERE n."from" IS NOT NULL ORDER BY n.symbol;
END
$$;

-- Records that a symbol has no answer, until when it waits (NULL: twice as long each time, from 30 seconds
-- to p_longest), and ends its claim.
CREATE OR REPLACE FUNCTION intraday_failed(
    p_symbol text, p_error text, p_until timestamptz, p_longest interval DEFAULT '5 minutes'
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO intraday_symbols AS i (symbol, polled_at, misses, next_at, error)
    VALUES (p_symbol, reckoner_now(), 1, coalesce(p_until, reckoner_now() + interval '30 seconds'), one_line(p_error))
    ON CONFLICT (symbol) DO UPDATE
    SET polled_at = excluded.polled_at, error = excluded.error, misses = i.misses + 1,
        claimed_by = NULL, claimed_until = NULL,
        next_at = coalesce(p_until, reckoner_now() + least(p_longest, interval '30 seconds' * 2 ^ least(i.misses, 12)))
$$;

-- Compares the five-minute bars of finished sessions with the same provider's daily bars: the first open,
-- the highest high, the lowest low, the last close. High and low only where no bar is missing, open and
-- close only where the first and the last are there. A difference of more than 0.2 % is a flag in
-- data_quality_log with both values, once. Returns the number of flagged sessions.
CREATE OR REPLACE FUNCTION intraday_compare(p_symbols text[], p_from date, p_to date) RETURNS bigint
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
    v_flagged bigint;
BEGIN
    WITH compared AS (
        SELECT p.symbol::text AS symbol, p.source::text AS source, s.session, f.bars, f.expected, f.names, f.notes
        FROM unnest(p_symbols) AS n(symbol)
        JOIN ticker_registry r ON r.symbol = n.symbol
        JOIN market_sessions s ON s.calendar = coalesce(r.calendar, symbol_calendar(r.symbol))
                              AND s.session BETWEEN p_from AND p_to AND s.closes_at <= reckoner_now()
        JOIN market_prices p ON p.symbol = r.symbol AND p.date = s.session AND p.fetched_at IS NOT NULL
        CROSS JOIN LATERAL (
            SELECT count(*) AS bars, (extract(epoch FROM s.closes_at - s.opens_at) / 300)::integer AS expected,
                   max(h.open) FILTER (WHERE h.ts = s.opens_at) AS open, max(h.high) AS high, min(h.low) AS low,
                   max(h.close) FILTER (WHERE h.ts = s.closes_at - interval '5 minutes') AS close
            FROM price_history_intraday h
            WHERE h.symbol = r.symbol AND h."interval" = '5m' AND h.ts >= s.opens_at AND h.ts < s.closes_at
              AND h.source_provider = p.source) b
        CROSS JOIN LATERAL (
            SELECT b.bars, b.expected, array_agg(v.name ORDER BY v.place) AS names,
                   array_agg(format('%s: %s %s, five-minute bars %s', s.session, v.name, v.daily, v.found) ORDER BY v.place) AS notes
            FROM (VALUES (1, 'open', p.open, b.open), (2, 'high', p.high, CASE WHEN b.bars = b.expected THEN b.high END),
                         (3, 'low', p.low, CASE WHEN b.bars = b.expected THEN b.low END),
                         (4, 'close', p.close, b.close)) AS v(place, name, daily, found)
            WHERE v.daily > 0 AND abs(v.found / v.daily - 1) > 0.002) f
        WHERE f.names IS NOT NULL
    ), flagged AS (
        INSERT INTO data_quality_log (symbol, checked_at, provider, range_from, range_to, given, rejected, flagged,
                                      expected, missing, parts, notes, score, verdict, "interval")
        SELECT c.symbol, reckoner_now(), c.source, c.session, c.session, c.bars, 0, cardinality(c.names),
               c.expected, c.expected - c.bars, '{"daily": 0}', c.notes, 1 - cardinality(c.names) / 4.0, 'flagged', '5m'
        FROM compared c
        WHERE NOT EXISTS (SELECT FROM data_quality_log q WHERE q.symbol = c.symbol AND q."interval" = '5m'
                          AND q.range_from = c.session AND q.notes = c.notes)
        RETURNING 1)
    SELECT count(*) INTO v_flagged FROM flagged;
    RETURN v_flagged;
END
$$;

-- The pause of a provider's five-minute bars: where its plan has none, or where less than p_leaves of a
-- quota would be left for daily bars. Called by market/providers/limits.py.
CREATE OR REPLACE FUNCTION provider_intraday_paused(p_name text, p_cost integer, p_leaves double precision)
RETURNS TABLE (until timestamptz, reason text) LANGUAGE plpgsql STABLE AS $$
BEGIN -- PL/pgSQL, because provider_quota_status is in a later file
    RETURN QUERY
    SELECT w.until, w.reason
    FROM (SELECT p.paused_until AS until, p.pause_reason AS reason FROM reckoner_providers p
          WHERE p.name = p_name || ' 5m' AND p.paused_until > reckoner_now()
          UNION ALL
          SELECT q.resets_at, format('%s of %s requests of the %s are used, and %s %% are left for daily bars',
                                     q.used, q.allowed, q.per, round(100 * p_leaves))
          FROM provider_quota_status q
          WHERE p_leaves > 0 AND q.name = p_name AND q.remaining - p_cost < q.allowed * p_leaves) w
    RIGHT JOIN (SELECT) one ON true
    ORDER BY w.until DESC NULLS LAST LIMIT 1;
END
$$;

-- Pauses a provider's five-minute bars, and not its daily ones. Returns the end of the pause.
CREATE OR REPLACE FUNCTION provider_intraday_pause(p_name text, p_seconds double precision, p_reason text)
RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reckoner_providers (name) VALUES (p_name || ' 5m') ON CONFLICT (name) DO NOTHING;
    RETURN provider_pause(p_name || ' 5m', p_seconds, p_reason);
END
$$;

-- Daily bars of ours with all their columns. A function, because the owner of a table cannot change the type
-- of a column that a view reads (13_ours.sql); the server inlines it, so that a reader's condition reaches the
-- table's index (tests/market/intraday/test_store.py).
CREATE OR REPLACE FUNCTION daily_bars()
RETURNS TABLE (symbol text, date date, open double precision, high double precision, low double precision,
               close double precision, adjusted_close double precision, volume bigint, source text,
               payload_id bigint, fetched_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT p.symbol::pg_catalog.text, p.date, p.open::double precision, p.high::double precision,
           p.low::double precision, p.close::double precision, p.adjusted_close::double precision,
           p.volume::bigint, p.source::pg_catalog.text, p.payload_id, p.fetched_at
    FROM public.market_prices p WHERE p.fetched_at IS NOT NULL
$$;

-- Bars of both intervals under the names of other systems.
CREATE OR REPLACE VIEW price_data AS
SELECT b.symbol, b.date::timestamp AT TIME ZONE 'UTC' AS date, '1d'::text AS "interval",
       b.open AS open_price, b.high AS high_price, b.low AS low_price, b.close AS close_price,
       b.adjusted_close, b.volume, b.source AS data_source, true AS is_adjusted
FROM daily_bars() b
UNION ALL
SELECT h.symbol::text, h.ts, h."interval", h.open, h.high, h.low, h.close, NULL, h.volume, h.source_provider, true
FROM price_history_intraday h;
COMMENT ON VIEW price_data IS
    'Daily and five-minute bars under the names of other systems; date is midnight UTC of the session, or the start of the bar.';

CREATE OR REPLACE VIEW price_history_daily AS
SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.adjusted_close, b.volume, b.source AS source_provider,
       (SELECT o.sha256 FROM provider_payloads o WHERE o.id = b.payload_id) AS raw_hash, b.fetched_at AS pulled_at
FROM daily_bars() b;
COMMENT ON VIEW price_history_daily IS
    'Daily bars of ours under the names of other systems; raw_hash is NULL where the payload is no longer kept.';
REVOKE ALL ON FUNCTION
    intraday_window(p_calendar text, p_settle double precision),
    intraday_due(p_settle double precision, p_polls boolean, p_nights boolean),
    intraday_claim(p_worker text, p_limit integer, p_seconds double precision, p_settle double precision, p_polls boolean, p_nights boolean, p_symbols text[]),
    intraday_renew(p_worker text, p_symbols text[], p_seconds double precision),
    intraday_release(p_worker text, p_symbols text[]),
    intraday_plan(p_symbol text, p_sessions integer, p_refetch boolean, p_keep_days integer),
    intraday_store(p_symbols text[], p_sources text[], p_hashes text[], p_from date[], p_to date[], p_answered timestamptz[], p_missed boolean[], p_counts bigint[], p_firsts bigint[], p_lasts bigint[], p_numbers bigint[], p_starts bigint[], p_opens double precision[], p_highs double precision[], p_lows double precision[], p_closes double precision[], p_volumes bigint[] ),
    intraday_failed(p_symbol text, p_error text, p_until timestamptz, p_longest interval),
    intraday_compare(p_symbols text[], p_from date, p_to date),
    provider_intraday_paused(p_name text, p_cost integer, p_leaves double precision),
    provider_intraday_pause(p_name text, p_seconds double precision, p_reason text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/66_intraday.sql', '7bafdfb2302c4f9cf11caf1b73d0b844b643c64f59b5a990282f6bd479430a53')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
