BEGIN;
-- Drops what the last landed release had and this one does not have, or has with other parameter
-- names or another result: CREATE OR REPLACE refuses to change those, and `market db audit` would
-- report a function that is left behind. This file goes first, and after a change of it `migrate`
-- applies every other file of functions again.
-- tests/sql/test_upgrade.py compares it with what that release had (tests/sql/landed.sql).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

DROP VIEW IF EXISTS provider_hindrances;
DROP TRIGGER IF EXISTS outbox_redriven ON outbox;

DROP FUNCTION IF EXISTS bars_basis_changed(text, date[], double precision[]);
DROP FUNCTION IF EXISTS batch_known(text, text, date, date, boolean);
DROP FUNCTION IF EXISTS doorbell_get_up();
DROP FUNCTION IF EXISTS doorbell_lie_down();
DROP FUNCTION IF EXISTS enqueue_predictions(bigint, integer, timestamptz, boolean);
DROP FUNCTION IF EXISTS ingestion_log(jsonb, jsonb);
DROP FUNCTION IF EXISTS ingestion_story(text, timestamptz);
DROP FUNCTION IF EXISTS job_owed(text);
DROP FUNCTION IF EXISTS job_runs(bigint);
DROP FUNCTION IF EXISTS job_settle(text, date, text, integer, text, text);
DROP FUNCTION IF EXISTS outbox_claim_suspect(text, double precision);
DROP FUNCTION IF EXISTS outbox_fail(bigint, bigint, text, integer);
DROP FUNCTION IF EXISTS outbox_hold(jsonb);
DROP FUNCTION IF EXISTS outbox_redriven();
DROP FUNCTION IF EXISTS outbox_release(text, bigint[]);
DROP FUNCTION IF EXISTS outbox_renew(text, double precision, bigint[]);
DROP FUNCTION IF EXISTS outcome_story(integer);
DROP FUNCTION IF EXISTS outcome_story(integer, text[]);
DROP FUNCTION IF EXISTS outcomes_duplicates();
DROP FUNCTION IF EXISTS outcomes_fill(integer[], text[]);
DROP FUNCTION IF EXISTS outcomes_process(integer[], integer, boolean);
DROP FUNCTION IF EXISTS outcomes_process(integer[], integer, boolean, integer, integer, integer[]);
DROP FUNCTION IF EXISTS pipeline_start(timestamptz, integer);
DROP FUNCTION IF EXISTS pipeline_state(integer[]);
DROP FUNCTION IF EXISTS prediction_elements(integer[]);
DROP FUNCTION IF EXISTS prediction_elements(integer[], integer, integer, integer[]);
DROP FUNCTION IF EXISTS price_freshness();
DROP FUNCTION IF EXISTS provider_admit(text, integer);
DROP FUNCTION IF EXISTS provider_overview(text[]);
DROP FUNCTION IF EXISTS registry_register(text[], integer[]);
DROP FUNCTION IF EXISTS registry_verdict(text, text, text, text, text);
DROP FUNCTION IF EXISTS sessions_merge(text);
DROP FUNCTION IF EXISTS sessions_wanted(integer);
DROP FUNCTION IF EXISTS sweep_changed(integer);
DROP FUNCTION IF EXISTS sweep_walked(bigint, bigint, bigint, integer);
DROP FUNCTION IF EXISTS ticker_plan(text, integer, boolean, date);
DROP FUNCTION IF EXISTS worker_beat(
    text, text, integer, text, double precision, double precision, text, timestamptz, boolean,
    integer, bigint[]);
DROP FUNCTION IF EXISTS worker_nap(text, double precision);
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/00_dropped.sql', 'fff9a359e87315a2690571a58a6fc904e08ddf694a61014142fc2b6e91c7460b')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
