"""A database with years behind it: two million finished events, a million outcomes."""

from dataclasses import dataclass

from tests.support.db import Conn, value

HISTORY = 2_000_000
OUTCOMES = 1_000_000
PREDICTIONS = OUTCOMES // 2  # of two symbols each
SYMBOLS = 2_000
# Enough for every ANALYZE to meet some: of fewer its sample may know nothing.
OPEN = 400  # the newest predictions, whose outcomes are not complete
WAITING = 20_000  # predictions that are ready, as many that are not, tickers of a paused provider
BIG = ("predictions", "prediction_outcomes", "outbox_history")

LOAD = """
ALTER TABLE predictions DISABLE TRIGGER USER;
INSERT INTO ticker_registry (symbol, calendar, last_backfill, backfill_status)
SELECT 'S' || n, 'XNYS', now() - interval '2 hours', 'completed' FROM generate_series(0, {symbols} - 1) n;
INSERT INTO price_coverage (symbol, "interval", "from", "to", source)
SELECT 'S' || n, '1d', '2020-01-01', '2099-01-01', 'test' FROM generate_series(0, {symbols} - 1) n
UNION ALL
SELECT 'S' || n, '5m', d::date, d::date, 'test'
FROM generate_series(0, {symbols} - 1) n
CROSS JOIN generate_series('2024-01-01', '2024-07-18', interval '2 days') d;
DELETE FROM outbox;
INSERT INTO market_prices (symbol, date, open, high, low, close, source, fetched_at)
SELECT 'S' || n, s.session, 100, 101, 99, 100, 'test', now()
FROM generate_series(0, 9) n
JOIN market_sessions s ON s.calendar = 'XNYS' AND s.session BETWEEN '2024-01-01' AND '2025-12-31';
INSERT INTO market_snapshot (symbol, as_of_date, as_of_timestamp, analysis_timestamp, current_price, bars,
                             bars_digest, benchmark, benchmark_as_of, engine_version)
SELECT 'S' || n, '2025-12-31', now(), now(), 100, 502, 1, 'SPY', '2025-12-31', '1'
FROM generate_series(0, {symbols} - 1) n;
INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)
SELECT jsonb_build_array('S' || n % {symbols}, 'S' || (n + 1) % {symbols}), '{{}}', 0.5, '2025-03-05 15:00Z'
FROM generate_series(1, {predictions}) n;
INSERT INTO prediction_outcomes
    (prediction_id, symbol, prediction_date, price_at_prediction, price_t1, price_t3, price_t7,
     price_t30, is_complete, entry_session, outcome_state, engine_version)
SELECT p, 'S' || (p + k) % {symbols}, '2025-03-05', 100, 100, 100, 100, 100, true, '2025-03-05',
       'complete', 1
FROM generate_series(1, {predictions}) p CROSS JOIN generate_series(0, 1) k;
UPDATE prediction_outcomes SET is_complete = false, outcome_state = 'maturing', price_t30 = NULL,
       due_at = now() - interval '1 hour' WHERE prediction_id > {predictions} - {open};
INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at, finished_at, worker)
SELECT n, 'prediction', n::text, 'done', 0, 0, now() - interval '20 days', now() - interval '20 days', 'w'
FROM generate_series(1, {predictions}) n
UNION ALL
SELECT n, 'ticker', 'S' || n % {symbols}, 'done', 0, 0, t.at, t.at, 'w'
FROM generate_series({predictions} + 1, {history}) n
CROSS JOIN LATERAL (SELECT now() - interval '1 day' - n * interval '1 second' AS at) t;
INSERT INTO outbox (topic, key, available_at, priority)
SELECT 'prediction', n, now() + (n % 2) * interval '1 hour', -10 * (n % 3 = 0)::int
FROM generate_series(1, 2 * {waiting}) n;
INSERT INTO outbox (topic, key, available_at)
SELECT 'ticker', 'T' || n, now() + interval '1 hour' FROM generate_series(1, {waiting}) n;
INSERT INTO outbox (topic, key, crashes) SELECT 'prediction', n, 1 FROM generate_series(1, 100) n;
ALTER TABLE predictions ENABLE TRIGGER USER
"""


def load(conn: Conn) -> None:
    """Fill a migrated database. The big tables get their indexes when they are full.

    No autovacuum comes, after which every plan would be made anew in the middle of a count.
    """
    tables = conn.execute(
        "SELECT format('ALTER TABLE %I SET (autovacuum_enabled = off)', relname) AS off"
        " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchall()
    for table in tables:
        conn.execute(table["off"].encode())
    made = conn.execute(
        "SELECT coalesce('ALTER TABLE ' || i.indrelid::regclass || ' DROP CONSTRAINT ' || c.conname,"
        " 'DROP INDEX ' || i.indexrelid::regclass) AS off,"
        " coalesce('ALTER TABLE ' || i.indrelid::regclass || ' ADD CONSTRAINT ' || c.conname"
        " || ' ' || pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid)) AS back FROM pg_index i"
        " LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')"
        " WHERE i.indrelid = ANY (%s::regclass[])",
        [list(BIG)],
    ).fetchall()
    conn.execute("SET maintenance_work_mem = '256MB'")
    for index in made:
        conn.execute(index["off"].encode())
    numbers = {"history": HISTORY, "predictions": PREDICTIONS, "symbols": SYMBOLS}
    conn.execute(LOAD.format(**numbers, open=OPEN, waiting=WAITING).encode())
    for index in made:
        conn.execute(index["back"].encode())
    conn.execute("VACUUM ANALYZE")


@dataclass(frozen=True)
class Reads:
    """What a statement read, its functions included: blocks of anything, rows of the big tables."""

    blocks: int
    rows: int
    scans: int  # of a whole big table


def reads(conn: Conn, statement: str) -> Reads:
    """Run a statement in the caller's transaction and count."""
    before = _counts(conn)
    plan = value(conn, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")[0]["Plan"]
    after = _counts(conn)
    return Reads(
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        after["rows"] - before["rows"],
        after["scans"] - before["scans"],
    )


def _counts(conn: Conn) -> dict[str, int]:
    return conn.execute(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS rows, sum(seq_scan)::bigint AS scans"
        " FROM pg_stat_xact_user_tables WHERE relname = ANY (%s)",
        [list(BIG)],
    ).fetchall()[0]
