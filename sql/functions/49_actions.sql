BEGIN;
-- Splits and dividends, and what bars said before they were replaced. Called by market/prices.py
-- and market/provenance.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Takes over what a provider tells of p_from to p_to. Where the basis changed (p_rebased), what
-- it told before and tells no more goes; what another provider told stays. Returns how many
-- rows are new or changed.
CREATE OR REPLACE FUNCTION actions_merge(
    p_symbol text, p_provider text, p_dates date[], p_kinds text[], p_values double precision[],
    p_from date, p_to date, p_rebased boolean
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_changed bigint;
BEGIN
    IF p_rebased THEN
        DELETE FROM corporate_actions a
        WHERE a.symbol = p_symbol AND a.provider = p_provider AND a.date BETWEEN p_from AND p_to
          AND NOT EXISTS (SELECT FROM unnest(p_dates, p_kinds) AS g(date, kind)
                          WHERE g.date = a.date AND g.kind = a.kind);
    END IF;
    INSERT INTO corporate_actions AS a (symbol, date, kind, value, provider, first_seen_at, updated_at)
    SELECT p_symbol, g.date, g.kind, CASE WHEN count(*) = 1 THEN max(g.value)
                                      WHEN g.kind = 'split' THEN exp(sum(ln(g.value))) ELSE sum(g.value) END,
           p_provider, reckoner_now(), reckoner_now()
    FROM unnest(p_dates, p_kinds, p_values) AS g(date, kind, value)
    WHERE g.value > 0
    GROUP BY g.date, g.kind ORDER BY g.date, g.kind
    ON CONFLICT (symbol, date, kind) DO UPDATE
    SET value = excluded.value, provider = excluded.provider, updated_at = excluded.updated_at
    WHERE abs(a.value / excluded.value - 1) > 1e-9;
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    RETURN v_changed;
END
$$;

-- Keeps what stored bars say that the staged ones replace, or with p_rebased take away; called
-- before bars_merge. Bars of other programs too: they are replaced as ours are.
DROP FUNCTION IF EXISTS bars_keep_replaced(text, text, bigint, date, date, boolean);
CREATE OR REPLACE FUNCTION bars_keep_replaced(
    p_symbol text, p_source text, p_payload_id bigint, p_from date, p_to date, p_rebased boolean
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_kept bigint;
BEGIN
    INSERT INTO market_price_revisions
        (symbol, date, old_open, old_high, old_low, old_close, old_adjusted_close, old_volume, old_source,
         old_payload_id, old_fetched_at, new_close, new_source, new_payload_id, replaced_at)
    SELECT p_symbol, p.date, p.open, p.high, p.low, p.close, p.adjusted_close, p.volume, p.source,
           p.payload_id, p.fetched_at, s.close, p_source, p_payload_id, reckoner_now()
    FROM market_prices p
    LEFT JOIN pg_temp.bar_staging s ON s.date = p.date
    WHERE p.symbol = p_symbol AND p.date BETWEEN p_from AND p_to
      AND CASE WHEN s.date IS NULL THEN p_rebased
          ELSE p.volume IS DISTINCT FROM s.volume
               OR EXISTS (SELECT FROM (VALUES (p.open, s.open), (p.high, s.high), (p.low, s.low), (p.close, s.close))
                                      AS was(old, new)
                          WHERE was.old IS DISTINCT FROM was.new
                            AND coalesce(abs(was.old / nullif(was.new, 0) - 1) > 1e-9, true)) END
    ORDER BY p.date;
    GET DIAGNOSTICS v_kept = ROW_COUNT;
    RETURN v_kept;
END
$$;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/49_actions.sql', 'ea7456a46aa50de47e2696bdd7a1631e29c00c753bba5ba44eab93594b417d05')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
