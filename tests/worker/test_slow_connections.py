"""Connections that come up slowly, and that all die at once, as where a database sleeps."""

from pathlib import Path
from typing import Any

from tests.support.db import Conn, value
from tests.support.market import (
    MOMENT,
    bars,
    completed,
    insert_prediction,
    make_known,
    until_complete,
)
from tests.support.process import BELL_ONLY, Start
from tests.support.waiting import until
from tests.worker.gate import Gate


def complaints(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a log says that a reader would worry about."""
    return [e for e in events if e["level"] in {"warning", "error", "critical"}]


def cut_all(conn: Conn) -> int:
    """End every connection of the workers; returns how many there were."""
    rows = conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'reckoner worker'"
    )
    return len(rows.fetchall())


def test_connections_that_take_five_seconds_are_no_fault(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    for symbol in ("GOOD", "FINE", "MORE"):
        bars(conn, tmp_path / "bars", symbol)
    numbers = [insert_prediction(conn, ["GOOD", "FINE", "MORE"], moment=MOMENT) for _ in range(5)]
    settings = {"WORKER_HEARTBEAT_SECONDS": "0.5", "WORKER_POLL_SECONDS": "0.5"}
    with Gate(url, delay=5) as gate:
        worker = start_worker(**settings, DATABASE_URL=gate.url)
        until_complete(conn, 3 * len(numbers), 60)
        worker.wait_for("listening", seconds=60)
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        until_complete(conn, 3 * len(numbers) + 1)

        assert value(conn, "SELECT mode FROM worker_status") == "notify"
        done = conn.execute("SELECT DISTINCT verdict, attempts, crashes FROM outbox_history")
        assert [tuple(row.values()) for row in done] == [("done", 0, 0)]
        assert worker.stop() == 0
        assert gate.passed >= 2
        assert complaints(worker.events) == []


def test_a_worker_whose_connections_all_died_goes_on_by_itself(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    with Gate(url) as gate:
        worker = start_worker(
            **{**BELL_ONLY, "WORKER_HEARTBEAT_SECONDS": "0.5"}, DATABASE_URL=gate.url
        ).ready()
        make_known(conn, tmp_path / "bars")
        before = completed(conn)

        gate.shut.set()
        assert cut_all(conn) > 1
        until("it was turned away again and again", lambda: gate.refused >= 5, 60)
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        assert worker.process.poll() is None
        gate.shut.clear()

        until_complete(conn, before + 1, 60)
        worker.wait_for("listening", 60, recovered=True)
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        until_complete(conn, before + 2)
        until("it says so", lambda: value(conn, "SELECT mode FROM worker_status") == "notify")
        assert {e["level"] for e in complaints(worker.events)} == {"warning"}
        attempts = conn.execute("SELECT DISTINCT verdict, attempts, crashes FROM outbox_history")
        assert [tuple(row.values()) for row in attempts] == [("done", 0, 0)]
        assert worker.stop() == 0
