BEGIN;
-- The outcome engine. Two statements, each over a whole set:
--   outcomes_open  makes the rows of a batch of predictions: entry session, sentiment.
--   outcomes_fill  computes everything that follows from stored prices, for any set of rows.
-- A prediction's batch calls both; a ticker's new prices call the second. An outcome is a
-- function of the prediction, the sessions, the clock and the bars, and nothing else: whatever
-- another program may have written into the row is computed anew. A price is taken only from
-- the very session that is meant, only when that session is over and settled, and only where
-- a provider of ours gave it (another program may store the bar of a day that is not over).
-- NULL means not yet known. Called by market/outcomes.py.
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
DROP FUNCTION IF EXISTS outcomes_fill(integer[], text[], boolean);
DROP FUNCTION IF EXISTS outcomes_fill_symbol(text, boolean);

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

-- One row for every symbol of these predictions, entry found, prices not yet. A row of ours
-- whose symbol the prediction no longer names goes away; a row that another program wrote
-- becomes ours, because its own prediction's event is being processed.
CREATE OR REPLACE FUNCTION outcomes_open(p_prediction_ids integer[])
RETURNS TABLE (prediction_id integer, symbol text, entry_session date) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now   timestamptz := reckoner_now();
    v_tries integer := 0;
BEGIN
    IF NOT outcomes_are_unique() THEN
        -- Then only this lock keeps two batches from writing a pair twice.
        PERFORM pg_advisory_xact_lock(1380271947, 4);
    END IF;

    DELETE FROM prediction_outcomes o
    WHERE o.prediction_id = ANY (p_prediction_ids) AND o.engine_version IS NOT NULL
      AND EXISTS (SELECT FROM prediction_inputs p WHERE p.prediction_id = o.prediction_id AND p.eligible)
      AND NOT EXISTS (SELECT FROM prediction_elements(ARRAY[o.prediction_id]) e WHERE e.symbol = o.symbol);

    -- MERGE, because it needs no unique index; duplicates that were there all become right.
    LOOP
        BEGIN
            MERGE INTO prediction_outcomes o
            USING (
                SELECT DISTINCT ON (e.prediction_id, e.symbol)
                       e.prediction_id, e.symbol, (e.moment AT TIME ZONE 'UTC')::date AS day,
                       e.sentiment, e.confidence, s.entry,
                       CASE WHEN s.entry IS NULL THEN 'unresolvable' ELSE 'awaiting_prices' END AS state,
                       CASE WHEN s.entry IS NULL THEN
                            format('the moment %s is outside the calendar %s', e.moment, c.calendar) END AS reason
                FROM prediction_elements(p_prediction_ids) e
                LEFT JOIN ticker_registry r ON r.symbol = e.symbol
                CROSS JOIN LATERAL (SELECT coalesce(r.calendar, symbol_calendar(e.symbol)) AS calendar) c
                CROSS JOIN LATERAL (SELECT session_entry(c.calendar, e.moment) AS entry) s
                WHERE e.symbol IS NOT NULL
                ORDER BY e.prediction_id, e.symbol
            ) n ON o.prediction_id = n.prediction_id AND o.symbol = n.symbol
            WHEN MATCHED THEN UPDATE SET
                prediction_date = n.day, prediction_sentiment = n.sentiment,
                prediction_confidence = n.confidence, entry_session = n.entry,
                outcome_state = n.state, outcome_reason = n.reason, is_complete = false,
                -- Prices for another entry, or of another program, are not ours to compare with.
                price_at_prediction = CASE WHEN o.entry_session = n.entry THEN o.price_at_prediction END,
                engine_version = 1, updated_at = v_now
            WHEN NOT MATCHED THEN INSERT
                (prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence,
                 is_complete, entry_session, outcome_state, outcome_reason, engine_version,
                 created_at, updated_at)
            VALUES (n.prediction_id, n.symbol, n.day, n.sentiment, n.confidence,
                    false, n.entry, n.state, n.reason, 1, v_now, v_now);
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
    SELECT DISTINCT o.prediction_id, o.symbol::text, o.entry_session
    FROM prediction_outcomes o
    WHERE o.prediction_id = ANY (p_prediction_ids) AND o.engine_version IS NOT NULL;
END
$$;

-- What changed in prices that were known before, in words, or NULL when nothing did: old and
-- new price at the entry and at the four horizons. A split restates prices and no return.
CREATE OR REPLACE FUNCTION outcome_revision(
    p_old0 double precision, p_new0 double precision, p_old double precision[], p_new double precision[]
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_returns text;
BEGIN
    IF p_old0 IS NULL OR (p_old0 IS NOT DISTINCT FROM p_new0 AND NOT EXISTS (
        SELECT FROM unnest(p_old, p_new) AS h(old, new) WHERE h.old IS NOT NULL AND h.old IS DISTINCT FROM h.new)) THEN
        RETURN NULL;
    END IF;
    SELECT string_agg(format('return_%s was %s', name, round(was::numeric, 4)), ', ' ORDER BY n) INTO v_returns
    FROM (SELECT h.name, h.n, (h.old / p_old0 - 1) * 100 AS was, (h.new / p_new0 - 1) * 100 AS now
          FROM unnest(ARRAY['t1', 't3', 't7', 't30'], p_old, p_new) WITH ORDINALITY AS h(name, old, new, n)
          WHERE h.old IS NOT NULL) r
    -- Providers round split-adjusted prices; a hundredth of a percent point is no news.
    WHERE now IS NULL OR abs(now - was) > 0.01;
    RETURN format('prices restated on %s: %s', (reckoner_now() AT TIME ZONE 'UTC')::date,
                  coalesce(v_returns, 'returns unchanged'));
END
$$;

-- Fills the given rows of ours from the stored prices; returns those that it changed.
CREATE OR REPLACE FUNCTION outcomes_fill(p_prediction_ids integer[], p_symbols text[])
RETURNS TABLE (prediction_id integer, symbol text, outcome_state text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- PL/pgSQL for its plan cache: planning this costs more than running it for one row.
    RETURN QUERY
    WITH target AS MATERIALIZED (
        SELECT o.prediction_id, o.symbol, o.prediction_sentiment AS sentiment,
               o.entry_session, o.outcome_reason AS old_reason, o.revision AS old_revision,
               -- What the row said before, to tell when it is restated.
               o.price_at_prediction AS old0, o.price_t1 AS old1, o.price_t3 AS old3,
               o.price_t7 AS old7, o.price_t30 AS old30,
               coalesce(r.calendar, symbol_calendar(o.symbol)) AS calendar,
               r.fetched_from, r.fetched_to, r.price_data_start, r.price_data_end, r.last_backfill,
               CASE WHEN r.status <> 'active' THEN
                   format('ticker %s is %s: %s', o.symbol, r.status,
                          coalesce(r.status_reason, 'no reason given')) END AS lost
        FROM unnest(p_prediction_ids, p_symbols) AS k(prediction_id, symbol)
        JOIN prediction_outcomes o ON o.prediction_id = k.prediction_id AND o.symbol = k.symbol
        LEFT JOIN ticker_registry r ON r.symbol = o.symbol
        WHERE o.engine_version IS NOT NULL
        ORDER BY o.prediction_id, o.symbol FOR UPDATE OF o
    ), clock AS MATERIALIZED (
        SELECT c.calendar, (session_last_settled(c.calendar)).ordinal AS last_ordinal
        FROM (SELECT DISTINCT calendar FROM target) c
    ), priced AS (
        SELECT t.*, h.*
        FROM target t
        JOIN clock c USING (calendar)
        LEFT JOIN market_sessions e ON e.calendar = t.calendar AND e.session = t.entry_session
        CROSS JOIN LATERAL (
            SELECT max(x.price) FILTER (WHERE n = 0) AS p0, max(x.price) FILTER (WHERE n = 1) AS p1,
                   max(x.price) FILTER (WHERE n = 3) AS p3, max(x.price) FILTER (WHERE n = 7) AS p7,
                   max(x.price) FILTER (WHERE n = 30) AS p30,
                   bool_or(x.missing AND n = 0 AND x.hopeless) AS entry_hopeless,
                   bool_and(x.hopeless) FILTER (WHERE x.missing) AS all_hopeless,
                   bool_or(x.missing AND x.settled AND NOT x.hopeless) AS is_awaiting,
                   min(x.due_at) FILTER (WHERE x.missing AND NOT x.hopeless AND x.is_over) AS missed_first,
                   max(x.due_at) FILTER (WHERE x.missing AND NOT x.hopeless AND x.is_over) AS missed_last,
                   min(x.due_at) FILTER (WHERE x.missing AND NOT x.hopeless AND NOT x.is_over) AS next_due,
                   (array_agg(x.session ORDER BY n) FILTER (WHERE x.missing AND (x.hopeless OR x.settled)))[1] AS first_hole,
                   (array_agg(n ORDER BY n) FILTER (WHERE x.missing AND (x.hopeless OR x.settled)))[1] AS first_hole_n,
                   (array_agg(n ORDER BY n) FILTER (WHERE x.missing AND NOT x.hopeless))[1] AS next_n,
                   (array_agg(x.session ORDER BY n) FILTER (WHERE x.missing AND NOT x.hopeless))[1] AS next_session
            FROM (
                SELECT n, s.session, s.settled, p.close AS price, s.closes_at + session_settling() AS due_at,
                       p.close IS NULL AS missing, coalesce(s.settled, false) AS is_over,
                       -- It can never come: nobody knows the ticker, or providers answered for
                       -- that session and ten sessions later there still is no bar.
                       t.lost IS NOT NULL OR coalesce(
                           s.settled AND s.session BETWEEN t.fetched_from AND t.fetched_to
                           AND s.ordinal <= c.last_ordinal - 10, false) AS hopeless
                FROM (VALUES (0), (1), (3), (7), (30)) AS horizon(n)
                LEFT JOIN LATERAL (
                    SELECT m.*, m.ordinal <= c.last_ordinal AS settled FROM market_sessions m
                    WHERE m.calendar = t.calendar AND m.ordinal = e.ordinal + n
                ) s ON true
                LEFT JOIN market_prices p ON p.symbol = t.symbol AND p.date = s.session
                                         AND s.settled AND p.fetched_at IS NOT NULL
            ) x
        ) h
    ), returned AS (
        SELECT p.*,
               (p1 / p0 - 1) * 100 AS r1, (p3 / p0 - 1) * 100 AS r3,
               (p7 / p0 - 1) * 100 AS r7, (p30 / p0 - 1) * 100 AS r30,
               p0 IS NOT NULL AND p1 IS NOT NULL AND p3 IS NOT NULL AND p7 IS NOT NULL
               AND p30 IS NOT NULL AS complete
        FROM priced p
    ), judged AS (
        SELECT r.*,
               CASE WHEN entry_session IS NULL THEN 'unresolvable' -- outcomes_open said why
                    WHEN complete THEN 'complete'
                    WHEN entry_hopeless OR all_hopeless THEN 'unresolvable'
                    WHEN is_awaiting THEN 'awaiting_prices'
                    ELSE 'maturing' END AS state,
               CASE WHEN first_hole_n = 0 THEN 'the entry session ' ELSE 't' || first_hole_n || ' on ' END
               || first_hole AS hole_name,
               right(concat_ws('; ', old_revision, outcome_revision(
                   old0, p0, ARRAY[old1, old3, old7, old30], ARRAY[p1, p3, p7, p30])), 500) AS new_revision,
               -- When to ask again: at the next horizon, and for what should be there and is
               -- not at once, then at pauses that grow with the time it is missing.
               least(next_due, CASE
                   WHEN missed_last > coalesce(last_backfill, '-infinity') THEN missed_last
                   WHEN missed_last IS NOT NULL THEN
                       reckoner_now() + greatest(interval '15 minutes', (reckoner_now() - missed_first) / 4)
                   END) AS due_at
        FROM returned r
    ), explained AS (
        SELECT j.*, CASE state
            WHEN 'unresolvable' THEN coalesce(CASE WHEN entry_session IS NULL THEN old_reason END, lost, CASE
                WHEN price_data_end IS NULL OR first_hole > price_data_end
                THEN format('no bar for %s: the last bar is of %s, delisted or suspended?',
                            hole_name, coalesce(price_data_end::text, 'no day at all'))
                WHEN first_hole < price_data_start
                THEN format('no bar for %s: the first bar is of %s, not yet listed?', hole_name, price_data_start)
                ELSE format('no bar for %s: a hole in the data, ten sessions old', hole_name) END)
            WHEN 'awaiting_prices' THEN format('no bar yet for %s', hole_name)
            WHEN 'maturing' THEN format('next: %s on %s',
                CASE WHEN next_n = 0 THEN 'entry' ELSE 't' || next_n END,
                coalesce(next_session::text, 'a session beyond the calendar'))
            END AS reason
        FROM judged j
    )
    UPDATE prediction_outcomes o SET
        price_at_prediction = x.p0,
        price_t1 = x.p1, return_t1 = x.r1, pnl_t1 = x.r1 / 100 * 1000, correct_t1 = outcome_correct(x.sentiment, x.r1),
        price_t3 = x.p3, return_t3 = x.r3, pnl_t3 = x.r3 / 100 * 1000, correct_t3 = outcome_correct(x.sentiment, x.r3),
        price_t7 = x.p7, return_t7 = x.r7, pnl_t7 = x.r7 / 100 * 1000, correct_t7 = outcome_correct(x.sentiment, x.r7),
        price_t30 = x.p30, return_t30 = x.r30, pnl_t30 = x.r30 / 100 * 1000, correct_t30 = outcome_correct(x.sentiment, x.r30),
        is_complete = x.complete, outcome_state = x.state, outcome_reason = x.reason,
        due_at = CASE WHEN x.state IN ('awaiting_prices', 'maturing') THEN x.due_at END,
        revision = nullif(x.new_revision, ''),
        last_price_update = reckoner_now(), engine_version = 1, updated_at = reckoner_now()
    FROM explained x
    WHERE o.prediction_id = x.prediction_id AND o.symbol = x.symbol AND o.engine_version IS NOT NULL
      AND (o.price_at_prediction, o.price_t1, o.price_t3, o.price_t7, o.price_t30,
           o.return_t1, o.return_t3, o.return_t7, o.return_t30,
           o.correct_t1, o.correct_t3, o.correct_t7, o.correct_t30,
           o.pnl_t1, o.pnl_t3, o.pnl_t7, o.pnl_t30,
           o.is_complete, o.outcome_state, o.outcome_reason, o.due_at)
          IS DISTINCT FROM
          (x.p0, x.p1, x.p3, x.p7, x.p30, x.r1, x.r3, x.r7, x.r30,
           outcome_correct(x.sentiment, x.r1), outcome_correct(x.sentiment, x.r3),
           outcome_correct(x.sentiment, x.r7), outcome_correct(x.sentiment, x.r30),
           x.r1 / 100 * 1000, x.r3 / 100 * 1000, x.r7 / 100 * 1000, x.r30 / 100 * 1000,
           x.complete, x.state, x.reason,
           CASE WHEN x.state IN ('awaiting_prices', 'maturing') THEN x.due_at END)
    RETURNING o.prediction_id, o.symbol::text, o.outcome_state;
END
$$;

-- A symbol's outcomes after its prices or its status changed: the open ones, or with p_all
-- every one of ours (the basis of the prices changed, or the ticker turned out to exist).
-- What another program wrote is left alone. Returns the number changed.
CREATE OR REPLACE FUNCTION outcomes_fill_symbol(p_symbol text, p_all boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_ids     integer[];
    v_changed bigint;
BEGIN
    IF p_all THEN
        v_ids := ARRAY(SELECT DISTINCT prediction_id FROM prediction_outcomes
                       WHERE symbol = p_symbol AND engine_version IS NOT NULL AND entry_session IS NOT NULL);
    ELSE
        v_ids := ARRAY(SELECT DISTINCT prediction_id FROM prediction_outcomes
                       WHERE symbol = p_symbol AND outcome_state IN ('awaiting_prices', 'maturing'));
    END IF;
    SELECT count(*) INTO v_changed
    FROM outcomes_fill(v_ids, array_fill(p_symbol, ARRAY[cardinality(v_ids)]));
    RETURN v_changed;
END
$$;

-- Which of these predictions' symbols need a provider: an entry or a horizon that is over
-- has no bar, or the history before the moment is shorter than wanted, or the ticker was
-- unknown when it was last asked for, more than a week ago.
CREATE OR REPLACE FUNCTION outcomes_wanting(p_prediction_ids integer[], p_backfill_days integer)
RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT o.symbol::text
    FROM prediction_outcomes o
    JOIN ticker_registry r USING (symbol)
    WHERE o.prediction_id = ANY (p_prediction_ids)
      AND o.entry_session IS NOT NULL
      AND CASE r.status
          WHEN 'active' THEN
              o.outcome_state = 'awaiting_prices' OR r.fetched_from IS NULL
              OR (o.prediction_date - p_backfill_days < r.fetched_from AND o.outcome_state <> 'unresolvable')
          WHEN 'invalid' THEN
              coalesce(r.last_backfill, '-infinity') < reckoner_now() - interval '7 days'
          ELSE false END;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/50_outcomes.sql', 'f3a3ea36178c2b70cc845395bd6255ff6296765bf8d00fdd6edab8fce9c044be')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
