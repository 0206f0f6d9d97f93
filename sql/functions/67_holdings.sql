BEGIN;
-- Holdings that a person imports from a file. Called by market/universe/holdings.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Makes a file's lines the holdings of the accounts that it names, in one transaction: what an account held
-- and the file lacks is deleted, unless p_keep. Other accounts stay as they are. A symbol is there once for an
-- account. Returns a row for each holding that is or was there, with its quantity before and after; registers
-- new symbols.
CREATE OR REPLACE FUNCTION holdings_import(
    p_symbols text[], p_quantities numeric[], p_accounts text[], p_keep boolean
) RETURNS TABLE (account text, symbol text, before numeric, after numeric) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- Two imports are one after the other, and no writer adds a line in between.
    LOCK TABLE holdings IN SHARE ROW EXCLUSIVE MODE;
    RETURN QUERY
    SELECT coalesce(n.account, h.account), coalesce(n.symbol, h.symbol), h.quantity,
           CASE WHEN n.symbol IS NOT NULL THEN n.quantity WHEN p_keep THEN h.quantity END
    FROM unnest(p_symbols, p_quantities, p_accounts) AS n(symbol, quantity, account)
    FULL JOIN (SELECT o.account, o.symbol::text AS symbol, o.quantity FROM holdings o
               WHERE o.account = ANY (p_accounts)) h
           ON h.account = n.account AND h.symbol = n.symbol
    ORDER BY 1, 2;
    DELETE FROM holdings h
    WHERE NOT p_keep AND h.account = ANY (p_accounts)
      AND NOT EXISTS (SELECT FROM unnest(p_symbols, p_accounts) AS n(symbol, account)
                      WHERE n.account = h.account AND n.symbol = h.symbol);
    INSERT INTO holdings AS h (symbol, quantity, account, updated_at)
    SELECT n.symbol, n.quantity, n.account, reckoner_now()
    FROM unnest(p_symbols, p_quantities, p_accounts) AS n(symbol, quantity, account)
    ON CONFLICT (account, symbol) DO UPDATE SET quantity = excluded.quantity, updated_at = excluded.updated_at
    WHERE h.quantity <> excluded.quantity;
    PERFORM tracked_register();
END
$$;
REVOKE ALL ON FUNCTION
    holdings_import(p_symbols text[], p_quantities numeric[], p_accounts text[], p_keep boolean )
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/67_holdings.sql', '9cd5437b0f52d25e1a1369cbfe60aee454cbdb3af522db0ad92528fbf7f2d6f7')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
