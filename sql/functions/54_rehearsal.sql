BEGIN;
-- The rehearsal: does for no event what the lanes do for each. Called by worker/context.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Runs the statements by which events are processed and ended, for no event. An error that it meets as
-- well (a column, function or right that is missing, a table that another session has locked) is no
-- event's own fault. Triggers for each row do not fire, so an error of theirs does not show here. Writes
-- nothing; the caller rolls back what an owner's triggers for each statement do.
CREATE OR REPLACE FUNCTION worker_rehearsal() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM outbox_lock('[]');
    PERFORM outcomes_process('{}', 1, false);
    PERFORM outcomes_write('{}');
    PERFORM registry_register('{}', '{}');
    PERFORM bars_merge(
        p_symbol => '', p_source => '', p_payload_id => NULL, p_from => NULL, p_to => NULL,
        p_rebased => false, p_dates => '{}', p_opens => '{}', p_highs => '{}', p_lows => '{}',
        p_closes => '{}', p_adjusted_closes => '{}', p_volumes => '{}', p_splits => '{}', p_dividends => '{}');
    PERFORM snapshot_store('[]');
    PERFORM outcomes_fill_symbols('{}', true);
    PERFORM outbox_finish('[]');
END
$$;
REVOKE ALL ON FUNCTION
    worker_rehearsal()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/54_rehearsal.sql', '86a1537bc98412478e446f31afa2c574553e1cf1bb00992c4e2d6f54e363b795')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
