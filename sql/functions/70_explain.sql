BEGIN;
-- Explains a prediction, a ticker or an event: everything that happened to it, in order and in words,
-- and the reason why it waits. Reads events with their trails, history, bars, outcomes and providers.
-- A line with a time in the future says when something is due; one without a time describes the
-- present state. Called by worker/cli/explain.py and by people in psql.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A time of another program's table as a moment: without a zone it is UTC.
CREATE OR REPLACE FUNCTION as_moment(p_at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS 'SELECT p_at';
CREATE OR REPLACE FUNCTION as_moment(p_at timestamp) RETURNS timestamptz LANGUAGE sql IMMUTABLE
AS $$ SELECT p_at AT TIME ZONE 'UTC' $$;

-- A finished event's result as a sentence.
CREATE OR REPLACE FUNCTION result_in_words(p_topic text, p_result jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_result ? 'reason' THEN p_result ->> 'reason'
        WHEN p_topic = 'ticker' AND p_result ->> 'outcome' = 'fetched' THEN
            format('%s gave %s bars for %s to %s: %s new, %s changed, %s rejected%s; %s outcomes followed',
                   p_result ->> 'provider', p_result ->> 'bars', p_result ->> 'from', p_result ->> 'to',
                   p_result ->> 'inserted', p_result ->> 'updated', p_result ->> 'rejected',
                   coalesce(' (' || (p_result ->> 'first_rejected') || ')', ''), p_result ->> 'outcomes')
        WHEN p_topic = 'ticker' THEN p_result ->> 'outcome'
        WHEN p_topic = 'job' THEN format('run %s: %s', p_result ->> 'run', p_result ->> 'status')
        ELSE coalesce((SELECT string_agg(format('%s %s', o.value, o.key), ', ' ORDER BY o.key)
                       FROM jsonb_each_text(p_result -> 'outcomes') o), 'nothing to do')
             || coalesce((SELECT '; skipped ' || string_agg(
                              format('%s (%s)', s ->> 'element', s ->> 'reason'), ', ')
                          FROM jsonb_array_elements(p_result -> 'skipped') s), '')
             || coalesce((SELECT format(' and others, %s in all: ', p_result ->> 'skipped_count')
                                 || string_agg(format('%s %s', r.value, r.key), ', ' ORDER BY r.key)
                          FROM jsonb_each_text(p_result -> 'skipped_reasons') r), '')
    END
$$;

-- The events of a key that ended at or after p_since or are live, or one event (p_event), line by line.
CREATE OR REPLACE FUNCTION event_story(p_topic text, p_key text, p_since timestamptz, p_event bigint)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH event AS (
        SELECT o.id, o.topic, o.key, o.created_at, o.claimed_at, o.leased_by AS worker, o.trail,
               o.priority::integer AS priority, o.status, NULL::timestamptz AS finished_at, NULL::jsonb AS result
        FROM outbox o
        WHERE (o.topic = p_topic AND o.key = p_key) OR o.id = p_event
        UNION ALL
        SELECT h.id, h.topic, h.key, h.created_at, h.claimed_at, h.worker, h.trail,
               NULL, h.verdict, h.finished_at, h.result
        FROM outbox_history h
        WHERE ((h.topic = p_topic AND h.key = p_key) OR h.id = p_event)
          AND (p_since IS NULL OR h.finished_at >= p_since)
    ), line AS (
        SELECT e.id, e.created_at AS at, 0 AS n, format('written for %s %s%s', e.topic, e.key,
               CASE WHEN e.priority <> 0 THEN format(', priority %s', e.priority) ELSE '' END) AS story
        FROM event e
        UNION ALL
        SELECT e.id, (t.value ->> 'from')::timestamptz, 1, 'claimed by ' || (t.value ->> 'worker')
        FROM event e CROSS JOIN jsonb_array_elements(e.trail) t
        WHERE t.value ? 'from' AND t.value ? 'worker'
        UNION ALL
        SELECT e.id, (t.value ->> 'to')::timestamptz, 2,
               (t.value ->> 'end') || coalesce(': ' || (t.value ->> 'error'), '')
               || coalesce('; ready again at ' || (t.value ->> 'until')::timestamptz(0), '')
        FROM event e CROSS JOIN jsonb_array_elements(e.trail) t
        UNION ALL
        SELECT e.id, e.claimed_at, 3, 'claimed by ' || e.worker
        FROM event e WHERE e.worker IS NOT NULL AND e.claimed_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM jsonb_array_elements(e.trail) t -- then the trail has this line
                          WHERE (t.value ->> 'from')::timestamptz = e.claimed_at)
        UNION ALL
        SELECT e.id, e.finished_at, 4, format('%s: %s', e.status, result_in_words(e.topic, e.result))
        FROM event e WHERE e.finished_at IS NOT NULL
        UNION ALL
        SELECT e.id, NULL, 5, coalesce(s.reason, CASE e.status
            WHEN 'processing' THEN 'a worker works on it now' ELSE 'ready: a worker takes it next' END)
        FROM event e LEFT JOIN outbox_stuck s ON s.id = e.id WHERE e.finished_at IS NULL
    )
    SELECT t.at, 'event ' || t.id, t.story FROM line t ORDER BY t.at NULLS LAST, t.id, t.n;
END
$$;

-- The states on which a symbol's outcomes depend: the registry's row, and the limits of providers.
CREATE OR REPLACE FUNCTION ticker_standing(p_symbol text)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE sql STABLE AS $$
    SELECT NULL::timestamptz, 'ticker ' || r.symbol,
           r.status || coalesce(': ' || r.status_reason, '')
           || coalesce(', called ' || r.provider_symbol || ' by providers', '')
           || coalesce(', sessions of ' || r.calendar, '')
           || coalesce(', answered for '
                       || (SELECT string_agg(format('%s to %s', lower(v.days), upper(v.days) - 1), ' and ')
                           FROM unnest(coverage_ranges(r.symbol, '1d')) AS v(days)),
                       ', never answered for by a provider')
           || CASE WHEN r.status = 'active' THEN coalesce('; last error: ' || r.backfill_error, '') ELSE '' END
    FROM ticker_registry r WHERE r.symbol = p_symbol
    UNION ALL
    SELECT NULL, 'ticker ' || p_symbol, 'is not registered'
    WHERE NOT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = p_symbol)
    UNION ALL
    SELECT h.until, 'provider ' || h.name,
           h.what || CASE WHEN h.until IS NULL THEN ': ' ELSE ' until then: ' END || h.reason || '; ' || h.mend
    FROM provider_limits h
$$;

-- The outcomes of one prediction: when each price was known, and what is still due. At most 50 are
-- listed, those of p_symbols first.
CREATE OR REPLACE FUNCTION outcome_story(p_prediction_id bigint, p_symbols text[])
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH outcome AS (
        SELECT o.*, o AS whole, coalesce(r.calendar, symbol_calendar(o.symbol)) AS its_calendar
        FROM prediction_outcomes o LEFT JOIN ticker_registry r ON r.symbol = o.symbol
        WHERE o.prediction_id = p_prediction_id AND o.engine_version IS NOT NULL
        ORDER BY o.symbol = ANY (p_symbols) DESC, o.symbol LIMIT 50
    ), horizon AS (
        SELECT o.symbol, o.created_at, h.n, h.price, h.return, h.correct, s.session
        FROM outcome o
        JOIN market_sessions e ON e.calendar = o.its_calendar AND e.session = o.entry_session
        CROSS JOIN LATERAL (
            SELECT 0, o.price_at_prediction, NULL::float8, NULL::boolean
            UNION ALL SELECT x.sessions, x.price, x.return_pct, x.correct FROM outcome_horizons(o.whole) x
        ) AS h(n, price, return, correct)
        JOIN market_sessions s ON s.calendar = o.its_calendar AND s.ordinal = e.ordinal + h.n
        WHERE h.price IS NOT NULL
    )
    (SELECT greatest(as_moment(h.created_at), as_moment(p.created_at)), 'outcome ' || h.symbol,
           format('%s: %s, the close of %s', CASE h.n WHEN 0 THEN 'entry' ELSE 't' || h.n END, h.price, h.session)
           || coalesce(', return ' || round(h.return::numeric, 2) || ' %', '')
           || CASE h.correct WHEN true THEN ', correct' WHEN false THEN ', not correct' ELSE '' END
           || coalesce(' (from ' || p.source || coalesce(', payload ' || p.payload_id, '') || ')', '')
    FROM horizon h LEFT JOIN market_prices p ON p.symbol = h.symbol AND p.date = h.session
    ORDER BY h.symbol, h.n)
    UNION ALL
    (SELECT b.fetched_at, 'payload ' || b.payload_id, payload_in_words(b.symbol, b.payload_id)
    FROM (SELECT DISTINCT ON (p.payload_id) p.payload_id, h.symbol, p.fetched_at
          FROM horizon h JOIN market_prices p ON p.symbol = h.symbol AND p.date = h.session
          WHERE p.payload_id IS NOT NULL ORDER BY p.payload_id, p.fetched_at) b)
    UNION ALL
    (SELECT v.replaced_at, 'outcome ' || v.symbol,
           format('the close of %s was %s (from %s%s), and became %s (from %s%s)', v.date, v.old_close,
                  coalesce(v.old_source, 'another program'), coalesce(', payload ' || v.old_payload_id, ''),
                  coalesce(v.new_close::text, 'unknown'), v.new_source,
                  coalesce(', payload ' || v.new_payload_id, ''))
    FROM horizon h JOIN market_price_revisions v ON v.symbol = h.symbol AND v.date = h.session
    WHERE v.old_close IS DISTINCT FROM v.new_close AND v.old_fetched_at IS NOT NULL
    ORDER BY v.replaced_at, v.date, v.id)
    UNION ALL
    SELECT NULL, 'outcome ' || o.symbol, 'revised: ' || o.revision FROM outcome o WHERE o.revision IS NOT NULL
    UNION ALL
    SELECT CASE WHEN o.due_at > reckoner_now() THEN o.due_at END, 'outcome ' || o.symbol,
           o.outcome_state || coalesce(': ' || o.outcome_reason, '')
           || CASE WHEN o.due_at > reckoner_now() THEN ', computed again then'
                   ELSE coalesce(', due since ' || o.due_at, '') END
    FROM outcome o
    UNION ALL
    SELECT NULL, 'prediction ' || p_prediction_id,
           format('%s more outcomes: SELECT * FROM prediction_outcomes WHERE prediction_id = %s', c.n - 50, p_prediction_id)
    FROM (SELECT count(*) AS n FROM our_outcomes o
          WHERE o.prediction_id = p_prediction_id) c WHERE c.n > 50;
END
$$;

-- The entry and the horizons of a prediction, of 50 symbols at most: session, close, return, whether it came
-- true, and when a session to come closes. Not outcome_story(), which has only prices that are known.
-- Called by worker/cli/explain.py.
CREATE OR REPLACE FUNCTION prediction_horizons(prediction_id bigint)
RETURNS TABLE (symbol text, says text, horizon text, session date, price double precision,
               return_pct double precision, correct boolean, due_at timestamptz)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT o.symbol, o.prediction_sentiment, CASE h.n WHEN 0 THEN 'entry' ELSE 'T+' || h.n END,
           s.session, h.price, h.return_pct, h.correct,
           CASE WHEN h.price IS NULL AND s.closes_at > reckoner_now() THEN s.closes_at END
    FROM (SELECT p.*, p AS whole FROM prediction_outcomes p
          WHERE p.prediction_id = $1 AND p.engine_version IS NOT NULL ORDER BY p.symbol LIMIT 50) o
    LEFT JOIN ticker_registry r ON r.symbol = o.symbol
    CROSS JOIN LATERAL (
        SELECT 0, o.price_at_prediction, NULL::float8, NULL::boolean
        UNION ALL SELECT x.sessions, x.price, x.return_pct, x.correct FROM outcome_horizons(o.whole) x
    ) AS h(n, price, return_pct, correct)
    LEFT JOIN market_sessions e
        ON e.calendar = coalesce(r.calendar, symbol_calendar(o.symbol)) AND e.session = o.entry_session
    LEFT JOIN market_sessions s ON s.calendar = e.calendar AND s.ordinal = e.ordinal + h.n
    ORDER BY o.symbol, h.n
$$;

-- The story of a prediction in words, from the insert to the present reason for which it waits: its
-- events, its tickers and its outcomes. at: when it happened, in the future when something is due, NULL
-- where it has no time.
CREATE OR REPLACE FUNCTION explain_prediction(prediction_id bigint)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_id      bigint := prediction_id;
    v_input   prediction_inputs;
    v_created timestamptz;
    v_status  text;
    v_symbols text[];
BEGIN
    SELECT * INTO v_input FROM prediction_inputs p WHERE p.prediction_id = v_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no prediction %', v_id USING ERRCODE = 'no_data_found';
    END IF;
    SELECT as_moment(p.created_at), p.analysis_status INTO v_created, v_status FROM predictions p WHERE p.id = v_id;
    -- Where outcomes exist, the symbols that were processed; else all that it names.
    v_symbols := ARRAY(
        SELECT DISTINCT e.symbol FROM prediction_elements(ARRAY[v_id], 50) e
        WHERE e.symbol IS NOT NULL
          AND (NOT EXISTS (SELECT FROM our_outcomes o WHERE o.prediction_id = v_id)
               OR EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = e.symbol)));
    RETURN QUERY
    WITH symbols AS MATERIALIZED (
        SELECT unnest(v_symbols) AS symbol
    ), story AS (
        SELECT v_input.moment AS at, 'prediction ' || v_id AS subject, 'the text that it is about was published' AS story
        UNION ALL
        SELECT v_created, 'prediction ' || v_id,
               format('inserted: %s, %s', left(v_input.assets::text, 200), v_status)
        UNION ALL
        SELECT NULL, 'prediction ' || v_id,
               format('is not processed: analysis_status is %s, assets are %s', v_status,
                      coalesce(left(v_input.assets::text, 100), 'NULL'))
        WHERE NOT v_input.eligible
        UNION ALL
        SELECT NULL, 'prediction ' || v_id, CASE
               WHEN v_id <= (SELECT last_prediction_id FROM reckoner_installation)
               THEN 'was there before Reckoner: python -m worker enqueue --all'
               ELSE format('no event yet: the trigger did not write one; the sweep finds it, or SELECT outbox_requeue_prediction(%s)', v_id) END
        WHERE v_input.eligible
          AND NOT EXISTS (SELECT FROM outbox o WHERE o.topic = 'prediction' AND o.key = v_id::text)
          AND NOT EXISTS (SELECT FROM outbox_history h WHERE h.topic = 'prediction' AND h.key = v_id::text)
          AND NOT EXISTS (SELECT FROM our_outcomes o WHERE o.prediction_id = v_id)
        UNION ALL
        SELECT * FROM event_story('prediction', v_id::text, NULL, NULL)
        UNION ALL
        SELECT t.* FROM symbols s CROSS JOIN LATERAL event_story('ticker', s.symbol, v_created, NULL) t
        UNION ALL
        SELECT DISTINCT t.* FROM symbols s CROSS JOIN LATERAL ticker_standing(s.symbol) t
        UNION ALL
        SELECT * FROM outcome_story(v_id, v_symbols)
    )
    SELECT s.at, s.subject, s.story
    FROM (SELECT *, row_number() OVER () AS n FROM story) s -- lines of one moment keep their order
    ORDER BY s.at NULLS LAST, s.n;
END
$$;

-- The story of a ticker: its events and attempts of the last 30 days, and the outcomes that wait for it.
CREATE OR REPLACE FUNCTION explain_ticker(symbol text)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_symbol text := normalize_symbol(symbol);
BEGIN
    IF v_symbol IS NULL THEN
        RAISE EXCEPTION '"%" is not a symbol', symbol USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT ticker_is_known(v_symbol) THEN
        RAISE EXCEPTION '% is not registered, and no event names it', v_symbol USING ERRCODE = 'no_data_found';
    END IF;
    RETURN QUERY
    WITH story AS (
        SELECT * FROM event_story('ticker', v_symbol, reckoner_now() - interval '30 days', NULL)
        UNION ALL SELECT * FROM ingestion_audit_lines(v_symbol, reckoner_now() - interval '30 days')
        UNION ALL SELECT * FROM ticker_standing(v_symbol)
        UNION ALL
        SELECT min(o.due_at), 'outcomes', format('%s are %s', count(*), o.outcome_state)
               || CASE WHEN min(o.due_at) IS NOT NULL THEN ', the first is computed again then' ELSE '' END
        FROM prediction_outcomes o WHERE o.symbol = v_symbol AND o.outcome_state IS NOT NULL
        GROUP BY o.outcome_state
    )
    SELECT s.at, s.subject, s.story
    FROM (SELECT *, row_number() OVER () AS n FROM story) s -- lines of one moment keep their order
    ORDER BY s.at NULLS LAST, s.n;
END
$$;

-- The story of one event, live or finished.
CREATE OR REPLACE FUNCTION explain_event(event_id bigint)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM event_story(NULL, NULL, NULL, event_id);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no event % in outbox or outbox_history', event_id
            USING ERRCODE = 'no_data_found';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION
    as_moment(p_at timestamptz),
    as_moment(p_at timestamp),
    result_in_words(p_topic text, p_result jsonb),
    event_story(p_topic text, p_key text, p_since timestamptz, p_event bigint),
    ticker_standing(p_symbol text),
    outcome_story(p_prediction_id bigint, p_symbols text[]),
    prediction_horizons(prediction_id bigint),
    explain_prediction(prediction_id bigint),
    explain_ticker(symbol text),
    explain_event(event_id bigint)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/70_explain.sql', 'e6909413966774e9ec974b316bf04ae647ddd374be31a27cb7dfb664e000fa38')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
