BEGIN;
-- Jobs: the prices of many symbols, requested at once and fetched by all workers. Called by
-- market/prices/jobs.py. A job is rows, so that its progress can be read from any machine.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The rows of a job of this kind: for each symbol the day from which on its fetch is due, or the reason
-- why none is. p_symbols NULL: all active tickers; p_from, p_to: the job's range.
--   backfill  from the first day of the range that price_coverage does not cover
--   missing   the same, for tickers without a bar of ours
--   sync      from the first session of the range that is over and has no bar; the range begins with the
--             session that health expects at the latest (session_due), also after a week of holidays
--   update    the newest session that is over, where it has no bar
--   stale     from the session after the newest bar, where that is more than one session behind; without a
--             bar from the range's first day
-- A sync or update of all tickers takes expected_tickers (43_symbol_stats.sql). sync and update return only symbols that lack a bar.
CREATE OR REPLACE FUNCTION job_wants(p_kind text, p_symbols text[], p_from date, p_to date)
RETURNS TABLE (symbol text, want_from date, state text, reason text) LANGUAGE sql STABLE AS $$
    WITH wanted AS (
        SELECT r.*, coalesce(r.calendar, symbol_calendar(r.symbol)) AS sessions_of, v.covered_to, session_due(coalesce(r.calendar, symbol_calendar(r.symbol))) AS due
        FROM ticker_registry r CROSS JOIN LATERAL coverage_span(r.symbol, '1d') v
        WHERE CASE WHEN p_symbols IS NULL
                   THEN r.status = 'active' AND normalize_symbol(r.symbol) = r.symbol
                   ELSE r.symbol = ANY (p_symbols) END
    ), backfill AS (
        SELECT a.symbol, h.want_from, a.status, a.status_reason,
               a.status = 'active' AND a.covered_to IS NOT NULL AND h.want_from IS NULL AS is_there
        FROM wanted a CROSS JOIN LATERAL (
            SELECT min(h."from") AS want_from
            FROM coverage_holes(a.symbol, '1d', a.sessions_of, p_from,
                                least(p_to, (session_last_settled(a.sessions_of)).session)) h) h
        WHERE p_kind = 'backfill'
           OR (p_kind = 'missing' AND NOT EXISTS (SELECT FROM our_bars p WHERE p.symbol = a.symbol))
    ), gaps AS (
        SELECT a.symbol, g.session
        FROM wanted a CROSS JOIN LATERAL (
            SELECT min(s.session) AS session FROM market_sessions s
            WHERE s.calendar = a.sessions_of
              AND s.session BETWEEN CASE WHEN p_kind = 'update'
                                         THEN (session_last_settled(a.sessions_of)).session
                                         ELSE least(p_from, a.due) END
                                AND p_to
              AND s.closes_at <= reckoner_now() - session_settling(a.sessions_of)
              AND NOT EXISTS (SELECT FROM our_bars p WHERE p.symbol = a.symbol AND p.date = s.session)) g
        WHERE p_kind IN ('sync', 'update') AND a.status = 'active' AND g.session IS NOT NULL
          AND (p_symbols IS NOT NULL OR a.symbol IN (SELECT t.symbol FROM expected_tickers t))
    ), stale AS (
        SELECT a.symbol, a.sessions_of,
               (SELECT min(s.session) FROM market_sessions s
                WHERE s.calendar = a.sessions_of AND s.session > b.last) AS want_from
        FROM wanted a CROSS JOIN LATERAL (
            SELECT max(p.date) AS last FROM our_bars p WHERE p.symbol = a.symbol) b
        WHERE p_kind = 'stale' AND a.status = 'active' AND (b.last < a.due OR b.last IS NULL OR a.due IS NULL)
    )
    SELECT b.symbol::text, coalesce(b.want_from, p_from),
           CASE WHEN b.status = 'inactive' THEN 'failed' WHEN b.is_there THEN 'done' ELSE 'open' END,
           CASE WHEN b.status = 'inactive' THEN 'the ticker is inactive: ' || coalesce(b.status_reason, 'no reason given')
                WHEN b.is_there THEN 'was there' END
    FROM backfill b
    UNION ALL
    SELECT g.symbol::text, g.session, 'open', NULL FROM gaps g
    UNION ALL
    SELECT t.symbol::text, coalesce(t.want_from, p_from),
           CASE WHEN starts_with(t.sessions_of, '?') THEN 'failed' ELSE 'open' END, calendar_unknown(t.sessions_of)
    FROM stale t
$$;

-- Writes a job with its rows and events. p_named: a person starts it, so that dead events are requeued
-- too; the sweep does not requeue them. Returns the job's id; in a dry run, which writes nothing, NULL.
CREATE OR REPLACE FUNCTION job_write(
    p_kind text, p_from date, p_to date, p_priority integer, p_named boolean, p_symbols text[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint;
BEGIN
    IF reckoner_dry_run() THEN
        RETURN NULL;
    END IF;
    INSERT INTO price_jobs (kind, range_from, range_to, priority)
    VALUES (p_kind, p_from, p_to, p_priority) RETURNING id INTO v_id;
    INSERT INTO price_job_symbols (job_id, symbol, want_from, state, reason, settled_at)
    SELECT v_id, w.symbol, w.want_from, w.state, w.reason,
           CASE WHEN w.state <> 'open' THEN reckoner_now() END
    FROM job_wants(p_kind, p_symbols, p_from, p_to) w;
    PERFORM ticker_enqueue(ARRAY(
        SELECT s.symbol FROM price_job_symbols s WHERE s.job_id = v_id AND s.state = 'open'),
        p_priority, p_named);
    RETURN v_id;
END
$$;

-- Writes a person's job, and registers its new symbols first: for `stale` those that an index or a holding
-- brought. Returns the job's id.
CREATE OR REPLACE FUNCTION job_start(p_kind text, p_symbols text[], p_from date, p_to date, p_priority integer)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_new text[] := CASE WHEN p_kind = 'stale' AND p_symbols IS NULL THEN ARRAY(SELECT tracked_register())
                         ELSE ARRAY(SELECT registry_register(p_symbols, '{}')) END;
    v_id  bigint := job_write(p_kind => p_kind, p_from => p_from, p_to => p_to, p_priority => p_priority,
                              p_named => true, p_symbols => p_symbols);
BEGIN
    -- The registry's trigger wrote their events at normal priority.
    UPDATE outbox SET priority = p_priority
    WHERE topic = 'ticker' AND status <> 'processing' AND key = ANY (v_new);
    RETURN v_id;
END
$$;

-- The progress that a person's job would begin with, in the columns of job_progress(); writes nothing.
-- Symbols that are not registered would be, and fetched.
CREATE OR REPLACE FUNCTION job_preview(p_kind text, p_symbols text[], p_from date, p_to date)
RETURNS TABLE (job bigint, kind text, range_from date, range_to date, symbols bigint, done bigint,
               failed bigint, "left" bigint, rows bigint, rows_per_second double precision,
               eta interval, providers jsonb, workers bigint, waits_for text,
               created_at timestamptz, settled_at timestamptz)
LANGUAGE sql STABLE AS $$
    WITH wanted AS (
        SELECT w.state FROM job_wants(p_kind, p_symbols, p_from, p_to) w
        UNION ALL
        SELECT 'open' FROM (SELECT DISTINCT unnest(p_symbols) AS symbol) n
        WHERE NOT EXISTS (SELECT FROM ticker_registry r WHERE r.symbol = n.symbol)
    )
    SELECT NULL::bigint, p_kind, p_from, p_to, count(*), count(*) FILTER (WHERE state = 'done'),
           count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'open'), 0::bigint,
           0::double precision, NULL::interval, '{}'::jsonb,
           (SELECT count(*) FROM worker_status WHERE alive), NULL::text, reckoner_now(), NULL::timestamptz
    FROM wanted
$$;

-- Resumes a job: opens its failed rows again, and writes an event for each open row that has no waiting
-- one. Returns the number of open rows.
CREATE OR REPLACE FUNCTION job_resume(p_job bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_job  price_jobs;
    v_open text[];
BEGIN
    SELECT * INTO v_job FROM price_jobs WHERE id = p_job;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no job %', p_job USING ERRCODE = 'no_data_found';
    END IF;
    UPDATE price_job_symbols s SET state = 'open', reason = NULL, settled_at = NULL
    FROM ticker_registry r
    WHERE s.job_id = p_job AND s.state = 'failed' AND r.symbol = s.symbol AND r.status <> 'inactive';
    v_open := ARRAY(SELECT s.symbol FROM price_job_symbols s JOIN ticker_registry r ON r.symbol = s.symbol
                    WHERE s.job_id = p_job AND s.state = 'open' AND r.status <> 'inactive');
    PERFORM ticker_enqueue(v_open, v_job.priority, true);
    RETURN cardinality(v_open);
END
$$;

-- Settles a symbol's rows after a fetch, in the jobs that its plan served. Rows of jobs that were written
-- during the fetch stay open, because their own event follows. Returns the number of settled rows.
CREATE OR REPLACE FUNCTION job_settle(
    p_symbol text, p_jobs bigint[], p_state text, p_rows integer, p_provider text, p_reason text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_settled bigint;
BEGIN
    UPDATE price_job_symbols s
    SET state = p_state, rows = p_rows, provider = p_provider, reason = one_line(p_reason),
        settled_at = reckoner_now()
    WHERE s.symbol = p_symbol AND s.state = 'open' AND s.job_id = ANY (p_jobs);
    GET DIAGNOSTICS v_settled = ROW_COUNT;
    RETURN v_settled;
END
$$;

-- A job's symbols. state: done; failed; working; waiting, with the reason; parked: its event is dead;
-- cancelled: its event was cancelled. job_resume() resumes failed, parked and cancelled ones.
CREATE OR REPLACE FUNCTION job_symbols(p_job bigint)
RETURNS TABLE (symbol text, state text, want_from date, rows integer, provider text, reason text,
               settled_at timestamptz) LANGUAGE sql STABLE AS $$
    -- MATERIALIZED: reads the outbox once, also where the planner's statistics of it are old.
    WITH live AS MATERIALIZED (
        SELECT key, bool_or(status = 'processing') AS working, bool_or(status <> 'dead') AS waiting,
               max(last_error) AS last_error
        FROM outbox WHERE topic = 'ticker' GROUP BY key
    )
    SELECT s.symbol,
           CASE WHEN s.state <> 'open' THEN s.state WHEN e.key IS NULL THEN 'cancelled'
                WHEN e.working THEN 'working' WHEN e.waiting THEN 'waiting' ELSE 'parked' END,
           s.want_from, s.rows, s.provider,
           CASE WHEN s.state <> 'open' THEN s.reason
                WHEN e.key IS NULL THEN 'its event was cancelled' ELSE e.last_error END,
           s.settled_at
    FROM price_job_symbols s LEFT JOIN live e ON e.key = s.symbol AND s.state = 'open'
    WHERE s.job_id = p_job ORDER BY s.symbol
$$;

-- A job's progress; no row where there is no such job.
-- left: symbols that a worker works on or will work on. failed: with the parked and cancelled ones.
-- rows_per_second: in the last minute while symbols are left, else of the whole job. eta: at that pace; NULL
-- where no symbol was settled in the last minute.
CREATE OR REPLACE FUNCTION job_progress(p_job bigint)
RETURNS TABLE (job bigint, kind text, range_from date, range_to date, symbols bigint, done bigint,
               failed bigint, "left" bigint, rows bigint, rows_per_second double precision,
               eta interval, providers jsonb, workers bigint, waits_for text,
               created_at timestamptz, settled_at timestamptz)
LANGUAGE sql STABLE AS $$
    WITH each AS MATERIALIZED (SELECT * FROM job_symbols(p_job)), job AS (
        SELECT * FROM price_jobs WHERE id = p_job
    ), sums AS (
        SELECT count(*) AS symbols, count(*) FILTER (WHERE state = 'done') AS done,
               count(*) FILTER (WHERE state IN ('failed', 'parked', 'cancelled')) AS failed,
               count(*) FILTER (WHERE state IN ('waiting', 'working')) AS left,
               coalesce(sum(rows), 0) AS rows, max(settled_at) AS settled_at,
               mode() WITHIN GROUP (ORDER BY reason) FILTER (WHERE state = 'waiting') AS waits_for
        FROM each
    ), pace AS (
        SELECT greatest(extract(epoch FROM p.till - p.since), 0.001)::float8 AS seconds,
               coalesce(sum(e.rows), 0) AS rows, count(e.symbol) AS n
        FROM (SELECT CASE WHEN s.left > 0 THEN greatest(j.created_at, reckoner_now() - interval '1 minute')
                          ELSE j.created_at END AS since,
                     CASE WHEN s.left > 0 THEN reckoner_now() ELSE coalesce(s.settled_at, j.created_at) END AS till
              FROM job j, sums s) p
        LEFT JOIN each e ON e.settled_at > p.since AND e.settled_at <= p.till
        GROUP BY p.since, p.till
    )
    SELECT j.id, j.kind, j.range_from, j.range_to, s.symbols, s.done, s.failed, s.left, s.rows::bigint,
           p.rows / p.seconds,
           CASE WHEN s.left > 0 AND p.n > 0 THEN make_interval(secs => s.left * p.seconds / p.n) END,
           (SELECT coalesce(jsonb_object_agg(provider, n), '{}')
            FROM (SELECT provider, count(*) AS n FROM each WHERE provider IS NOT NULL GROUP BY 1) g),
           (SELECT count(*) FROM worker_status WHERE alive), s.waits_for, j.created_at,
           CASE WHEN s.left = 0 THEN coalesce(s.settled_at, j.created_at) END
    FROM job j, sums s, pace p
$$;

-- The fetches of a job, with those that were retried. Sorted by their end, because ids are not in the
-- order of commits.
CREATE OR REPLACE FUNCTION job_fetches(p_job bigint) RETURNS SETOF ingestion_audit LANGUAGE sql STABLE AS $$
    SELECT a.* FROM ingestion_audit a
    WHERE a.finished_at >= (SELECT created_at FROM price_jobs WHERE id = p_job)
      AND 'job ' || p_job = ANY (string_to_array(a.job, ', '))
    ORDER BY a.finished_at, a.id
$$;
REVOKE ALL ON FUNCTION
    job_wants(p_kind text, p_symbols text[], p_from date, p_to date),
    job_write(p_kind text, p_from date, p_to date, p_priority integer, p_named boolean, p_symbols text[] ),
    job_start(p_kind text, p_symbols text[], p_from date, p_to date, p_priority integer),
    job_preview(p_kind text, p_symbols text[], p_from date, p_to date),
    job_resume(p_job bigint),
    job_settle(p_symbol text, p_jobs bigint[], p_state text, p_rows integer, p_provider text, p_reason text ),
    job_symbols(p_job bigint),
    job_progress(p_job bigint),
    job_fetches(p_job bigint)
    FROM PUBLIC;
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('functions/62_jobs.sql', 'b9bb4b7cfb2dac939db880aa625b0d8135f4c66ac882fa533da9a069e729d9fa')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
