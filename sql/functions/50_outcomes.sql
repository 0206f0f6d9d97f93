BEGIN;
-- Computing outcomes. An outcome follows from the prediction, the sessions, the clock and the bars alone:
-- values that another program wrote are computed anew. A price comes from the session that is meant and
-- from no other, only when that session is over and settled, and only from a bar of ours, because
-- another program may store the bar of a day that is not over. NULL means not yet known.
-- 51_outcomes_process.sql and 52_outcomes_fill.sql write the rows.
--
-- All functions are PL/pgSQL with generic plans, which are kept: for one row planning costs more than
-- running. A plan that was made on an empty table must stay right on millions of rows. So each function
-- forbids by SETs the joins that would then be slow (its caller's settings apply to the others), and
-- walks along indexes; keys of the same symbol and session travel as an array of outcome_key and are
-- not joined by value. jit is off, here and wherever plans are forbidden: before PostgreSQL 18 a
-- forbidden plan that was taken nevertheless had an immense cost, and compiling it took half a second.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A row's revision, with the changed returns in words appended where a known price changed. Takes the old
-- and new prices at the entry and at the horizons. A split restates prices and changes no return.
CREATE OR REPLACE FUNCTION outcome_revision(
    p_before text, p_old0 double precision, p_new0 double precision, p_old double precision[], p_new double precision[]
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_returns text;
BEGIN
    -- Plain comparisons: this runs for every row that is written again.
    IF p_old0 IS NOT DISTINCT FROM p_new0
        AND (p_old[1] IS NULL OR p_old[1] IS NOT DISTINCT FROM p_new[1])
        AND (p_old[2] IS NULL OR p_old[2] IS NOT DISTINCT FROM p_new[2])
        AND (p_old[3] IS NULL OR p_old[3] IS NOT DISTINCT FROM p_new[3])
        AND (p_old[4] IS NULL OR p_old[4] IS NOT DISTINCT FROM p_new[4]) THEN
        RETURN p_before;
    END IF;
    SELECT string_agg(format('return_t%s was %s', n, round(was::numeric, 4)), ', ' ORDER BY n) INTO v_returns
    FROM (SELECT h.n, (usable_price(h.old) / usable_price(p_old0) - 1) * 100 AS was,
                 (usable_price(h.new) / usable_price(p_new0) - 1) * 100 AS now
          FROM unnest(horizon_sessions(), p_old, p_new) AS h(n, old, new)
          WHERE h.old IS NOT NULL) r
    -- Providers round split-adjusted prices: a hundredth of a percent point is not a change.
    WHERE now IS NULL OR abs(now - was) > 0.01;
    RETURN right(concat_ws('; ', nullif(p_before, ''), format(
        'prices restated on %s: %s', (reckoner_now() AT TIME ZONE 'UTC')::date,
        coalesce(v_returns, 'returns unchanged'))), 500);
END
$$;

-- A symbol's closes by session, NULL where there is no bar of ours, in one walk along two indexes.
CREATE OR REPLACE FUNCTION outcome_closes(p_symbol text, p_calendar text, p_from date, p_to date)
RETURNS double precision[] LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_mergejoin = on SET enable_hashjoin = off SET enable_nestloop = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT usable_price(b.close)
        FROM (SELECT s.session FROM market_sessions s
              WHERE s.calendar = p_calendar AND s.session BETWEEN p_from AND p_to) s
        LEFT JOIN (SELECT p.date, p.close FROM our_bars p
                   WHERE p.symbol = p_symbol AND p.date BETWEEN p_from AND p_to) b ON b.date = s.session
        ORDER BY s.session);
END
$$;

-- The present values of these rows. p0 to p30: the closes of the entry and of the horizons' sessions.
-- due_at: when the row may change again; sweep_due() (60_sweep.sql) then writes a ticker event. A key
-- without an entry has its reason in the key.
-- Prices are looked up for each symbol and entry; where many entries of one symbol lie close together,
-- its closes are read once instead, with the same result.
CREATE OR REPLACE FUNCTION outcome_rows(p_keys outcome_key[])
RETURNS TABLE (key outcome_key, p0 double precision,
               p1 double precision, r1 double precision, pnl1 double precision,
               p3 double precision, r3 double precision, pnl3 double precision,
               p7 double precision, r7 double precision, pnl7 double precision,
               p30 double precision, r30 double precision, pnl30 double precision,
               complete boolean, state text, reason text, due_at timestamptz)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
    v_now    timestamptz := reckoner_now();
    v_horizons CONSTANT integer[] := 0 || horizon_sessions(); -- with the entry
    v_symbol text;
    v_closes double precision[];
    v_before integer; -- the ordinal before the first of v_closes
BEGIN
    IF cardinality(p_keys) >= 5 THEN
        v_symbol := (p_keys[1]).symbol;
        SELECT f.ordinal - 1, outcome_closes(v_symbol, f.calendar, f.session, l.session)
        INTO v_before, v_closes
        FROM (SELECT min(u.entry) AS first FROM unnest(p_keys) AS u HAVING bool_and(u.symbol = v_symbol)) k
        LEFT JOIN ticker_registry r ON r.symbol = v_symbol
        JOIN market_sessions f ON f.calendar = coalesce(r.calendar, symbol_calendar(v_symbol))
            AND f.session = k.first
        CROSS JOIN LATERAL session_last_settled(f.calendar) l
        -- Looking up the five prices of a key costs about as much as reading forty sessions.
        WHERE l.ordinal - f.ordinal BETWEEN 0 AND 30 * cardinality(p_keys);
    END IF;
    RETURN QUERY
    WITH shared AS MATERIALIZED (
        SELECT u.symbol, u.entry, array_agg(u::outcome_key) AS keys
        FROM unnest(p_keys) AS u
        GROUP BY u.symbol, u.entry
    ), listed AS MATERIALIZED (
        SELECT s.*, coalesce(r.calendar, symbol_calendar(s.symbol)) AS calendar,
               r.price_data_start, r.price_data_end, r.last_backfill,
               CASE WHEN r.status <> 'active' THEN
                   format('ticker %s is %s: %s', s.symbol, r.status,
                          coalesce(r.status_reason, 'no reason given')) END AS ticker_reason
        FROM shared s LEFT JOIN ticker_registry r ON r.symbol = s.symbol
    ), clock AS MATERIALIZED (
        SELECT c.calendar, (session_last_settled(c.calendar)).ordinal AS last_ordinal
        FROM (SELECT DISTINCT l.calendar FROM listed l) c
    ), priced AS (
        SELECT k.*, c.last_ordinal, e.ordinal, b.closes, array_position(b.closes, NULL) IS NULL AS complete
        FROM listed k
        JOIN clock c ON c.calendar = k.calendar
        LEFT JOIN market_sessions e ON e.calendar = k.calendar AND e.session = k.entry
        -- OFFSET 0: evaluated once, and not once for each use (tests/sql/test_plans.py).
        CROSS JOIN LATERAL (SELECT ARRAY(
            SELECT CASE WHEN v_closes IS NOT NULL THEN v_closes[e.ordinal + h.n - v_before]
                   ELSE (SELECT usable_price(p.close)
                         FROM market_sessions s
                         JOIN our_bars p ON p.symbol = k.symbol AND p.date = s.session
                         WHERE s.calendar = k.calendar AND s.ordinal = e.ordinal + h.n
                           AND s.ordinal <= c.last_ordinal) END
            FROM unnest(v_horizons) AS h(n) ORDER BY h.n) AS closes OFFSET 0) b
    ), graded AS (
        SELECT p.*, h.*,
               ARRAY[(p.closes[2] / p.closes[1] - 1) * 100, (p.closes[3] / p.closes[1] - 1) * 100,
                     (p.closes[4] / p.closes[1] - 1) * 100, (p.closes[5] / p.closes[1] - 1) * 100] AS returns,
               CASE WHEN p.entry IS NULL THEN 'unresolvable'
                    WHEN p.complete THEN 'complete'
                    WHEN h.entry_is_lost OR h.all_are_lost THEN 'unresolvable'
                    WHEN h.is_awaiting THEN 'awaiting_prices'
                    ELSE 'maturing' END AS state,
               CASE WHEN h.first_hole_n = 0 THEN 'the entry session ' ELSE 't' || h.first_hole_n || ' on ' END
               || h.first_hole AS hole_name
        FROM priced p
        -- Reads the missing prices alone, and explains them.
        CROSS JOIN LATERAL (
            SELECT bool_or(x.n = 0 AND x.is_lost) AS entry_is_lost,
                   bool_and(x.is_lost) AS all_are_lost,
                   bool_or(x.is_over AND NOT x.is_lost) AS is_awaiting,
                   min(x.due_at) FILTER (WHERE NOT x.is_lost AND x.is_over) AS missed_first,
                   max(x.due_at) FILTER (WHERE NOT x.is_lost AND x.is_over) AS missed_last,
                   min(x.due_at) FILTER (WHERE NOT x.is_lost AND NOT x.is_over) AS next_due,
                   -- Sessions grow with n; behind the calendar's last one they are NULL.
                   min(x.session) FILTER (WHERE x.is_lost OR x.is_over) AS first_hole,
                   min(x.n) FILTER (WHERE x.is_lost OR x.is_over) AS first_hole_n,
                   min(x.n) FILTER (WHERE NOT x.is_lost) AS next_n,
                   min(x.session) FILTER (WHERE NOT x.is_lost) AS next_session
            FROM (
                SELECT v.n, s.session, s.closes_at + session_settling(p.calendar) AS due_at,
                       coalesce(s.ordinal <= p.last_ordinal, false) AS is_over,
                       -- The price will never come: the ticker is not active, or the session is
                       -- covered and ten sessions old, and has no bar.
                       p.ticker_reason IS NOT NULL OR coalesce(
                           s.ordinal <= p.last_ordinal - 10
                           -- Refers to p alone, so that it is evaluated once and not for each horizon
                           -- (tests/sql/test_plans.py, "process ten").
                           AND s.session <@ (SELECT range_agg(daterange(v."from", v."to", '[]'))
                                             FROM price_coverage v
                                             WHERE v.symbol = p.symbol AND v."interval" = '1d'),
                           false) AS is_lost
                FROM unnest(v_horizons, p.closes) AS v(n, price)
                LEFT JOIN market_sessions s ON s.calendar = p.calendar AND s.ordinal = p.ordinal + v.n
                WHERE NOT p.complete AND v.price IS NULL
            ) x
        ) h
    )
    SELECT m::outcome_key, j.closes[1],
           j.closes[2], j.returns[1], j.returns[1] / 100 * 1000,
           j.closes[3], j.returns[2], j.returns[2] / 100 * 1000,
           j.closes[4], j.returns[3], j.returns[3] / 100 * 1000,
           j.closes[5], j.returns[4], j.returns[4] / 100 * 1000,
           j.complete,
           -- The reason of a row without entry comes from session_no_entry() (41_sessions.sql).
           CASE WHEN j.entry IS NULL AND m.reason LIKE 'sessions of %' THEN 'awaiting_prices' ELSE j.state END,
           CASE WHEN j.entry IS NULL THEN m.reason ELSE CASE j.state
               WHEN 'unresolvable' THEN coalesce(j.ticker_reason, CASE
                   WHEN j.price_data_end IS NULL OR j.first_hole > j.price_data_end
                   THEN format('no bar for %s: the last bar is of %s, delisted or suspended?',
                               j.hole_name, coalesce(j.price_data_end::text, 'no day at all'))
                   WHEN j.first_hole < j.price_data_start
                   THEN format('no bar for %s: the first bar is of %s, not yet listed?', j.hole_name, j.price_data_start)
                   ELSE format('no bar for %s: a hole in the data, ten sessions old', j.hole_name) END)
               WHEN 'awaiting_prices' THEN format('no bar yet for %s', j.hole_name)
               WHEN 'maturing' THEN format('next: %s on %s',
                   CASE WHEN j.next_n = 0 THEN 'entry' ELSE 't' || j.next_n END,
                   coalesce(j.next_session::text, format('a session beyond the calendar: sessions of %s are known until %s',
                       j.calendar, (SELECT max(s.session) FROM market_sessions s WHERE s.calendar = j.calendar))))
           END END,
           -- At the next horizon. Where a bar is missing that should be there: at once, then at
           -- pauses that grow with the time for which it is missing.
           CASE WHEN j.state IN ('awaiting_prices', 'maturing') THEN least(j.next_due, CASE
               WHEN j.missed_last > coalesce(j.last_backfill, '-infinity') THEN j.missed_last
               WHEN j.missed_last IS NOT NULL THEN
                   v_now + greatest(interval '15 minutes', (v_now - j.missed_first) / 4)
           END) END
    FROM graded j CROSS JOIN LATERAL unnest(j.keys) AS m;
END
$$;
REVOKE ALL ON FUNCTION
    outcome_revision(p_before text, p_old0 double precision, p_new0 double precision, p_old double precision[], p_new double precision[] ),
    outcome_closes(p_symbol text, p_calendar text, p_from date, p_to date),
    outcome_rows(p_keys outcome_key[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/50_outcomes.sql', '88a8365a07a19212522afda579af12dc801f545a8b7e6c794a3ccc71cac564e8')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
