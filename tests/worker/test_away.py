"""PostgreSQL goes away under a working worker: it waits, goes on, and loses nothing."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from market.universe import sessions
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.db import Conn, connect, value
from tests.support.market import MOMENT, bars, insert_prediction
from tests.support.process import SHORT, WorkerProcess, cleaned_up
from tests.support.waiting import until


@pytest.fixture
def server() -> Iterator[tuple[Path, str]]:
    """A server of this test alone that keeps what it said it committed; its folder and URL."""
    folder = Path(tempfile.mkdtemp(prefix="reckoner-away-"))
    folder.chmod(0o755)  # root's server runs under another id
    try:
        # The machine survives these tests, so what is written need not reach the disk.
        with embedded.use(folder, settings={"fsync": "off", "full_page_writes": "off"}) as url:
            with Database(url) as database:
                migrate.migrate(database)
                sessions.ensure(database)
            yield folder, url
    finally:
        embedded.remove(folder)


def write(url: str) -> int:
    """Insert a prediction as soon as the server takes it; returns its id."""

    def probe() -> int | None:
        try:
            with connect(url) as conn:
                return insert_prediction(conn, ["GOOD"], moment=MOMENT)
        except psycopg.OperationalError:
            return None

    number = until("the server takes an insert", probe, 60)
    assert number is not None
    return number


def until_answered(url: str, written: set[int]) -> None:
    """Wait until every prediction has its outcome and nothing else is left."""

    def probe() -> bool:
        try:
            with connect(url) as conn:
                found = conn.execute(
                    "SELECT prediction_id FROM prediction_outcomes WHERE is_complete"
                ).fetchall()
                left = value(conn, "SELECT count(*) FROM outbox")
        except psycopg.OperationalError:
            return False
        return written <= {row["prediction_id"] for row in found} and left == 0

    until("every committed prediction has its outcome", probe, 60)


def postmaster(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_dies_is_waited_for(
    server: tuple[Path, str], tmp_path: Path, number: signal.Signals
) -> None:
    folder, url = server
    with connect(url) as conn:
        bars(conn, tmp_path, "GOOD")
    settings = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(tmp_path), **SHORT}
    worker = WorkerProcess(url, tmp_path / "worker.log", **settings)
    with cleaned_up([worker]):
        worker.ready()
        written = {write(url) for _ in range(20)}
        before = postmaster(folder)

        os.kill(before, number)
        # Writes go on, and so does the worker, once somebody started the server again.
        written |= {write(url) for _ in range(20)}

        until_answered(url, written)
        assert postmaster(folder) != before
        worker.wait_for("listening", 60, recovered=True)
        written.add(write(url))
        until_answered(url, written)
        assert worker.stop() == 0


def backends(conn: Conn) -> set[int]:
    """The server's processes for the worker's connections."""
    rows = conn.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'reckoner worker'"
    )
    return {row["pid"] for row in rows}


def until_reconnected(conn: Conn, cut: set[int]) -> set[int]:
    """Wait until the worker has connections that are none of these."""
    return until("the worker is connected again", lambda: backends(conn) - cut)


def test_cut_connections_are_made_anew(server: tuple[Path, str], tmp_path: Path) -> None:
    _, url = server
    settings = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(tmp_path), **SHORT}
    worker = WorkerProcess(url, tmp_path / "worker.log", **settings)
    with cleaned_up([worker]), connect(url) as conn:
        bars(conn, tmp_path, "GOOD")
        worker.ready()
        written = set[int]()
        cut = set[int]()
        for _ in range(10):
            written |= {insert_prediction(conn, ["GOOD"], moment=MOMENT) for _ in range(5)}
            cut = until_reconnected(conn, cut)
            for pid in cut:
                conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        until_answered(url, written)
        worker.wait_for("listening", recovered=True)
        # Every event was done once, and none of it was counted against an event.
        done = conn.execute("SELECT * FROM outbox_history WHERE topic = 'prediction'").fetchall()
        assert sorted(int(row["key"]) for row in done) == sorted(written)
        assert {(row["verdict"], row["attempts"]) for row in done} == {("done", 0)}
        assert worker.process.poll() is None
