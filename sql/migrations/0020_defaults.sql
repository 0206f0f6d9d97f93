BEGIN;
-- Rows of our own tables take their time from reckoner_now() by default, so that an INSERT names only
-- what it knows, and one by hand follows the same clock as all others. The tables that another
-- program may have made keep their defaults: there each INSERT of ours supplies the times.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- As in functions/10_clock.sql, which replaces them; a default needs them before that file is applied.
CREATE OR REPLACE FUNCTION reckoner_clock_now(p_name text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        (SELECT coalesce(c.stopped_at, pg_catalog.statement_timestamp())
                OPERATOR(pg_catalog.+) c.clock_offset
         FROM public.reckoner_clock c WHERE c.name OPERATOR(pg_catalog.=) p_name),
        pg_catalog.statement_timestamp())
$$;
CREATE OR REPLACE FUNCTION reckoner_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(pg_catalog.current_setting('reckoner.clock', true), '') OPERATOR(pg_catalog.=) ''
                THEN pg_catalog.statement_timestamp()
                ELSE public.reckoner_clock_now(pg_catalog.current_setting('reckoner.clock', true)) END
$$;

ALTER TABLE outbox ALTER COLUMN available_at SET DEFAULT reckoner_now(),
                   ALTER COLUMN created_at SET DEFAULT reckoner_now(),
                   ALTER COLUMN updated_at SET DEFAULT reckoner_now();
ALTER TABLE outbox_history ALTER COLUMN finished_at SET DEFAULT reckoner_now();
ALTER TABLE reckoner_installation ALTER COLUMN installed_at SET DEFAULT reckoner_now();
ALTER TABLE reckoner_workers ALTER COLUMN started_at SET DEFAULT reckoner_now(),
                             ALTER COLUMN last_seen_at SET DEFAULT reckoner_now();
ALTER TABLE provider_payloads ALTER COLUMN fetched_at SET DEFAULT reckoner_now(),
                              ALTER COLUMN last_seen_at SET DEFAULT reckoner_now();
ALTER TABLE data_quality_log ALTER COLUMN checked_at SET DEFAULT reckoner_now();
ALTER TABLE ingestion_audit ALTER COLUMN finished_at SET DEFAULT reckoner_now();
ALTER TABLE corporate_actions ALTER COLUMN first_seen_at SET DEFAULT reckoner_now(),
                              ALTER COLUMN updated_at SET DEFAULT reckoner_now();
ALTER TABLE market_price_revisions ALTER COLUMN replaced_at SET DEFAULT reckoner_now();
ALTER TABLE provider_disagreements ALTER COLUMN checked_at SET DEFAULT reckoner_now();
ALTER TABLE price_jobs ALTER COLUMN created_at SET DEFAULT reckoner_now();
ALTER TABLE session_correction ALTER COLUMN made_at SET DEFAULT reckoner_now();
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0020_defaults.sql', '839b3eae44bdcb198b6e3b86aeadd45eb2dad67d9697721c92c91d3b9719d2f8')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
