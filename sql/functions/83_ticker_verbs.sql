BEGIN;
-- A person's decisions about a ticker: `market set-ticker` and `market remap-ticker`. Registry, queue,
-- prices and outcomes change in one transaction; predictions do not change. Both cancel the ticker's
-- events first: a worker that is fetching it loses its lease and stores nothing. An unknown ticker is
-- an error with SQLSTATE P0002, a text that is not a symbol one with 22023.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The registered ticker of this name, or an error.
CREATE OR REPLACE FUNCTION ticker_named(p_symbol text) RETURNS ticker_registry
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_registry ticker_registry;
BEGIN
    IF normalize_symbol(p_symbol) IS NULL THEN
        RAISE EXCEPTION '"%" is not a symbol', p_symbol USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO v_registry FROM ticker_registry WHERE symbol = normalize_symbol(p_symbol);
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not registered: python -m market register-tickers %',
            normalize_symbol(p_symbol), normalize_symbol(p_symbol) USING ERRCODE = 'no_data_found';
    END IF;
    RETURN v_registry;
END
$$;

-- Cancels all events of a ticker. Returns their number.
CREATE OR REPLACE FUNCTION ticker_cancel_events(p_symbol text, p_reason text) RETURNS bigint
LANGUAGE sql AS $$
    SELECT count(outbox_cancel(o.id, p_reason))
    FROM (SELECT id FROM outbox WHERE topic = 'ticker' AND key = p_symbol ORDER BY id FOR UPDATE) o
$$;

-- Sets a ticker's status. An `inactive` or `invalid` ticker is not fetched any more, and its outcomes
-- without all prices become unresolvable. An `active` one is fetched again, and all its outcomes are
-- computed anew. An `invalid` ticker is fetched again when a prediction names it more than a week later;
-- an `inactive` one is not.
CREATE OR REPLACE FUNCTION ticker_set_status(p_symbol text, p_status text, p_reason text)
RETURNS TABLE (symbol text, status_before text, status_after text, predictions bigint, outcomes bigint,
               outcomes_changed bigint, unresolvable_before bigint, unresolvable_after bigint,
               events_cancelled bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_registry ticker_registry := ticker_named(p_symbol);
BEGIN
    IF p_status NOT IN ('active', 'inactive', 'invalid') THEN
        RAISE EXCEPTION 'a status is active, inactive or invalid, not %', p_status
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    symbol := v_registry.symbol;
    status_before := v_registry.status;
    status_after := p_status;
    events_cancelled := CASE WHEN p_status = 'active' THEN 0
                             ELSE ticker_cancel_events(symbol, 'the ticker was made ' || p_status) END;
    SELECT count(DISTINCT o.prediction_id), count(*), count(*) FILTER (WHERE o.outcome_state = 'unresolvable')
    INTO predictions, outcomes, unresolvable_before
    FROM our_outcomes o WHERE o.symbol = v_registry.symbol;
    UPDATE ticker_registry r
    SET status = p_status, status_reason = left(one_line(p_reason), 255),
        last_backfill = CASE WHEN p_status = 'invalid' THEN reckoner_now() ELSE r.last_backfill END,
        updated_at = reckoner_now()
    WHERE r.symbol = v_registry.symbol;
    PERFORM bars_writing(symbol);
    outcomes_changed := outcomes_fill_symbol(symbol, p_status = 'active');
    SELECT count(*) INTO unresolvable_after FROM our_outcomes o
    WHERE o.symbol = v_registry.symbol AND o.outcome_state = 'unresolvable';
    IF p_status = 'active' THEN
        PERFORM outbox_requeue_ticker(symbol);
    END IF;
    RETURN NEXT;
END
$$;

-- The name at providers and the calendar of the ticker to which p_old is remapped. A ticker that is
-- remapped to itself gets its own name back.
CREATE OR REPLACE FUNCTION ticker_remap_target(p_old text, p_new text)
RETURNS TABLE (old text, new text, provider_symbol text, calendar text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_new ticker_registry;
BEGIN
    old := (ticker_named(p_old)).symbol;
    new := normalize_symbol(p_new);
    IF new IS NULL THEN
        RAISE EXCEPTION '"%" is not a symbol', p_new USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF new = old THEN
        provider_symbol := old;
        SELECT r.calendar INTO calendar FROM symbol_rules r
        WHERE old ~ ('^(?:' || r.pattern || ')$') AND r.pattern <> symbol_pattern(old)
          AND r.provider IS NULL AND r.valid_from IS NULL AND r.valid_until IS NULL
        ORDER BY r.priority DESC, r.pattern LIMIT 1;
        calendar := coalesce(calendar, symbol_default_calendar(old));
    ELSE
        SELECT * INTO v_new FROM ticker_registry WHERE symbol = new;
        provider_symbol := coalesce(v_new.provider_symbol, (SELECT r.provider_symbol FROM symbol_rule(new) r), new);
        calendar := coalesce(v_new.calendar, symbol_calendar(new));
    END IF;
    RETURN NEXT;
END
$$;

-- A pattern for symbol_rules that matches this symbol alone.
CREATE OR REPLACE FUNCTION symbol_pattern(p_symbol text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(p_symbol, '([.^])', E'\\\\\\1', 'g')
$$;

-- Remaps p_old to p_new, for a rename, a merger or another spelling. Predictions and outcomes keep the
-- symbol that the prediction wrote. Its prices are fetched under the other name, its sessions are those
-- of the other calendar, and its outcomes are computed anew. A rule in symbol_rules keeps the mapping
-- for later predictions, also when the registry's row is lost. Bars that were fetched under the old name
-- are set aside (fetched_at NULL), so that no outcome mixes two listings. Bars of p_new are copied, and
-- the whole range is fetched again.
CREATE OR REPLACE FUNCTION ticker_remap(p_old text, p_new text)
RETURNS TABLE (old text, new text, provider_before text, provider_after text, calendar_before text,
               calendar_after text, predictions bigint, naming_both bigint, outcomes bigint,
               entries_moved bigint, outcomes_changed bigint, complete_before bigint,
               complete_after bigint, bars_set_aside bigint, bars_taken bigint, events_cancelled bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_target   record;
    v_registry ticker_registry := ticker_named(p_old);
    v_from     record;
    v_ids      bigint[];
BEGIN
    SELECT * INTO v_target FROM ticker_remap_target(p_old, p_new);
    old := v_target.old;
    new := v_target.new;
    IF NOT EXISTS (SELECT FROM market_sessions s WHERE s.calendar = v_target.calendar) THEN
        RAISE EXCEPTION 'calendar % has no sessions here; python -m market remap-ticker loads those that exchange_calendars knows',
            v_target.calendar USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    events_cancelled := ticker_cancel_events(old, 'the ticker was remapped to ' || new);
    -- A fetch records the name that it used where it is not the symbol itself.
    provider_before := coalesce(v_registry.provider_symbol, old);
    provider_after := v_target.provider_symbol;
    calendar_before := coalesce(v_registry.calendar, symbol_calendar(old));
    calendar_after := v_target.calendar;

    INSERT INTO symbol_rules AS r (pattern, provider_symbol, calendar, priority, note)
    VALUES (symbol_pattern(old), provider_after, calendar_after,
            (SELECT greatest(1000, max(m.priority) + 1) FROM symbol_rules m
             WHERE old ~ ('^(?:' || m.pattern || ')$') AND m.pattern <> symbol_pattern(old)),
            format('remapped to %s on %s', new, (reckoner_now() AT TIME ZONE 'UTC')::date))
    ON CONFLICT (pattern) DO UPDATE
    SET provider_symbol = excluded.provider_symbol, calendar = excluded.calendar,
        priority = greatest(r.priority, excluded.priority), note = excluded.note;

    bars_set_aside := 0;
    bars_taken := 0;
    PERFORM bars_writing(old);
    IF provider_before <> provider_after THEN
        UPDATE market_prices p SET fetched_at = NULL, updated_at = reckoner_now()
        WHERE p.symbol = old AND p.fetched_at IS NOT NULL;
        GET DIAGNOSTICS bars_set_aside = ROW_COUNT;
    END IF;
    UPDATE ticker_registry r
    SET provider_symbol = nullif(provider_after, old), calendar = calendar_after,
        asset_type = symbol_asset_type(provider_after), status = 'active',
        status_reason = format('remapped to %s', new), updated_at = reckoner_now()
    WHERE r.symbol = old;
    IF provider_before <> provider_after THEN
        UPDATE ticker_registry r
        SET price_data_start = NULL, price_data_end = NULL,
            exchange = NULL, last_backfill = NULL, backfill_status = 'pending', backfill_error = NULL
        WHERE r.symbol = old;
        DELETE FROM price_coverage c WHERE c.symbol = old;
        PERFORM snapshot_mark(old, '-infinity', 'it was remapped');
        SELECT * INTO v_from FROM coverage_span(nullif(new, old), '1d');
        IF v_from.covered_from IS NOT NULL AND reckoner_dry_run() THEN
            -- Takes the bars themselves instead of copies, which would take ids.
            DELETE FROM market_prices p
            WHERE p.symbol = old AND p.date BETWEEN v_from.covered_from AND v_from.covered_to;
            UPDATE market_prices p SET symbol = old
            WHERE p.symbol = new AND p.fetched_at IS NOT NULL
              AND p.date BETWEEN v_from.covered_from AND v_from.covered_to;
            GET DIAGNOSTICS bars_taken = ROW_COUNT;
        ELSIF v_from.covered_from IS NOT NULL THEN
            SELECT g.bars INTO bars_taken
            FROM (SELECT count(*) AS bars, (array_agg(p.source ORDER BY p.date DESC))[1] AS source,
                         array_agg(p.date ORDER BY p.date) AS dates, array_agg(p.open ORDER BY p.date) AS opens,
                         array_agg(p.high ORDER BY p.date) AS highs, array_agg(p.low ORDER BY p.date) AS lows,
                         array_agg(p.close ORDER BY p.date) AS closes,
                         array_agg(p.adjusted_close ORDER BY p.date) AS adjusted_closes,
                         array_agg(p.volume ORDER BY p.date) AS volumes,
                         array_agg(p.date) FILTER (WHERE p.has_split) AS splits,
                         array_agg(p.date) FILTER (WHERE p.has_dividend) AS dividends
                  FROM market_prices p
                  WHERE p.symbol = new AND p.fetched_at IS NOT NULL
                    AND p.date BETWEEN v_from.covered_from AND v_from.covered_to) g,
                 bars_merge(p_symbol => old, p_source => coalesce(g.source, 'remap'), p_payload_id => NULL,
                            p_from => v_from.covered_from, p_to => v_from.covered_to, p_rebased => true,
                            p_dates => g.dates, p_opens => g.opens, p_highs => g.highs, p_lows => g.lows,
                            p_closes => g.closes, p_adjusted_closes => g.adjusted_closes,
                            p_volumes => g.volumes, p_splits => g.splits, p_dividends => g.dividends);
            -- Copies the coverage with its holes, which one range from the first to the last day would hide.
            DELETE FROM price_coverage c WHERE c.symbol = old;
            INSERT INTO price_coverage (symbol, "interval", "from", "to", source)
            SELECT old, c."interval", c."from", c."to", c.source
            FROM price_coverage c WHERE c.symbol = new AND c."interval" = '1d';
        END IF;
    END IF;

    SELECT coalesce(array_agg(DISTINCT o.prediction_id), '{}'), count(*), count(*) FILTER (WHERE o.is_complete)
    INTO v_ids, outcomes, complete_before
    FROM our_outcomes o WHERE o.symbol = v_target.old;
    predictions := cardinality(v_ids);
    naming_both := (SELECT count(DISTINCT o.prediction_id) FROM prediction_outcomes o
                    WHERE new <> old AND o.symbol = new AND o.prediction_id = ANY (v_ids));
    WITH moved AS (
        UPDATE prediction_outcomes o
        SET entry_session = n.entry,
            outcome_state = CASE WHEN n.nowhere NOT LIKE 'sessions of %' THEN 'unresolvable' ELSE 'awaiting_prices' END,
            outcome_reason = n.nowhere,
            price_at_prediction = NULL, is_complete = false, updated_at = reckoner_now()
        FROM (SELECT i.prediction_id, e.entry,
                     CASE WHEN e.entry IS NULL THEN session_no_entry(calendar_after, i.moment) END AS nowhere
              FROM prediction_inputs i
              CROSS JOIN LATERAL (SELECT session_entry(calendar_after, i.moment) AS entry OFFSET 0) e
              WHERE i.prediction_id = ANY (v_ids)) n
        WHERE o.prediction_id = n.prediction_id AND o.symbol = v_target.old AND o.engine_version IS NOT NULL
          AND o.entry_session IS DISTINCT FROM n.entry
        RETURNING 1)
    SELECT count(*) INTO entries_moved FROM moved;
    outcomes_changed := outcomes_fill(v_ids, array_fill(old, ARRAY[predictions::integer]));
    complete_after := (SELECT count(*) FROM our_outcomes o WHERE o.symbol = v_target.old AND o.is_complete);
    PERFORM outbox_requeue_ticker(old);
    RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION
    ticker_named(p_symbol text),
    ticker_cancel_events(p_symbol text, p_reason text),
    ticker_set_status(p_symbol text, p_status text, p_reason text),
    ticker_remap_target(p_old text, p_new text),
    symbol_pattern(p_symbol text),
    ticker_remap(p_old text, p_new text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/83_ticker_verbs.sql', '97a92df81ddc82a5f830c6ceb67e3ebd93452589ed330f533697890ad98d883b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
