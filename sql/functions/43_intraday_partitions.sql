BEGIN;
-- The partitions of price_history_intraday: made ahead by the sweep and by the store where a month is
-- needed, dropped whole by retention.
--
-- A worker's role may not change the schema. So the two functions that do run with the owner's rights, and
-- each does one thing within bounds: make an empty month, drop a month whose bars are all too old.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The partitions with their range in UTC. bars: an estimate of the last ANALYZE or VACUUM, NULL before.
CREATE OR REPLACE VIEW intraday_partitions AS
SELECT c.relname::text AS name,
       (regexp_match(b.bound, '^FOR VALUES FROM \(''([^'']+)''\)'))[1]::timestamptz AS starts_at,
       (regexp_match(b.bound, ' TO \(''([^'']+)''\)$'))[1]::timestamptz AS ends_at,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS bars,
       pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) b
WHERE i.inhparent = to_regclass('public.price_history_intraday') AND NOT i.inhdetachpending;
COMMENT ON VIEW intraday_partitions IS 'The months of price_history_intraday, with their sizes.';

-- Makes the missing partitions for the UTC months from p_from to p_to: at most 24, from 1990 to next year.
-- Two sessions may call it at once: the second waits for the first and finds its partitions. The table is
-- made apart and attached, because CREATE TABLE … PARTITION OF would lock readers out. Returns the number.
CREATE OR REPLACE FUNCTION intraday_partitions_ensure(p_from timestamptz, p_to timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET lock_timeout = '5s' AS $$
DECLARE
    v_month timestamp := date_trunc('month', p_from AT TIME ZONE 'UTC');
    v_last  timestamp := date_trunc('month', p_to AT TIME ZONE 'UTC');
    v_from  timestamptz;
    v_to    timestamptz;
    v_name  text;
    v_made  integer := 0;
    v_locks boolean := false;
BEGIN
    IF v_month < '1990-01-01' OR v_last > date_trunc('month', public.reckoner_now() AT TIME ZONE 'UTC') + interval '1 year'
       OR v_last >= v_month + interval '24 months' THEN
        RAISE EXCEPTION 'five-minute bars from % to % are outside of 1990 to next year, or of more than 24 months', p_from, p_to
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WHILE v_month <= v_last LOOP
        v_from := v_month AT TIME ZONE 'UTC';
        v_to := (v_month + interval '1 month') AT TIME ZONE 'UTC';
        v_name := 'price_history_intraday_' || to_char(v_month, 'YYYY_MM');
        v_month := v_month + interval '1 month';
        CONTINUE WHEN EXISTS (SELECT FROM public.intraday_partitions p WHERE p.starts_at <= v_from AND p.ends_at >= v_to);
        IF NOT v_locks THEN
            LOCK TABLE public.price_history_intraday IN SHARE UPDATE EXCLUSIVE MODE;
            v_locks := true;
            -- Look again after taking the lock: another session may have committed it in between.
            CONTINUE WHEN EXISTS (SELECT FROM public.intraday_partitions p WHERE p.starts_at <= v_from AND p.ends_at >= v_to);
        END IF;
        IF to_regclass('public.' || v_name) IS NOT NULL THEN
            RAISE EXCEPTION 'public.% is not a partition of price_history_intraday: rename it', v_name
                USING ERRCODE = 'duplicate_table';
        END IF;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.price_history_intraday INCLUDING DEFAULTS'
                       ' INCLUDING CONSTRAINTS INCLUDING INDEXES)', v_name);
        EXECUTE format('COMMENT ON TABLE public.%I IS %L', v_name,
                       'Five-minute bars of ' || to_char(v_from AT TIME ZONE 'UTC', 'YYYY-MM') || '. [made by Reckoner]');
        EXECUTE format('ALTER TABLE public.price_history_intraday ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                       v_name, v_from, v_to);
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;

-- Drops the oldest partition whose bars are all older than p_days, at least 1. Returns its name; NULL where
-- there is none, or where somebody reads it: the next sweep tries again. The lock excludes readers. It is
-- waited for 40 ms, for the table and for the partition, so that no reader queues behind it for longer
-- than a tenth of a second (tests/benchmarks/retention.py).
CREATE OR REPLACE FUNCTION intraday_partition_drop(p_days integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET lock_timeout = '40ms' AS $$
DECLARE
    v_name text;
BEGIN
    SELECT p.name INTO v_name FROM public.intraday_partitions p
    WHERE p.ends_at <= public.reckoner_now() - make_interval(days => greatest(p_days, 1))
    ORDER BY p.ends_at LIMIT 1;
    IF v_name IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', v_name);
    END IF;
    RETURN v_name;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;

-- The sweep's part: makes the partitions of this month and the next, and drops at most one that is too old.
-- Returns the number of dropped ones.
CREATE OR REPLACE FUNCTION sweep_intraday(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM intraday_partitions_ensure(reckoner_now(), reckoner_now() + interval '1 month');
    RETURN count(intraday_partition_drop(p_days));
END
$$;
REVOKE ALL ON FUNCTION
    intraday_partitions_ensure(p_from timestamptz, p_to timestamptz),
    intraday_partition_drop(p_days integer),
    sweep_intraday(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/43_intraday_partitions.sql', 'a4da6ae44935444a34ef465e5c534ba7eea016d75cc968478a82b508982c5e6c')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
