BEGIN;
-- Sequences that fell behind their table: logical replication, a blue-green switch and a partial restore
-- copy rows and not the sequences. Then each new row fails with a duplicate key. Found when a worker starts
-- and by each sweep. Those of ours are moved; the sequence of another program's table is named with its SQL
-- (health, `market db check`).
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The sequences that are behind, with the highest number in use.
--   A sequence follows a column (pg_depend). outbox_history keeps the ids of outbox, and outbox_lease has
--   no column of its own. In a table that others write too, ids may be chosen: there only a number that
--   the next thousand meet counts. A sequence with a step of its own shares its numbers with another
--   server, and one that this role may not read is passed over.
-- is_ours: sequences_mend() moves it.
CREATE OR REPLACE FUNCTION sequences_behind()
RETURNS TABLE (sequence text, source text, last bigint, highest bigint, is_ours boolean, remedy text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_each record;
    v_max  bigint;
BEGIN
    FOR v_each IN
        WITH known AS (
            SELECT d.objid AS oid, c.relname::text AS source, a.attname::text AS name,
                   c.relname IN ('predictions', 'ticker_registry', 'market_prices', 'prediction_outcomes') AS is_shared
            FROM pg_depend d
            JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
            JOIN pg_class c ON c.oid = d.refobjid AND c.relnamespace = 'public'::regnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
              AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
              AND c.relname IN ('predictions', 'ticker_registry', 'market_prices', 'prediction_outcomes',
                  'outbox', 'outcome_refills', 'provider_payloads', 'data_quality_log', 'market_price_revisions',
                  'ingestion_audit', 'reckoner_backups', 'price_jobs', 'job_run', 'coverage_restores',
                  'alerts', 'alert_messages', 'subscriptions', 'outcome_changes', 'subscription_messages')
              -- Without an index the highest number costs the whole table.
              AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                          AND (i.indkey::smallint[])[0] = a.attnum)
        )
        SELECT k.oid, k.source, k.name, k.is_shared FROM known k
        UNION ALL SELECT k.oid, 'outbox_history', 'id', false FROM known k WHERE k.source = 'outbox' AND k.name = 'id'
        UNION ALL SELECT to_regclass('public.outbox_lease'), 'outbox', 'lease', false
        ORDER BY 2, 3
    LOOP
        highest := NULL;
        CONTINUE WHEN NOT has_sequence_privilege(v_each.oid, 'SELECT')
                   OR (SELECT s.seqincrement <> 1 FROM pg_sequence s WHERE s.seqrelid = v_each.oid) IS NOT FALSE;
        EXECUTE format('SELECT max(%1$I) FROM public.%2$I WHERE %1$I IS NOT NULL', v_each.name, v_each.source)
        INTO v_max;
        -- Behind the rows: a row of now has a number that was drawn before.
        last := coalesce(pg_sequence_last_value(v_each.oid), 0);
        CONTINUE WHEN v_max IS NULL OR v_max <= last;
        IF v_each.is_shared THEN
            EXECUTE format('SELECT max(%1$I) FROM public.%2$I WHERE %1$I > $1 AND %1$I <= $1 + 1000', v_each.name, v_each.source)
            INTO highest USING last;
            CONTINUE WHEN highest IS NULL;
        END IF;
        highest := v_max;
        sequence := v_each.oid::regclass::text;
        source := v_each.source;
        -- Never near its end: a number chosen by hand would be the last.
        is_ours := (NOT v_each.is_shared OR (v_each.source <> 'predictions' AND source_made(v_each.source)))
                   AND v_max < (SELECT s.seqmax / 2 FROM pg_sequence s WHERE s.seqrelid = v_each.oid);
        remedy := format('SELECT setval(%L, %s)', sequence, v_max);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Moves the sequences of ours that are behind, where this role may. One at a time: of two that mend, the
-- later would take back numbers that were drawn since. Returns the number of sequences.
CREATE OR REPLACE FUNCTION sequences_mend() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_each   record;
    v_mended bigint := 0;
BEGIN
    -- An event that was written before the sequence had passed its history: it cannot end under that id.
    UPDATE outbox o SET id = nextval(pg_get_serial_sequence('public.outbox', 'id'))
    WHERE o.last_error LIKE '%outbox_history_pkey%' AND o.lease IS NULL
      AND EXISTS (SELECT FROM outbox_history h WHERE h.id = o.id);
    IF NOT EXISTS (SELECT FROM sequences_behind() b WHERE b.is_ours) THEN
        RETURN 0;
    END IF;
    LOCK TABLE reckoner_installation IN SHARE UPDATE EXCLUSIVE MODE; -- 05_locks.sql
    FOR v_each IN
        SELECT b.sequence, max(b.last) AS last, max(b.highest) AS highest FROM sequences_behind() b
        WHERE b.is_ours AND has_sequence_privilege(b.sequence::regclass, 'UPDATE')
        GROUP BY b.sequence
    LOOP
        IF v_each.highest - v_each.last > 1000 THEN
            PERFORM setval(v_each.sequence::regclass, v_each.highest);
        ELSE
            -- Others draw numbers meanwhile, which setval() could give out again.
            WHILE nextval(v_each.sequence::regclass) < v_each.highest LOOP END LOOP;
        END IF;
        IF v_each.sequence::regclass = pg_get_serial_sequence('public.outbox', 'id')::regclass THEN
            -- Events that were written meanwhile could not end: history has their ids.
            UPDATE outbox o SET id = nextval(v_each.sequence::regclass)
            WHERE o.lease IS NULL AND EXISTS (SELECT FROM outbox_history h WHERE h.id = o.id);
        END IF;
        RAISE WARNING 'reckoner: sequence % was behind and is now at %', v_each.sequence, v_each.highest;
        v_mended := v_mended + 1;
    END LOOP;
    RETURN v_mended;
END
$$;
REVOKE ALL ON FUNCTION
    sequences_behind(),
    sequences_mend()
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/59_sequences.sql', '0a6bb05d6c1d1647c9c0b66ddd1111320a5edd515a18acbd34ca38dd9da8e927')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
