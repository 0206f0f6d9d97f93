BEGIN;
-- What all workers know of a price provider: its pace, its pauses, its failures in a row.
-- Called by market/providers/state.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Asks for one request. Either the provider is paused (paused_until says how long), or a
-- place in its queue is reserved and wait_seconds says when it comes. Reservations are
-- shared by all workers, so the pace holds however many there are. A place more than ten
-- seconds away is not reserved: that event had better wait in the outbox.
CREATE OR REPLACE FUNCTION provider_admit(p_name text)
RETURNS TABLE (paused_until timestamptz, reason text, wait_seconds double precision)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now      timestamptz := reckoner_now();
    v_provider reckoner_providers;
    v_at       timestamptz;
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
    IF v_provider.spacing > interval '0' THEN
        UPDATE reckoner_providers SET next_request_at = v_at + spacing WHERE name = p_name;
    END IF;
    RETURN QUERY SELECT NULL::timestamptz, NULL::text, extract(epoch FROM v_at - v_now)::double precision;
END
$$;

-- Whether a provider is paused now: until when and why, else NULLs.
CREATE OR REPLACE FUNCTION provider_paused(p_name text)
RETURNS TABLE (paused_until timestamptz, reason text) LANGUAGE sql STABLE AS $$
    SELECT p.paused_until, p.pause_reason
    FROM (SELECT p_name AS name) asked
    LEFT JOIN reckoner_providers p ON p.name = asked.name AND p.paused_until > reckoner_now()
$$;

-- An answer: the provider is up; p_knew: and it knew the symbol. Written once a minute at
-- most, so that fetches of many symbols do not queue for this row.
CREATE OR REPLACE FUNCTION provider_answered(p_name text, p_knew boolean) RETURNS void
LANGUAGE sql AS $$
    UPDATE reckoner_providers
    SET failures = 0, bad_symbol = NULL, last_ok_at = CASE WHEN p_knew THEN reckoner_now() ELSE last_ok_at END,
        paused_until = NULL, pause_reason = NULL
    WHERE name = p_name
      AND (failures > 0 OR (p_knew AND (last_ok_at IS NULL
                                        OR last_ok_at < reckoner_now() - interval '1 minute')))
$$;

-- Nobody asks this provider for a while.
CREATE OR REPLACE FUNCTION provider_pause(p_name text, p_seconds double precision, p_reason text)
RETURNS timestamptz LANGUAGE sql AS $$
    UPDATE reckoner_providers
    SET paused_until = greatest(paused_until, reckoner_now() + make_interval(secs => p_seconds)),
        pause_reason = one_line(p_reason), last_error = one_line(p_reason), last_error_at = reckoner_now()
    WHERE name = p_name
    RETURNING paused_until
$$;

DROP FUNCTION IF EXISTS provider_failed(text, text);

-- No usable answer. The third in a row opens the circuit: 30 s, doubling to 15 minutes;
-- after each pause the next failure opens it again. Failures of requests that were under way
-- when it opened belong to the same outage and count no more. p_symbol: the answer was bad for
-- this symbol; again for the same one it says nothing of the provider, and does not count.
-- Returns when to ask again.
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
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/44_providers.sql', '0937901a855862b67a679afb22b68db68e5b65b68abe2fc50e5419d728e12314')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
