-- A lease ends at its first end, however long the work takes.
CREATE OR REPLACE FUNCTION outbox_renew(
    p_worker text, p_lease_seconds double precision, p_leases bigint[] DEFAULT NULL
) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
