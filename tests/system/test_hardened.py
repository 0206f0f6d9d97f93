"""A hardened database: PUBLIC may execute nothing, use no schema, make no temporary table."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from market.universe import sessions
from sql.database import Database
from sql.schema import migrate
from sql.schema.rights import CALLED
from tests.support.cli import command
from tests.support.db import Conn, connect, database_of
from tests.support.market import MOMENT, bars, completed
from tests.support.process import ROOT, WorkerProcess, cleaned_up
from tests.support.roles import TABLES, VIEWS, Roles, roles
from tests.support.waiting import until

# Functions of the server itself that hardening guides name, and that we call.
OF_THE_SERVER = (
    "pg_notify(text, text)",
    "pg_advisory_xact_lock(integer, integer)",
    "pg_try_advisory_xact_lock(integer, integer)",
    "pg_try_advisory_lock(integer, integer)",
    "pg_advisory_unlock(integer, integer)",
    "pg_blocking_pids(integer)",
    "pg_database_size(name)",
)


def test_the_functions_that_python_calls_are_known() -> None:
    called = set()
    for room in ("sql", "market", "worker"):
        for path in (ROOT / room).rglob("*.py"):
            called |= set(re.findall(r"\b(pg_[a-z_]+|set_config)\(", path.read_text()))
    operators = {"pg_terminate_backend"}  # in sentences, for a person
    assert called - operators <= CALLED


@pytest.fixture
def hardened(empty_url: str) -> str:
    """A database that was hardened before `migrate`, and once more after it."""
    with connect(empty_url) as conn:
        conn.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        conn.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        conn.execute(f'REVOKE ALL ON DATABASE "{database_of(empty_url)}" FROM PUBLIC'.encode())
        for function in OF_THE_SERVER:
            conn.execute(f"REVOKE EXECUTE ON FUNCTION pg_catalog.{function} FROM PUBLIC".encode())
        with Database(empty_url) as database:
            migrate.migrate(database)
            sessions.ensure(database)
        conn.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    return empty_url


@pytest.fixture
def made(hardened: str) -> Iterator[Roles]:
    with roles(hardened) as made:
        yield made


def test_the_roles_work_in_a_hardened_database(hardened: str, made: Roles, tmp_path: Path) -> None:
    with connect(hardened) as conn:
        bars(conn, tmp_path, "GOOD")
        with connect(made.analyst) as analyst:
            analyst.execute(
                "INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)"
                """ VALUES ('["GOOD"]', '{"GOOD": "bullish"}', 0.5, %s)""",
                [MOMENT],
            )
        csv = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(tmp_path)}
        running = WorkerProcess(made.worker, tmp_path / "worker.log", **csv)
        with cleaned_up([running]):
            running.ready()
            until("the outcome is complete", lambda: completed(conn) == 1)
            assert running.stop() == 0
        assert [e for e in running.events if e.get("level") in {"error", "warning"}] == []
    with connect(made.dashboard) as reader:
        for name in [*TABLES, *VIEWS]:
            # Not every column of it: those with secrets are not the dashboard's.
            reader.execute(f"SELECT 1 FROM {name} LIMIT 1".encode())  # noqa: S608
        reader.execute("SELECT * FROM reckoner_health()")
    for arguments in (
        "worker status",
        "worker sweep",
        "worker requeue --ticker GOOD",
        "worker explain GOOD",
        "market stats",
        "market watch --json",
        "market db audit",
    ):
        done = command(made.worker, *arguments.split())
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def roles_check(url: str) -> tuple[str, str]:
    done = command(url, "market", "db", "check", "--json")
    checks = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    return checks["roles"]["state"], checks["roles"]["message"]


def test_a_role_that_lacks_something_is_told(url: str, conn: Conn) -> None:
    with roles(url) as made:
        assert roles_check(url)[0] == "ok"
        name = str(psycopg.conninfo.conninfo_to_dict(made.dashboard)["user"])
        for right in ("SELECT ON outbox_stuck", "EXECUTE ON FUNCTION reckoner_health()"):
            conn.execute(f'REVOKE {right} FROM "{name}"'.encode())
        state, message = roles_check(url)
        assert state == "warn"
        assert f"{name} lacks public.reckoner_health(), public.outbox_stuck" in message
        assert "db roles" in message
