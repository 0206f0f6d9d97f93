BEGIN;
-- When a schedule is due: cron lines, "every N seconds" and sessions of a calendar. Called by 66_schedules.sql.
-- Here and not in Python, so that psql refuses a wrong trigger, shows the next ticks and computes what a
-- worker computes. tests/sql/test_cron.py compares the cron lines with the library cronsim.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The numbers of one field of a cron line: lists, ranges, steps and names. p_names: of the numbers from
-- p_least on. A day of the month may be L (the last: 99) or LW (the last weekday: 98). A day of the week may
-- be 5L (the last Friday: 900 + 5) or 5#2 (the second: 200 + 5).
CREATE OR REPLACE FUNCTION cron_field(
    p_field text, p_text text, p_least integer, p_most integer, p_names text[] DEFAULT '{}'
) RETURNS integer[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_found integer[] := '{}';
    v_term  text;
    v_part  text[];
    v_from  integer;
    v_to    integer;
BEGIN
    FOREACH v_term IN ARRAY string_to_array(upper(p_text), ',') LOOP
        FOR v_from IN 1 .. cardinality(p_names) LOOP
            v_term := regexp_replace(v_term, '\m' || p_names[v_from] || '\M', (v_from + p_least - 1)::text, 'g');
        END LOOP;
        IF p_field = 'day of month' AND v_term IN ('L', 'LW') THEN
            v_found := v_found || CASE v_term WHEN 'L' THEN 99 ELSE 98 END;
            CONTINUE;
        END IF;
        v_part := regexp_match(v_term, '^([0-7])(?:(L)|#([1-5]))$');
        IF p_field = 'day of week' AND v_part IS NOT NULL THEN
            v_found := v_found || (v_part[1]::integer % 7 + CASE WHEN v_part[2] = 'L' THEN 900 ELSE 100 * v_part[3]::integer END);
            CONTINUE;
        END IF;
        v_part := regexp_match(v_term, '^(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?$');
        v_from := coalesce(v_part[2]::integer, p_least);
        v_to := CASE WHEN v_part[1] IS NOT NULL THEN p_most
                     WHEN v_part[3] IS NOT NULL THEN v_part[3]::integer
                     WHEN v_part[4] IS NOT NULL THEN p_most ELSE v_from END;
        IF v_part IS NULL OR v_from NOT BETWEEN p_least AND p_most OR v_to NOT BETWEEN v_from AND p_most
           OR v_part[4]::integer = 0 THEN
            RAISE EXCEPTION '"%" is not a % of a cron line (% to %)', v_term, p_field, p_least, p_most
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        v_found := v_found || ARRAY(SELECT generate_series(v_from, v_to, coalesce(v_part[4]::integer, 1)));
    END LOOP;
    RETURN ARRAY(SELECT DISTINCT n FROM unnest(v_found) AS n ORDER BY n);
END
$$;

-- The fields of a cron line. both_days: a day must match day of month and day of week; either is enough
-- where both are restricted. at_times: it names times of the wall clock, and not an interval (see cron_next).
CREATE OR REPLACE FUNCTION cron_parse(
    p_cron text, OUT minutes integer[], OUT hours integer[], OUT days integer[], OUT months integer[],
    OUT weekdays integer[], OUT both_days boolean, OUT at_times boolean
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_fields text[] := regexp_split_to_array(btrim(p_cron), '\s+');
BEGIN
    IF cardinality(v_fields) <> 5 THEN
        RAISE EXCEPTION '"%" has % fields, a cron line has five: minute, hour, day of month, month, day of week',
            p_cron, cardinality(v_fields) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    minutes := cron_field('minute', v_fields[1], 0, 59);
    hours := cron_field('hour', v_fields[2], 0, 23);
    days := cron_field('day of month', v_fields[3], 1, 31);
    months := cron_field('month', v_fields[4], 1, 12, '{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}');
    -- 7 is Sunday, as 0 is.
    weekdays := ARRAY(SELECT DISTINCT CASE n WHEN 7 THEN 0 ELSE n END
                      FROM unnest(cron_field('day of week', v_fields[5], 0, 7, '{SUN,MON,TUE,WED,THU,FRI,SAT}')) AS n);
    both_days := starts_with(v_fields[3], '*') OR starts_with(v_fields[5], '*');
    at_times := NOT starts_with(v_fields[1], '*') AND NOT starts_with(v_fields[2], '*');
END
$$;

-- Whether a day matches the fields of a cron line.
CREATE OR REPLACE FUNCTION cron_has_day(p_day date, p_days integer[], p_weekdays integer[], p_both boolean)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_day     integer := extract(day FROM p_day);
    v_weekday integer := extract(dow FROM p_day);
    v_last    date;
    v_in_days boolean := v_day = ANY (p_days);
    v_in_week boolean := v_weekday = ANY (p_weekdays) OR v_weekday + 100 * ((v_day + 6) / 7) = ANY (p_weekdays);
BEGIN
    IF v_day >= 22 THEN
        v_last := (date_trunc('month', p_day::timestamp) + interval '1 month - 1 day')::date;
        v_in_days := v_in_days OR (99 = ANY (p_days) AND p_day = v_last)
                  OR (98 = ANY (p_days)
                      AND p_day = v_last - CASE extract(isodow FROM v_last) WHEN 6 THEN 1 WHEN 7 THEN 2 ELSE 0 END);
        v_in_week := v_in_week OR (900 + v_weekday = ANY (p_weekdays) AND p_day + 7 > v_last);
    END IF;
    RETURN CASE WHEN p_both THEN v_in_days AND v_in_week ELSE v_in_days OR v_in_week END;
END
$$;

-- The first moment at which the clocks of a zone show a time. Where they skip it, the moment of the skip.
CREATE OR REPLACE FUNCTION local_moment(p_time timestamp, p_zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_guess  timestamptz := p_time AT TIME ZONE p_zone;
    v_before timestamptz; -- with the offset of the day before
    v_after  timestamptz; -- with that of the day after
    v_middle timestamptz;
BEGIN
    v_before := (p_time - (((v_guess - interval '1 day') AT TIME ZONE p_zone)
                           - ((v_guess - interval '1 day') AT TIME ZONE 'UTC'))) AT TIME ZONE 'UTC';
    v_after := (p_time - (((v_guess + interval '1 day') AT TIME ZONE p_zone)
                          - ((v_guess + interval '1 day') AT TIME ZONE 'UTC'))) AT TIME ZONE 'UTC';
    IF v_before AT TIME ZONE p_zone = p_time THEN
        RETURN v_before; -- also where clocks show it twice
    ELSIF v_after AT TIME ZONE p_zone = p_time THEN
        RETURN v_after;
    END IF;
    -- The skip lies between the two.
    WHILE v_before - v_after > interval '1 minute' LOOP
        v_middle := v_after + make_interval(mins => (extract(epoch FROM v_before - v_after) / 120)::integer);
        IF v_middle AT TIME ZONE p_zone > p_time THEN
            v_before := v_middle;
        ELSE
            v_after := v_middle;
        END IF;
    END LOOP;
    RETURN v_before;
END
$$;

-- The next moment that matches a cron line; NULL where none does within fifty years.
--
-- When clocks change it does as Debian's cron. A line that names times (30 1 * * *) is due once a day: a time
-- that is skipped is due at the skip, a time that comes twice when it comes first. A line whose minute or
-- hour begins with * is an interval, and goes by the time that passes.
CREATE OR REPLACE FUNCTION cron_next(p_cron text, p_zone text, p_after timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_cron   record := cron_parse(p_cron);
    -- A line that names times is searched on a clock that no one changes.
    v_zone   text := CASE WHEN v_cron.at_times THEN 'UTC' ELSE p_zone END;
    v_end    timestamptz := p_after + interval '50 years';
    v_moment timestamptz := CASE WHEN v_cron.at_times THEN (p_after AT TIME ZONE p_zone) AT TIME ZONE 'UTC' ELSE p_after END;
    v_found  timestamptz;
    v_local  timestamp;
    v_day    date;
    v_minute integer;
    v_next   integer;
BEGIN
    v_moment := to_timestamp(60 * floor(extract(epoch FROM v_moment) / 60) + 60);
    WHILE v_moment < v_end LOOP
        v_local := v_moment AT TIME ZONE v_zone;
        v_day := v_local::date;
        IF extract(month FROM v_day) <> ALL (v_cron.months) THEN
            v_moment := local_moment(date_trunc('month', v_local) + interval '1 month', v_zone);
            CONTINUE;
        END IF;
        IF NOT cron_has_day(v_day, v_cron.days, v_cron.weekdays, v_cron.both_days) THEN
            LOOP
                v_day := v_day + 1;
                EXIT WHEN extract(day FROM v_day) = 1
                       OR cron_has_day(v_day, v_cron.days, v_cron.weekdays, v_cron.both_days);
            END LOOP;
            v_moment := local_moment(v_day, v_zone);
            CONTINUE;
        END IF;
        v_minute := extract(minute FROM v_local);
        IF extract(hour FROM v_local) = ANY (v_cron.hours) THEN
            v_next := (SELECT min(n) FROM unnest(v_cron.minutes) AS n WHERE n >= v_minute);
            IF v_next = v_minute THEN
                v_found := CASE WHEN v_cron.at_times THEN local_moment(v_local, p_zone) ELSE v_moment END;
                IF v_found > p_after THEN
                    RETURN v_found;
                END IF;
                v_next := v_minute + 1; -- the clocks show this time again, or skipped it
            END IF;
        ELSE
            v_next := NULL;
        END IF;
        v_moment := v_moment + make_interval(mins => coalesce(v_next, 60) - v_minute);
    END LOOP;
    RETURN NULL;
END
$$;

-- The next tick of a trigger after a moment; NULL where none is known. Raises invalid_parameter_value for a
-- text that is not a trigger. The forms, for example:
--   30 22 * * MON-FRI          a cron line in the zone
--   every 30 seconds           multiples of the interval since 1970, so that all workers agree
--   XNYS close + 45 minutes    sessions of a calendar, with its holidays and early closes
CREATE OR REPLACE FUNCTION trigger_next(p_trigger text, p_zone text, p_after timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_every   text[] := regexp_match(btrim(p_trigger), '^every (\d{1,6}) (second|minute|hour|day)s?$', 'i');
    v_session text[] := regexp_match(btrim(p_trigger), '^(\S+) (open|close)(?: ([+-]) (\d{1,5}) (second|minute|hour)s?)?$', 'i');
    v_seconds bigint;
    v_shift   interval := '0';
BEGIN
    IF v_every IS NOT NULL THEN
        v_seconds := v_every[1]::bigint * CASE lower(v_every[2]) WHEN 'second' THEN 1 WHEN 'minute' THEN 60
                                                                 WHEN 'hour' THEN 3600 ELSE 86400 END;
        IF v_seconds = 0 THEN
            RAISE EXCEPTION '"%": the least interval is 1 second', p_trigger USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RETURN to_timestamp(v_seconds * (floor(extract(epoch FROM p_after) / v_seconds) + 1));
    ELSIF v_session IS NULL THEN
        RETURN cron_next(p_trigger, p_zone, p_after);
    END IF;
    IF v_session[4] IS NOT NULL THEN
        v_shift := (v_session[3] || v_session[4] || ' ' || v_session[5])::interval;
    END IF;
    IF lower(v_session[2]) = 'close' THEN
        RETURN (SELECT s.closes_at + v_shift FROM market_sessions s
                WHERE s.calendar = upper(v_session[1]) AND s.closes_at > p_after - v_shift
                ORDER BY s.closes_at LIMIT 1);
    END IF;
    -- A session opens at most two days before the date that names it, in UTC.
    RETURN (SELECT s.opens_at + v_shift FROM market_sessions s
            WHERE s.calendar = upper(v_session[1]) AND s.opens_at > p_after - v_shift
              AND s.session >= (p_after - v_shift)::date - 2
            ORDER BY s.session LIMIT 1);
END
$$;
REVOKE ALL ON FUNCTION
    cron_field(p_field text, p_text text, p_least integer, p_most integer, p_names text[]),
    cron_parse(p_cron text, OUT minutes integer[], OUT hours integer[], OUT days integer[], OUT months integer[], OUT weekdays integer[], OUT both_days boolean, OUT at_times boolean ),
    cron_has_day(p_day date, p_days integer[], p_weekdays integer[], p_both boolean),
    local_moment(p_time timestamp, p_zone text),
    cron_next(p_cron text, p_zone text, p_after timestamptz),
    trigger_next(p_trigger text, p_zone text, p_after timestamptz)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/65_cron.sql', 'b86cc5a98facf4b54dc341770f3596a079f2c692eab39471d0de904aaf2d08ed')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
