BEGIN;
-- The state of each calendar, and corrections of its sessions.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- A row for each calendar that was loaded or failed to load. The sessions are in market_sessions; those
-- of a calendar that fails later stay.
CREATE TABLE IF NOT EXISTS market_calendars (
    calendar        text PRIMARY KEY,
    state           text NOT NULL CHECK (state IN ('loaded', 'failed', 'unknown')),
    reason          text,                            -- why it is not loaded
    known_from      date,
    known_until     date,
    ends            boolean NOT NULL DEFAULT false,  -- the library knows no session behind known_until
    loaded_at       timestamptz,
    library_version text,                            -- NULL: computed anew at the next sweep
    failures        integer NOT NULL DEFAULT 0,      -- in a row
    retry_at        timestamptz,
    checked_until   timestamptz                      -- the newest prices that sweep_closures() has read
);

-- Corrections: a session did not take place (no times), or took place at other times. They are written by
-- INSERT, UPDATE and DELETE; a trigger moves the outcomes in the same transaction. origin 'evidence':
-- found by sweep_closures(), which never changes an existing row.
CREATE TABLE IF NOT EXISTS session_correction (
    calendar  text NOT NULL,
    session   date NOT NULL,
    opens_at  timestamptz,
    closes_at timestamptz,
    origin    text NOT NULL DEFAULT 'operator' CHECK (origin IN ('operator', 'evidence')),
    reason    text,
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (calendar, session),
    CONSTRAINT session_correction_times CHECK (
        (opens_at IS NULL) = (closes_at IS NULL) AND (closes_at IS NULL OR opens_at < closes_at))
);
COMMENT ON TABLE session_correction IS
    'Sessions that never took place (no times), or took place at other times than the calendar says.';

-- Pairs of currencies, as people write them, were processed as coins; futures and currencies in Yahoo's
-- spelling had the sessions of New York.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note) VALUES
    ('(?:C:|FX:|OANDA:)?(USD|EUR|JPY|GBP|CHF|CAD|AUD|NZD|CNY|CNH|HKD|SGD|SEK|NOK|DKK|ISK|INR|KRW|TWD|THB|IDR|MYR|PHP|MXN|BRL|ZAR|TRY|PLN|CZK|HUF|RON|ILS|RUB|AED|SAR|CLP|COP|PEN|ARS|UAH|EGP|KWD|QAR|XAU|XAG)[-/]?'
     '(USD|EUR|JPY|GBP|CHF|CAD|AUD|NZD|CNY|CNH|HKD|SGD|SEK|NOK|DKK|ISK|INR|KRW|TWD|THB|IDR|MYR|PHP|MXN|BRL|ZAR|TRY|PLN|CZK|HUF|RON|ILS|RUB|AED|SAR|CLP|COP|PEN|ARS|UAH|EGP|KWD|QAR)',
     '\1\2=X', '24/5', 70, 'pairs of currencies: EUR/USD, EUR-USD, EURUSD, C:EURUSD'),
    ('[A-Z]+=X', NULL, '24/5', 10, 'currencies as Yahoo writes them'),
    ('[A-Z0-9.]+=F', NULL, 'CMES', 10, 'futures as Yahoo writes them: their day ends at 17:00 in New York')
ON CONFLICT (pattern) DO NOTHING;

-- Registered tickers get their own sessions and are fetched again; their outcomes are computed anew when
-- the calendar is loaded.
WITH moved AS (
UPDATE ticker_registry r
SET calendar = n.calendar, provider_symbol = n.provider_symbol,
    asset_type = CASE WHEN n.calendar = '24/5' THEN 'currency' ELSE r.asset_type END,
    status = CASE WHEN n.provider_symbol IS NOT NULL AND r.status = 'invalid' THEN 'active' ELSE r.status END,
    last_backfill = NULL, backfill_status = 'pending'
FROM (SELECT t.symbol, s.calendar, s.provider_symbol
      FROM ticker_registry t
      CROSS JOIN LATERAL (
          SELECT u.calendar, nullif(regexp_replace(t.symbol, '^(?:' || u.pattern || ')$', u.provider_symbol), t.symbol)
                     AS provider_symbol
          FROM symbol_rules u WHERE t.symbol ~ ('^(?:' || u.pattern || ')$')
          ORDER BY u.priority DESC, u.pattern LIMIT 1) s
      WHERE s.calendar IN ('24/5', 'CMES') AND (t.calendar IN ('XNYS', '24/7') OR t.calendar IS NULL)
        AND t.last_backfill IS NOT NULL) n
WHERE r.symbol = n.symbol
RETURNING r.symbol)
DELETE FROM price_coverage c USING moved WHERE c.symbol = moved.symbol;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0018_calendars.sql', '21e131f81571ebbe09d4db2611c3303a7ddd56b4c38da15625429521e18d01db')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
