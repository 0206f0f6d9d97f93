BEGIN;
-- The outcome engine. An outcome is a function of the prediction, the sessions, the clock and
-- the bars, and nothing else: whatever another program may have written into a row is computed
-- anew. A price is taken only from the very session that is meant, only when that session is over
-- and settled, and only where a provider of ours gave it (another program may store the bar of a
-- day that is not over). NULL means not yet known.
--
--   outcome_rows      what rows say now: prices, state, reason. Many predictions share a symbol
--                     and an entry session, so that is computed once for all of them.
--   outcomes_write    writes rows, each complete at once, from that
--   outcomes_process  a batch of predictions: what they name, and its rows
--   outcomes_fill     rows that are there, after a ticker's prices or its status changed
--
-- PL/pgSQL throughout, because it keeps its plans, and generic ones from the first call on: planning
-- costs more than running for one row. A plan that is kept must stay right when an empty table has
-- grown to millions of rows, so only walks along indexes are allowed to it (the SETs), and what belongs
-- to the same symbol and session travels as an array of outcome_key and is never joined by value. And
-- where a row is looked for by prediction and symbol, || '' keeps to the index that begins with the
-- prediction: on an empty table the one that begins with the symbol looks as good, and later is not.
-- Called by market/outcomes.py and by the sweep.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Bullish: more than +0.5 %. Bearish: less than -0.5 %. Neutral: within. NULL where the
-- sentiment or the return is unknown. p_return in percent.
CREATE OR REPLACE FUNCTION outcome_correct(p_sentiment text, p_return double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_sentiment
        WHEN 'bullish' THEN p_return > 0.5
        WHEN 'bearish' THEN p_return < -0.5
        WHEN 'neutral' THEN abs(p_return) <= 0.5
    END
$$;

DROP FUNCTION IF EXISTS outcome_keeps(prediction_outcomes, date);
DROP FUNCTION IF EXISTS outcomes_fill(integer[], text[]);
DROP FUNCTION IF EXISTS outcomes_fill(integer[], text[], boolean);
DROP FUNCTION IF EXISTS outcomes_open(integer[]);
DROP FUNCTION IF EXISTS outcomes_wanting(integer[], integer);
DROP FUNCTION IF EXISTS outcome_rows(outcome_key[]);
DROP FUNCTION IF EXISTS outcomes_write(outcome_key[], boolean);
DROP FUNCTION IF EXISTS outcome_revision(double precision, double precision, double precision[], double precision[]);

-- Whether the table itself keeps (prediction_id, symbol) unique. A table that another program
-- made may not, and may hold duplicates.
CREATE OR REPLACE FUNCTION outcomes_are_unique() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = 'public.prediction_outcomes'::regclass
          AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 2
          AND (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::smallint[]))
              = ARRAY['prediction_id', 'symbol']::name[]);
END
$$;

-- Pairs with more than one row, for `worker migrate`.
CREATE OR REPLACE FUNCTION outcomes_duplicates()
RETURNS TABLE (prediction_id integer, symbol text, n bigint) LANGUAGE sql STABLE AS $$
    SELECT o.prediction_id, o.symbol::text, count(*) FROM prediction_outcomes o
    GROUP BY o.prediction_id, o.symbol HAVING count(*) > 1 ORDER BY 1, 2
$$;

-- The statements that resolve them, for a person to read and run: of each pair one row stays,
-- ours before others', the complete before the incomplete, the newest before the older.
CREATE OR REPLACE FUNCTION outcomes_resolution() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'DELETE FROM public.prediction_outcomes o USING (SELECT ctid, row_number() OVER ('
        'PARTITION BY prediction_id, symbol ORDER BY engine_version NULLS LAST, '
        'is_complete DESC NULLS LAST, updated_at DESC NULLS LAST) AS n '
        'FROM public.prediction_outcomes) d WHERE o.ctid = d.ctid AND d.n > 1; '
        'CREATE UNIQUE INDEX IF NOT EXISTS prediction_outcomes_pair '
        'ON public.prediction_outcomes (prediction_id, symbol);'
$$;

-- A row's revision, and behind it, where a price that was known changed, in words what became of the
-- returns. From old and new price at the entry and at the four horizons; a split restates prices and no return.
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
    SELECT string_agg(format('return_%s was %s', name, round(was::numeric, 4)), ', ' ORDER BY n) INTO v_returns
    FROM (SELECT h.name, h.n, (h.old / p_old0 - 1) * 100 AS was, (h.new / p_new0 - 1) * 100 AS now
          FROM unnest(ARRAY['t1', 't3', 't7', 't30'], p_old, p_new) WITH ORDINALITY AS h(name, old, new, n)
          WHERE h.old IS NOT NULL) r
    -- Providers round split-adjusted prices; a hundredth of a percent point is no news.
    WHERE now IS NULL OR abs(now - was) > 0.01;
    RETURN right(concat_ws('; ', nullif(p_before, ''), format(
        'prices restated on %s: %s', (reckoner_now() AT TIME ZONE 'UTC')::date,
        coalesce(v_returns, 'returns unchanged'))), 500);
END
$$;

DROP FUNCTION IF EXISTS outcome_prices(text[], date[]);
DROP FUNCTION IF EXISTS outcomes_write(integer[], text[], date[], text[], double precision[], date[], text[], boolean);

-- A symbol's closes by session, NULL where there is no bar: read once, along two indexes.
CREATE OR REPLACE FUNCTION outcome_closes(p_symbol text, p_calendar text, p_from date, p_to date)
RETURNS double precision[] LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_mergejoin = on SET enable_hashjoin = off SET enable_nestloop = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT b.close
        FROM (SELECT s.session FROM market_sessions s
              WHERE s.calendar = p_calendar AND s.session BETWEEN p_from AND p_to) s
        LEFT JOIN (SELECT p.date, p.close FROM market_prices p
                   WHERE p.symbol = p_symbol AND p.date BETWEEN p_from AND p_to
                     AND p.fetched_at IS NOT NULL) b ON b.date = s.session
        ORDER BY s.session);
END
$$;

-- What these rows say now. p0 to p30: the closes of the entry and of the sessions 1, 3, 7 and 30
-- later. due_at: when to ask again. A key without an entry brings its reason.
-- Prices are looked up for each symbol and entry, or, where many entries of one symbol lie close
-- together, its closes are read once; which of the two it was changes nothing else.
CREATE OR REPLACE FUNCTION outcome_rows(p_keys outcome_key[])
RETURNS TABLE (key outcome_key, p0 double precision,
               p1 double precision, r1 double precision, pnl1 double precision,
               p3 double precision, r3 double precision, pnl3 double precision,
               p7 double precision, r7 double precision, pnl7 double precision,
               p30 double precision, r30 double precision, pnl30 double precision,
               complete boolean, state text, reason text, due_at timestamptz)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
    v_now    timestamptz := reckoner_now();
    v_horizons CONSTANT integer[] := '{0,1,3,7,30}';
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
        -- To look five prices up costs as much as to read some fifteen on.
        WHERE l.ordinal - f.ordinal BETWEEN 0 AND 15 * cardinality(p_keys);
    END IF;
    RETURN QUERY
    WITH shared AS MATERIALIZED (
        SELECT u.symbol, u.entry, array_agg(u::outcome_key) AS keys
        FROM unnest(p_keys) AS u
        GROUP BY u.symbol, u.entry
    ), listed AS MATERIALIZED (
        SELECT s.*, coalesce(r.calendar, symbol_calendar(s.symbol)) AS calendar,
               r.fetched_from, r.fetched_to, r.price_data_start, r.price_data_end, r.last_backfill,
               CASE WHEN r.status <> 'active' THEN
                   format('ticker %s is %s: %s', s.symbol, r.status,
                          coalesce(r.status_reason, 'no reason given')) END AS lost
        FROM shared s LEFT JOIN ticker_registry r ON r.symbol = s.symbol
    ), clock AS MATERIALIZED (
        SELECT c.calendar, (session_last_settled(c.calendar)).ordinal AS last_ordinal
        FROM (SELECT DISTINCT l.calendar FROM listed l) c
    ), priced AS (
        SELECT k.*, c.last_ordinal, e.ordinal, b.closes, array_position(b.closes, NULL) IS NULL AS complete
        FROM listed k
        JOIN clock c ON c.calendar = k.calendar
        LEFT JOIN market_sessions e ON e.calendar = k.calendar AND e.session = k.entry
        -- OFFSET 0: once, not once for each use of it.
        CROSS JOIN LATERAL (SELECT ARRAY(
            SELECT CASE WHEN v_closes IS NOT NULL THEN v_closes[e.ordinal + h.n - v_before]
                   ELSE (SELECT p.close
                         FROM market_sessions s
                         JOIN market_prices p ON p.symbol = k.symbol AND p.date = s.session
                         WHERE s.calendar = k.calendar AND s.ordinal = e.ordinal + h.n
                           AND s.ordinal <= c.last_ordinal AND p.fetched_at IS NOT NULL) END
            FROM unnest(v_horizons) AS h(n) ORDER BY h.n) AS closes OFFSET 0) b
    ), judged AS (
        SELECT p.*, h.*,
               ARRAY[(p.closes[2] / p.closes[1] - 1) * 100, (p.closes[3] / p.closes[1] - 1) * 100,
                     (p.closes[4] / p.closes[1] - 1) * 100, (p.closes[5] / p.closes[1] - 1) * 100] AS returns,
               CASE WHEN p.entry IS NULL THEN 'unresolvable'
                    WHEN p.complete THEN 'complete'
                    WHEN h.entry_hopeless OR h.all_hopeless THEN 'unresolvable'
                    WHEN h.is_awaiting THEN 'awaiting_prices'
                    ELSE 'maturing' END AS state,
               CASE WHEN h.first_hole_n = 0 THEN 'the entry session ' ELSE 't' || h.first_hole_n || ' on ' END
               || h.first_hole AS hole_name
        FROM priced p
        -- Only what is missing has to be explained.
        CROSS JOIN LATERAL (
            SELECT bool_or(x.n = 0 AND x.hopeless) AS entry_hopeless,
                   bool_and(x.hopeless) AS all_hopeless,
                   bool_or(x.is_over AND NOT x.hopeless) AS is_awaiting,
                   min(x.due_at) FILTER (WHERE NOT x.hopeless AND x.is_over) AS missed_first,
                   max(x.due_at) FILTER (WHERE NOT x.hopeless AND x.is_over) AS missed_last,
                   min(x.due_at) FILTER (WHERE NOT x.hopeless AND NOT x.is_over) AS next_due,
                   -- Sessions grow with n, and behind the calendar's last one there is none.
                   min(x.session) FILTER (WHERE x.hopeless OR x.is_over) AS first_hole,
                   min(x.n) FILTER (WHERE x.hopeless OR x.is_over) AS first_hole_n,
                   min(x.n) FILTER (WHERE NOT x.hopeless) AS next_n,
                   min(x.session) FILTER (WHERE NOT x.hopeless) AS next_session
            FROM (
                SELECT v.n, s.session, s.closes_at + session_settling() AS due_at,
                       coalesce(s.ordinal <= p.last_ordinal, false) AS is_over,
                       -- It can never come: nobody knows the ticker, or providers answered for
                       -- that session and ten sessions later there still is no bar.
                       p.lost IS NOT NULL OR coalesce(
                           s.session BETWEEN p.fetched_from AND p.fetched_to
                           AND s.ordinal <= p.last_ordinal - 10, false) AS hopeless
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
           j.complete, j.state,
           CASE WHEN j.entry IS NULL THEN m.reason ELSE CASE j.state
               WHEN 'unresolvable' THEN coalesce(j.lost, CASE
                   WHEN j.price_data_end IS NULL OR j.first_hole > j.price_data_end
                   THEN format('no bar for %s: the last bar is of %s, delisted or suspended?',
                               j.hole_name, coalesce(j.price_data_end::text, 'no day at all'))
                   WHEN j.first_hole < j.price_data_start
                   THEN format('no bar for %s: the first bar is of %s, not yet listed?', j.hole_name, j.price_data_start)
                   ELSE format('no bar for %s: a hole in the data, ten sessions old', j.hole_name) END)
               WHEN 'awaiting_prices' THEN format('no bar yet for %s', j.hole_name)
               WHEN 'maturing' THEN format('next: %s on %s',
                   CASE WHEN j.next_n = 0 THEN 'entry' ELSE 't' || j.next_n END,
                   coalesce(j.next_session::text, 'a session beyond the calendar'))
           END END,
           -- At the next horizon; and for what should be there and is not at once, then at
           -- pauses that grow with the time it is missing.
           CASE WHEN j.state IN ('awaiting_prices', 'maturing') THEN least(j.next_due, CASE
               WHEN j.missed_last > coalesce(j.last_backfill, '-infinity') THEN j.missed_last
               WHEN j.missed_last IS NOT NULL THEN
                   v_now + greatest(interval '15 minutes', (v_now - j.missed_first) / 4)
           END) END
    FROM judged j CROSS JOIN LATERAL unnest(j.keys) AS m;
END
$$;


-- Writes a batch's rows with everything that the stored prices allow. Rows that are not there are
-- made, and a row that another program wrote becomes ours, because its own prediction's event is
-- being processed.
CREATE OR REPLACE FUNCTION outcomes_write(p_keys outcome_key[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    IF NOT outcomes_are_unique() THEN
        -- Then only this lock keeps two batches from writing a pair twice.
        PERFORM pg_advisory_xact_lock(1380271947, 4);
    END IF;
    -- MERGE, because it needs no unique index; duplicates that were there all become right.
    MERGE INTO prediction_outcomes o
    USING (
        SELECT (w.key).*, w.*, w.reason AS told,
               outcome_correct((w.key).sentiment, w.r1) AS right1,
               outcome_correct((w.key).sentiment, w.r3) AS right3,
               outcome_correct((w.key).sentiment, w.r7) AS right7,
               outcome_correct((w.key).sentiment, w.r30) AS right30
        FROM outcome_rows(p_keys) w
        ORDER BY (w.key).prediction_id, (w.key).symbol
    ) n ON o.prediction_id = n.prediction_id AND o.symbol || '' = n.symbol
    WHEN MATCHED AND (o.prediction_date, o.prediction_sentiment, o.prediction_confidence, o.entry_session,
             o.price_at_prediction, o.price_t1, o.price_t3, o.price_t7, o.price_t30,
             o.return_t1, o.return_t3, o.return_t7, o.return_t30,
             o.correct_t1, o.correct_t3, o.correct_t7, o.correct_t30,
             o.pnl_t1, o.pnl_t3, o.pnl_t7, o.pnl_t30,
             o.is_complete, o.outcome_state, o.outcome_reason, o.due_at, o.engine_version)
            IS DISTINCT FROM
            (n.day, n.sentiment, n.confidence, n.entry,
             n.p0, n.p1, n.p3, n.p7, n.p30, n.r1, n.r3, n.r7, n.r30,
             n.right1, n.right3, n.right7, n.right30, n.pnl1, n.pnl3, n.pnl7, n.pnl30,
             n.complete, n.state, n.told, n.due_at, 1)
    THEN UPDATE SET
        prediction_date = n.day, prediction_sentiment = n.sentiment,
        prediction_confidence = n.confidence, entry_session = n.entry,
        price_at_prediction = n.p0,
        price_t1 = n.p1, return_t1 = n.r1, correct_t1 = n.right1, pnl_t1 = n.pnl1,
        price_t3 = n.p3, return_t3 = n.r3, correct_t3 = n.right3, pnl_t3 = n.pnl3,
        price_t7 = n.p7, return_t7 = n.r7, correct_t7 = n.right7, pnl_t7 = n.pnl7,
        price_t30 = n.p30, return_t30 = n.r30, correct_t30 = n.right30, pnl_t30 = n.pnl30,
        is_complete = n.complete, outcome_state = n.state, outcome_reason = n.told,
        due_at = n.due_at,
        -- Prices for another entry, or of another program, are not ours to compare with.
        revision = CASE WHEN o.entry_session = n.entry AND o.price_at_prediction IS NOT NULL
            THEN outcome_revision(
                o.revision, o.price_at_prediction, n.p0,
                ARRAY[o.price_t1, o.price_t3, o.price_t7, o.price_t30], ARRAY[n.p1, n.p3, n.p7, n.p30])
            ELSE o.revision END,
        last_price_update = v_now, engine_version = 1, updated_at = v_now
    WHEN NOT MATCHED THEN INSERT
        (prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence,
         entry_session, price_at_prediction,
         price_t1, return_t1, correct_t1, pnl_t1, price_t3, return_t3, correct_t3, pnl_t3,
         price_t7, return_t7, correct_t7, pnl_t7, price_t30, return_t30, correct_t30, pnl_t30,
         is_complete, outcome_state, outcome_reason, due_at, last_price_update,
         engine_version, created_at, updated_at)
    VALUES (n.prediction_id, n.symbol, n.day, n.sentiment, n.confidence, n.entry, n.p0,
            n.p1, n.r1, n.right1, n.pnl1, n.p3, n.r3, n.right3, n.pnl3,
            n.p7, n.r7, n.right7, n.pnl7, n.p30, n.r30, n.right30, n.pnl30,
            n.complete, n.state, n.told, n.due_at, v_now, 1, v_now, v_now);
END
$$;

-- Everything that a batch of predictions asks for: registers what they name, writes their rows, and
-- takes away rows of ours whose symbol a prediction no longer names. Returns a row for each element
-- of the predictions' assets, in their order: symbol is NULL for what is no symbol; wanting says
-- that a provider is needed for it (an entry or a horizon that is over has no bar, or the history
-- before the moment is shorter than p_backfill_days, or the ticker was unknown when it was last
-- asked for, more than a week ago). A prediction that has nothing to process has one row, whose
-- nothing says why.
-- p_check_calendars: where a calendar has no sessions yet, only rows with missing_calendar are
-- returned, and nothing is written but new tickers.
CREATE OR REPLACE FUNCTION outcomes_process(
    p_prediction_ids integer[], p_backfill_days integer, p_check_calendars boolean DEFAULT true
) RETURNS TABLE (prediction_id integer, element text, symbol text, outcome_state text,
                 wanting boolean, nothing text, missing_calendar text)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
    v_ids         integer[];
    v_elements    text[];
    v_symbols     text[];
    v_moments     timestamptz[];
    v_sentiments  text[];
    v_confidences double precision[];
    v_keys        outcome_key[];
    v_tries       integer := 0;
BEGIN
    SELECT array_agg(e.prediction_id), array_agg(e.element), array_agg(e.symbol),
           array_agg(e.moment), array_agg(e.sentiment), array_agg(e.confidence)
    INTO v_ids, v_elements, v_symbols, v_moments, v_sentiments, v_confidences
    FROM prediction_elements(p_prediction_ids) e;

    RETURN QUERY
    SELECT k.id, NULL, NULL, NULL, NULL::boolean,
           CASE WHEN p.prediction_id IS NULL THEN 'the prediction no longer exists'
                ELSE 'the prediction is not completed, or names no assets' END, NULL
    FROM (SELECT unnest(p_prediction_ids) EXCEPT SELECT unnest(v_ids)) AS k(id)
    LEFT JOIN prediction_inputs p ON p.prediction_id = k.id;

    IF EXISTS (SELECT FROM unnest(v_symbols) AS k(symbol)
               WHERE k.symbol IS NOT NULL
                 AND NOT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = k.symbol)) THEN
        PERFORM registry_register(v_symbols, v_ids);
    END IF;
    IF p_check_calendars THEN
        RETURN QUERY
        SELECT NULL::integer, NULL, NULL, NULL, NULL::boolean, NULL, c.calendar
        FROM (SELECT DISTINCT coalesce(r.calendar, symbol_calendar(k.symbol)) AS calendar
              FROM (SELECT DISTINCT unnest(v_symbols) AS symbol) k
              LEFT JOIN ticker_registry r ON r.symbol = k.symbol
              WHERE k.symbol IS NOT NULL) c
        WHERE NOT EXISTS (SELECT FROM market_sessions s WHERE s.calendar = c.calendar);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    -- Whoever just now stores prices for one of these rows ends first, and what follows sees them.
    PERFORM FROM prediction_outcomes o WHERE o.prediction_id = ANY (v_ids)
    ORDER BY o.prediction_id, o.symbol FOR UPDATE;

    DELETE FROM prediction_outcomes o
    USING (SELECT h.prediction_id, h.symbol::text FROM prediction_outcomes h
           WHERE h.prediction_id = ANY (v_ids) AND h.engine_version IS NOT NULL
           EXCEPT SELECT * FROM unnest(v_ids, v_symbols)) AS gone(prediction_id, symbol)
    WHERE o.prediction_id = gone.prediction_id AND o.symbol || '' = gone.symbol
      AND o.engine_version IS NOT NULL;

    v_keys := ARRAY(
        SELECT ROW(m.prediction_id, m.symbol, (g.moment AT TIME ZONE 'UTC')::date, m.sentiment,
                   m.confidence, e.entry, CASE WHEN e.entry IS NULL THEN
                       format('the moment %s is outside the calendar %s', g.moment, g.calendar) END)::outcome_key
        FROM ( -- one look into the calendar for all symbols of a moment
            SELECT n.calendar, n.moment, array_agg(
                       ROW(n.prediction_id, n.symbol, NULL, n.sentiment, n.confidence, NULL, NULL)::outcome_key) AS keys
            FROM (
                SELECT DISTINCT ON (k.prediction_id, k.symbol)
                       k.*, coalesce(r.calendar, symbol_calendar(k.symbol)) AS calendar
                FROM unnest(v_ids, v_symbols, v_moments, v_sentiments, v_confidences)
                     AS k(prediction_id, symbol, moment, sentiment, confidence)
                LEFT JOIN ticker_registry r ON r.symbol = k.symbol
                WHERE k.symbol IS NOT NULL
                ORDER BY k.prediction_id, k.symbol
            ) n
            GROUP BY n.calendar, n.moment
        ) g
        -- OFFSET 0: once for each moment, not once for each use of it.
        CROSS JOIN LATERAL (SELECT session_entry(g.calendar, g.moment) AS entry OFFSET 0) e
        CROSS JOIN LATERAL unnest(g.keys) AS m);
    LOOP
        BEGIN
            PERFORM outcomes_write(v_keys) WHERE v_keys <> '{}';
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            -- Another program wrote one of these rows just now; the next try sees it.
            v_tries := v_tries + 1;
            IF v_tries = 5 THEN
                RAISE;
            END IF;
        END;
    END LOOP;

    RETURN QUERY
    SELECT k.prediction_id, k.element, k.symbol, o.outcome_state,
           o.entry_session IS NOT NULL AND CASE r.status
               WHEN 'active' THEN
                   o.outcome_state = 'awaiting_prices' OR r.fetched_from IS NULL
                   OR (o.prediction_date - p_backfill_days < r.fetched_from
                       AND o.outcome_state <> 'unresolvable')
               WHEN 'invalid' THEN
                   coalesce(r.last_backfill, '-infinity') < reckoner_now() - interval '7 days'
               ELSE false END,
           NULL::text, NULL::text
    FROM unnest(v_ids, v_elements, v_symbols) AS k(prediction_id, element, symbol)
    LEFT JOIN prediction_outcomes o ON o.prediction_id = k.prediction_id AND o.symbol || '' = k.symbol
    LEFT JOIN ticker_registry r ON r.symbol = k.symbol;
END
$$;

-- Fills rows of ours, which the caller's transaction holds, so that they stay where they are, from
-- the stored prices. What a row says follows from its symbol and its entry, but for what it makes of
-- its sentiment; so that is computed once for all who share them, a symbol at a time. Writes the rows
-- that change, and returns their number for each symbol that has some.
CREATE OR REPLACE FUNCTION outcomes_fill_rows(p_rows tid[]) RETURNS TABLE (symbol text, changed bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    RETURN QUERY
    WITH entries AS MATERIALIZED (
        SELECT e.symbol, array_agg(ROW(NULL, e.symbol, NULL, NULL, NULL, e.entry_session, NULL)::outcome_key) AS keys
        FROM (SELECT DISTINCT o.symbol, o.entry_session FROM prediction_outcomes o WHERE o.ctid = ANY (p_rows)) e
        GROUP BY e.symbol
    ), said AS MATERIALIZED (
        SELECT w.* FROM entries e CROSS JOIN LATERAL outcome_rows(e.keys) w
    ), written AS (
        UPDATE prediction_outcomes o SET
            price_at_prediction = n.p0,
            price_t1 = n.p1, return_t1 = n.r1, pnl_t1 = n.pnl1,
            price_t3 = n.p3, return_t3 = n.r3, pnl_t3 = n.pnl3,
            price_t7 = n.p7, return_t7 = n.r7, pnl_t7 = n.pnl7,
            price_t30 = n.p30, return_t30 = n.r30, pnl_t30 = n.pnl30,
            correct_t1 = outcome_correct(o.prediction_sentiment, n.r1),
            correct_t3 = outcome_correct(o.prediction_sentiment, n.r3),
            correct_t7 = outcome_correct(o.prediction_sentiment, n.r7),
            correct_t30 = outcome_correct(o.prediction_sentiment, n.r30),
            is_complete = n.complete, outcome_state = n.state, outcome_reason = n.reason, due_at = n.due_at,
            revision = CASE WHEN o.price_at_prediction IS NOT NULL
                THEN outcome_revision(
                    o.revision, o.price_at_prediction, n.p0,
                    ARRAY[o.price_t1, o.price_t3, o.price_t7, o.price_t30], ARRAY[n.p1, n.p3, n.p7, n.p30])
                ELSE o.revision END,
            last_price_update = v_now, engine_version = 1, updated_at = v_now
        FROM said n
        WHERE o.ctid = ANY (p_rows) AND o.symbol = (n.key).symbol AND o.entry_session = (n.key).entry
          AND (o.price_at_prediction, o.price_t1, o.price_t3, o.price_t7, o.price_t30,
               o.return_t1, o.return_t3, o.return_t7, o.return_t30, o.pnl_t1, o.pnl_t3, o.pnl_t7, o.pnl_t30,
               o.correct_t1, o.correct_t3, o.correct_t7, o.correct_t30,
               o.is_complete, o.outcome_state, o.outcome_reason, o.due_at, o.engine_version)
              IS DISTINCT FROM
              (n.p0, n.p1, n.p3, n.p7, n.p30, n.r1, n.r3, n.r7, n.r30, n.pnl1, n.pnl3, n.pnl7, n.pnl30,
               outcome_correct(o.prediction_sentiment, n.r1), outcome_correct(o.prediction_sentiment, n.r3),
               outcome_correct(o.prediction_sentiment, n.r7), outcome_correct(o.prediction_sentiment, n.r30),
               n.complete, n.state, n.reason, n.due_at, 1)
        RETURNING o.symbol
    )
    SELECT w.symbol::text, count(*) FROM written w GROUP BY w.symbol;
END
$$;

-- Fills the given rows; what another program wrote, and what has no entry, is left alone. Returns the
-- number changed. Here and below rows are locked in one order, so that two who fill the same ones wait
-- and do not deadlock.
CREATE OR REPLACE FUNCTION outcomes_fill(p_prediction_ids integer[], p_symbols text[])
RETURNS bigint LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
BEGIN
    RETURN (SELECT coalesce(sum(changed), 0) FROM outcomes_fill_rows(ARRAY(
        SELECT o.ctid FROM unnest(p_prediction_ids, p_symbols) AS k(prediction_id, symbol)
        JOIN prediction_outcomes o ON o.prediction_id = k.prediction_id AND o.symbol || '' = k.symbol
        WHERE o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
        ORDER BY o.prediction_id, o.symbol FOR UPDATE OF o)));
END
$$;

-- Outcomes of symbols after their prices or their status changed: the open ones, or with p_all every
-- one of ours (the basis of the prices changed, or the ticker turned out to exist). What another
-- program wrote is left alone. Returns the number changed for each symbol that has some.
CREATE OR REPLACE FUNCTION outcomes_fill_symbols(p_symbols text[], p_all boolean)
RETURNS TABLE (symbol text, changed bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    IF p_all THEN
        RETURN QUERY SELECT * FROM outcomes_fill_rows(ARRAY(
            SELECT o.ctid FROM prediction_outcomes o
            WHERE o.symbol = ANY (p_symbols) AND o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
            ORDER BY o.prediction_id, o.symbol FOR UPDATE));
    ELSE
        RETURN QUERY SELECT * FROM outcomes_fill_rows(ARRAY(
            SELECT o.ctid FROM prediction_outcomes o
            WHERE o.symbol = ANY (p_symbols) AND o.outcome_state IN ('awaiting_prices', 'maturing')
              AND o.engine_version IS NOT NULL AND o.entry_session IS NOT NULL
            ORDER BY o.prediction_id, o.symbol FOR UPDATE));
    END IF;
END
$$;

-- The same of one symbol. Returns the number changed.
CREATE OR REPLACE FUNCTION outcomes_fill_symbol(p_symbol text, p_all boolean) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(changed), 0)::bigint FROM outcomes_fill_symbols(ARRAY[p_symbol], p_all)
$$;

-- Of the open ones those that new bars behind the last stored one can change: that wait for a bar, or
-- whose next horizon is over. The thousands that mature later are not looked at. Returns the number changed.
CREATE OR REPLACE FUNCTION outcomes_fill_due(p_symbol text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_ids integer[] := ARRAY(
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'awaiting_prices'
        UNION
        -- Compared as a row, so that only the index by symbol serves: the one by due_at holds every
        -- ticker's, and for a handful of open rows the planner thinks the two alike.
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'maturing'
          AND (symbol, outcome_state, due_at) <= (p_symbol, 'maturing', reckoner_now())
        UNION
        SELECT prediction_id FROM prediction_outcomes
        WHERE symbol = p_symbol AND outcome_state = 'maturing' AND due_at IS NULL);
BEGIN
    RETURN outcomes_fill(v_ids, array_fill(p_symbol, ARRAY[cardinality(v_ids)]));
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/50_outcomes.sql', 'a359aba025003d30a880271c717c8dc6d390e0d59ac8a1c8d30369bc7985466d')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
