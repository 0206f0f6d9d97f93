BEGIN;
-- Quotas: all workers together reserve from them before a request is sent. provider_quotas has the
-- limits; the used numbers belong to the window that begins at *_from, and are 0 in a later one.
-- The view provider_limits shows which limits are in force.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The beginning of the present minute, day or month. A window never goes back: a statement that waited
-- for the row may have begun before the one that it waited for.
CREATE OR REPLACE FUNCTION quota_window(p_per text, p_from timestamptz, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$ SELECT greatest(p_from, date_trunc(p_per, public.reckoner_now(), p_zone)) $$;

-- The number of requests used in the present window.
CREATE OR REPLACE FUNCTION quota_used(p_per text, p_from timestamptz, p_used integer, p_zone text)
RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN public.quota_window(p_per, p_from, p_zone) = p_from THEN p_used ELSE 0 END
$$;

-- The end of that window in the provider's time zone: its day may have 23 or 25 hours.
CREATE OR REPLACE FUNCTION quota_resets_at(p_per text, p_from timestamptz, p_zone text)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT ((public.quota_window(p_per, p_from, p_zone) AT TIME ZONE p_zone) + ('1 ' || p_per)::interval)
           AT TIME ZONE p_zone
$$;

-- Each window that has a limit, with the used and the remaining number.
CREATE OR REPLACE VIEW provider_quota_status AS
SELECT q.name, w.per, w.allowed, u.used, greatest(w.allowed - u.used, 0) AS remaining,
       quota_resets_at(w.per, w.since, q.time_zone) AS resets_at
FROM provider_quotas q
CROSS JOIN LATERAL (VALUES ('minute', q.per_minute, q.minute_from, q.minute_used),
                           ('day', q.per_day, q.day_from, q.day_used),
                           ('month', q.per_month, q.month_from, q.month_used))
    AS w(per, allowed, since, used)
CROSS JOIN LATERAL (SELECT quota_used(w.per, w.since, w.used, q.time_zone) AS used) u
WHERE w.allowed IS NOT NULL;

-- Reserves p_cost requests in all windows or in none, in one statement, which locks the row against
-- other workers. Returns NULLs, or the time until which there are none and the reason.
CREATE OR REPLACE FUNCTION quota_reserve(p_name text, p_cost integer)
RETURNS TABLE (until timestamptz, reason text) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE provider_quotas q
    SET minute_used = quota_used('minute', minute_from, minute_used, time_zone) + p_cost,
        day_used = quota_used('day', day_from, day_used, time_zone) + p_cost,
        month_used = quota_used('month', month_from, month_used, time_zone) + p_cost,
        minute_from = quota_window('minute', minute_from, time_zone),
        day_from = quota_window('day', day_from, time_zone),
        month_from = quota_window('month', month_from, time_zone)
    WHERE q.name = p_name
      AND (per_minute IS NULL OR quota_used('minute', minute_from, minute_used, time_zone) + p_cost <= per_minute)
      AND (per_day IS NULL OR quota_used('day', day_from, day_used, time_zone) + p_cost <= per_day)
      AND (per_month IS NULL OR quota_used('month', month_from, month_used, time_zone) + p_cost <= per_month);
    IF FOUND OR NOT EXISTS (SELECT FROM provider_quotas q WHERE q.name = p_name) THEN
        RETURN QUERY SELECT NULL::timestamptz, NULL::text;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT coalesce(s.resets_at, reckoner_now() + interval '1 second'),
           coalesce(format('%s of %s requests of the %s are used', s.used, s.allowed, s.per),
                    'its quota was used at this moment')
    FROM (SELECT) nothing
    LEFT JOIN LATERAL (SELECT * FROM provider_quota_status o
                       WHERE o.name = p_name AND o.remaining < p_cost
                       ORDER BY o.resets_at DESC LIMIT 1) s ON true;
END
$$;

-- Marks a window as used up, because the provider answered so: no more of it is reserved. Returns the
-- end of the window, NULL for a provider without quotas.
CREATE OR REPLACE FUNCTION quota_exhausted(p_name text, p_per text) RETURNS timestamptz
LANGUAGE sql AS $$
    UPDATE provider_quotas
    SET minute_used = CASE WHEN p_per = 'minute' THEN greatest(per_minute, minute_used) ELSE minute_used END,
        minute_from = CASE WHEN p_per = 'minute' THEN quota_window('minute', minute_from, time_zone) ELSE minute_from END,
        day_used = CASE WHEN p_per = 'day' THEN greatest(per_day, day_used) ELSE day_used END,
        day_from = CASE WHEN p_per = 'day' THEN quota_window('day', day_from, time_zone) ELSE day_from END
    WHERE name = p_name
    RETURNING quota_resets_at(p_per, CASE p_per WHEN 'minute' THEN minute_from ELSE day_from END, time_zone)
$$;

-- The limits in force on providers, in words, with their remedies. until: NULL where requests are sent
-- nevertheless (a half-open breaker). Read by reckoner_health() and explain. Health does not report a
-- used-up minute, because that is normal operation. A half-open breaker has a row for a day only:
-- otherwise a provider that is no longer in use would have one for ever.
CREATE OR REPLACE VIEW provider_limits AS
SELECT p.name, 'paused' AS what, NULL AS per, p.paused_until AS until, p.pause_reason AS reason,
       format('it goes on by itself, or SELECT provider_resume(%L)', p.name) AS mend
FROM provider_status p WHERE p.paused_until IS NOT NULL
UNION ALL
SELECT p.name, 'on trial', NULL, NULL,
       p.last_error || '; the pause is over',
       format('the next answer decides, or SELECT provider_resume(%L)', p.name)
FROM provider_status p
WHERE p.breaker = 'half-open' AND p.last_error_at > reckoner_now() - interval '1 day'
UNION ALL
SELECT q.name, 'out of quota', q.per, q.resets_at,
       format('%s of %s requests of the %s are used', q.used, q.allowed, q.per),
       format('it goes on by itself; where the plan allows more, UPDATE provider_quotas SET per_%s = 2 * per_%s '
              'WHERE name = %L; SELECT provider_resume(%L)', q.per, q.per, q.name, q.name)
FROM provider_quota_status q WHERE q.remaining = 0;

-- Ends a provider's pause, resets its failures, and makes ticker events that wait for a provider ready
-- at once. Returns the number of these events.
CREATE OR REPLACE FUNCTION provider_resume(p_name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_ready bigint;
BEGIN
    UPDATE reckoner_providers SET paused_until = NULL, pause_reason = NULL, failures = 0, failed_in_row = 0,
                                  bad_symbol = NULL
    WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no provider "%", or it was never asked', p_name
            USING ERRCODE = 'no_data_found', HINT = 'SELECT name FROM reckoner_providers';
    END IF;
    -- Delayed events have a last_error and are pending; failed and new events keep their time.
    UPDATE outbox SET status = 'pending'
    WHERE topic = 'ticker' AND status = 'pending' AND available_at > reckoner_now() AND last_error IS NOT NULL;
    GET DIAGNOSTICS v_ready = ROW_COUNT;
    RETURN v_ready;
END
$$;
REVOKE ALL ON FUNCTION
    quota_reserve(p_name text, p_cost integer),
    quota_exhausted(p_name text, p_per text),
    provider_resume(p_name text)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/45_quota.sql', '05d13dab6cedbb3f0e3c2c1aab98a73ec0259d90d0f4c63e7000e8a48ab78206')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
