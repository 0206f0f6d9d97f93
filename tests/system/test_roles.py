"""What each of the three roles can do, and that it can do no more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.market import MOMENT, bars, completed
from tests.support.process import WorkerProcess, cleaned_up
from tests.support.roles import TABLES, VIEWS, Roles, roles
from tests.support.waiting import until

REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@pytest.fixture
def made(url: str) -> Iterator[Roles]:
    """The three roles of this test's database."""
    with roles(url) as made:
        yield made


def refused(conn: Conn, statement: str) -> None:
    with pytest.raises(REFUSED), conn.transaction():
        conn.execute(statement.encode())


def insert(url: str, symbol: str) -> None:
    """Insert a prediction and ask for nothing back."""
    with connect(url) as conn:
        conn.execute(
            "INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)"
            " VALUES (%s, %s, 0.5, %s)",
            [json.dumps([symbol]), json.dumps({symbol: "bullish"}), MOMENT],
        )


def test_the_whole_loop_with_three_roles(conn: Conn, made: Roles, tmp_path: Path) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    csv = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(tmp_path / "bars")}
    log = tmp_path / "worker.log"
    with cleaned_up(started := [WorkerProcess(made.worker, log, **csv)]):
        started[0].ready()
        insert(made.analyst, "GOOD")
        insert(made.analyst, "NOBODY")
        until("one outcome is complete", lambda: completed(conn) == 1)
        unresolvable = (
            "SELECT count(*) FROM prediction_outcomes WHERE outcome_state = 'unresolvable'"
        )
        until("the other can never be", lambda: value(conn, unresolvable) == 1)
        said = command(made.dashboard, "worker", "health", "--json")
        checks = {row["check"]: row["state"] for row in json.loads(said.stdout)["checks"]}
        assert (said.returncode, checks["workers"]) == (0, "ok")
        assert started[0].stop() == 0
        bad = [entry for entry in started[0].events if entry.get("level") in {"error", "critical"}]
        assert bad == []


@pytest.mark.parametrize(
    "arguments",
    [
        "worker status",
        "worker sweep",
        "worker requeue --ticker GOOD",
        "worker enqueue --all",
        "worker run --drain",
        "market register-tickers GOOD",
        "market tracked",
        "market constituents show SP500",
        "market import-holdings tests/system/holdings.csv",
        "market calculate-outcomes --force",
        "market db check",
        "market db audit",
        "market stats",
        "market processing-stats",
        "market watch --json",
    ],
)
def test_the_worker_may_do_what_workers_and_operators_do(
    conn: Conn, made: Roles, arguments: str
) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol, status) VALUES ('GOOD', 'active')")
    done = command(made.worker, *arguments.split(), MARKET_PROVIDERS="sample")
    assert done.returncode == 0, done.stderr


def test_the_worker_may_neither_write_predictions_nor_change_the_schema(made: Roles) -> None:
    with connect(made.worker) as conn:
        for statement in (
            "INSERT INTO predictions (assets) VALUES ('[]')",
            "UPDATE predictions SET assets = NULL",
            "DELETE FROM predictions",
            "TRUNCATE outbox",
            "DELETE FROM ticker_registry",
            "UPDATE reckoner_schema SET checksum = ''",
            "INSERT INTO symbol_rules (pattern) VALUES ('X')",
            "DROP TABLE outbox",
            "ALTER TABLE predictions DISABLE TRIGGER ALL",
            "CREATE TABLE mine (id int)",
            "CREATE OR REPLACE FUNCTION one_line(p_text text) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
        ):
            refused(conn, statement)


def test_the_dashboard_reads_everything_and_changes_nothing(conn: Conn, made: Roles) -> None:
    conn.execute("INSERT INTO outbox (topic, key) VALUES ('ticker', 'X')")
    with connect(made.dashboard) as reader:
        for name in [*TABLES, *VIEWS]:
            columns = "id, last_error" if name == "subscriptions" else "*"
            reader.execute(f"SELECT {columns} FROM {name} LIMIT 1".encode())  # noqa: S608
        refused(reader, "SELECT secret FROM subscriptions")
        refused(reader, "SELECT url FROM subscriptions")
        for call in (
            "reckoner_health()",
            "processing_stages()",
            "explain_ticker('X')",
            "watch_page(5)",
        ):
            reader.execute(f"SELECT * FROM {call}".encode())  # noqa: S608
        refused(reader, "SELECT outbox_requeue_ticker('X')")
        # The setting is a second lock, not the first.
        reader.execute("SET default_transaction_read_only = off")
        for table in TABLES:
            refused(reader, f"DELETE FROM {table}")  # noqa: S608
            refused(reader, f"TRUNCATE {table}")
        for statement in (
            "SELECT outbox_requeue_ticker('X')",
            "SELECT outbox_cancel(id, '') FROM outbox",
            "UPDATE outbox SET status = 'pending'",
            "INSERT INTO predictions (assets) VALUES ('[]')",
            "SELECT nextval('outbox_lease')",
            "CREATE TABLE mine (id int)",
        ):
            refused(reader, statement)
    assert value(conn, "SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize("arguments", ["worker status", "market stats", "market ticker-registry"])
def test_the_dashboard_may_use_what_only_reads(made: Roles, arguments: str) -> None:
    assert command(made.dashboard, *arguments.split()).returncode == 0


def test_the_analyst_inserts_predictions_and_nothing_else(conn: Conn, made: Roles) -> None:
    insert(made.analyst, "AAPL")
    assert value(conn, "SELECT count(*) FROM outbox WHERE topic = 'prediction'") == 1
    with connect(made.analyst) as analyst:
        for name in [*TABLES, *VIEWS]:
            refused(analyst, f"SELECT 1 FROM {name}")  # noqa: S608
        for name in TABLES:
            refused(analyst, f"DELETE FROM {name}")  # noqa: S608
            if name != "predictions":
                refused(analyst, f"INSERT INTO {name} DEFAULT VALUES")
        refused(analyst, "UPDATE predictions SET assets = NULL")
        refused(analyst, "SELECT outbox_requeue_prediction(1)")
        refused(analyst, "CREATE TABLE mine (id int)")


def test_what_a_role_has_too_much_is_taken_when_it_is_made_again(
    url: str, conn: Conn, made: Roles
) -> None:
    # All three by name: roles are the whole server's, and others may have those of default names.
    names = {
        role: str(psycopg.conninfo.conninfo_to_dict(at)["user"]) for role, at in vars(made).items()
    }
    conn.execute(f'GRANT ALL ON predictions TO "{names["worker"]}"'.encode())
    options = [word for role, name in names.items() for word in (f"--{role}", name)]
    again = command(url, "market", "db", "roles", *options)
    assert again.returncode == 0, again.stderr
    conn.execute(again.stdout.encode())
    with connect(made.worker) as worker:
        refused(worker, "DELETE FROM predictions")
        worker.execute("SELECT 1 FROM predictions")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--worker", "same", "--analyst", "same"], "three names"),
        (["--worker", "{owner}"], "owns tables"),
    ],
)
def test_a_name_that_cannot_be(url: str, conn: Conn, options: list[str], words: str) -> None:
    owner: Any = value(conn, "SELECT current_user")
    done = command(url, "market", "db", "roles", *(word.format(owner=owner) for word in options))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_name_is_quoted_wherever_it_stands(url: str, conn: Conn) -> None:
    name = """o'dd "na$me$ $make$; DROP TABLE outbox; --"""
    done = command(url, "market", "db", "roles", "--worker", name, "--json")
    with conn.transaction(force_rollback=True):
        for statement in json.loads(done.stdout):
            conn.execute(statement.encode())
        assert value(conn, "SELECT count(*) FROM pg_roles WHERE rolname = %s", [name]) == 1
        assert value(conn, "SELECT to_regclass('outbox') IS NOT NULL")
