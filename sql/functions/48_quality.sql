BEGIN;
-- The ingestion audit: each fetch with its attempts, and each validation. Called by
-- market/prices/ingestion.py, in the transaction that stores the bars.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The stored data for the validation of answers for p_from to p_to: closes of ours in that range and
-- the last one before it, closes of other programs in that range, the splits and dividends of all
-- providers, and the last session that has opened (begun).
CREATE OR REPLACE FUNCTION validation_known(p_symbol text, p_calendar text, p_from date, p_to date)
RETURNS TABLE (begun date, dates date[], closes double precision[],
                 other_dates date[], other_closes double precision[],
                 action_dates date[], kinds text[], amounts double precision[]) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT (SELECT max(s.session) FROM market_sessions s
            WHERE s.calendar = p_calendar AND s.opens_at <= reckoner_now()
              AND s.closes_at > reckoner_now() - interval '7 days'),
           p.dates, p.closes, o.dates, o.closes, a.dates, a.kinds, a.amounts
    FROM (SELECT array_agg(date) AS dates, array_agg(close) AS closes FROM our_bars
          WHERE symbol = p_symbol AND date <= p_to
            AND date >= coalesce((SELECT max(b.date) FROM our_bars b WHERE b.symbol = p_symbol AND b.date < p_from),
                                 p_from)) p,
         (SELECT array_agg(date) AS dates, array_agg(close) AS closes FROM market_prices
          WHERE symbol = p_symbol AND fetched_at IS NULL AND date BETWEEN p_from AND p_to) o,
         (SELECT array_agg(date) AS dates, array_agg(kind) AS kinds, array_agg(value) AS amounts
          FROM corporate_actions WHERE symbol = p_symbol AND date <= p_to) a;
END
$$;

-- Adds one fetch to the ingestion audit, with the validations of its responses (p_checks: a JSON list of
-- rows of data_quality_log), at one moment. Returns the fetch's row.
CREATE OR REPLACE FUNCTION ingestion_audit_add(p_run jsonb, p_checks jsonb) RETURNS ingestion_audit
LANGUAGE sql AS $$
    INSERT INTO data_quality_log (symbol, provider, range_from, range_to, given, rejected,
                                  flagged, expected, missing, parts, notes, score, verdict, "interval")
    SELECT c.symbol, c.provider, c.range_from, c.range_to, c.given, c.rejected,
           c.flagged, c.expected, c.missing, c.parts, c.notes, c.score, c.verdict, coalesce(c."interval", '1d')
    FROM jsonb_populate_recordset(NULL::data_quality_log, p_checks) c;

    INSERT INTO ingestion_audit (symbol, job, outcome, provider, range_from, range_to, rows,
                                 inserted, updated, rejected, score, hash, payload_id, duration, error, asked, "interval")
    SELECT r.symbol, r.job, r.outcome, r.provider, r.range_from, r.range_to, r.rows,
           r.inserted, r.updated, r.rejected, r.score, r.hash, r.payload_id, r.duration,
           one_line(r.error), r.asked, coalesce(r."interval", '1d')
    FROM jsonb_populate_record(NULL::ingestion_audit, p_run) r
    RETURNING ingestion_audit
$$;

-- The attempts for a symbol that were not clean, a line each: those without bars with the id of their
-- payload, and those with rejected or flagged rows with the first notes.
CREATE OR REPLACE FUNCTION ingestion_audit_lines(p_symbol text, p_since timestamptz)
RETURNS TABLE (at timestamptz, subject text, story text) LANGUAGE sql STABLE AS $$
    SELECT r.finished_at, 'answer',
           CASE WHEN a.value ->> 'class' = 'paused' THEN 'not asked: ' || (a.value ->> 'message')
                ELSE format('%s: %s', a.value ->> 'provider', coalesce(nullif(a.value ->> 'verdict', 'accepted'), a.value ->> 'class'))
                     || coalesce(' ' || nullif(a.value ->> 'message', ''), '') END
           || coalesce(', score ' || (a.value ->> 'score'), '')
           || coalesce(' (payload ' || (a.value ->> 'payload_id') || ')', '')
           || coalesce(': ' || (SELECT array_to_string(q.notes[1:3], '; ') FROM data_quality_log q
                                WHERE q.symbol = p_symbol AND q.checked_at = r.finished_at
                                  AND q.provider = a.value ->> 'provider' AND q.verdict = a.value ->> 'verdict'
                                  AND q.score = (a.value ->> 'score')::float8
                                ORDER BY q.id LIMIT 1), '')
    FROM ingestion_audit r CROSS JOIN jsonb_array_elements(r.asked) WITH ORDINALITY a(value, n)
    WHERE r.symbol = p_symbol AND r.finished_at >= p_since
      AND NOT (a.value ->> 'class' = 'ok' AND coalesce(a.value ->> 'verdict', 'accepted') = 'accepted')
      -- Without an empty answer that was the fetch's result; another one made the next provider be asked.
      AND NOT (a.value ->> 'class' = 'empty' AND a.value ->> 'provider' IS NOT DISTINCT FROM r.provider)
    ORDER BY r.finished_at, r.id, a.n
$$;

-- Deletes validations and fetches older than p_days, at most 10,000 of each a call. Returns their number.
CREATE OR REPLACE FUNCTION sweep_records(p_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_before timestamptz := reckoner_now() - make_interval(days => p_days);
    v_checks bigint;
    v_runs   bigint;
BEGIN
    DELETE FROM data_quality_log WHERE id = ANY (ARRAY(
        SELECT id FROM data_quality_log WHERE checked_at < v_before ORDER BY checked_at LIMIT 10000));
    GET DIAGNOSTICS v_checks = ROW_COUNT;
    DELETE FROM ingestion_audit WHERE id = ANY (ARRAY(
        SELECT id FROM ingestion_audit WHERE finished_at < v_before ORDER BY finished_at LIMIT 10000));
    GET DIAGNOSTICS v_runs = ROW_COUNT;
    RETURN v_checks + v_runs;
END
$$;
REVOKE ALL ON FUNCTION
    validation_known(p_symbol text, p_calendar text, p_from date, p_to date),
    ingestion_audit_add(p_run jsonb, p_checks jsonb),
    ingestion_audit_lines(p_symbol text, p_since timestamptz),
    sweep_records(p_days integer)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/48_quality.sql', 'f088f71fc3acf9e69d9156af9a13afe902c548e494ad290a256f767983150304')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
