"""Every earlier state of the schema becomes today's, with its rows; no version works on another's."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sql.database import Database
from sql.schema import repair
from sql.schema.files import SchemaFile, schema_files
from sql.schema.migrate import migrate
from tests.sql.catalog import applied, catalog
from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.market import bars, insert_prediction, until_complete
from tests.support.process import SHORT, WorkerProcess
from tests.support.queue import event

MIGRATIONS = [file for file in schema_files() if file.is_migration]
FIRST = [file for file in MIGRATIONS if file.name[11:15] in ("0001", "0002")]
# Each prefix, with 0000 as it comes by name, and as the first release had them: without it.
STATES = {
    "first release": FIRST,
    **{file.name[11:-4]: MIGRATIONS[: n + 1] for n, file in enumerate(MIGRATIONS)},
    "first release and 0003": [*FIRST, *[f for f in MIGRATIONS if "0003" in f.name]],
}

# A row in every table; what a table of a later migration is called, nobody knows yet.
ROWS = {
    "reckoner_clock": "(name) VALUES ('stopped')",
    "reckoner_backups": "(kind, name, taken_at) VALUES ('pg_dump', '/b', now())",
    "predictions": "(assets, market_impact, post_timestamp) VALUES ('[\"AAPL\"]', '{}', '2024-03-05')",
    "ticker_registry": "(symbol, fetched_from, fetched_to) VALUES ('AAPL', '2024-01-01', '2024-06-30')",
    "market_sessions": "VALUES ('XNYS', '2024-03-05', 1, '2024-03-05 14:30Z', '2024-03-05 21:00Z')",
    "market_prices": "(symbol, date, close) VALUES ('AAPL', '2024-03-05', 100), ('AAPL', '2024-07-05', 9)",
    "prediction_outcomes": "(prediction_id, symbol, prediction_date, outcome_state, engine_version)"
    " VALUES (1, 'AAPL', '2024-03-05', 'maturing', 1), (2, 'AAPL', '2024-03-05', NULL, NULL)",
    "reckoner_installation": "(last_prediction_id) VALUES (0)",
    "market_calendars": "(calendar, state) VALUES ('XNYS', 'loaded')",
    "session_correction": "(calendar, session) VALUES ('XHKG', '2023-09-01')",
    "outbox": "(topic, key, status, lease, leased_by, leased_until) VALUES"
    " ('prediction', '1', 'processing', 7, 'w', now() - interval '1 day'),"
    " ('ticker', 'AAPL', 'pending', NULL, NULL, NULL), ('ticker', 'OLD', 'dead', NULL, NULL, NULL)",
    "outbox_history": "(id, topic, key, verdict, attempts, crashes, created_at, finished_at)"
    " VALUES (99, 'ticker', 'TSLA', 'done', 0, 0, now(), now())",
    "reckoner_workers": "(name, host, pid, started_at, last_seen_at, mode)"
    " VALUES ('w', 'host', 1, now(), now(), 'notify')",
    "symbol_rules": "(pattern, provider_symbol) VALUES ('SQ', 'XYZ')",
    "provider_payloads": "(sha256, provider, url, class, size, body, fetched_at, last_seen_at)"
    " VALUES ('abc', 'csv', 'AAPL.csv', 'ok', 1, 'x', now(), now())",
    "data_quality_log": "(symbol, checked_at, provider, range_from, range_to, given, rejected, flagged,"
    " expected, missing, parts, notes, score, verdict)"
    " VALUES ('AAPL', now(), 'csv', '2024-03-05', '2024-03-05', 1, 0, 0, 1, 0, '{}', '{}', 1, 'accepted')",
    "corporate_actions": "VALUES ('AAPL', '2020-08-31', 'split', 4, 'csv', now(), now())",
    "market_price_revisions": "(symbol, date, old_close, new_close, new_source, replaced_at)"
    " VALUES ('AAPL', '2024-03-05', 400, 100, 'csv', now())",
    "ingestion_audit": "(symbol, finished_at, outcome, rows, inserted, updated, rejected, duration, asked)"
    " VALUES ('AAPL', now(), 'fetched', 1, 1, 0, 0, 0.1, '[]')",
    "provider_errors": "VALUES ('yahoo', now(), 'down', 3, 'refused')",
    "price_jobs": "(kind, range_from, range_to, priority, created_at)"
    " VALUES ('backfill', '2024-01-01', '2024-06-30', -20, now())",
    "price_job_symbols": "(job_id, symbol, want_from, state) VALUES (1, 'AAPL', '2024-01-01', 'open')",
    "price_coverage": "VALUES ('AAPL', '1d', '2024-01-01', '2024-06-30', 'csv')",
    "market_snapshot": "(symbol, as_of_date, as_of_timestamp, analysis_timestamp, current_price, bars,"
    " bars_digest, engine_version) VALUES ('AAPL', '2024-03-05', now(), now(), 100, 1, 7, '1')",
    "market_snapshot_history": "(recorded_at, symbol, analysis_type, as_of_date, as_of_timestamp,"
    " analysis_timestamp, current_price, bars, bars_digest, engine_version, raw_analysis)"
    " VALUES (now(), 'AAPL', 'technical_snapshot', '2024-03-04', now(), now(), 99, 1, 6, '1', '{}')",
    "market_snapshot_due": "(symbol, since, reason) VALUES ('AAPL', now(), 'bars changed')",
    "outcome_refills": "(symbol, since) VALUES ('AAPL', '700')",
    "execution_feedback": "(order_id, symbol, side, quantity, expected_price, fill_price, filled_at)"
    " VALUES ('A-1', 'AAPL', 'buy', 10, 100, 100.5, '2024-03-05 15:00Z')",
    "intraday_symbols": "(symbol, session_bars) VALUES ('AAPL', 78)",
    "market_syncs": "VALUES ('XNYS', '2024-03-05', NULL)",
    "market_indexes": "(name, title, least, most, most_leaving) VALUES ('FTSE100', 'FTSE 100', 95, 105, 10)",
    "index_constituents": "(index_name, symbol) VALUES ('SP500', 'AAPL')",
    "job_run": "(task_name, queued_at, trigger, actor) VALUES ('daily_sync', now(), 'manual', 'ann')",
    "schedules": "(name, task, trigger) VALUES ('mine', 'daily_sync', '0 5 * * *')",
    "schedule_ticks": "(schedule, tick_at, verdict, decided_at) VALUES ('mine', now(), 'skipped', now())",
    "schedule_seeds": "(name) VALUES ('coverage')",
    "alerts": "(rule, subject, text, opened_at, last_seen_at) VALUES ('events_dead', 'ticker', 'x', now(), now())",
    "alert_messages": "(rule, channel, body, created_at) VALUES ('events_dead', 'webhook', '{}', now())",
    "alert_channels": "(channel) VALUES ('webhook')",
    "subscriptions": "(url, secret) VALUES ('https://h/x', 'sixteen characters')",
    "outcome_changes": "(prediction_id, symbol) VALUES (1, 'AAPL')",
    "subscription_states": "VALUES (1, 1, 'AAPL', '{}')",
    "subscription_messages": "(subscription_id, event, prediction_id, symbol, body, created_at)"
    " VALUES (1, 'outcome.complete', 1, 'AAPL', '{}', now())",
    "holdings": "(symbol, quantity) VALUES ('AAPL', 10)",
    "provider_disagreements": "VALUES ('AAPL', '2024-03-05', 'yahoo', 100, 'fmp', 101, now())",
    "coverage_health": "(hour, label, summary, symbols, daily_pct, m5_pct, stale_daily, missing_daily, stale_m5)"
    " VALUES ('2024-03-05 10:00Z', 'ok', 'all there', 1, 100, 0, 0, 0, 0)",
    "coverage_restores": "(state) VALUES ('done')",
    "coverage_restore_steps": "(restore_id, number, step) VALUES (1, 1, 'daily')",
}
# A later migration may bring more of what these have from the beginning.
GROWING = (
    "market_indexes",
    "reckoner_providers",
    "schedule_seeds",
    "schedules",
    "symbol_rules",
)


def apply(conn: Conn, files: list[SchemaFile]) -> None:
    """As psql does: each file with its own BEGIN and COMMIT."""
    for file in files:
        conn.execute(file.text.encode())


def record_functions(conn: Conn) -> None:
    """As a release that applied its functions too."""
    conn.execute("INSERT INTO reckoner_schema VALUES ('functions/00_dropped.sql', 'older')")


def tables(conn: Conn) -> list[str]:
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    return sorted(row["relname"] for row in rows)


def quoted(name: str) -> str:
    return f'"{name}"'


def rows_of(conn: Conn, names: dict[str, list[str]]) -> dict[str, list[Any]]:
    """What the tables hold in these columns."""
    return {
        table: conn.execute(
            f"SELECT ROW({', '.join(map(quoted, columns))})::text AS said FROM {table} ORDER BY 1".encode()  # noqa: S608
        ).fetchall()
        for table, columns in names.items()
    }


def columns_of(conn: Conn) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in conn.execute(
        "SELECT table_name, column_name FROM information_schema.columns c JOIN pg_class t"
        " ON t.relname = c.table_name AND t.relkind = 'r' WHERE table_schema = 'public'"
        " AND t.relnamespace = 'public'::regnamespace ORDER BY ordinal_position"
    ):
        found.setdefault(row["table_name"], []).append(row["column_name"])
    found.pop("reckoner_schema")
    return found


def same_as_from_empty(conn: Conn, expected: dict[str, list[Any]]) -> None:
    made = catalog(conn)
    for kind, texts in expected.items():
        assert made[kind] == texts, kind
    assert applied(conn) == {file.name: file.checksum for file in schema_files()}


@pytest.fixture
def expected(conn: Conn) -> dict[str, list[Any]]:
    """The catalog of a database that was empty."""
    return catalog(conn)


@pytest.mark.parametrize("state", STATES)
def test_an_earlier_state_becomes_todays_with_its_rows(
    empty_url: str, expected: dict[str, list[Any]], state: str
) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        apply(conn, STATES[state])
        for table in tables(conn):
            if table in ROWS:
                conn.execute(f"INSERT INTO {table} {ROWS[table]}".encode())
        names = columns_of(conn)
        before = rows_of(conn, names)
        assert all(before.values()), "every table has a row"

        changes = migrate(database)

        done = {file.name for file in STATES[state]}
        assert [change.name for change in changes] == [
            file.name for file in schema_files() if file.name not in done
        ]
        same_as_from_empty(conn, expected)
        after = rows_of(conn, names)
        for table in GROWING:
            rows = before.get(table, [])
            after[table] = [row for row in after.get(table, []) if row in rows]
            before.setdefault(table, [])
        assert after == before
        assert migrate(database) == []


def test_prices_of_the_first_release_are_ours_where_its_providers_answered(empty_url: str) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        apply(conn, FIRST)
        for table in ("reckoner_installation", "ticker_registry", "market_prices"):
            conn.execute(f"INSERT INTO {table} {ROWS[table]}".encode())
        migrate(database)
        ours = "SELECT date::text FROM market_prices WHERE fetched_at IS NOT NULL"
        assert conn.execute(ours.encode()).fetchall() == [{"date": "2024-03-05"}]


def test_the_range_of_an_earlier_release_is_price_coverage(empty_url: str) -> None:
    before = [file for file in MIGRATIONS if file.name < "migrations/0017"]
    with connect(empty_url) as conn, Database(empty_url) as database:
        apply(conn, before)
        conn.execute(
            "INSERT INTO ticker_registry (symbol, fetched_from, fetched_to) VALUES"
            " ('AAPL', '2024-01-01', '2024-06-30'), ('HUSH', '2024-01-01', '2024-06-30'), ('NEW', NULL, NULL)"
        )
        conn.execute(
            "INSERT INTO market_prices (symbol, date, close, source, fetched_at) VALUES"
            " ('AAPL', '2024-03-05', 100, 'fmp', now()), ('AAPL', '2024-06-05', 100, 'yahoo', now()),"
            " ('AAPL', '2024-06-06', 100, 'theirs', NULL)"
        )
        migrate(database)
        rows = conn.execute("SELECT ROW(c.*)::text AS row FROM price_coverage c ORDER BY symbol")
        assert [row["row"] for row in rows] == [
            "(AAPL,1d,2024-01-01,2024-06-30,yahoo)",
            "(HUSH,1d,2024-01-01,2024-06-30,unknown)",
        ]
        # Reckoner removed and installed again does not bring back what has changed since.
        conn.execute("DELETE FROM price_coverage WHERE symbol = 'HUSH'")
        conn.execute("DELETE FROM reckoner_schema WHERE name LIKE '%0017%'")
        migrate(database)
        assert value(conn, "SELECT array_agg(symbol) FROM price_coverage") == ["AAPL"]


def test_an_upgraded_queue_works(
    empty_url: str, start_worker: Callable[..., WorkerProcess], tmp_path: Any
) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        apply(conn, FIRST)
        conn.execute(
            "INSERT INTO predictions (assets, post_timestamp) VALUES ('[\"GOOD\"]', '2024-03-05 15:00Z')"
        )
        conn.execute("INSERT INTO reckoner_installation (last_prediction_id) VALUES (0)")
        conn.execute(
            "INSERT INTO outbox (topic, key, status, lease, leased_by, leased_until)"
            " VALUES ('prediction', 1, 'processing', 7, 'an older worker', now() - interval '1 day')"
        )
        migrate(database)
        folder = tmp_path / "bars"
        first = start_worker("run", "--drain", DATABASE_URL=empty_url)  # loads the sessions
        assert first.process.wait(60) == 0
        bars(conn, folder, "GOOD")
        conn.execute("SELECT outbox_requeue_ticker('GOOD')")
        start_worker(**SHORT, DATABASE_URL=empty_url)
        until_complete(conn, 1)
        row = conn.execute("SELECT crashes, trail FROM outbox_history WHERE topic = 'prediction'")
        [done] = row.fetchall()
        assert done["crashes"] == 1
        assert done["trail"][0]["worker"] == "an older worker"


DROPPED = [
    found
    for file in schema_files()
    for found in re.findall(r"DROP FUNCTION IF EXISTS (\w+)\(([^;]*)\);", file.text)
]


def test_functions_of_an_older_release_go_away(
    empty_url: str, expected: dict[str, list[Any]]
) -> None:
    names = {name for name, _ in DROPPED}
    assert {"enqueue_predictions", "outcomes_process", "outbox_renew", "worker_beat"} <= names
    with connect(empty_url) as conn, Database(empty_url) as database:
        # All releases that left no marks on their objects: the later ones had some of these functions.
        apply(conn, [file for file in MIGRATIONS if file.name < "migrations/0021"])
        record_functions(conn)
        for name, arguments in DROPPED:
            conn.execute(
                f"CREATE FUNCTION {name}({arguments}) RETURNS TABLE (what xml) LANGUAGE sql"
                " AS 'SELECT NULL::xml'".encode()
            )
        migrate(database)
        same_as_from_empty(conn, expected)
    # And a function that changed while its file was there is replaced, whatever it returned.
    with connect(empty_url) as conn, Database(empty_url) as database:
        for name, arguments in DROPPED:
            conn.execute(f"DROP FUNCTION IF EXISTS {name}({arguments})".encode())
            conn.execute(
                f"CREATE FUNCTION {name}({arguments}) RETURNS TABLE (what xml) LANGUAGE sql"
                " AS 'SELECT NULL::xml'".encode()
            )
        conn.execute("UPDATE reckoner_schema SET checksum = 'older' WHERE name LIKE 'functions/%'")
        conn.execute("COMMENT ON TABLE reckoner_schema IS NULL")  # a release that left no marks
        migrate(database)
        same_as_from_empty(conn, expected)


LANDED = (Path(__file__).parent / "landed.sql").read_bytes()


def test_the_functions_and_views_of_the_landed_release_become_todays(
    empty_url: str, expected: dict[str, list[Any]]
) -> None:
    with connect(empty_url) as conn, Database(empty_url) as database:
        apply(conn, [file for file in MIGRATIONS if file.name < "migrations/0013"])
        conn.execute(LANDED)
        record_functions(conn)
        before = signatures(conn)
        migrate(database)
        same_as_from_empty(conn, expected)
        assert repair.look(database) == []
        # What is dropped was there and changed: the file keeps nothing of older releases.
        after = signatures(conn)
        changed = {name for name, said in before.items() if after.get(name) != said}
        assert {name for name, _ in DROPPED} == {name.partition("(")[0] for name in changed}


def signatures(conn: Conn) -> dict[str, tuple[Any, ...]]:
    """What CREATE OR REPLACE cannot change of each function: the names of its parameters, its result."""
    rows = conn.execute(
        "SELECT oid::regprocedure::text AS name, proargnames AS parameters,"
        " pg_get_function_result(oid) AS result FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    return {row["name"]: (row["parameters"], row["result"]) for row in rows}


FUTURE = "INSERT INTO reckoner_schema (name, checksum) VALUES ('migrations/9999_future.sql', repeat('0', 64))"


def test_a_running_worker_leaves_a_schema_that_a_newer_version_migrated(
    conn: Conn, start_worker: Callable[..., WorkerProcess]
) -> None:
    worker = start_worker(**SHORT).ready()
    conn.execute(FUTURE)
    assert worker.process.wait(30) == 3
    said = worker.saw("worker and schema do not fit")
    assert said is not None
    assert "a newer version of Reckoner migrated this database" in said["reason"]
    assert "9999_future.sql" in said["reason"]
    assert said["level"] == "error"
    assert worker.events[-1] == said
    assert value(conn, "SELECT count(*) FROM reckoner_workers") == 0
    # What is written meanwhile waits for the newer version.
    number = insert_prediction(conn, ["GOOD"])
    waiting = event(conn, number, "prediction")
    assert waiting is not None
    assert waiting["status"] == "pending"


def test_a_running_worker_leaves_a_schema_whose_functions_changed(
    conn: Conn, start_worker: Callable[..., WorkerProcess]
) -> None:
    worker = start_worker(**SHORT).ready()
    conn.execute("UPDATE reckoner_schema SET checksum = 'newer' WHERE name LIKE 'functions/3%'")
    assert worker.process.wait(30) == 3
    assert worker.saw("worker and schema do not fit")


@pytest.mark.parametrize(
    "arguments", [[], ["run", "--drain"], ["migrate"], ["migrate", "--check"], ["status"]]
)
def test_no_command_works_on_a_newer_schema(url: str, conn: Conn, arguments: list[str]) -> None:
    conn.execute(FUTURE)
    before = catalog(conn), applied(conn)
    done = command(url, "worker", *arguments, MARKET_PROVIDERS="sample")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "a newer version of Reckoner migrated this database" in done.stderr
    assert (catalog(conn), applied(conn)) == before
