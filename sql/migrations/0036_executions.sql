BEGIN;
-- Execution feedback: what orders were filled at, against what was expected.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- One row per order, written by another program's INSERT or by executions_add() (functions/86_executions.sql).
-- Each CHECK is named after what it asks for, because a writer reads only the name. None calls a function of
-- ours, so that the table keeps them when `migrate --remove` leaves it.
-- prediction_id has no foreign key: predictions belong to another program, which may delete them.
-- Sizes as in usable_price() (functions/14_horizons.sql): slippage_bps can then not overflow. A NaN is larger
-- than every number.
CREATE TABLE IF NOT EXISTS execution_feedback (
    order_id          text PRIMARY KEY,
    prediction_id     bigint,
    cycle_id          text,
    symbol            text NOT NULL,
    side              text NOT NULL,
    quantity          double precision NOT NULL,
    expected_price    double precision,
    fill_price        double precision NOT NULL,
    slippage_bps      double precision GENERATED ALWAYS AS (
        CASE WHEN fill_price > 1e-100 AND fill_price < 1e100 AND expected_price > 1e-100 AND expected_price < 1e100
             THEN CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END
                  * (fill_price - expected_price) / expected_price * 10000 END) STORED,
    commission        double precision,
    adv               double precision,
    volatility        double precision,
    spread_bps        double precision,
    venue             text,
    execution_time_ms double precision,
    market_conditions jsonb,
    filled_at         timestamptz NOT NULL,
    created_at        timestamptz,
    CONSTRAINT order_id_is_1_to_200_characters CHECK (btrim(order_id) <> '' AND length(order_id) <= 200),
    CONSTRAINT symbol_is_upper_case CHECK (symbol ~ '^[-A-Z0-9.^=:/]{1,20}$'),
    CONSTRAINT side_is_buy_or_sell CHECK (side IN ('buy', 'sell')),
    CONSTRAINT quantity_is_above_zero CHECK (quantity > 1e-100 AND quantity < 1e100),
    CONSTRAINT expected_price_is_above_zero CHECK (expected_price > 1e-100 AND expected_price < 1e100),
    CONSTRAINT fill_price_is_above_zero CHECK (fill_price > 1e-100 AND fill_price < 1e100),
    CONSTRAINT commission_is_finite CHECK (abs(commission) < 1e100),
    CONSTRAINT adv_is_not_negative CHECK (adv >= 0 AND adv < 1e100),
    CONSTRAINT volatility_is_not_negative CHECK (volatility >= 0 AND volatility < 1e100),
    CONSTRAINT spread_bps_is_finite CHECK (abs(spread_bps) < 1e100),
    CONSTRAINT execution_time_ms_is_not_negative CHECK (execution_time_ms >= 0 AND execution_time_ms < 1e100),
    CONSTRAINT filled_at_is_1900_to_2199 CHECK (filled_at >= '1900-01-01 00:00+00' AND filled_at < '2200-01-01 00:00+00')
);
-- `migrate --remove` takes this default away and leaves the table: a writer's INSERT must work without it.
ALTER TABLE execution_feedback ALTER COLUMN created_at SET DEFAULT reckoner_now();

CREATE INDEX IF NOT EXISTS execution_feedback_filled_at ON execution_feedback (filled_at);
CREATE INDEX IF NOT EXISTS execution_feedback_prediction ON execution_feedback (prediction_id) WHERE prediction_id IS NOT NULL;

COMMENT ON TABLE execution_feedback IS 'Filled orders with their expected price: one row per order.';
COMMENT ON COLUMN execution_feedback.order_id IS 'the order''s own name; an order that was filled in parts is one row with the total quantity and the average price';
COMMENT ON COLUMN execution_feedback.prediction_id IS 'predictions.id of the prediction that led to the order; NULL: none';
COMMENT ON COLUMN execution_feedback.cycle_id IS 'the trading program''s own run or decision';
COMMENT ON COLUMN execution_feedback.symbol IS 'upper case, as predictions write it';
COMMENT ON COLUMN execution_feedback.side IS 'buy or sell; a short sale is a sell';
COMMENT ON COLUMN execution_feedback.quantity IS 'shares, coins or contracts; above zero for both sides';
COMMENT ON COLUMN execution_feedback.expected_price IS 'the price when the decision was made, in the listing''s currency, as traded then; NULL: not known';
COMMENT ON COLUMN execution_feedback.fill_price IS 'the average price of the fill, in the listing''s currency, as traded then';
COMMENT ON COLUMN execution_feedback.slippage_bps IS 'generated: fill against expected price in basis points; positive is a cost to that side; NULL without an expected price';
COMMENT ON COLUMN execution_feedback.commission IS 'fees in the listing''s currency; negative is a rebate';
COMMENT ON COLUMN execution_feedback.adv IS 'average daily volume, in the unit of quantity';
COMMENT ON COLUMN execution_feedback.volatility IS 'as the writer measures it';
COMMENT ON COLUMN execution_feedback.spread_bps IS 'quoted spread at the order, basis points';
COMMENT ON COLUMN execution_feedback.venue IS 'where it was filled';
COMMENT ON COLUMN execution_feedback.execution_time_ms IS 'from order to fill, milliseconds';
COMMENT ON COLUMN execution_feedback.market_conditions IS 'whatever else the writer noted';
COMMENT ON COLUMN execution_feedback.filled_at IS 'when it was filled';
COMMENT ON COLUMN execution_feedback.created_at IS 'when the row was written';
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0036_executions.sql', '5cd47b2289f8cb6e742703922b7ef7dbe555c17fb6b807050e519f5205b7c340')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
