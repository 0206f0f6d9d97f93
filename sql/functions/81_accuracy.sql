BEGIN;
-- Accuracy per group and horizon, for SQL. The counts and means are those of
-- `python -m market accuracy-report`, which adds intervals and p-values that take account of rows that
-- depend on each other. Without these a difference between two rows of these views proves nothing.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- With WHERE grouping = '…' only that grouping is computed.
CREATE OR REPLACE VIEW accuracy_by_group AS
SELECT g.grouping, coalesce(g.value, 'not given') AS value, f.horizon, f.sessions,
       count(DISTINCT f.prediction_id) AS predictions,
       count(*) AS outcomes,
       count(*) FILTER (WHERE f.correct) AS correct,
       count(*) FILTER (WHERE NOT f.correct) AS incorrect,
       count(*) FILTER (WHERE f.state = 'known' AND f.correct IS NULL) AS unjudged,
       count(*) FILTER (WHERE f.state = 'pending') AS pending,
       count(*) FILTER (WHERE f.state = 'unresolvable') AS unresolvable,
       avg(f.correct::integer::float8) AS accuracy,
       avg(f.bullish_correct::integer::float8) FILTER (WHERE f.correct IS NOT NULL) AS base_rate,
       avg(f.return_pct) FILTER (WHERE f.correct IS NOT NULL) AS mean_return_pct,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY f.return_pct) FILTER (WHERE f.correct IS NOT NULL)
           AS median_return_pct,
       -- Over the same rows as the price return, so that the two can be compared.
       avg(coalesce(f.total_return_pct, f.return_pct)) FILTER (WHERE f.correct IS NOT NULL) AS mean_total_return_pct,
       avg(f.direction * f.return_pct) FILTER (WHERE f.correct IS NOT NULL) AS directional_return_pct,
       avg(f.excess_pct) FILTER (WHERE f.correct IS NOT NULL) AS mean_excess_pct,
       sum(f.pnl_usd) FILTER (WHERE f.correct IS NOT NULL) AS pnl_usd,
       sum(f.direction * f.pnl_usd) FILTER (WHERE f.correct IS NOT NULL) AS directional_pnl_usd
FROM outcome_facts f
CROSS JOIN LATERAL (VALUES
    ('all', 'all'), ('symbol', f.symbol), ('sentiment', f.sentiment),
    ('month', to_char(f.prediction_date, 'YYYY-MM')), ('quarter', to_char(f.prediction_date, 'YYYY-"Q"Q')),
    ('year', to_char(f.prediction_date, 'YYYY')), ('sector', f.sector), ('asset_class', f.asset_class),
    ('source', f.source), ('model', f.model), ('confidence', f.confidence_tier)
) AS g(grouping, value)
GROUP BY g.grouping, coalesce(g.value, 'not given'), f.horizon, f.sessions;

COMMENT ON VIEW accuracy_by_group IS 'Counts, accuracy and returns per group and horizon; from accuracy on over judged rows: those with a sentiment and a return. For intervals: python -m market accuracy-report';
COMMENT ON COLUMN accuracy_by_group.grouping IS 'all, symbol, sentiment, month, quarter, year, sector, asset_class, source, model or confidence';
COMMENT ON COLUMN accuracy_by_group.value IS 'of the grouping; month is YYYY-MM of the moment in UTC, quarter YYYY-Q1';
COMMENT ON COLUMN accuracy_by_group.horizon IS 't1, t3, t7 or t30';
COMMENT ON COLUMN accuracy_by_group.sessions IS 'the horizon in sessions';
COMMENT ON COLUMN accuracy_by_group.predictions IS 'different predictions';
COMMENT ON COLUMN accuracy_by_group.outcomes IS 'rows of outcome_facts: correct + incorrect + unjudged + pending + unresolvable';
COMMENT ON COLUMN accuracy_by_group.correct IS 'rows';
COMMENT ON COLUMN accuracy_by_group.incorrect IS 'rows';
COMMENT ON COLUMN accuracy_by_group.unjudged IS 'rows with a return and without a sentiment';
COMMENT ON COLUMN accuracy_by_group.pending IS 'rows whose session or price is still to come';
COMMENT ON COLUMN accuracy_by_group.unresolvable IS 'rows that never get a return';
COMMENT ON COLUMN accuracy_by_group.accuracy IS 'correct / (correct + incorrect), 0..1';
COMMENT ON COLUMN accuracy_by_group.base_rate IS 'the accuracy of "always bullish" on the same rows, 0..1';
COMMENT ON COLUMN accuracy_by_group.mean_return_pct IS 'price return, percent';
COMMENT ON COLUMN accuracy_by_group.median_return_pct IS 'price return, percent';
COMMENT ON COLUMN accuracy_by_group.mean_total_return_pct IS 'with dividends reinvested, percent; a row whose total return is not known counts with its price return';
COMMENT ON COLUMN accuracy_by_group.directional_return_pct IS 'mean of direction times price return, percent; a neutral row counts as 0';
COMMENT ON COLUMN accuracy_by_group.mean_excess_pct IS 'over reckoner_benchmark(), price returns, percentage points';
COMMENT ON COLUMN accuracy_by_group.pnl_usd IS 'sum of long positions of $1,000, US dollars';
COMMENT ON COLUMN accuracy_by_group.directional_pnl_usd IS 'sum of positions of $1,000 in the direction of the sentiment, US dollars';

CREATE OR REPLACE VIEW accuracy_by_confidence AS
SELECT value AS confidence_tier, horizon, sessions, predictions, outcomes, correct, incorrect, unjudged,
       pending, unresolvable, accuracy, base_rate, mean_return_pct, median_return_pct,
       mean_total_return_pct, directional_return_pct, mean_excess_pct, pnl_usd, directional_pnl_usd
FROM accuracy_by_group WHERE grouping = 'confidence';
COMMENT ON VIEW accuracy_by_confidence IS 'accuracy_by_group for the tiers of confidence; 1.0 belongs to 0.9-1.0.';

-- How often predictions were right, per horizon, of those whose horizon ended in the last p_days days. For
-- the task accuracy_digest.
CREATE OR REPLACE FUNCTION accuracy_digest(p_days integer)
RETURNS TABLE (horizon text, judged bigint, "right" bigint) LANGUAGE sql STABLE AS $$
    SELECT f.horizon, count(f.correct), count(*) FILTER (WHERE f.correct)
    FROM outcome_facts f
    WHERE f.exit_session >= (reckoner_now() AT TIME ZONE 'UTC')::date - p_days
    GROUP BY f.horizon, f.sessions ORDER BY f.sessions
$$;
REVOKE ALL ON FUNCTION
    accuracy_digest(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/81_accuracy.sql', '26316a82e2311eb51d07bdbaa5722cc3c349b247338ce0f8f7f39c5a9e45355c')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
