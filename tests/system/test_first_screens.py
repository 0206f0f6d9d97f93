"""What a person sees first: which database, whether it can be written to, and no database made.

And the end of it: `| head` closes the pipe, and the command ends with 0.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql as psql

from sql import embedded
from sql.database import Database
from sql.schema import check, migrate
from tests.support.cli import command, document, error_line
from tests.support.db import Conn, database_of, server_folder, value
from tests.support.every_command import COMMANDS, invoke
from tests.support.process import ROOT, environment
from tests.support.roles import as_role, roles


def test_a_closed_pipe_ends_every_command_with_0(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.closed_pipe"],
        env=environment(url, MARKET_PROVIDERS="sample"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, (usual, cut, errors) in document(done).items():
        assert cut in {0, usual}, (name, usual, cut, errors)
        assert "Traceback" not in errors, (name, errors)
        assert "BrokenPipe" not in errors, (name, errors)
        # What is written before the end finds the pipe closed.
        assert cut == 0 or usual, (name, errors)


def test_the_first_screens_name_the_database(url: str) -> None:
    name = database_of(url)
    status = document(command(url, "worker", "status", "--json"))
    assert status["database"].startswith(f"database {name} on ")
    checks = document(command(url, "worker", "health", "--json"))["checks"]
    assert checks[0]["message"].startswith(f"answers: database {name} on ")


READING = [each for each in COMMANDS if each != ("worker", "migrate")]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_no_command_that_reads_makes_a_database(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(arguments, environment(""), monkeypatch)
    assert str(result.exception) == (
        "DATABASE_URL: not set, and there is no database in .reckoner:"
        " set it, or make one with python -m worker migrate"
    )
    assert not list(tmp_path.iterdir())


def test_a_path_without_a_database_is_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "none"
    done = command(f"embedded:{path}", "worker", "status")
    assert error_line(done, 2) == (
        f"error: there is no database in {path}: make one with python -m worker migrate"
    )
    assert not path.exists()


def test_the_server_of_data_that_is_there_is_started_to_read() -> None:
    with server_folder() as folder:
        with embedded.use(folder) as url, Database(url) as database:
            migrate.migrate(database)
        assert embedded.wait_until_stopped(folder, 60)
        status = document(command(f"embedded:{folder}", "worker", "status", "--json"))
        assert status["database"] == f"embedded:{folder}"


def states(url: str) -> dict[str, Any]:
    checks = document(command(url, "market", "db", "check", "--json"))["checks"]
    return {each["check"]: (each["state"], each["message"]) for each in checks}


def test_a_read_only_database_is_seen(url: str, conn: Conn) -> None:
    name = database_of(url)
    statement = psql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
    conn.execute(statement.format(psql.Identifier(name)))
    remedy = f'ALTER DATABASE "{name}" RESET default_transaction_read_only'
    health = command(url, "worker", "health", "--json")
    assert health.returncode == 3
    first = document(health)["checks"][0]
    assert (first["check"], first["state"]) == ("database", "fail")
    assert remedy in first["message"]
    state, message = states(url)["writable"]
    assert state == "fail"
    assert remedy in message


def test_a_role_that_only_reads_says_nothing_about_workers(url: str) -> None:
    with roles(url) as made, Database(made.dashboard) as database, database.transaction() as conn:
        assert value(conn, "SELECT current_setting('transaction_read_only')") == "on"
        assert check.read_only(conn) is None


def test_a_role_that_works_and_may_not_write_is_seen(url: str, conn: Conn) -> None:
    with roles(url) as made:
        name = str(psycopg.conninfo.conninfo_to_dict(made.worker)["user"])
        statement = psql.SQL("ALTER ROLE {} SET default_transaction_read_only = on")
        conn.execute(statement.format(psql.Identifier(name)))
        with Database(as_role(url, name)) as database, database.transaction() as theirs:
            assert f'ALTER ROLE "{name}" RESET' in str(check.read_only(theirs))
