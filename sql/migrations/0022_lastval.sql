BEGIN;
-- The sequence by which a writer's session keeps its lastval(). An event takes its id from a sequence
-- in the writer's session, and lastval() returns the number of the sequence that was used last. So the
-- triggers use this one last, and set it to the number that lastval() returned before
-- (functions/90_triggers.sql). Its value means nothing outside that session: it is not logged, may
-- have any number, and everyone may use it, because lastval() asks for that right.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

CREATE UNLOGGED SEQUENCE IF NOT EXISTS reckoner_lastval
    MINVALUE -9223372036854775808 MAXVALUE 9223372036854775807 START 1 CYCLE;
COMMENT ON SEQUENCE reckoner_lastval IS
    'Keeps lastval() of the writers'' sessions; its value means nothing.';
GRANT USAGE ON SEQUENCE reckoner_lastval TO PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0022_lastval.sql', '9fd729aeeedb4d1ad97e53949d24aa33105f11393175f03c936164c2362859ab')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
