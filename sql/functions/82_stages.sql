BEGIN;
-- The numbers of `market stats`, `market processing-stats` and `market watch`.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Rows and bytes per table. The rows of a table of more than 16 MB are estimated from its size and the
-- last ANALYZE, as the planner does, because counting reads the whole table.
CREATE OR REPLACE FUNCTION table_rows(p_tables text[])
RETURNS TABLE (name text, rows bigint, is_estimate boolean, bytes bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_table record;
BEGIN
    FOR v_table IN
        SELECT c.oid, c.relname, c.reltuples, c.relpages, pg_relation_size(c.oid) AS size
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND c.relname = ANY (p_tables)
        ORDER BY c.relname
    LOOP
        name := v_table.relname;
        bytes := pg_total_relation_size(v_table.oid);
        is_estimate := v_table.size > 16 * 1024 * 1024 AND v_table.relpages > 0 AND v_table.reltuples >= 0;
        IF is_estimate THEN
            rows := v_table.reltuples / v_table.relpages * (v_table.size / current_setting('block_size')::integer);
        ELSE
            EXECUTE format('SELECT count(*) FROM public.%I', v_table.relname) INTO rows;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Predictions by stage. A prediction is in one of the queue's stages. Its outcomes may be in several
-- others, and `matured` counts every outcome whose return of that horizon is known. oldest: in the
-- queue's stages the event's creation, else the moment. Reads predictions and prediction_outcomes once
-- each.
CREATE OR REPLACE FUNCTION processing_stages()
RETURNS TABLE (stage text, predictions bigint, outcomes bigint, oldest timestamptz, oldest_prediction bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    v_first bigint := (SELECT last_prediction_id FROM reckoner_installation);
BEGIN
    RETURN QUERY
    WITH live AS MATERIALIZED (
        SELECT DISTINCT ON (o.key) o.key::bigint AS id, o.created_at AS at,
               CASE o.status WHEN 'processing' THEN 'in flight' WHEN 'dead' THEN 'dead' ELSE 'waiting' END AS stage
        FROM outbox o WHERE o.topic = 'prediction'
        ORDER BY o.key, array_position(ARRAY['processing', 'pending', 'failed', 'dead'], o.status), o.id
    ), answered AS (
        SELECT o.prediction_id AS id, min(o.prediction_date) AS day,
               count(*) FILTER (WHERE o.outcome_state IS NOT NULL AND o.price_at_prediction IS NULL
                                AND o.outcome_state <> 'unresolvable') AS unpriced,
               count(*) FILTER (WHERE o.outcome_state IN ('awaiting_prices', 'maturing')
                                AND o.price_at_prediction IS NOT NULL) AS priced,
               count(*) FILTER (WHERE o.return_t1 IS NOT NULL) AS t1,
               count(*) FILTER (WHERE o.return_t3 IS NOT NULL) AS t3,
               count(*) FILTER (WHERE o.return_t7 IS NOT NULL) AS t7,
               count(*) FILTER (WHERE o.return_t30 IS NOT NULL) AS t30,
               count(*) FILTER (WHERE o.outcome_state = 'unresolvable') AS unresolvable,
               count(*) FILTER (WHERE o.engine_version IS NULL) AS others
        FROM prediction_outcomes o GROUP BY o.prediction_id
    ), without_event AS (
        SELECT i.prediction_id::bigint AS id, i.moment AS at,
               CASE WHEN NOT i.eligible THEN 'not eligible'
                    WHEN i.prediction_id <= v_first THEN 'no event, from before the installation'
                    ELSE 'no event' END AS stage
        FROM prediction_inputs i
        WHERE NOT i.eligible
           OR (NOT EXISTS (SELECT FROM prediction_outcomes o WHERE o.prediction_id = i.prediction_id)
               AND NOT EXISTS (SELECT FROM outbox_history h
                               WHERE h.topic = 'prediction' AND h.key = i.prediction_id::text)
               AND NOT EXISTS (SELECT FROM live l WHERE l.id = i.prediction_id))
    ), counted AS (
        SELECT u.stage, count(*) AS predictions, NULL::bigint AS outcomes,
               min(ARRAY[extract(epoch FROM u.at), u.id]) AS oldest
        FROM (SELECT * FROM without_event UNION ALL SELECT l.id, l.at, l.stage FROM live l) u GROUP BY u.stage
        UNION ALL
        SELECT s.stage, count(*), sum(s.n)::bigint,
               -- A date may lie after the last timestamp.
               min(ARRAY[extract(epoch FROM CASE WHEN a.day < '294276-01-01' THEN a.day::timestamp
                                                 ELSE 'infinity' END AT TIME ZONE 'UTC'), a.id])
        FROM answered a CROSS JOIN LATERAL (VALUES
            ('awaiting entry price', a.unpriced), ('priced', a.priced), ('matured t1', a.t1),
            ('matured t3', a.t3), ('matured t7', a.t7), ('matured t30', a.t30),
            ('unresolvable', a.unresolvable), ('another program''s', a.others)) s(stage, n)
        WHERE s.n > 0 GROUP BY s.stage
    )
    SELECT k.stage, coalesce(c.predictions, 0), coalesce(c.outcomes, CASE WHEN k.n > 6 THEN 0 END),
           to_timestamp(c.oldest[1]), c.oldest[2]::bigint
    FROM unnest(ARRAY['not eligible', 'no event, from before the installation', 'no event', 'waiting',
                      'in flight', 'dead', 'awaiting entry price', 'priced', 'matured t1', 'matured t3',
                      'matured t7', 'matured t30', 'unresolvable', 'another program''s'])
         WITH ORDINALITY AS k(stage, n)
    LEFT JOIN counted c USING (stage) ORDER BY k.n;
END
$$;

-- The page of `market watch` in one statement, whose cost does not grow with history: the queue, the
-- workers, the last p_rows events, and the outcomes of the last predictions among them. Ages and
-- durations in seconds, times in UTC.
CREATE OR REPLACE FUNCTION watch_page(p_rows integer) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    RETURN (
    WITH queue AS (
        SELECT s.topic, s.status, s.count, extract(epoch FROM s.oldest_age)::bigint AS oldest,
               s.done_last_hour, extract(epoch FROM s.eta)::bigint AS eta
        FROM outbox_status s
    ), workers AS (
        SELECT w.name, w.mode, w.in_flight, w.alive, w.asleep_until > v_now AS asleep,
               extract(epoch FROM v_now - w.last_seen_at)::bigint AS seen,
               extract(epoch FROM v_now - w.started_at)::bigint AS age
        FROM worker_status w ORDER BY w.alive DESC, w.name LIMIT p_rows
    ), late AS (
        SELECT s.topic, s.key, s.why, s.is_late, extract(epoch FROM s.age)::bigint AS age,
               extract(epoch FROM s.next_at - v_now)::bigint AS next
        FROM outbox_stuck s ORDER BY s.is_late DESC, s.age DESC, s.id LIMIT p_rows
    ), recent AS MATERIALIZED (
        SELECT h.id, h.topic, h.key, h.verdict, h.finished_at, h.created_at, h.result
        FROM outbox_history h ORDER BY h.finished_at DESC LIMIT 3 * p_rows
    ), events AS (
        SELECT h.id, h.topic, h.key, h.verdict, h.finished_at, h.result,
               extract(epoch FROM h.finished_at - h.created_at)::float8 AS took
        FROM recent h ORDER BY h.finished_at DESC, h.id DESC LIMIT p_rows
    ), named AS (
        SELECT h.key::bigint AS prediction_id FROM recent h
        WHERE h.topic = 'prediction' AND h.verdict = 'done'
        ORDER BY h.finished_at DESC, h.id DESC LIMIT p_rows
    ), outcomes AS (
        SELECT o.prediction_id, o.symbol, o.prediction_sentiment AS sentiment, o.entry_session,
               o.outcome_state AS state, o.return_t1, o.return_t3, o.return_t7, o.return_t30,
               o.correct_t1, o.correct_t3, o.correct_t7, o.correct_t30
        FROM prediction_outcomes o WHERE o.prediction_id = ANY (ARRAY(SELECT prediction_id FROM named))
        ORDER BY o.prediction_id DESC, o.symbol LIMIT p_rows
    )
    SELECT jsonb_build_object(
        'now', to_char(v_now AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
        'queue', (SELECT coalesce(jsonb_agg(to_jsonb(q)), '[]') FROM queue q),
        'late', (SELECT coalesce(jsonb_agg(to_jsonb(l)), '[]') FROM late l),
        'workers', (SELECT coalesce(jsonb_agg(to_jsonb(w)), '[]') FROM workers w),
        'paused', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'reason', p.pause_reason,
                        'seconds', extract(epoch FROM p.paused_until - v_now)::bigint) ORDER BY p.name), '[]')
                   FROM reckoner_providers p WHERE p.paused_until > v_now),
        'events', (SELECT coalesce(jsonb_agg(to_jsonb(e) || jsonb_build_object(
                        'at', to_char(e.finished_at AT TIME ZONE 'UTC', 'HH24:MI:SS'))), '[]') FROM events e),
        'outcomes', (SELECT coalesce(jsonb_agg(to_jsonb(o)), '[]') FROM outcomes o)));
END
$$;
REVOKE ALL ON FUNCTION
    table_rows(p_tables text[]),
    processing_stages(),
    watch_page(p_rows integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/82_stages.sql', '3f348a0e29c59462912bb097d1f8164c6c670357ddec7059bc2d1308944212a7')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
