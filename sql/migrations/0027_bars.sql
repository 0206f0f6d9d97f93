BEGIN;
-- Bars of which a field could not be believed.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- market_prices.bar_flags: the fields that the provider gave and that cannot be, such as 'open, volume'.
-- They are NULL; the close is good. Nullable and without a default, so that another program's table is
-- locked for a blink.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public'
                   AND table_name = 'market_prices' AND column_name = 'bar_flags') THEN
        ALTER TABLE market_prices ADD COLUMN bar_flags text;
    END IF;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0027_bars.sql', '82fd155cec6b2419b2e34c0dea1f2a9d1ad83717eb03835c2344b130ca0fcdc7')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
