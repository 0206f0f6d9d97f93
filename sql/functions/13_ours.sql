BEGIN;
-- The rows of shared tables that are ours. Another program may keep market_prices and
-- prediction_outcomes too, and its rows follow other rules.
--
-- Two kinds of statements name the table and the condition instead of the view. One locks or writes rows
-- or needs their ctid: through a view FOR UPDATE would lock rows before the join has chosen them. The
-- other reads columns that the views lack: the owner of a table cannot change the type of a column that
-- a view reads, so the views have only columns that reports read anyway.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A bar of ours: a provider gave it to Reckoner.
CREATE OR REPLACE VIEW our_bars AS
SELECT symbol, date, close, adjusted_close, source, has_split, has_dividend, fetched_at
FROM market_prices WHERE fetched_at IS NOT NULL;
COMMENT ON VIEW our_bars IS 'Daily bars that a provider of ours gave; another program may have stored others.';

-- An outcome of ours: Reckoner computed it.
CREATE OR REPLACE VIEW our_outcomes AS
SELECT prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence, entry_session,
       price_at_prediction, outcome_state, is_complete, engine_version
FROM prediction_outcomes WHERE engine_version IS NOT NULL;
COMMENT ON VIEW our_outcomes IS 'Outcomes that Reckoner computed; another program may have written others.';
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/13_ours.sql', '4af6a8dd74f1302c4678c0710be4410549b52622727cdebf29eaeda41c54eae4')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
