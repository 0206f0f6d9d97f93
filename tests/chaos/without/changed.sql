-- The sweep does not look for changes of predictions that no event speaks of.
CREATE OR REPLACE FUNCTION sweep_changed(p_span integer, p_max_symbols integer DEFAULT 100)
RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
