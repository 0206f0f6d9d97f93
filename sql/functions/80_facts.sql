BEGIN;
-- The data of reports: one row per prediction, symbol and horizon, with all values for a comparison, and
-- the paths of prices around entries. Read by market/evaluation/frame.py and by analysts. The benchmark
-- of a session is set by
--   SET reckoner.benchmark_symbol = 'QQQ';
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The symbol with which returns are compared: SPY, or what a session says:
--   SET reckoner.benchmark_symbol = 'QQQ';
CREATE OR REPLACE FUNCTION reckoner_benchmark() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(public.normalize_symbol(current_setting('reckoner.benchmark_symbol', true)), 'SPY')
$$;

-- The last tier includes its upper end, 1.
CREATE OR REPLACE FUNCTION confidence_tier(p_confidence double precision) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_confidence IS NULL THEN 'not given'
        WHEN p_confidence < 0 OR p_confidence > 1 THEN 'out of range'
        WHEN p_confidence < 0.5 THEN '0.0-0.5'
        WHEN p_confidence < 0.6 THEN '0.5-0.6'
        WHEN p_confidence < 0.7 THEN '0.6-0.7'
        WHEN p_confidence < 0.8 THEN '0.7-0.8'
        WHEN p_confidence < 0.9 THEN '0.8-0.9'
        ELSE '0.9-1.0'
    END
$$;

-- Only outcomes of ours: another program's rows follow other rules. A table without
-- UNIQUE (prediction_id, symbol) may hold a pair twice; the one that lies first counts.
CREATE OR REPLACE VIEW outcome_facts AS
SELECT o.prediction_id, o.symbol::text AS symbol, h.horizon, h.sessions,
       i.moment, o.prediction_date, o.entry_session, x.session AS exit_session,
       o.prediction_sentiment::text AS sentiment,
       CASE o.prediction_sentiment WHEN 'bullish' THEN 1 WHEN 'neutral' THEN 0 WHEN 'bearish' THEN -1 END
           AS direction,
       o.prediction_confidence AS confidence,
       confidence_tier(o.prediction_confidence) AS confidence_tier,
       -- Some programs keep the sector with the ticker; as JSON, because others have no such column.
       coalesce(nullif(o.sector::text, ''), nullif(to_jsonb(r) ->> 'sector', '')) AS sector,
       author.model,
       CASE WHEN h.return_pct IS NOT NULL THEN 'known'
            WHEN o.outcome_state = 'unresolvable' THEN 'unresolvable' ELSE 'pending' END AS state,
       o.price_at_prediction AS entry_price, h.price AS exit_price, h.return_pct,
       m.total_return_pct, h.correct,
       outcome_correct('bullish', h.return_pct) AS bullish_correct,
       h.pnl_usd,
       m.benchmark_return_pct, h.return_pct - m.benchmark_return_pct AS excess_pct,
       coalesce(m.total_return_pct, h.return_pct) - m.benchmark_total_return_pct AS total_excess_pct,
       coalesce(nullif(r.asset_type::text, ''), symbol_asset_type(o.symbol)) AS asset_class,
       -- As JSON: a replacement of prediction_models may have no such column.
       nullif(to_jsonb(author) ->> 'source', '') AS source
FROM prediction_outcomes o
CROSS JOIN LATERAL outcome_horizons(o) h
LEFT JOIN prediction_inputs i ON i.prediction_id = o.prediction_id
LEFT JOIN prediction_models author ON author.prediction_id = o.prediction_id
LEFT JOIN ticker_registry r ON r.symbol = o.symbol
LEFT JOIN market_sessions e ON e.session = o.entry_session
                           AND e.calendar = coalesce(r.calendar, symbol_calendar(o.symbol))
-- LIMIT makes it a look-up by the index for each row: a join is planned badly before the first ANALYZE.
LEFT JOIN LATERAL (SELECT s.session FROM market_sessions s
                   WHERE s.calendar = e.calendar AND s.ordinal = e.ordinal + h.sessions LIMIT 1) x ON true
LEFT JOIN our_bars p0 ON p0.symbol = o.symbol AND p0.date = o.entry_session
LEFT JOIN our_bars p1 ON p1.symbol = o.symbol AND p1.date = x.session
LEFT JOIN our_bars b0 ON b0.symbol = reckoner_benchmark() AND b0.date = o.entry_session
LEFT JOIN our_bars b1 ON b1.symbol = reckoner_benchmark() AND b1.date = x.session
CROSS JOIN LATERAL (SELECT
    CASE WHEN h.return_pct IS NOT NULL THEN (usable_price(p1.adjusted_close) / usable_price(p0.adjusted_close) - 1) * 100 END AS total_return_pct,
    CASE WHEN h.return_pct IS NOT NULL THEN (usable_price(b1.close) / usable_price(b0.close) - 1) * 100 END AS benchmark_return_pct,
    CASE WHEN h.return_pct IS NOT NULL THEN (usable_price(b1.adjusted_close) / usable_price(b0.adjusted_close) - 1) * 100 END
        AS benchmark_total_return_pct
) AS m
WHERE o.engine_version IS NOT NULL
  AND NOT EXISTS (SELECT FROM prediction_outcomes d
                  WHERE d.prediction_id = o.prediction_id AND d.symbol = o.symbol
                    AND d.engine_version IS NOT NULL AND d.ctid < o.ctid);

COMMENT ON VIEW outcome_facts IS 'One row per prediction, symbol and horizon of the outcomes that Reckoner computed.';
COMMENT ON COLUMN outcome_facts.prediction_id IS 'predictions.id';
COMMENT ON COLUMN outcome_facts.symbol IS 'as the prediction wrote it, upper case';
COMMENT ON COLUMN outcome_facts.horizon IS 't1, t3, t7 or t30';
COMMENT ON COLUMN outcome_facts.sessions IS 'the horizon in trading sessions of the symbol''s calendar: 1, 3, 7 or 30';
COMMENT ON COLUMN outcome_facts.moment IS 'when the text was published, timestamptz';
COMMENT ON COLUMN outcome_facts.prediction_date IS 'the UTC date of the moment';
COMMENT ON COLUMN outcome_facts.entry_session IS 'the first session that closed at or after the moment; NULL outside of the calendar';
COMMENT ON COLUMN outcome_facts.exit_session IS 'the session that is so many sessions after the entry';
COMMENT ON COLUMN outcome_facts.sentiment IS 'bullish, bearish, neutral; NULL where the prediction has none for the symbol';
COMMENT ON COLUMN outcome_facts.direction IS 'the sign of the sentiment: 1, -1, 0 for neutral; NULL without one';
COMMENT ON COLUMN outcome_facts.confidence IS 'the prediction''s own, 0..1; NULL where it gave none';
COMMENT ON COLUMN outcome_facts.confidence_tier IS 'lower end included, upper end not, but for 0.9-1.0; or: not given, out of range';
COMMENT ON COLUMN outcome_facts.sector IS 'of the outcome, else of the ticker where the registry has such a column; NULL where neither is filled';
COMMENT ON COLUMN outcome_facts.model IS 'predictions.llm_model; NULL where the source has no such column';
COMMENT ON COLUMN outcome_facts.state IS 'known (has a return), pending, or unresolvable';
COMMENT ON COLUMN outcome_facts.entry_price IS 'close of the entry session, adjusted for splits, in the listing''s currency';
COMMENT ON COLUMN outcome_facts.exit_price IS 'close of the exit session, adjusted for splits, in the listing''s currency';
COMMENT ON COLUMN outcome_facts.return_pct IS 'price return from entry to exit, percent; NULL: not known';
COMMENT ON COLUMN outcome_facts.total_return_pct IS 'with dividends reinvested (adjusted_close), percent; differs from return_pct where a dividend fell inside; NULL where the provider gave no adjusted close';
COMMENT ON COLUMN outcome_facts.correct IS 'whether the sentiment came true by the 0.5 % rule; NULL without a sentiment or a return';
COMMENT ON COLUMN outcome_facts.bullish_correct IS 'whether "bullish" would have come true on this row';
COMMENT ON COLUMN outcome_facts.pnl_usd IS 'of a long position of $1,000 whatever the sentiment, US dollars; times direction it is the directional one';
COMMENT ON COLUMN outcome_facts.benchmark_return_pct IS 'price return of reckoner_benchmark() over the same two sessions, percent; NULL where it has no close on one of them';
COMMENT ON COLUMN outcome_facts.excess_pct IS 'return_pct less benchmark_return_pct, percentage points';
COMMENT ON COLUMN outcome_facts.total_excess_pct IS 'the same of total returns, percentage points; a symbol without adjusted closes counts with its price return';
COMMENT ON COLUMN outcome_facts.asset_class IS 'ticker_registry.asset_type: stock, etf, crypto, index, commodity, currency; of a ticker that is not registered, by its symbol';
COMMENT ON COLUMN outcome_facts.source IS 'where the text comes from: signals.source, else predictions.source, else truth_social for a post of that table; NULL where the source has none of them';

-- The closes around each entry, once for all predictions that share it.
CREATE OR REPLACE VIEW event_paths AS
SELECT n.symbol, n.entry_session, s.ordinal - e.ordinal AS session_offset, s.session,
       (usable_price(p.close) / usable_price(p0.close) - 1) * 100 AS path_pct
FROM (SELECT DISTINCT o.symbol::text AS symbol, o.entry_session FROM our_outcomes o
      WHERE o.price_at_prediction IS NOT NULL) n
LEFT JOIN ticker_registry r ON r.symbol = n.symbol
JOIN market_sessions e ON e.session = n.entry_session AND e.calendar = coalesce(r.calendar, symbol_calendar(n.symbol))
JOIN market_sessions s ON s.calendar = e.calendar AND s.ordinal BETWEEN e.ordinal - 10 AND e.ordinal + 30
JOIN our_bars p0 ON p0.symbol = n.symbol AND p0.date = n.entry_session
JOIN our_bars p ON p.symbol = n.symbol AND p.date = s.session;

COMMENT ON VIEW event_paths IS 'Prices around each entry, ten sessions before to thirty after; a session without a bar has no row.';
COMMENT ON COLUMN event_paths.symbol IS 'as in outcome_facts';
COMMENT ON COLUMN event_paths.entry_session IS 'as in outcome_facts';
COMMENT ON COLUMN event_paths.session_offset IS 'sessions of the symbol''s calendar since the entry, -10..30';
COMMENT ON COLUMN event_paths.session IS 'the date of that session';
COMMENT ON COLUMN event_paths.path_pct IS 'its close against the entry''s, percent; 0 at the entry';
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/80_facts.sql', '322f18dc37d51dec6707821d7f06468964bf77a17fc7c395a9c01d80d0d3d98a')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
