"""Advisory locks are anybody's: a role that only connects takes ours, and what it stops is said."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from sql.database import Database
from sql.schema import locks, migrate
from tests.support.cli import command
from tests.support.clock import move_clock
from tests.support.db import Conn, connect, value
from tests.support.market import bars, completed, insert_prediction
from tests.support.process import Start
from tests.support.queue import arm
from tests.support.roles import as_role
from tests.support.waiting import until
from tests.worker.checks import beat, look
from worker import sweep
from worker.settings import WorkerSettings


@contextlib.contextmanager
def role(conn: Conn, options: str = "LOGIN") -> Iterator[str]:
    name = f"stranger_{uuid4().hex[:12]}"
    conn.execute(f"CREATE ROLE {name} {options} PASSWORD 'of-a-test'".encode())
    yield name
    conn.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


@pytest.fixture
def stranger(url: str, conn: Conn) -> Iterator[Conn]:
    """A connection of a role that may connect and nothing else."""
    with role(conn) as name, connect(as_role(url, name)) as other:
        yield other


def names(told: str, other: Conn) -> bool:
    return f"pid {other.info.backend_pid} (role {other.info.user}" in told


def test_health_names_who_keeps_the_sweep_from_its_turn(
    url: str, conn: Conn, database: Database, stranger: Conn
) -> None:
    beat(conn)
    assert look(database, "sweep") == ("ok", "none has ended yet")
    assert sweep.once(database, WorkerSettings()) is not None
    state, told = look(database, "sweep")
    assert (state, told.partition(" ended ")[0]) == ("ok", "the last")

    stranger.execute("SELECT pg_advisory_lock(1380271947, 3)")
    assert sweep.once(database, WorkerSettings()) is None
    state, told = look(database, "sweep")
    assert state == "warn"
    assert names(told, stranger)
    done = command(url, "worker", "sweep")
    assert done.returncode == 1
    assert names(done.stderr, stranger)

    stranger.execute("SELECT pg_advisory_unlock_all()")
    assert look(database, "sweep")[0] == "ok"
    assert sweep.once(database, WorkerSettings()) is not None


def test_health_says_that_no_sweep_comes(conn: Conn, database: Database, stranger: Conn) -> None:
    assert sweep.once(database, WorkerSettings()) is not None
    stranger.execute("BEGIN")
    stranger.execute("SELECT pg_advisory_xact_lock(1380271947, 3)")
    move_clock(conn, "16 minutes")
    beat(conn)
    row = conn.execute("SELECT * FROM reckoner_health() WHERE name = 'sweep'").fetchone()
    assert row is not None
    assert row["state"] == "warn"
    assert row["message"].startswith("the last ended 96")
    assert names(row["message"], stranger)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, "hashtext('calendar XNYS')"])
def test_health_names_who_holds_a_lock_of_ours_without_use_for_it(
    database: Database, stranger: Conn, number: int | str
) -> None:
    assert look(database, "locks")[0] == "ok"
    stranger.execute(f"SELECT pg_advisory_lock(1380271947, {number})".encode())
    state, told = look(database, "locks")
    assert state == "warn"
    assert names(told, stranger)
    assert f"pg_terminate_backend({stranger.info.backend_pid})" in told


def test_a_role_that_cannot_migrate_does_not_keep_anybody_from_it(
    url: str, conn: Conn, stranger: Conn
) -> None:
    conn.execute(
        "DROP FUNCTION sweep_ended(); DELETE FROM reckoner_schema WHERE name LIKE '%60_sweep%'"
    )
    stranger.execute("SELECT pg_advisory_lock(1380271947, 2)")
    done = command(url, "worker", "migrate")
    assert done.returncode == 0, done.stderr
    assert names(done.stderr, stranger)
    assert value(conn, "SELECT to_regproc('sweep_ended') IS NOT NULL")


def test_migrate_gives_up_and_names_another_that_migrates(
    url: str, conn: Conn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_TURN_SECONDS", 1)
    with role(conn, "LOGIN SUPERUSER") as name, connect(as_role(url, name)) as other:
        other.execute("SELECT pg_advisory_lock(1380271947, 2)")
        with pytest.raises(migrate.MigrationError) as caught:
            migrate.migrate(database)
        assert names(str(caught.value), other)
        assert not isinstance(caught.value, migrate.SchemaMismatch)  # exit code 1
    until("nobody holds it", lambda: locks.keeper(conn, locks.MIGRATING) is None)
    assert migrate.migrate(database) == []


def test_two_migrations_at_once_take_turns_though_a_stranger_holds_the_lock(
    stranger: Conn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger.execute("SELECT pg_advisory_lock(1380271947, 2)")
    monkeypatch.setattr(migrate, "_TURN_SECONDS", 1)
    with (
        migrate._locked(database),  # noqa: SLF001
        pytest.raises(psycopg.errors.LockNotAvailable),
        migrate._locked(database),  # noqa: SLF001
    ):
        raise AssertionError("two at once")


@pytest.mark.parametrize("mode", ["pg_advisory_lock", "pg_advisory_lock_shared"])
def test_the_armed_lock_in_a_strangers_hands_delays_to_the_poll_at_most(
    conn: Conn, stranger: Conn, start_worker: Start, tmp_path: Path, mode: str
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    stranger.execute(f"SELECT {mode}(1380271947, 1)".encode())
    worker = start_worker(WORKER_POLL_SECONDS="1").ready()
    assert arm(conn) == ("guarded" if mode == "pg_advisory_lock" else "busy")
    for n in range(1, 3):
        insert_prediction(conn, ["GOOD"])
        until("it has its outcome", lambda n=n: completed(conn) == n, 30)  # type: ignore[misc]
        # While nobody holds it, nobody is rung for: the worker that slept under it polls.
        stranger.execute("SELECT pg_advisory_unlock_all()")
    assert worker.stop() == 0


def test_a_lock_that_is_held_for_long_is_asked_for_ever_more_rarely(
    conn: Conn, stranger: Conn, start_worker: Start
) -> None:
    """Or one role keeps every worker and the server busy, fifty times a second."""
    stranger.execute("SELECT pg_advisory_lock_shared(1380271947, 1)")
    start_worker(WORKER_POLL_SECONDS="5").ready()
    quiet = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reckoner worker'"
        " AND state = 'idle' AND query LIKE '%%doorbell_arm%%'"
        " AND state_change < clock_timestamp() - interval '1 second'"
    ).replace("%%", "%")
    until("it rests for more than a second", lambda: value(conn, quiet), 60)
