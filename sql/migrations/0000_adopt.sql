BEGIN;
-- Tables that another program made before us: what they lack of the columns that we read and
-- write is added, nullable and without a default, so that no row is touched and the lock is
-- held for a blink. A table that is not there yet is left to 0002_market.sql, and a table
-- that has everything is not locked at all. Numbered 0000 because what follows builds
-- indexes on these columns; where 0001 and 0002 were applied before this, it finds nothing to do.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE TABLE IF NOT EXISTS reckoner_schema (
    name       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE
    v_table record;
BEGIN
    FOR v_table IN
        WITH wanted (table_name, column_name, data_type) AS (
            VALUES
            ('ticker_registry', 'symbol', 'varchar(20)'),
            ('ticker_registry', 'first_seen_date', 'date'),
            ('ticker_registry', 'source_prediction_id', 'integer'),
            ('ticker_registry', 'status', 'varchar(20)'),
            ('ticker_registry', 'status_reason', 'varchar(255)'),
            ('ticker_registry', 'last_price_update', 'timestamptz'),
            ('ticker_registry', 'price_data_start', 'date'),
            ('ticker_registry', 'price_data_end', 'date'),
            ('ticker_registry', 'total_price_records', 'integer'),
            ('ticker_registry', 'asset_type', 'varchar(20)'),
            ('ticker_registry', 'exchange', 'varchar(50)'),
            ('ticker_registry', 'calendar', 'text'),
            ('ticker_registry', 'provider_symbol', 'text'),
            ('ticker_registry', 'backfill_status', 'text'),
            ('ticker_registry', 'backfill_error', 'text'),
            ('ticker_registry', 'last_backfill', 'timestamptz'),
            ('ticker_registry', 'fetched_from', 'date'),
            ('ticker_registry', 'fetched_to', 'date'),
            ('ticker_registry', 'created_at', 'timestamptz'),
            ('ticker_registry', 'updated_at', 'timestamptz'),
            ('market_prices', 'open', 'double precision'),
            ('market_prices', 'high', 'double precision'),
            ('market_prices', 'low', 'double precision'),
            ('market_prices', 'adjusted_close', 'double precision'),
            ('market_prices', 'volume', 'bigint'),
            ('market_prices', 'source', 'varchar(50)'),
            ('market_prices', 'last_updated', 'timestamptz'),
            ('market_prices', 'has_split', 'boolean'),
            ('market_prices', 'has_dividend', 'boolean'),
            ('market_prices', 'is_market_open', 'boolean'),
            ('market_prices', 'fetched_at', 'timestamptz'),
            ('market_prices', 'created_at', 'timestamptz'),
            ('market_prices', 'updated_at', 'timestamptz'),
            ('prediction_outcomes', 'prediction_date', 'date'),
            ('prediction_outcomes', 'prediction_sentiment', 'varchar(20)'),
            ('prediction_outcomes', 'prediction_confidence', 'double precision'),
            ('prediction_outcomes', 'price_at_prediction', 'double precision'),
            ('prediction_outcomes', 'price_t1', 'double precision'),
            ('prediction_outcomes', 'return_t1', 'double precision'),
            ('prediction_outcomes', 'correct_t1', 'boolean'),
            ('prediction_outcomes', 'pnl_t1', 'double precision'),
            ('prediction_outcomes', 'price_t3', 'double precision'),
            ('prediction_outcomes', 'return_t3', 'double precision'),
            ('prediction_outcomes', 'correct_t3', 'boolean'),
            ('prediction_outcomes', 'pnl_t3', 'double precision'),
            ('prediction_outcomes', 'price_t7', 'double precision'),
            ('prediction_outcomes', 'return_t7', 'double precision'),
            ('prediction_outcomes', 'correct_t7', 'boolean'),
            ('prediction_outcomes', 'pnl_t7', 'double precision'),
            ('prediction_outcomes', 'price_t30', 'double precision'),
            ('prediction_outcomes', 'return_t30', 'double precision'),
            ('prediction_outcomes', 'correct_t30', 'boolean'),
            ('prediction_outcomes', 'pnl_t30', 'double precision'),
            ('prediction_outcomes', 'is_complete', 'boolean'),
            ('prediction_outcomes', 'last_price_update', 'timestamptz'),
            ('prediction_outcomes', 'sector', 'varchar(100)'),
            ('prediction_outcomes', 'entry_session', 'date'),
            ('prediction_outcomes', 'outcome_state', 'text'),
            ('prediction_outcomes', 'outcome_reason', 'text'),
            ('prediction_outcomes', 'engine_version', 'integer'),
            ('prediction_outcomes', 'due_at', 'timestamptz'),
            ('prediction_outcomes', 'revision', 'text'),
            ('prediction_outcomes', 'created_at', 'timestamptz'),
            ('prediction_outcomes', 'updated_at', 'timestamptz')
        )
        SELECT w.table_name,
               string_agg(format('ADD COLUMN %I %s', w.column_name, w.data_type), ', ') AS columns
        FROM wanted w
        WHERE to_regclass('public.' || w.table_name) IS NOT NULL
          AND NOT EXISTS (SELECT FROM information_schema.columns c
                          WHERE c.table_schema = 'public' AND c.table_name = w.table_name
                            AND c.column_name = w.column_name)
        GROUP BY w.table_name ORDER BY w.table_name
    LOOP
        EXECUTE format('ALTER TABLE public.%I %s', v_table.table_name, v_table.columns);
    END LOOP;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0000_adopt.sql', '4217a39b8e69cb64f6756f45236dda4eacd7dc872cd7d6c2c021256a89fc7861')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
