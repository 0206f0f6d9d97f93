BEGIN;
-- The limits of price providers that all workers share: pace, pauses, failures in a row.
-- Called by market/providers/limits.py and selection.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Acquires one request that costs p_cost of the quota. Returns paused_until and the reason where the
-- provider is paused or its quota is used. Otherwise reserves the cost and the request's turn, and
-- returns the seconds until that turn. All workers share the reservations, so that the pace does not
-- grow with their number. A turn more than ten seconds ahead is not reserved: the event waits in the
-- outbox instead of a lane.
CREATE OR REPLACE FUNCTION provider_acquire(p_name text, p_cost integer)
RETURNS TABLE (paused_until timestamptz, reason text, wait_seconds double precision)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now      timestamptz := reckoner_now();
    v_provider reckoner_providers;
    v_at       timestamptz;
    v_quota    record;
BEGIN
    INSERT INTO reckoner_providers (name) VALUES (p_name) ON CONFLICT (name) DO NOTHING;
    SELECT * INTO v_provider FROM reckoner_providers WHERE name = p_name FOR UPDATE;
    IF v_provider.paused_until > v_now THEN
        RETURN QUERY SELECT v_provider.paused_until, v_provider.pause_reason, NULL::double precision;
        RETURN;
    END IF;
    v_at := greatest(v_provider.next_request_at, v_now);
    IF v_at > v_now + interval '10 seconds' THEN
        RETURN QUERY SELECT v_at, format('%s is busy: %s between requests', p_name, v_provider.spacing),
                            NULL::double precision;
        RETURN;
    END IF;
    SELECT * INTO v_quota FROM quota_reserve(p_name, p_cost);
    IF v_quota.until IS NOT NULL THEN
        RETURN QUERY SELECT v_quota.until, v_quota.reason, NULL::double precision;
        RETURN;
    END IF;
    IF v_provider.spacing > interval '0' THEN
        UPDATE reckoner_providers SET next_request_at = v_at + spacing WHERE name = p_name;
    END IF;
    RETURN QUERY SELECT NULL::timestamptz, NULL::text, extract(epoch FROM v_at - v_now)::double precision;
END
$$;

-- The end and the reason of a provider's pause; NULLs where it is not paused.
CREATE OR REPLACE FUNCTION provider_paused(p_name text)
RETURNS TABLE (paused_until timestamptz, reason text) LANGUAGE sql STABLE AS $$
    SELECT p.paused_until, p.pause_reason
    FROM (SELECT p_name AS name) n
    LEFT JOIN reckoner_providers p ON p.name = n.name AND p.paused_until > reckoner_now()
$$;

-- Records an answer; p_knew: the provider knew the symbol. It writes once a minute at most, so that
-- fetches of many symbols do not queue for this row.
CREATE OR REPLACE FUNCTION provider_answered(p_name text, p_knew boolean) RETURNS void
LANGUAGE sql AS $$
    UPDATE reckoner_providers
    SET failures = 0, failed_in_row = 0, bad_symbol = NULL, last_ok_at = CASE WHEN p_knew THEN reckoner_now() ELSE last_ok_at END,
        paused_until = NULL, pause_reason = NULL
    WHERE name = p_name
      AND (failures > 0 OR failed_in_row > 0 OR (p_knew AND (last_ok_at IS NULL
                                        OR last_ok_at < reckoner_now() - interval '1 minute')))
$$;

-- Pauses a provider for all workers. Returns the end of the pause.
CREATE OR REPLACE FUNCTION provider_pause(p_name text, p_seconds double precision, p_reason text)
RETURNS timestamptz LANGUAGE sql AS $$
    UPDATE reckoner_providers
    SET paused_until = greatest(paused_until, reckoner_now() + make_interval(secs => p_seconds)),
        pause_reason = one_line(p_reason), last_error = one_line(p_reason), last_error_at = reckoner_now()
    WHERE name = p_name
    RETURNING paused_until
$$;

-- Records a request without a usable answer; returns the time of the next try. The third failure in a
-- row opens the breaker for 30 s, doubling to 15 minutes; after each pause the next failure opens it
-- again. Failures of requests that were in flight when it opened belong to the same outage and do not
-- count. p_symbol: the answer was bad for this symbol; a second one for the same symbol does not count,
-- because the fault may be the symbol's.
CREATE OR REPLACE FUNCTION provider_failed(p_name text, p_reason text, p_symbol text)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    v_provider reckoner_providers;
BEGIN
    UPDATE reckoner_providers
    SET failures = failures + CASE WHEN bad_symbol = p_symbol THEN 0 ELSE 1 END,
        bad_symbol = p_symbol, last_error = one_line(p_reason), last_error_at = reckoner_now()
    WHERE name = p_name AND (paused_until IS NULL OR paused_until <= reckoner_now())
    RETURNING * INTO v_provider;
    IF NOT FOUND THEN
        RETURN (SELECT paused_until FROM reckoner_providers WHERE name = p_name);
    END IF;
    IF v_provider.failures < 3 THEN
        RETURN reckoner_now() + interval '10 seconds';
    END IF;
    RETURN provider_pause(
        p_name, least(900, 30 * 2 ^ least(v_provider.failures - 3, 10)),
        format('%s failures in a row, last: %s', v_provider.failures, p_reason));
END
$$;

-- Counts an unusable answer: in a row, for health, and by its class, for `market providers`.
CREATE OR REPLACE FUNCTION provider_erred(p_name text, p_kind text, p_message text) RETURNS void
LANGUAGE sql AS $$
    UPDATE reckoner_providers
    SET failed_in_row = failed_in_row + 1, last_error = one_line(p_message), last_error_at = reckoner_now()
    WHERE name = p_name;
    DELETE FROM provider_errors WHERE hour < reckoner_now() - interval '7 days';
    INSERT INTO provider_errors AS e (name, hour, kind, count, message)
    VALUES (p_name, date_trunc('hour', reckoner_now(), 'UTC'), p_kind, 1, one_line(p_message))
    ON CONFLICT (name, hour, kind) DO UPDATE SET count = e.count + 1, message = excluded.message
$$;

-- The part of a weight that is left after a time: half of it after a week.
CREATE OR REPLACE FUNCTION provider_decay(p_since timestamptz) RETURNS double precision
LANGUAGE sql STABLE AS $$
    SELECT coalesce(0.5 ^ (greatest(extract(epoch FROM public.reckoner_now() - p_since), 0) / 604800.0), 0)::double precision
$$;

-- Adds one answer to the score: p_worth from 0 (unusable) to 1 (complete and fresh).
CREATE OR REPLACE FUNCTION provider_scored(p_name text, p_worth double precision) RETURNS void
LANGUAGE sql AS $$
    UPDATE reckoner_providers
    SET good = good * provider_decay(scored_at) + p_worth,
        bad = bad * provider_decay(scored_at) + 1 - p_worth, scored_at = reckoner_now()
    WHERE name = p_name
$$;

-- The present weights of providers' good and bad answers, in the order of the names, and whether the
-- newest bar of the symbol came from this provider.
CREATE OR REPLACE FUNCTION provider_merits(p_names text[], p_symbol text)
RETURNS TABLE (name text, good double precision, bad double precision, is_source boolean)
LANGUAGE sql STABLE AS $$
    SELECT n.name, coalesce(p.good * provider_decay(p.scored_at), 0),
           coalesce(p.bad * provider_decay(p.scored_at), 0), (n.name = s.source) IS TRUE
    FROM unnest(p_names) WITH ORDINALITY AS n(name, place)
    LEFT JOIN reckoner_providers p USING (name)
    LEFT JOIN LATERAL (SELECT m.source FROM our_bars m WHERE m.symbol = p_symbol
                       ORDER BY m.date DESC LIMIT 1) s ON true
    ORDER BY n.place
$$;

-- The state of each provider, for people: its pause, its score, its errors of the last day.
-- breaker: closed; open (three failures in a row or more, no request is sent); half-open (the next
-- answer decides); paused (the provider demanded it: throttled, or the plan's limit).
CREATE OR REPLACE VIEW provider_status AS
SELECT p.name,
       CASE WHEN p.paused_until > reckoner_now() AND p.failures >= 3 THEN 'open'
            WHEN p.paused_until > reckoner_now() THEN 'paused'
            WHEN p.failures >= 3 THEN 'half-open' ELSE 'closed' END AS breaker,
       CASE WHEN p.paused_until > reckoner_now() THEN p.paused_until END AS paused_until,
       CASE WHEN p.paused_until > reckoner_now() THEN p.pause_reason END AS pause_reason,
       p.failures, p.last_ok_at, p.last_error, p.last_error_at,
       (SELECT jsonb_object_agg(e.kind, e.count)
        FROM (SELECT kind, sum(count) AS count FROM provider_errors
              WHERE name = p.name AND hour > reckoner_now() - interval '1 day' GROUP BY kind) e) AS errors,
       CASE WHEN d.weight > 0 THEN p.good / (p.good + p.bad) END AS score, d.weight AS answers_scored,
       p.failed_in_row
FROM reckoner_providers p
CROSS JOIN LATERAL (SELECT (p.good + p.bad) * provider_decay(p.scored_at) AS weight) d;

-- The same for the providers in use (p_names), in their order and with their quotas, then the others.
-- A provider in use without any request has a row too. Called by market/providers/status.py.
CREATE OR REPLACE FUNCTION provider_overview(p_names text[])
RETURNS TABLE (name text, breaker text, paused_until timestamptz, pause_reason text, used jsonb,
               remaining jsonb, last_ok_at timestamptz, score double precision,
               answers double precision, errors jsonb, last_error text, failed_in_row integer)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN -- PL/pgSQL, because provider_quota_status is in a later file
    RETURN QUERY
    SELECT k.name, coalesce(p.breaker, 'closed'), p.paused_until, p.pause_reason, q.used, q.remaining,
           p.last_ok_at, p.score, p.answers_scored, p.errors, p.last_error, coalesce(p.failed_in_row, 0)
    FROM (SELECT n.name, n.place FROM unnest(p_names) WITH ORDINALITY AS n(name, place)
          UNION ALL
          SELECT s.name, NULL FROM provider_status s WHERE s.name <> ALL (p_names)) k
    LEFT JOIN provider_status p ON p.name = k.name
    LEFT JOIN LATERAL (SELECT jsonb_object_agg(s.per, s.used) AS used,
                              jsonb_object_agg(s.per, s.remaining) AS remaining
                       FROM provider_quota_status s WHERE s.name = k.name) q ON true
    ORDER BY k.place NULLS LAST, k.name;
END
$$;
REVOKE ALL ON FUNCTION
    provider_acquire(p_name text, p_cost integer),
    provider_paused(p_name text),
    provider_answered(p_name text, p_knew boolean),
    provider_pause(p_name text, p_seconds double precision, p_reason text),
    provider_failed(p_name text, p_reason text, p_symbol text),
    provider_erred(p_name text, p_kind text, p_message text),
    provider_scored(p_name text, p_worth double precision),
    provider_merits(p_names text[], p_symbol text),
    provider_overview(p_names text[])
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/44_providers.sql', '6ff3e450699638aa6ec04350fd192ffc4458845a6c121cc0452d192b4029e187')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
