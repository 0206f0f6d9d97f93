"""`market db …` as a DBA runs it: audit, repair, check, backup."""

import contextlib
import json
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sql.schema import check as checks
from tests.support.cli import command, document, error_line, table
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction
from tests.support.pooler import PROGRAM, Pooler

KEY = "napi_very_secret_0123456789"


# Audit and repair.


@pytest.fixture
def drifted(conn: Conn) -> None:
    """Two things that an addition mends, and one that it does not."""
    conn.execute("DROP INDEX outbox_ready")
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    conn.execute("ALTER TABLE outbox_history ALTER attempts TYPE bigint")


def test_audit_of_a_good_database(url: str) -> None:
    assert document(command(url, "market", "db", "audit", "--json")) == []
    done = command(url, "market", "db", "audit")
    header = "object\tdifference\tlevel\trisk\trepair\tsql\n"  # in a pipe always one table
    assert (done.returncode, done.stdout, done.stderr) == (0, header, "")


@pytest.mark.usefixtures("drifted")
def test_audit_says_what_differs_how_bad_it_is_and_what_mends_it(url: str, conn: Conn) -> None:
    done = command(url, "market", "db", "audit")
    rows = {row["object"]: row for row in table(done)}
    assert done.returncode == 3
    assert {name: (row["level"], row["repair"]) for name, row in rows.items()} == {
        "index outbox_ready on outbox": ("warn", "additive"),
        "trigger predictions_inserted on predictions": ("danger", "additive"),
        "column outbox_history.attempts": ("danger", "by hand"),
    }
    assert all(row["risk"] for row in rows.values())
    for row in rows.values():
        conn.execute(row["sql"].encode())
    assert command(url, "market", "db", "audit").returncode == 0


def test_the_sql_of_a_function_is_whole_in_json_and_its_file_in_a_pipe(
    url: str, conn: Conn
) -> None:
    conn.execute("DROP FUNCTION session_settling()")
    (whole,) = json.loads(command(url, "market", "db", "audit", "--json").stdout)
    (short,) = table(command(url, "market", "db", "audit"))
    assert short["sql"] == "\\i sql/functions/41_sessions.sql"
    conn.execute(whole["sql"].encode())
    assert command(url, "market", "db", "audit").returncode == 0


@pytest.mark.usefixtures("drifted")
def test_repair_without_apply_prints_sql_and_changes_nothing(url: str) -> None:
    done = command(url, "market", "db", "repair")
    assert done.returncode == 0
    assert "-- Additive." in done.stdout
    assert "-- Read before you run it." in done.stdout
    assert command(url, "market", "db", "audit").returncode == 3


@pytest.mark.usefixtures("drifted")
def test_repair_runs_what_is_additive_and_leaves_the_rest_to_read(url: str, conn: Conn) -> None:
    done = command(url, "market", "db", "repair", "--apply", "--json")
    assert done.returncode == 3
    said = json.loads(done.stdout)
    counts = ("differences_before", "applied", "failed", "differences_after")
    assert [said[name] for name in counts] == [3, 2, 0, 1]
    assert [each["object"] for each in said["left"]] == ["column outbox_history.attempts"]
    insert_prediction(conn, ["AAPL"])
    assert value(conn, "SELECT count(*) FROM outbox") == 1
    again = command(url, "market", "db", "repair", "--apply")
    assert again.returncode == 3
    assert "by hand" in again.stdout


def test_a_database_of_another_version_is_to_be_migrated_first(
    empty_url: str, url: str, conn: Conn
) -> None:
    conn.execute("DELETE FROM reckoner_schema WHERE name LIKE 'functions/%'")
    for database in (empty_url, url):
        for name in ("audit", "repair"):
            line = error_line(command(database, "market", "db", name), 3)
            assert "worker migrate" in line


def test_an_audit_needs_no_function_of_ours(url: str, conn: Conn) -> None:
    conn.execute("DROP FUNCTION reckoner_triggers() CASCADE")
    conn.execute("DROP FUNCTION reckoner_now() CASCADE")
    assert command(url, "market", "db", "audit").returncode == 3
    assert command(url, "market", "db", "repair", "--apply").returncode == 0


# Check.


def test_check(url: str, conn: Conn) -> None:
    with connect(url) as other, other.transaction():
        other.execute("SELECT 1")
        done = document(command(url, "market", "db", "check", "--json"))
    checks = {row["check"]: (row["state"], row["message"]) for row in done["checks"]}
    number = value(conn, "SELECT current_setting('server_version')")
    assert checks["version"][0] == "ok"
    assert str(number) in checks["version"][1]
    assert checks["endpoint"][1].startswith("direct")
    assert checks["listen"][0] == "ok"
    assert "may migrate and work" in checks["rights"][1]
    assert "idle in transaction" in checks["longest transaction"][1]
    assert {"dead rows", "connections", "clock"} < checks.keys()
    sizes = {row["table"]: row["bytes"] for row in done["tables"]}
    assert sizes["market_sessions"] > 1_000_000


@pytest.mark.skipif(PROGRAM is None, reason="this machine has no pgbouncer")
def test_check_finds_a_pooler_by_trying(url: str) -> None:
    with Pooler(url) as pooler:
        done = document(command(pooler.url, "market", "db", "check", "--json"))
        direct = document(
            command(pooler.url, "market", "db", "check", "--json", LISTEN_DATABASE_URL=url)
        )
    checks = {row["check"]: (row["state"], row["message"]) for row in done["checks"]}
    assert checks["endpoint"][1].startswith("pooled")
    assert checks["listen"][0] == "warn"
    assert {row["check"]: row["state"] for row in direct["checks"]}["listen"] == "ok"


def test_check_of_an_empty_database(empty_url: str) -> None:
    done = document(command(empty_url, "market", "db", "check", "--json"))
    assert done["tables"] == []


# Backups.


def test_a_dump_is_whole_private_noted_and_restores(
    url: str, empty_url: str, conn: Conn, tmp_path: Path, psql_program: str
) -> None:
    insert_prediction(conn, ["AAPL"])
    file = tmp_path / "a folder" / "b.dump"
    file.parent.mkdir()
    (row,) = document(command(url, "market", "db", "backup", "--pg-dump", str(file), "--json"))
    assert (row["name"], row["bytes"]) == (str(file), file.stat().st_size)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["b.dump"]
    noted = conn.execute("SELECT kind, name, bytes FROM reckoner_backups").fetchall()
    assert noted == [{"kind": "pg_dump", "name": str(file), "bytes": row["bytes"]}]
    if conn.info.server_version < 170000:
        pytest.skip("pg_restore 18 says SET transaction_timeout, which only 17 and newer know")
    restore = Path(psql_program).with_name("pg_restore")
    done = subprocess.run(
        [restore, "-d", empty_url, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with connect(empty_url) as restored:
        assert value(restored, "SELECT count(*) FROM predictions") == 1
        assert value(restored, "SELECT count(*) FROM outbox") == 1
    again = command(url, "market", "db", "backup", "--pg-dump", str(file))
    assert "is there already" in error_line(again, 2)


@pytest.fixture
def fake_pg_dump(tmp_path: Path) -> Path:
    """A pg_dump that only notes how it was called, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "pg_dump"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo "pg_dump (PostgreSQL) ${FAKE_VERSION:-99.1}"; exit; }\n'
        f'echo "$@" > {folder}/arguments; env > {folder}/environment\n'
        'if [ -n "$FAKE_ERROR" ]; then echo "$FAKE_ERROR" >&2; exit 1; fi\n'
    )
    program.chmod(0o755)
    return folder


def dump(url: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    file = folder / f"{len(settings)}.dump"
    path = f"{folder}:{os.environ['PATH']}"
    return command(
        url, "market", "db", "backup", "--pg-dump", str(file), PATH=path, cwd=None, **settings
    )


def test_the_password_reaches_pg_dump_by_its_environment_alone(
    url: str, fake_pg_dump: Path
) -> None:
    secret = "s3cret-pass%20word"  # noqa: S105
    with_password = (
        url.replace("@", f":{secret}@", 1) if ":" not in url.split("@", maxsplit=1)[0][13:] else url
    )
    assert dump(with_password, fake_pg_dump).returncode == 0
    arguments = (fake_pg_dump / "arguments").read_text()
    variables = (fake_pg_dump / "environment").read_text().splitlines()
    assert "postgres" not in arguments
    if with_password != url:
        assert "PGPASSWORD=s3cret-pass word" in variables
        assert "s3cret" not in arguments
    assert any(line.startswith("PGDATABASE=reckoner_test") for line in variables)


def test_a_pg_dump_that_fails_leaves_nothing_and_is_one_line(
    url: str, conn: Conn, fake_pg_dump: Path
) -> None:
    error = "pg_dump: error: connection to postgresql://me:hunter2@host/db failed\nmore"
    line = error_line(dump(url, fake_pg_dump, FAKE_ERROR=error), 1)
    assert "pg_dump failed" in line
    assert "hunter2" not in line
    assert sorted(path.name for path in fake_pg_dump.iterdir()) == [
        "arguments",
        "environment",
        "pg_dump",
    ]
    assert value(conn, "SELECT count(*) FROM reckoner_backups") == 0


def test_an_old_pg_dump_is_passed_over_for_one_that_fits(url: str, fake_pg_dump: Path) -> None:
    assert dump(url, fake_pg_dump, FAKE_VERSION="9.6").returncode == 0
    assert not (fake_pg_dump / "arguments").exists()


@pytest.mark.parametrize("arguments", [[], ["--pg-dump", "x", "--neon-branch"]])
def test_one_kind_of_backup(url: str, arguments: list[str]) -> None:
    assert "--pg-dump" in error_line(command(url, "market", "db", "backup", *arguments), 2)


class Neon(BaseHTTPRequestHandler):
    """Neon's API, as far as it is used; `answer` is what it says next."""

    answer: ClassVar[tuple[int, Any]]
    asked: ClassVar[list[tuple[str, str, Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        status, said = self.answer
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def neon(status: int, said: Any) -> Iterator[dict[str, str]]:
    """A local Neon that answers so; yields the settings that reach it."""
    Neon.answer, Neon.asked = (status, said), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Neon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {
                "NEON_API_URL": f"http://127.0.0.1:{server.server_port}/api/v2",
                "NEON_API_KEY": KEY,
                "NEON_PROJECT_ID": "a-project-1",
            }
        finally:
            server.shutdown()
            thread.join()


def test_a_neon_branch_is_made_and_noted(url: str, conn: Conn) -> None:
    made = {"branch": {"id": "br-1", "name": "reckoner-1"}, "operations": []}
    with neon(201, made) as settings:
        done = command(
            url, "market", "db", "backup", "--neon-branch", "--json", cwd=None, **settings
        )
        (asked,) = Neon.asked
        command(
            url,
            "market",
            "db",
            "backup",
            "--neon-branch",
            cwd=None,
            NEON_BRANCH_ID="br-main",
            **settings,
        )
    assert document(done)[0]["name"] == "br-1"
    assert asked[:2] == ("/api/v2/projects/a-project-1/branches", f"Bearer {KEY}")
    assert asked[2]["branch"]["name"].startswith("reckoner-2")
    assert Neon.asked[1][2]["branch"]["parent_id"] == "br-main"
    assert (
        value(conn, "SELECT min(kind || ' ' || name) FROM reckoner_backups") == "neon-branch br-1"
    )


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (401, {"message": f"bad key {KEY}"}, "NEON_API_KEY is not accepted"),
        (404, {}, "NEON_PROJECT_ID"),
        (423, {"message": "project is\nlocked"}, "423: project is locked"),
        (500, "oops", "500: without a reason"),
        (201, {"no": "branch"}, "names no branch"),
    ],
)
def test_what_neon_refuses_is_one_line_without_the_key(
    url: str, conn: Conn, status: int, said: Any, words: str
) -> None:
    with neon(status, said) as settings:
        done = command(
            url, "market", "db", "backup", "--neon-branch", cwd=None, LOG_LEVEL="DEBUG", **settings
        )
    assert words in error_line(done, 1)
    assert KEY not in done.stderr + done.stdout
    assert value(conn, "SELECT count(*) FROM reckoner_backups") == 0


def test_a_neon_that_does_not_answer(url: str) -> None:
    # A port that is taken and on which nobody listens: a free one may be another's by then.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        settings = {
            "NEON_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/api/v2",
            "NEON_API_KEY": KEY,
            "NEON_PROJECT_ID": "a-project-1",
        }
        done = command(url, "market", "db", "backup", "--neon-branch", cwd=None, **settings)
    assert "does not answer" in error_line(done, 1)


def test_neon_needs_its_settings(url: str) -> None:
    line = error_line(command(url, "market", "db", "backup", "--neon-branch"), 2)
    assert "NEON_API_KEY" in line
    bad = {"NEON_API_KEY": KEY, "NEON_PROJECT_ID": "../../users"}
    line = error_line(command(url, "market", "db", "backup", "--neon-branch", cwd=None, **bad), 2)
    assert "NEON_PROJECT_ID" in line


@pytest.mark.parametrize("who", ["PUBLIC", "reckoner_creator"])
def test_check_says_who_else_may_create_in_public(conn: Conn, who: str) -> None:
    assert checks._creators(conn).state == "ok"  # noqa: SLF001
    with conn.transaction(force_rollback=True):
        conn.execute(b"CREATE ROLE reckoner_creator")
        conn.execute(f"GRANT CREATE ON SCHEMA public TO {who}".encode())
        found = checks._creators(conn)  # noqa: SLF001
        assert (found.state, found.message.partition(" may ")[0]) == ("warn", who)
        health = "SELECT state, message FROM reckoner_health() WHERE name = 'creators'"
        told = conn.execute(health.encode()).fetchone()
        assert told is not None
        assert (told["state"], told["message"].partition(" may ")[0]) == ("warn", who)
        conn.execute(found.message.rpartition(": ")[2].encode())
        assert checks._creators(conn).state == "ok"  # noqa: SLF001
