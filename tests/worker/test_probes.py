"""A worker's port: /live needs no database, /ready does, and what happens when the port is taken."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry
from psycopg import sql as psql

from sql.database import Database
from tests.support.cli import command
from tests.support.db import Conn, connect
from tests.support.hanging import HangingTicker
from tests.support.market import insert_prediction, make_known
from tests.support.process import BELL_ONLY, SHORT, Start
from tests.support.queue import until_processing
from tests.support.waiting import until
from tests.worker.scrape import Port, free_port, measured
from worker.faults import Faults
from worker.heartbeat import Heartbeat
from worker.probes import Probes
from worker.queue.in_flight import InFlight
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown


@contextmanager
def away(server_url: str, url: str) -> Iterator[None]:
    """Nobody can connect to a database, and whoever was connected is not any more."""
    name = urlsplit(url).path.lstrip("/")
    allow = psql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    with connect(server_url) as server:
        server.execute(allow.format(psql.Identifier(name), psql.Literal(False)))
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            server.execute(allow.format(psql.Identifier(name), psql.Literal(True)))


def test_a_worker_is_live_and_ready(start_worker: Start) -> None:
    worker, port = measured(start_worker, **BELL_ONLY)
    worker.ready()
    until("it is ready", lambda: port.ask("/ready?verbose") == (200, "ok\n"))
    assert port.ask("/live") == (200, "ok\n")
    status, told = port.ask("/")
    assert status == 404
    assert all(path in told for path in ("/metrics", "/live", "/ready"))
    assert worker.stop() == 0
    assert port.ask("/live")[0] == 0


def test_a_database_that_is_away_leaves_metrics_and_live(
    server_url: str, url: str, start_worker: Start, tmp_path: Path
) -> None:
    worker, port = measured(start_worker, **SHORT)
    worker.ready()
    with connect(url) as conn:
        make_known(conn, tmp_path / "bars")
    until("it tells of the queue", lambda: "reckoner_events" in port.scrape().samples)
    with away(server_url, url):
        worker.wait_for("the database is away, waiting for it")
        assert port.ask("/live") == (200, "ok\n")
        status, told = port.ask("/ready")
        assert status == 503
        assert told.startswith("the database does not answer: ")
        assert len(told.splitlines()) == 1
        got = port.scrape()
        assert got.get("claims_ended_total", topic="prediction", verdict="done") == 1
        assert "reckoner_events" not in got.samples
    assert port.until_status("/ready", 200) == "ok\n"
    until("it tells of the queue again", lambda: "reckoner_events" in port.scrape().samples)
    port.until("listener_up", 1)


def test_a_database_that_is_away_does_not_hold_up_a_scrape(
    server_url: str, url: str, start_worker: Start
) -> None:
    worker, port = measured(start_worker, **SHORT)
    worker.ready()
    with away(server_url, url):
        port.ask("/ready", seconds=10)  # finds the pool's connections dead
        assert port.ask("/metrics", seconds=10)[0] == 200


def test_a_worker_that_stops_is_not_ready_but_live(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    worker, port = measured(start_worker, **BELL_ONLY)
    worker.ready()
    insert_prediction(conn, ["SLOW"])
    until_processing(conn, "SLOW")
    slow.until_asked()
    worker.signal(signal.SIGTERM)
    assert port.until_status("/ready", 503) == "stopping\n"
    assert port.ask("/live") == (200, "ok\n")
    slow.answer("date,open,high,low,close,volume\n")
    assert worker.process.wait(30) == 0


def test_a_loop_that_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr("worker.heartbeat.time", SimpleNamespace(monotonic=lambda: now))
    database = Database("postgresql://127.0.0.1:1/nowhere")  # nobody asks it anything
    heart = Heartbeat(
        database, WorkerSettings(), "w", None, [], Shutdown(), lambda _: None, InFlight(), Faults()
    )
    probes = Probes("127.0.0.1", 0, CollectorRegistry(), heart.stuck, lambda: None)
    probes.start()
    port = Port(probes.port)
    try:
        now += 299
        assert port.ask("/live")[0] == 200
        now += 2
        assert port.ask("/live") == (503, "the loop did not turn for 301 s\n")
        assert port.ask("/ready")[0] == 200
        heart.tick()
        assert port.ask("/live")[0] == 200
    finally:
        probes.stop()


def test_a_port_that_is_taken_is_2_and_one_line(url: str, conn: Conn) -> None:
    with socket.socket() as sock:
        sock.bind(("", 0))
        sock.listen()
        taken = sock.getsockname()[1]
        done = command(url, "worker", MARKET_PROVIDERS="sample", WORKER_METRICS_PORT=str(taken))
    assert done.returncode == 2
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(said) == 1, done.stderr
    assert "WORKER_METRICS_PORT" in said[0]
    assert str(taken) in said[0]
    assert "in use" in said[0]
    assert conn.execute("SELECT FROM reckoner_workers").fetchall() == []


def test_no_port_is_opened_unless_asked_for(start_worker: Start) -> None:
    assert WorkerSettings.model_fields["worker_metrics_port"].default == 0
    quiet = start_worker(**BELL_ONLY).ready()
    asked, port = measured(start_worker, **BELL_ONLY)
    asked.ready()
    if not Path("/proc/self/net/tcp").exists():
        pytest.skip("only Linux says which sockets a process has")
    assert listening(quiet.process.pid) == set()
    assert listening(asked.process.pid) == {port.number}
    assert free_port() != port.number


def listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # a file that it closed meanwhile
            mine.add(str(link.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                found.add(int(fields[1].rsplit(":", 1)[1], 16))
    return found
