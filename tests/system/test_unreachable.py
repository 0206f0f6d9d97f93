"""A database that cannot be reached says why, at once, and which one it is, without the password."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sql.away import may_be_away
from sql.database import Database, error_line
from sql.unreachable import ConnectionFailed
from tests.support.cli import command
from tests.support.cli import error_line as only_line
from tests.support.db import connect, database_of, with_database
from tests.support.every_command import COMMANDS, invoke
from tests.support.process import Start, environment
from tests.support.waiting import until

HIDDEN = "hidden-word"

# What servers and poolers say, and whether waiting mends it.
SAID = [
    ('password authentication failed for user "u"', True),
    ('role "u" does not exist', True),
    ('database "d" does not exist', True),
    ('no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", no encryption', True),
    ('role "u" is not permitted to log in', True),
    ('permission denied for database "d"', True),
    ("no such database: d", True),
    ("Tenant or user not found", True),
    ("sorry, too many clients already", False),
    ("remaining connection slots are reserved for roles with the SUPERUSER attribute", False),
    ("the database system is starting up", False),
    ("the database system is in recovery mode", False),
    ('database "d" is not currently accepting connections', False),
]


class Refusing:
    """A server that answers every connection with one error."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"postgresql://u:{HIDDEN}@127.0.0.1:{self.port}/d"
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self._listener.accept()
                with conn, contextlib.suppress(OSError, struct.error):
                    self._answer(conn)

    def _answer(self, conn: socket.socket) -> None:
        while True:
            length, code = struct.unpack("!II", conn.recv(8, socket.MSG_WAITALL))
            conn.recv(length - 8, socket.MSG_WAITALL)
            if code not in {80877103, 80877104}:  # not asked for SSL or GSS, but the start itself
                break
            conn.sendall(b"N")
        self.asked += 1
        body = b"SFATAL\0VFATAL\0CXXXXX\0M" + self._said.encode() + b"\0\0"
        conn.sendall(b"E" + struct.pack("!I", len(body) + 4) + body)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def refusing(said: str) -> Iterator[Refusing]:
    server = Refusing(said)
    try:
        yield server
    finally:
        server.close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def failure(url: str) -> ConnectionFailed:
    with (
        Database(url) as database,
        pytest.raises(ConnectionFailed) as caught,
        database.transaction(),
    ):
        pass
    assert may_be_away(caught.value)
    assert HIDDEN not in error_line(caught.value)
    return caught.value


@pytest.mark.parametrize(("said", "is_lasting"), SAID)
def test_the_servers_reason_and_whether_waiting_mends_it(said: str, is_lasting: bool) -> None:
    with refusing(said) as server:
        error = failure(server.url)
        assert str(error) == f"database d on 127.0.0.1:{server.port}: FATAL:  {said}"
        assert error.is_lasting is is_lasting
        assert server.asked == 1, "the first error is the answer"


def test_nobody_listens() -> None:
    port = closed_port()
    error = failure(f"postgresql://u:{HIDDEN}@127.0.0.1:{port}/d")
    assert str(error) == f"database d on 127.0.0.1:{port}: Connection refused"
    assert not error.is_lasting


def test_several_hosts_each_say_why() -> None:
    port = closed_port()
    with refusing("the database system is starting up") as server:
        error = failure(
            f"postgresql://u:{HIDDEN}@127.0.0.1:{port},127.0.0.2:{port},localhost:{server.port}/d"
        )
    assert "127.0.0.1: Connection refused" in str(error)
    assert "localhost: FATAL:  the database system is starting up" in str(error)
    assert not error.is_lasting


def test_the_second_of_two_hosts_is_used(url: str) -> None:
    port = closed_port()
    parts = psycopg.conninfo.conninfo_to_dict(url)
    folder = parts.pop("host")
    several = psycopg.conninfo.make_conninfo(
        "", **{**parts, "host": f"127.0.0.1,{folder}", "port": f"{port},{parts.get('port', '')}",
               "target_session_attrs": "read-write"}
    )  # fmt: skip
    done = command(several, "worker", "status", "--json")
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1" in done.stdout


def test_a_folder_without_a_socket_and_an_unknown_host(tmp_path: Path) -> None:
    error = failure(f"host={tmp_path} dbname=d password={HIDDEN}")
    assert str(error) == f"database d on {tmp_path}: No such file or directory"
    error = failure(f"postgresql://u:{HIDDEN}@no-such-host.invalid/d")
    assert str(error).startswith("database d on no-such-host.invalid:5432: failed to resolve host")


def test_no_such_database_and_role(url: str) -> None:
    missing = with_database(url, "no_such_database")
    error = failure(missing)
    assert 'database "no_such_database" does not exist' in str(error)
    assert error.is_lasting


def test_a_full_pool_says_so(database: Database) -> None:
    small = Database(database.url, size=1)
    with (
        small,
        small.transaction(),
        pytest.raises(psycopg.OperationalError, match="all 1 connections of this process"),
        small.transaction(connect_seconds=0.05),
    ):
        pass


def test_an_idle_connection_that_ended_is_not_used(
    url: str, conn: psycopg.Connection[object]
) -> None:
    with Database(url, name="to be ended", size=1) as database:
        with database.transaction():
            pass
        conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE application_name = 'to be ended' AND datname = current_database()"
        )
        with database.transaction() as ours:
            ours.execute("SELECT 1")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_says_it_at_once(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = closed_port()
    settings = environment(f"postgresql://u:{HIDDEN}@127.0.0.1:{port}/d")
    result = invoke(arguments, settings, monkeypatch)
    said = f"{result.output} {result.exception}"
    assert HIDDEN not in said
    if arguments != ("worker", "url"):
        assert f"database d on 127.0.0.1:{port}: Connection refused" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("worker", "status"), 2),
        (("worker",), 2),
        (("worker", "health"), 3),
        (("market", "stats"), 2),
    ],
)
def test_what_waiting_cannot_mend_is_wrong_usage(
    url: str, arguments: tuple[str, ...], code: int
) -> None:
    done = command(with_database(url, "no_such_database"), *arguments)
    assert done.returncode == code, done.stderr
    assert 'database "no_such_database" does not exist' in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_that_starts_waits_for_what_may_come() -> None:
    port = closed_port()
    url = f"postgresql://u:{HIDDEN}@127.0.0.1:{port}/d"
    done = command(url, "worker", "run", "--drain", "--max-seconds", "1", LOG_FORMAT="console")
    assert done.returncode == 1
    assert f"database d on 127.0.0.1:{port}: Connection refused" in done.stderr.splitlines()[-1]
    assert HIDDEN not in done.stderr


def test_a_running_worker_says_why_and_goes_on(
    url: str, server_url: str, start_worker: Start
) -> None:
    running = start_worker(WORKER_HEARTBEAT_SECONDS="0.5").ready()
    name = psycopg.sql.Identifier(database_of(url))
    allow = psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with connect(server_url) as conn:
        conn.execute(allow.format(name, psycopg.sql.SQL("false")))
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [database_of(url)],
        )
        until(
            "the worker says why",
            lambda: any("accepting connections" in str(e.get("error")) for e in running.events),
        )
        conn.execute(allow.format(name, psycopg.sql.SQL("true")))
    running.wait_for("listening", recovered=True)
    assert running.stop() == 0


def test_an_error_of_a_command_names_its_database(empty_url: str) -> None:
    done = command(empty_url, "market", "stats")
    assert f"(database {database_of(empty_url)} on " in only_line(done, 3)
