BEGIN;
-- Processing a batch of predictions: registers their symbols and writes their outcome rows, with the
-- values of outcome_rows() (50_outcomes.sql). Plans are kept, as there. Where a row is looked up by
-- prediction and symbol, here and in the next file, `symbol || ''` leaves only the index that begins
-- with the prediction: the plan of an empty table could use the one that begins with the symbol, which
-- is slow later (tests/sql/test_plans.py). Called by market/outcomes.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Whether (prediction, symbol) is unique. A table that another program made may hold duplicates.
CREATE OR REPLACE FUNCTION outcomes_are_unique() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN source_keeps_unique('prediction_outcomes', ARRAY['prediction_id', 'symbol']);
END
$$;

-- The pairs with more than one row, for `worker migrate`.
CREATE OR REPLACE FUNCTION outcomes_duplicates()
RETURNS TABLE (prediction_id bigint, symbol text, n bigint) LANGUAGE sql STABLE AS $$
    SELECT o.prediction_id::bigint, o.symbol::text, count(*) FROM prediction_outcomes o
    GROUP BY o.prediction_id, o.symbol HAVING count(*) > 1 ORDER BY 1, 2
$$;

-- The statements that resolve them, for a person to read and run. One row of each pair stays: ours
-- before another program's, the complete before the incomplete, the newest before the older.
CREATE OR REPLACE FUNCTION outcomes_resolution() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'DELETE FROM public.prediction_outcomes o USING (SELECT ctid, row_number() OVER ('
        'PARTITION BY prediction_id, symbol ORDER BY engine_version NULLS LAST, '
        'is_complete DESC NULLS LAST, updated_at DESC NULLS LAST) AS n '
        'FROM public.prediction_outcomes) d WHERE o.ctid = d.ctid AND d.n > 1; '
        'CREATE UNIQUE INDEX IF NOT EXISTS prediction_outcomes_pair '
        'ON public.prediction_outcomes (prediction_id, symbol);'
$$;

-- Writes a batch's rows with all values that the stored prices allow. Inserts missing rows. A row that
-- another program wrote becomes ours, because its own prediction's event is being processed.
CREATE OR REPLACE FUNCTION outcomes_write(p_keys outcome_key[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    IF NOT outcomes_are_unique() THEN
        -- Without UNIQUE this lock alone keeps two batches from inserting the same pair (05_locks.sql).
        LOCK TABLE market_calendars IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
    -- MERGE needs no unique index, and updates all duplicates of a pair.
    MERGE INTO prediction_outcomes o
    USING (
        SELECT (w.key).*, w.*, w.reason AS why, -- the key has a reason too
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
             n.complete, n.state, n.why, n.due_at, 1)
    THEN UPDATE SET
        prediction_date = n.day, prediction_sentiment = n.sentiment,
        prediction_confidence = n.confidence, entry_session = n.entry,
        price_at_prediction = n.p0,
        price_t1 = n.p1, return_t1 = n.r1, correct_t1 = n.right1, pnl_t1 = n.pnl1,
        price_t3 = n.p3, return_t3 = n.r3, correct_t3 = n.right3, pnl_t3 = n.pnl3,
        price_t7 = n.p7, return_t7 = n.r7, correct_t7 = n.right7, pnl_t7 = n.pnl7,
        price_t30 = n.p30, return_t30 = n.r30, correct_t30 = n.right30, pnl_t30 = n.pnl30,
        is_complete = n.complete, outcome_state = n.state, outcome_reason = n.why,
        due_at = n.due_at,
        -- A revision compares prices of ours for the same entry alone.
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
            n.complete, n.state, n.why, n.due_at, v_now, 1, v_now, v_now);
    IF outcomes_are_heard() THEN
        INSERT INTO outcome_changes (prediction_id, symbol) SELECT k.prediction_id, k.symbol FROM unnest(p_keys) AS k;
    END IF;
END
$$;

-- Processes a batch of predictions: registers their symbols, writes their rows, and deletes rows of ours
-- whose symbol the prediction no longer names. Returns a row for each element of the predictions'
-- assets, in their order:
--   symbol            NULL for a skipped element; prediction_elements() counts the skipped ones
--   wanting           the symbol needs a fetch: an entry or horizon that is over has no bar, or the
--                     covered history before the moment is shorter than p_backfill_days, or the ticker
--                     became invalid more than a week ago
--   is_new            this call registered the symbol
--   nothing           the reason, in the one row of a prediction without anything to process
--   missing_calendar  only with p_check_calendars: a calendar without sessions. Then no other row is
--                     returned, and only new tickers are written
--   deferred, reason  the one row of a prediction that was not processed ('names many', 'does not fit', or
--                     why it cannot be seen, while it may exist: source_hides())
-- p_max_symbols, p_budget, p_bulk: limits of one call, as for prediction_elements().
CREATE OR REPLACE FUNCTION outcomes_process(
    p_prediction_ids bigint[], p_backfill_days integer, p_check_calendars boolean DEFAULT true,
    p_max_symbols integer DEFAULT 100, p_budget integer DEFAULT NULL, p_bulk bigint[] DEFAULT NULL
) RETURNS TABLE (prediction_id bigint, element text, symbol text, outcome_state text,
                 wanting boolean, is_new boolean, nothing text, missing_calendar text,
                 reason text, skipped bigint, deferred boolean)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
#variable_conflict use_column
DECLARE
    v_ids         bigint[];
    v_elements    text[];
    v_symbols     text[];
    v_moments     timestamptz[];
    v_sentiments  text[];
    v_confidences double precision[];
    v_reasons     text[];
    v_skipped     bigint[];
    v_deferred    bigint[];
    v_whys        text[];
    v_cut         bigint[];
    v_left        bigint[];
    v_gone        bigint[];
    v_hidden      text;
    v_new         text[] := '{}';
    v_keys        outcome_key[];
    v_tries       integer := 0;
BEGIN
    -- Sessions must not change between the look-up of an entry and the write of its row (41_sessions.sql).
    LOCK TABLE market_sessions IN ROW SHARE MODE;
    SELECT array_agg(e.prediction_id), array_agg(e.element), array_agg(e.symbol), array_agg(e.moment),
           array_agg(e.sentiment), array_agg(e.confidence), array_agg(e.reason), array_agg(e.skipped),
           array_agg(e.prediction_id) FILTER (WHERE e.deferred), array_agg(e.reason) FILTER (WHERE e.deferred),
           array_agg(e.prediction_id) FILTER (WHERE e.cut)
    INTO v_ids, v_elements, v_symbols, v_moments, v_sentiments, v_confidences, v_reasons, v_skipped,
         v_deferred, v_whys, v_cut
    FROM prediction_elements(p_prediction_ids, p_max_symbols, p_budget, p_bulk) e;
    IF v_deferred IS NOT NULL THEN
        SELECT array_agg(k.id), array_agg(k.element), array_agg(k.symbol), array_agg(k.moment),
               array_agg(k.sentiment), array_agg(k.confidence), array_agg(k.reason), array_agg(k.skipped)
        INTO v_ids, v_elements, v_symbols, v_moments, v_sentiments, v_confidences, v_reasons, v_skipped
        FROM unnest(v_ids, v_elements, v_symbols, v_moments, v_sentiments, v_confidences, v_reasons, v_skipped)
             AS k(id, element, symbol, moment, sentiment, confidence, reason, skipped)
        WHERE k.id <> ALL (v_deferred);
    END IF;

    v_left := ARRAY(SELECT unnest(p_prediction_ids) EXCEPT SELECT unnest(v_ids) EXCEPT SELECT unnest(v_deferred));
    IF v_left <> '{}' THEN
        v_gone := ARRAY(SELECT k.id FROM unnest(v_left) AS k(id)
                        WHERE NOT EXISTS (SELECT FROM prediction_inputs p WHERE p.prediction_id = k.id));
        v_hidden := CASE WHEN v_gone <> '{}' THEN source_hides(v_gone) END;
    END IF;
    RETURN QUERY
    SELECT k.id, NULL, NULL, NULL, NULL::boolean, NULL::boolean,
           CASE WHEN k.id <> ALL (v_gone) THEN 'the prediction is not completed, or names no assets'
                WHEN v_hidden IS NULL THEN 'the prediction no longer exists' END,
           NULL, CASE WHEN k.id = ANY (v_gone) THEN v_hidden END, NULL::bigint,
           k.id = ANY (v_gone) AND v_hidden IS NOT NULL
    FROM unnest(v_left) AS k(id)
    UNION ALL
    SELECT d.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, d.why, NULL, true
    FROM unnest(v_deferred, v_whys) AS d(id, why);

    IF EXISTS (SELECT FROM unnest(v_symbols) AS k(symbol)
               WHERE k.symbol IS NOT NULL
                 AND NOT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = k.symbol)) THEN
        v_new := ARRAY(SELECT registry_register(v_symbols, v_ids));
    END IF;
    IF p_check_calendars THEN
        RETURN QUERY
        SELECT NULL::bigint, NULL, NULL, NULL, NULL::boolean, NULL::boolean, NULL, c.calendar, NULL, NULL::bigint, false
        FROM (SELECT DISTINCT coalesce(r.calendar, symbol_calendar(k.symbol)) AS calendar
              FROM (SELECT DISTINCT unnest(v_symbols) AS symbol) k
              LEFT JOIN ticker_registry r ON r.symbol = k.symbol
              WHERE k.symbol IS NOT NULL) c
        WHERE NOT starts_with(c.calendar, '?')
          AND NOT EXISTS (SELECT FROM market_sessions s WHERE s.calendar = c.calendar);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    PERFORM bars_reading(v_ids, v_symbols); -- before their bars are read (42_bars_met.sql)
    -- A transaction that stores prices for one of these rows ends first, and its prices are read below.
    PERFORM FROM prediction_outcomes o WHERE o.prediction_id = ANY (v_ids)
    ORDER BY o.prediction_id, o.symbol FOR UPDATE;

    IF v_cut IS NOT NULL THEN -- rows of symbols beyond the limit, from a time without a limit, stay
        v_cut := ARRAY(
            SELECT DISTINCT more.prediction_id
            FROM (SELECT h.prediction_id, h.symbol::text FROM our_outcomes h
                  WHERE h.prediction_id = ANY (v_cut)
                  EXCEPT SELECT * FROM unnest(v_ids, v_symbols)) AS more(prediction_id, symbol));
    END IF;
    DELETE FROM prediction_outcomes o
    USING (SELECT h.prediction_id, h.symbol::text FROM our_outcomes h
           WHERE h.prediction_id = ANY (v_ids)
           EXCEPT SELECT * FROM unnest(v_ids, v_symbols)
           EXCEPT SELECT n.prediction_id, n.symbol FROM prediction_symbols(v_cut) n) AS gone(prediction_id, symbol)
    WHERE o.prediction_id = gone.prediction_id AND o.symbol || '' = gone.symbol
      AND o.engine_version IS NOT NULL;

    v_keys := ARRAY(
        SELECT ROW(m.prediction_id, m.symbol, (g.moment AT TIME ZONE 'UTC')::date, m.sentiment,
                   m.confidence, e.entry, CASE WHEN e.entry IS NULL THEN
                       session_no_entry(g.calendar, g.moment) END)::outcome_key
        FROM ( -- looks into the calendar once for all symbols of a moment
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
        -- OFFSET 0: evaluated once for each moment, and not once for each use.
        CROSS JOIN LATERAL (SELECT session_entry(g.calendar, g.moment) AS entry OFFSET 0) e
        CROSS JOIN LATERAL unnest(g.keys) AS m);
    LOOP
        BEGIN
            PERFORM outcomes_write(v_keys) WHERE v_keys <> '{}';
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            -- Another program inserted one of these rows meanwhile; the next try finds it.
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
                   o.outcome_state = 'awaiting_prices' OR v.covered_from IS NULL
                   OR (o.prediction_date - p_backfill_days < v.covered_from
                       AND o.outcome_state <> 'unresolvable')
               WHEN 'invalid' THEN
                   coalesce(r.last_backfill, '-infinity') < reckoner_now() - interval '7 days'
               ELSE false END,
           k.symbol = ANY (v_new), NULL::text, NULL::text, k.reason, k.skipped, false
    FROM unnest(v_ids, v_elements, v_symbols, v_reasons, v_skipped) AS k(prediction_id, element, symbol, reason, skipped)
    LEFT JOIN prediction_outcomes o ON o.prediction_id = k.prediction_id AND o.symbol || '' = k.symbol
    LEFT JOIN ticker_registry r ON r.symbol = k.symbol
    LEFT JOIN LATERAL coverage_span(k.symbol, '1d') v ON true;
END
$$;
REVOKE ALL ON FUNCTION
    outcomes_are_unique(),
    outcomes_duplicates(),
    outcomes_resolution(),
    outcomes_write(p_keys outcome_key[]),
    outcomes_process(p_prediction_ids bigint[], p_backfill_days integer, p_check_calendars boolean, p_max_symbols integer, p_budget integer, p_bulk bigint[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/51_outcomes_process.sql', '624286e5089ef36f30381a59c4c7064c18c5e1e1312163d1ba70f85a141b3004')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
