"""A worker whose descriptors run out is delayed, and goes on when there are some again."""

import contextlib
import errno
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from sql.away import is_away
from sql.database import Database
from sql.descriptors import is_short, readable
from tests.support.db import Conn, connect, value
from tests.support.market import MOMENT, bars, insert_prediction, until_complete
from tests.support.process import SHORT, Start, WorkerProcess
from tests.support.waiting import until
from tests.worker.scrape import measured


@contextlib.contextmanager
def none_left(worker: WorkerProcess, most: int = 3) -> Iterator[None]:
    """The worker can open nothing more; what it has stays open."""
    pid = worker.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # A new descriptor gets the lowest number that is free, which is above stderr's.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def cut(conn: Conn) -> None:
    """End every other connection to this database."""
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def until_all_is_well(conn: Conn, worker: WorkerProcess, outcomes: int) -> None:
    """Everything is done, nothing was counted as the events' own fault, and the worker lives."""
    until_complete(conn, outcomes, seconds=90)
    until("the queue is empty", lambda: value(conn, "SELECT count(*) = 0 FROM outbox"), 60)
    burnt = "SELECT coalesce(sum(attempts + crashes), 0) FROM outbox_history"
    assert value(conn, burnt) == 0
    assert worker.saw("a thread died") is None
    assert worker.stop() == 0


@pytest.mark.parametrize("most", [3, 0])  # with 0 even waiting for a descriptor is refused
def test_events_and_files_wait_for_descriptors(
    conn: Conn, start_worker: Start, tmp_path: Path, most: int
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    bars(conn, tmp_path / "bars", "NEW")
    worker, port = measured(start_worker, **SHORT)
    worker.ready()
    until("it is ready", lambda: port.ask("/ready")[0] == 200)
    with none_left(worker, most):
        # Connections are there: the events are claimed, and the files cannot be opened.
        insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
        if most:
            worker.wait_for("the system has no descriptor left, waiting for one", 60)
        # And now there are none, neither to work nor to listen nor to say so.
        cut(conn)
        insert_prediction(conn, ["NEW"], {"NEW": "bullish"}, moment=MOMENT)
        worker.wait_for("the database is away, waiting for it", 60)
        worker.wait_for("the database is away, waiting for it", 60, doing="sending a heartbeat")
        assert port.ask("/live", seconds=2)[0] == 0  # who connects waits
        assert worker.process.poll() is None
    until("it answers again", lambda: port.ask("/ready")[0] == 200, 60)
    until_all_is_well(conn, worker, 2)


def test_a_worker_that_starts_without_descriptors_to_spare_waits_for_them(
    url: str, start_worker: Start, tmp_path: Path
) -> None:
    with connect(url) as conn:
        bars(conn, tmp_path / "bars", "GOOD")
        insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
        worker = start_worker(**SHORT)
        worker.wait_for("worker started")
        with none_left(worker):
            cut(conn)
            until(
                "it waits for something",
                lambda: (
                    worker.saw("the database is away, waiting for it")
                    or worker.saw("the system has no descriptor left, waiting for one")
                ),
                60,
            )
            assert worker.process.poll() is None
        until_all_is_well(conn, worker, 1)


def test_what_is_short_of_descriptors_is_no_fault_of_what_was_asked() -> None:
    nowhere = Database("postgresql://127.0.0.1:1/nowhere")  # nobody asks it anything
    emfile = OSError(errno.EMFILE, "Too many open files")
    wrapped = httpx.ConnectError("x")
    wrapped.__cause__ = emfile
    for error in (
        emfile,
        OSError(errno.ENFILE, "Too many open files in system"),
        wrapped,
        RuntimeError("can't start new thread"),
        ImportError("libx.so: cannot open shared object file: Too many open files"),
    ):
        assert is_short(error)
        assert is_away(nowhere, error)
    for other in (OSError(errno.ENOENT, "x"), RuntimeError("x"), ValueError("x"), KeyError("x")):
        assert not is_short(other)
        assert not is_away(nowhere, other)


def test_a_descriptor_beyond_1023_can_be_waited_for() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this machine has no such descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    try:
        with contextlib.ExitStack() as stack:
            while True:
                ours, theirs = socket.socketpair()
                stack.enter_context(ours)
                stack.enter_context(theirs)
                if ours.fileno() > 1023:
                    break
            assert readable([ours.fileno()], 0) == set()
            theirs.send(b"x")
            assert readable([ours.fileno()], 5) == {ours.fileno()}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thread_that_cannot_start_leaves_the_watchdog_for_the_next(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not by `database.connect`, which starts the watchdog.
    with Database(url) as database, connect(url) as conn:

        def refuse(_self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError), database.deadline(conn, 1):
                pass
        with pytest.raises(psycopg.OperationalError), database.deadline(conn, 0.2):
            conn.execute("SELECT pg_sleep(30)")
