BEGIN;
-- Execution feedback: fills that come in, and what they cost. executions_add() is called by
-- `market import-fills` and by other programs; execution_costs() by `market execution-report`. For people:
--   SELECT * FROM executions_add('[{"order_id": "A-1", "symbol": "AAPL", "side": "buy", "quantity": 10,
--       "expected_price": 189.90, "fill_price": 189.95, "filled_at": "2026-03-05T15:00:00Z"}]');
--   SELECT * FROM execution_costs('2026-01-01') ORDER BY slippage_cost DESC LIMIT 20;
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The text of a JSON value without white space around it; NULL for a blank one. true, lists and objects are
-- the text that JSON has for them, which is not a number, a time or a side.
CREATE OR REPLACE FUNCTION execution_text(p_value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT nullif(btrim(p_value #>> '{}', E' \t\r\n\f\x0b'), '')
$$;

-- The number of a text; NULL where it is none, or too large or small to compute with. Its form is looked
-- at before each cast, because one error would hide the faults of all other lines. A numeric in between:
-- a cast of 1e-400 to double precision is an error. Without FROM, as the two below, so that it is inlined:
-- it runs eight times for each fill.
CREATE OR REPLACE FUNCTION execution_number(p_text text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_text !~ '^[-+]?([0-9]{1,110}([.][0-9]{0,210})?|[.][0-9]{1,210})([eE][-+]?[0-9]{1,3})?$' THEN NULL
                WHEN p_text::numeric = 0 OR (abs(p_text::numeric) > 1e-100 AND abs(p_text::numeric) < 1e100)
                THEN p_text::numeric::double precision END
$$;

-- The moment of an ISO 8601 text with date and time; UTC where it has no zone. NULL for any other text, also
-- for 30 February.
CREATE OR REPLACE FUNCTION execution_moment(p_text text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN f.day IS NOT NULL AND extract(month FROM f.day) = substr(p_text, 6, 2)::integer
                THEN CASE WHEN p_text ~ '(Z|UTC|[-+][0-9]{2}(:?[0-9]{2})?)$' THEN p_text ELSE p_text || 'Z' END::timestamptz END
    FROM (SELECT CASE WHEN p_text ~ ('^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
                                     '[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                                     ' ?(Z|UTC|[-+](0[0-9]|1[0-5])(:?[0-5][0-9])?)?$')
                      -- The first day of the month and so many days: 30 February is in March.
                      THEN make_date(substr(p_text, 1, 4)::integer, substr(p_text, 6, 2)::integer, 1)
                           + substr(p_text, 9, 2)::integer - 1 END AS day) f
$$;

-- What is wrong with a number; NULL: nothing. p_least: above zero, zero, or any. STABLE, as format() is: otherwise it is
-- not inlined.
CREATE OR REPLACE FUNCTION execution_number_fault(
    p_name text, p_text text, p_number double precision, p_least text, p_required boolean
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_text IS NULL THEN CASE WHEN p_required THEN p_name || ' is missing' END
        WHEN p_number IS NULL THEN format('%s is not a number: %s', p_name, left(p_text, 40))
        WHEN p_least = 'above zero' AND p_number <= 0 THEN format('%s is %s, not above zero', p_name, p_number)
        WHEN p_least = 'zero' AND p_number < 0 THEN format('%s is %s, below zero', p_name, p_number)
    END
$$;

-- The fills of a JSON list, read: keys are columns of execution_feedback, values texts or numbers, so
-- that cells of a CSV file and values of JSON are read alike. line: the fill's own key of that name, else
-- its place in the list. fault: everything that is wrong with the fill itself; NULL: nothing. A fill with a
-- key `fault` could not be read by the caller, and that says why.
CREATE OR REPLACE FUNCTION executions_read(p_fills jsonb)
RETURNS TABLE (n bigint, line bigint, order_id text, prediction_id bigint, cycle_id text, symbol text, side text,
               quantity double precision, expected_price double precision, fill_price double precision,
               commission double precision, adv double precision, volatility double precision,
               spread_bps double precision, venue text, execution_time_ms double precision,
               market_conditions jsonb, filled_at timestamptz, fault text)
LANGUAGE sql STABLE AS $$
    SELECT g.n, CASE WHEN g.fill ->> 'line' ~ '^[0-9]{1,15}$' THEN (g.fill ->> 'line')::bigint ELSE g.n END,
           t.order_id, CASE WHEN p.id BETWEEN -9223372036854775808 AND 9223372036854775807 THEN p.id::bigint END,
           execution_text(g.fill -> 'cycle_id'), t.symbol, t.side,
           v.quantity, v.expected_price, v.fill_price, v.commission, v.adv, v.volatility, v.spread_bps,
           execution_text(g.fill -> 'venue'), v.execution_time_ms,
           nullif(g.fill -> 'market_conditions', 'null'), t.filled_at,
           CASE WHEN jsonb_typeof(g.fill) <> 'object' THEN 'is not a fill: an object with order_id, symbol, side and more'
                WHEN g.fill ? 'fault' THEN g.fill ->> 'fault'
           ELSE nullif(concat_ws('; ',
               CASE WHEN w.order_id IS NULL THEN 'order_id is missing'
                    WHEN t.order_id IS NULL THEN format('order_id is not a text: %s', left(w.order_id, 40))
                    WHEN length(t.order_id) > 200 THEN 'order_id has more than 200 characters' END,
               CASE WHEN t.symbol IS NULL THEN CASE WHEN w.symbol IS NULL THEN 'symbol is missing'
                                                    ELSE format('not a symbol: %s', left(w.symbol, 40)) END END,
               CASE WHEN t.side IS NULL THEN CASE WHEN w.side IS NULL THEN 'side is missing'
                                                  ELSE format('side is %s, not buy or sell', left(w.side, 40)) END END,
               execution_number_fault('quantity', w.quantity, v.quantity, 'above zero', true),
               execution_number_fault('expected_price', w.expected_price, v.expected_price, 'above zero', false),
               execution_number_fault('fill_price', w.fill_price, v.fill_price, 'above zero', true),
               execution_number_fault('commission', w.commission, v.commission, 'any', false),
               execution_number_fault('adv', w.adv, v.adv, 'zero', false),
               execution_number_fault('volatility', w.volatility, v.volatility, 'zero', false),
               execution_number_fault('spread_bps', w.spread_bps, v.spread_bps, 'any', false),
               execution_number_fault('execution_time_ms', w.execution_time_ms, v.execution_time_ms, 'zero', false),
               CASE WHEN w.prediction_id IS NOT NULL
                         AND coalesce(p.id NOT BETWEEN -9223372036854775808 AND 9223372036854775807, true)
                    THEN format('prediction_id is not an id: %s', left(w.prediction_id, 40)) END,
               CASE WHEN w.filled_at IS NULL THEN 'filled_at is missing'
                    WHEN t.filled_at IS NULL
                    THEN format('filled_at is not a time like 2026-03-05T15:00:00Z: %s', left(w.filled_at, 40))
                    WHEN t.filled_at > reckoner_now() + interval '1 day' THEN format('filled_at is in the future: %s', w.filled_at)
                    WHEN t.filled_at < '1900-01-01 00:00+00' THEN format('filled_at is before 1900: %s', w.filled_at) END
           ), '') END
    FROM jsonb_array_elements(p_fills) WITH ORDINALITY AS g(fill, n)
    CROSS JOIN LATERAL (SELECT
        execution_text(g.fill -> 'order_id') AS order_id,
        execution_text(g.fill -> 'symbol') AS symbol,
        execution_text(g.fill -> 'side') AS side,
        execution_text(g.fill -> 'quantity') AS quantity,
        execution_text(g.fill -> 'expected_price') AS expected_price,
        execution_text(g.fill -> 'fill_price') AS fill_price,
        execution_text(g.fill -> 'commission') AS commission,
        execution_text(g.fill -> 'adv') AS adv,
        execution_text(g.fill -> 'volatility') AS volatility,
        execution_text(g.fill -> 'spread_bps') AS spread_bps,
        execution_text(g.fill -> 'execution_time_ms') AS execution_time_ms,
        execution_text(g.fill -> 'filled_at') AS filled_at,
        execution_text(g.fill -> 'prediction_id') AS prediction_id OFFSET 0) AS w -- OFFSET 0: each is computed once
    CROSS JOIN LATERAL (SELECT
        CASE WHEN jsonb_typeof(g.fill -> 'order_id') IN ('string', 'number') THEN w.order_id END AS order_id,
        CASE WHEN jsonb_typeof(g.fill -> 'symbol') = 'string' THEN normalize_symbol(w.symbol) END AS symbol,
        CASE WHEN lower(w.side) IN ('buy', 'sell') THEN lower(w.side) END AS side,
        execution_moment(w.filled_at) AS filled_at OFFSET 0) AS t
    -- A column of whole numbers with gaps is written as 12.0 by programs that know only one kind of number.
    CROSS JOIN LATERAL (SELECT CASE WHEN w.prediction_id ~ '^-?[0-9]{1,19}([.]0{1,9})?$'
                                    THEN w.prediction_id::numeric END AS id OFFSET 0) AS p
    CROSS JOIN LATERAL (SELECT
        execution_number(w.quantity) AS quantity,
        execution_number(w.expected_price) AS expected_price,
        execution_number(w.fill_price) AS fill_price,
        execution_number(w.commission) AS commission,
        execution_number(w.adv) AS adv,
        execution_number(w.volatility) AS volatility,
        execution_number(w.spread_bps) AS spread_bps,
        execution_number(w.execution_time_ms) AS execution_time_ms OFFSET 0) AS v
$$;

-- The columns in which two fills differ, with both values: `fill_price 101, here 102`. NULL: they are the same.
CREATE OR REPLACE FUNCTION execution_difference(p_known jsonb, p_given jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(format('%s %s, here %s', k.key, coalesce(left(k.value #>> '{}', 40), 'none'),
                             coalesce(left(p_given ->> k.key, 40), 'none')), ', ' ORDER BY k.key)
    FROM jsonb_each(p_known) k
    WHERE p_given ? k.key AND k.key NOT IN ('n', 'line') AND k.value IS DISTINCT FROM p_given -> k.key
$$;

-- Stores the fills of a JSON list (or one fill), all or none: where one is refused nothing is written. A
-- fill that is stored already with the same values is no change; one with other values is refused, also
-- one of an order that stands twice in the list. errors: line, order_id and reason of the refused ones,
-- the first 50. ignored: keys that are not columns. Keys and values: executions_read().
CREATE OR REPLACE FUNCTION executions_add(p_fills jsonb)
RETURNS TABLE (fills bigint, added bigint, unchanged bigint, refused bigint, errors jsonb, ignored text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_fills jsonb := CASE jsonb_typeof(p_fills) WHEN 'object' THEN jsonb_build_array(p_fills) ELSE p_fills END;
    v_new   bigint;
BEGIN
    IF jsonb_typeof(v_fills) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'fills are a list of objects' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT coalesce(array_agg(DISTINCT left(k.key, 40) ORDER BY left(k.key, 40)), '{}') INTO ignored
    FROM jsonb_array_elements(v_fills) AS e(fill)
    CROSS JOIN LATERAL jsonb_object_keys(CASE jsonb_typeof(e.fill) WHEN 'object' THEN e.fill ELSE '{}' END) AS k(key)
    WHERE k.key NOT IN ('line', 'fault', 'order_id', 'prediction_id', 'cycle_id', 'symbol', 'side', 'quantity',
                        'expected_price', 'fill_price', 'slippage_bps', 'commission', 'adv', 'volatility', 'spread_bps',
                        'venue', 'execution_time_ms', 'market_conditions', 'filled_at', 'created_at');
    LOOP
        BEGIN
            -- No join of the fills with themselves: a list is planned as 100 rows, and 100,000 of them would be
            -- compared one by one.
            WITH given AS MATERIALIZED (
                SELECT g.*, first_value(CASE WHEN g.fault IS NULL THEN to_jsonb(g) END) OVER same_order AS first,
                       g.fault IS NULL AND row_number() OVER same_order = 1 AS is_first
                FROM executions_read(v_fills) g
                WINDOW same_order AS (PARTITION BY g.order_id ORDER BY g.fault IS NOT NULL, g.n)
            ), judged AS MATERIALIZED (
                SELECT g.*, s.stored IS NOT NULL AS is_stored,
                       coalesce(g.fault,
                                'the order is stored with other values: ' || execution_difference(s.stored, to_jsonb(g)),
                                format('the order is on line %s with other values: ', g.first ->> 'line')
                                || CASE WHEN NOT g.is_first THEN execution_difference(g.first, to_jsonb(g)) END) AS refusal
                FROM given g
                -- LIMIT makes it a look-up by the primary key for each fill.
                LEFT JOIN LATERAL (SELECT to_jsonb(e) AS stored FROM execution_feedback e
                                   WHERE e.order_id = g.order_id LIMIT 1) s ON true
            ), faulty AS (
                SELECT j.line, j.n, j.order_id, j.refusal FROM judged j WHERE j.refusal IS NOT NULL ORDER BY j.line, j.n LIMIT 50
            ), written AS (
                INSERT INTO execution_feedback (
                    order_id, prediction_id, cycle_id, symbol, side, quantity, expected_price, fill_price, commission,
                    adv, volatility, spread_bps, venue, execution_time_ms, market_conditions, filled_at)
                SELECT j.order_id, j.prediction_id, j.cycle_id, j.symbol, j.side, j.quantity, j.expected_price,
                       j.fill_price, j.commission, j.adv, j.volatility, j.spread_bps, j.venue, j.execution_time_ms,
                       j.market_conditions, j.filled_at
                FROM judged j
                WHERE j.is_first AND NOT j.is_stored AND NOT EXISTS (SELECT FROM faulty)
                ORDER BY j.order_id -- two imports of the same orders then wait for each other in one order
                ON CONFLICT (order_id) DO NOTHING
                RETURNING 1)
            SELECT count(*), (SELECT count(*) FROM written),
                   count(*) FILTER (WHERE j.refusal IS NULL AND (j.is_stored OR NOT j.is_first)),
                   count(*) FILTER (WHERE j.refusal IS NOT NULL),
                   (SELECT coalesce(jsonb_agg(jsonb_build_object('line', y.line, 'order_id', y.order_id, 'reason', y.refusal)
                                              ORDER BY y.line, y.n), '[]') FROM faulty y),
                   count(*) FILTER (WHERE j.is_first AND NOT j.is_stored)
            INTO fills, added, unchanged, refused, errors, v_new
            FROM judged j;
            EXIT WHEN refused > 0 OR added = v_new;
            -- Another transaction wrote one of these orders after the snapshot: compare with its values.
            RAISE SQLSTATE 'RK001';
        EXCEPTION WHEN SQLSTATE 'RK001' THEN
            NULL; -- what this round wrote is undone
        END;
    END LOOP;
    RETURN NEXT;
END
$$;

-- What each fill cost: one row per order that was filled from p_since to p_until (UTC days, both included).
-- slippage_cost: money in the listing's currency, positive is a cost; NULL without an expected price.
-- session: the session in which it was filled, up to five minutes after its close, because closing auctions
-- print late; NULL outside of sessions. session_low, session_high: of that session's bar, as traded then:
-- stored bars are adjusted for later splits, and fills are not. range_position: 0 at the low, 1 at the
-- high; below 0 or above 1 it was filled outside of that range. range_cost: the same from the side's best
-- price, 0, to its worst, 1. sentiment, outcome_state, return_pct, correct: of the outcome of its prediction
-- for the symbol at p_horizon; NULL where there is none of ours.
-- A function and not a view: an owner cannot change the type of a column that a view reads.
CREATE OR REPLACE FUNCTION execution_costs(
    p_since date DEFAULT NULL, p_until date DEFAULT NULL, p_symbol text DEFAULT NULL, p_horizon text DEFAULT 't7')
RETURNS TABLE (order_id text, prediction_id bigint, cycle_id text, symbol text, side text, venue text,
               filled_at timestamptz, quantity double precision, expected_price double precision,
               fill_price double precision, currency text, slippage_bps double precision,
               slippage_cost double precision, commission double precision, session date,
               session_low double precision, session_high double precision, range_position double precision,
               range_cost double precision, sentiment text, outcome_state text, horizon text,
               return_pct double precision, correct boolean)
LANGUAGE sql STABLE AS $$
    SELECT f.order_id, f.prediction_id, f.cycle_id, f.symbol, f.side, f.venue, f.filled_at, f.quantity,
           f.expected_price, f.fill_price, r.currency, f.slippage_bps,
           d.sign * (f.fill_price - f.expected_price) * f.quantity, f.commission, s.session,
           b.low, b.high, p.at, CASE f.side WHEN 'buy' THEN p.at ELSE 1 - p.at END,
           o.sentiment, o.state, o.horizon, o.return_pct, o.correct
    FROM execution_feedback f
    CROSS JOIN LATERAL (SELECT CASE f.side WHEN 'buy' THEN 1 ELSE -1 END AS sign) d
    LEFT JOIN ticker_registry r ON r.symbol = f.symbol
    LEFT JOIN LATERAL (
        SELECT m.session FROM market_sessions m
        WHERE m.calendar = coalesce(r.calendar, symbol_calendar(f.symbol)) AND m.opens_at <= f.filled_at
          AND m.closes_at >= f.filled_at - interval '5 minutes'
          AND m.closes_at < f.filled_at + interval '2 days' -- no session is longer: a short range of the index
        ORDER BY m.closes_at DESC LIMIT 1) s ON true
    LEFT JOIN LATERAL (
        SELECT usable_price(m.low) * x.shares AS low, usable_price(m.high) * x.shares AS high
        FROM market_prices m
        CROSS JOIN LATERAL (
            SELECT coalesce(exp(sum(ln(a.value))), 1) AS shares FROM corporate_actions a
            WHERE a.symbol = f.symbol AND a.kind = 'split' AND a.date > s.session AND a.value > 0) x
        WHERE m.symbol = f.symbol AND m.date = s.session AND m.fetched_at IS NOT NULL) b ON true
    -- Rounded: the price of a split share has a rounding error, and the low is not below the range.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN b.high > b.low THEN round(((f.fill_price - b.low) / (b.high - b.low))::numeric, 9)::double precision
               END AS at) p
    LEFT JOIN LATERAL (
        SELECT o.prediction_sentiment::text AS sentiment, o.outcome_state::text AS state, h.horizon, h.return_pct, h.correct
        FROM prediction_outcomes o CROSS JOIN LATERAL outcome_horizons(o) h
        WHERE o.prediction_id = f.prediction_id AND o.symbol = f.symbol AND o.engine_version IS NOT NULL
          AND h.horizon = p_horizon
        ORDER BY o.ctid LIMIT 1) o ON true -- a table without UNIQUE may hold a pair twice
    WHERE (p_since IS NULL OR f.filled_at >= p_since::timestamp AT TIME ZONE 'UTC')
      AND (p_until IS NULL OR f.filled_at < (p_until + 1)::timestamp AT TIME ZONE 'UTC')
      AND (p_symbol IS NULL OR f.symbol = p_symbol)
    ORDER BY f.filled_at, f.order_id
$$;
REVOKE ALL ON FUNCTION
    execution_text(p_value jsonb),
    execution_number(p_text text),
    execution_moment(p_text text),
    execution_number_fault(p_name text, p_text text, p_number double precision, p_least text, p_required boolean ),
    executions_read(p_fills jsonb),
    execution_difference(p_known jsonb, p_given jsonb),
    executions_add(p_fills jsonb),
    execution_costs(p_since date, p_until date, p_symbol text, p_horizon text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/86_executions.sql', 'b5c640ad95d16395f726b7482c56077ecc9804cd410608b2a4c414fa5f7fa24d')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
