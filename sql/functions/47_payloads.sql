BEGIN;
-- Payloads: each body is stored once, and deleted by the sweep. Called by market/prices/ingestion.py
-- and worker/sweep.py.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- Stores bodies that are new, and updates last_seen_at of the others once a day. Many answers have the
-- same body ("Too Many Requests"): a stored one is not locked, so that no fetch waits for another. New
-- ones are inserted in the order of their hashes, so that two calls do not deadlock.
CREATE OR REPLACE FUNCTION payloads_keep(
    p_hashes text[], p_providers text[], p_urls text[], p_statuses integer[], p_classes text[],
    p_sizes integer[], p_bodies bytea[]
) RETURNS TABLE (hash text, payload_id bigint) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := reckoner_now();
BEGIN
    UPDATE provider_payloads SET last_seen_at = v_now WHERE id IN (
        SELECT p.id FROM provider_payloads p
        WHERE p.sha256 = ANY (p_hashes) AND p.last_seen_at < v_now - interval '1 day'
        FOR NO KEY UPDATE SKIP LOCKED);
    INSERT INTO provider_payloads
        (sha256, provider, url, status, class, size, body)
    SELECT DISTINCT ON (g.sha256) g.sha256, g.provider, g.url, g.status, g.class, g.size, g.body
    FROM unnest(p_hashes, p_providers, p_urls, p_statuses, p_classes, p_sizes, p_bodies)
         AS g(sha256, provider, url, status, class, size, body)
    WHERE NOT EXISTS (SELECT FROM provider_payloads p WHERE p.sha256 = g.sha256)
    ORDER BY g.sha256
    ON CONFLICT (sha256) DO NOTHING;
    RETURN QUERY SELECT p.sha256, p.id FROM provider_payloads p WHERE p.sha256 = ANY (p_hashes);
END
$$;

-- Deletes payloads that were not seen for p_days, at most 1,000 a call; 0 days: all. Returns their number.
CREATE OR REPLACE FUNCTION sweep_payloads(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_pruned bigint;
BEGIN
    DELETE FROM provider_payloads WHERE id = ANY (ARRAY(
        SELECT id FROM provider_payloads
        WHERE last_seen_at < reckoner_now() - make_interval(days => p_days)
        ORDER BY last_seen_at LIMIT 1000));
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    RETURN v_pruned;
END
$$;

-- A payload in words; of a deleted one its hash.
CREATE OR REPLACE FUNCTION payload_in_words(p_symbol text, p_payload_id bigint) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT format('%s%s, %s bytes from %s, sha256 %s; to read it: python -m market payload %s',
                       p.class, coalesce(' with status ' || p.status, ''), p.size, p.url, p.sha256, p.id)
         FROM provider_payloads p WHERE p.id = p_payload_id),
        (SELECT format('no longer kept, sha256 %s', a.hash) FROM ingestion_audit a
         WHERE a.symbol = p_symbol AND a.payload_id = p_payload_id ORDER BY a.finished_at LIMIT 1),
        'no longer kept')
$$;
REVOKE ALL ON FUNCTION
    payloads_keep(p_hashes text[], p_providers text[], p_urls text[], p_statuses integer[], p_classes text[], p_sizes integer[], p_bodies bytea[] ),
    sweep_payloads(p_days integer),
    payload_in_words(p_symbol text, p_payload_id bigint)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/47_payloads.sql', '11d7395bad59d9902a9b849080b41e0bb4081b629f5f964b5416655d09effcc1')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
