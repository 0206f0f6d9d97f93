BEGIN;
-- Functions of the releases before this one that have another name or signature now. They go first,
-- because CREATE OR REPLACE cannot rename a parameter, and a function that nothing calls any more
-- would be found by `market db audit` for ever.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

DROP FUNCTION IF EXISTS doorbell_lie_down();
DROP FUNCTION IF EXISTS doorbell_get_up();
DROP FUNCTION IF EXISTS worker_nap(text, double precision);
DROP FUNCTION IF EXISTS worker_beat(
    text, text, integer, text, double precision, double precision, text, timestamptz, boolean,
    integer, bigint[]);
DROP FUNCTION IF EXISTS outbox_claim_suspect(text, double precision);
DROP FUNCTION IF EXISTS outbox_hold(jsonb);
DROP FUNCTION IF EXISTS outbox_renew(text, double precision, bigint[]);
DROP FUNCTION IF EXISTS outbox_release(text, bigint[]);
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/00_dropped.sql', '17078c0215f92e35351407d8b684e6e73110061f3ef554e9763e1c7e595a8132')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
