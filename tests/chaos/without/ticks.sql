-- Two workers write the same tick: no row lock of its schedule, and its run is written whether the tick is new or not.
-- lost: ORDER BY greatest(s.next_tick_at, s.retry_at), s.name LIMIT p_limit FOR UPDATE SKIP LOCKED
-- instead: ORDER BY greatest(s.next_tick_at, s.retry_at), s.name LIMIT p_limit
-- lost: IF FOUND THEN
-- instead: IF true THEN
CREATE OR REPLACE FUNCTION schedules_tick(p_limit integer DEFAULT 1000)
RETURNS TABLE (schedule text, tick_at timestamptz, verdict text, reason text, run_id bigint, late double precision)
LANGUAGE plpgsql AS $$
DECLARE
    v_each  schedules;
    v_next  timestamptz;
    v_count integer := 0;
BEGIN
    FOR v_each IN
        SELECT * FROM schedules s
        WHERE s.enabled AND greatest(s.next_tick_at, s.retry_at) <= reckoner_now()
        ORDER BY greatest(s.next_tick_at, s.retry_at), s.name LIMIT p_limit
    LOOP
        EXIT WHEN v_count >= p_limit;
        BEGIN
            schedule := v_each.name;
            tick_at := v_each.next_tick_at;
            IF tick_at = '-infinity' THEN
                tick_at := coalesce(trigger_next(v_each.trigger, v_each.timezone, reckoner_now()), 'infinity');
            END IF;
            WHILE tick_at <= reckoner_now() AND v_count < p_limit LOOP
                v_next := coalesce(trigger_next(v_each.trigger, v_each.timezone, tick_at), 'infinity');
                reason := tick_refusal(v_each, tick_at, v_next <= reckoner_now());
                IF reason IS NULL AND v_each.skip_next > 0 THEN
                    reason := 'skipped once, as somebody said';
                    v_each.skip_next := v_each.skip_next - 1;
                END IF;
                verdict := CASE WHEN reason IS NULL THEN 'queued' ELSE 'skipped' END;
                run_id := NULL;
                INSERT INTO schedule_ticks AS t (schedule, tick_at, verdict, reason, decided_at)
                VALUES (schedule, tick_at, verdict, one_line(reason), reckoner_now())
                ON CONFLICT ON CONSTRAINT schedule_ticks_pkey DO NOTHING;
                IF true THEN
                    IF verdict = 'queued' THEN
                        run_id := run_write(
                            p_task => v_each.task, p_params => v_each.params, p_trigger => 'schedule', p_actor => 'schedule',
                            p_schedule => schedule, p_tick_at => tick_at, p_priority => v_each.priority,
                            p_safety => schedule_safety() || v_each.safety);
                        UPDATE schedule_ticks t SET run_id = schedules_tick.run_id
                        WHERE t.schedule = schedules_tick.schedule AND t.tick_at = schedules_tick.tick_at;
                    END IF;
                    late := extract(epoch FROM reckoner_now() - tick_at);
                    RETURN NEXT;
                END IF;
                v_count := v_count + 1;
                tick_at := v_next;
            END LOOP;
            UPDATE schedules s SET next_tick_at = schedules_tick.tick_at, skip_next = v_each.skip_next, fault = NULL, retry_at = NULL
            WHERE s.name = v_each.name;
        EXCEPTION WHEN data_exception OR plpgsql_error OR integrity_constraint_violation OR undefined_object OR case_not_found THEN
            UPDATE schedules s SET fault = one_line(SQLERRM), retry_at = reckoner_now() + interval '1 minute'
            WHERE s.name = v_each.name;
        END;
    END LOOP;
END
$$;
