BEGIN;
-- Which rows of the shared tables Reckoner answers for. Another program may keep market_prices and
-- prediction_outcomes too, and its rows follow other rules. Statements that lock rows, write them or
-- need their place (FOR UPDATE, MERGE, DELETE, ctid) name the table and the condition: through a view
-- FOR UPDATE would lock rows before the join has chosen them.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE OR REPLACE VIEW our_bars AS
SELECT symbol, date, open, high, low, close, adjusted_close, volume, source, has_split, has_dividend,
       payload_id, fetched_at
FROM market_prices WHERE fetched_at IS NOT NULL;
COMMENT ON VIEW our_bars IS 'Daily bars that a provider of ours gave; another program may have stored others.';

CREATE OR REPLACE VIEW our_outcomes AS
SELECT prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence, entry_session,
       price_at_prediction, price_t1, return_t1, correct_t1, pnl_t1, price_t3, return_t3, correct_t3, pnl_t3,
       price_t7, return_t7, correct_t7, pnl_t7, price_t30, return_t30, correct_t30, pnl_t30,
       is_complete, outcome_state, outcome_reason, due_at, revision, engine_version, created_at, updated_at
FROM prediction_outcomes WHERE engine_version IS NOT NULL;
COMMENT ON VIEW our_outcomes IS 'Outcomes that Reckoner computed; another program may have written others.';
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/13_ours.sql', 'fdab57e8252cb1028635481121b2ddd8ed439192ec40363ee7d2322878334b6d')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
