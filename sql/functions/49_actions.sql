BEGIN;
-- Splits and dividends. Called by market/prices/bars_table.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Stores a provider's splits and dividends of p_from to p_to. p_rebased: the split basis changed, and
-- rows of this provider that are not among the new ones are deleted; those of other providers stay.
-- Returns the number of new or changed rows.
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
    INSERT INTO corporate_actions AS a (symbol, date, kind, value, provider)
    SELECT p_symbol, g.date, g.kind, CASE WHEN count(*) = 1 THEN max(g.value)
                                      WHEN g.kind = 'split' THEN exp(sum(ln(g.value))) ELSE sum(g.value) END,
           p_provider
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

REVOKE ALL ON FUNCTION
    actions_merge(p_symbol text, p_provider text, p_dates date[], p_kinds text[], p_values double precision[], p_from date, p_to date, p_rebased boolean )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/49_actions.sql', '5937aaed78d7fe53c397bf9189bc51cc9f08eb5ec6dc2ff5934be430ae9c64ce')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
