-- The sweep does not look for predictions that no event speaks of.
CREATE OR REPLACE FUNCTION sweep_forgotten(p_span integer) RETURNS bigint
LANGUAGE sql AS 'SELECT 0::bigint';
