"""Strangers at a worker's port: slow ones, many, silent ones, those that leave, and their words."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import insert_prediction
from tests.support.process import BELL_ONLY, SHORT, Start, WorkerProcess
from tests.support.waiting import until
from tests.worker.scrape import Port, free_port, measured
from worker import probes as probing
from worker.probes import Probes
from worker.settings import WorkerSettings

_MANY = 600


@contextlib.contextmanager
def serving(live: str | None = None, words: str | None = None) -> Iterator[Probes]:
    probes = Probes("127.0.0.1", 0, CollectorRegistry(), lambda: live, lambda: words)
    probes.start()
    try:
        yield probes
    finally:
        probes.stop()


@pytest.fixture
def room() -> Iterator[None]:
    """Descriptors for this process's own side of many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def whole(client: socket.socket) -> bytes:
    """Everything until the other side ends; what came where it resets."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            got += part
    return got


def descriptors(worker: WorkerProcess) -> int:
    return len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))


@pytest.mark.usefixtures("room")
def test_600_slow_connections_do_not_end_a_worker_nor_stop_it(
    conn: Conn, start_worker: Start
) -> None:
    worker, port = measured(start_worker, **{**BELL_ONLY, "MARKET_PROVIDERS": "sample"})
    worker.ready()
    until("it is ready", lambda: port.ask("/ready")[0] == 200)
    few = descriptors(worker) + 20
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (few, few))
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(_MANY):
            with contextlib.suppress(OSError):
                client = stack.enter_context(connect(port.number))
                client.settimeout(0.01)
                client.sendall(b"GET /live HTTP/1.1\r\nX-Slow: ")
                clients.append(client)
        assert len(clients) > _MANY / 2
        # While they are there, events are processed, and who asks properly is answered.
        insert_prediction(conn, ["AAPL"], {"AAPL": "bullish"})
        until(
            "the prediction is processed",
            lambda: value(conn, "SELECT count(*) FROM outbox_history WHERE topic = 'prediction'"),
            60,
        )
        until("it answers beside them", lambda: port.ask("/live")[0] == 200, 60)
        assert worker.process.poll() is None
    until("it answers again", lambda: port.ask("/metrics")[0] == 200, 60)
    assert value(conn, "SELECT coalesce(sum(attempts + crashes), 0) FROM outbox_history") == 0
    assert worker.stop() == 0
    assert worker.saw("a thread died") is None
    assert worker.saw("a probe failed") is None


def test_a_request_that_trickles_ends_and_a_silent_one_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "_REQUEST_SECONDS", 0.5)
    with serving() as probes, connect(probes.port) as silent, connect(probes.port) as slow:
        started = time.monotonic()
        ended = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    slow.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        assert whole(silent) == b""
        assert whole(slow) == b""
        ended.set()
        thread.join()
        assert time.monotonic() - started < 15


def test_a_new_client_takes_the_place_of_the_oldest_silent_one() -> None:
    before = threading.active_count()  # other tests of this process left some
    with serving() as probes, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(probes.port)) for _ in range(20)]
        assert Port(probes.port).ask("/live") == (200, "ok\n")
        assert whole(silent[0]) == b""
        assert threading.active_count() - before < 15


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /live\n\n", b"200"),
        (b"HEAD /live HTTP/1.0\r\n\r\n", b"200"),
        (b"POST /live HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\xff\xfe\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b""),
        (b"GET /live HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n", b""),
    ],
)
def test_what_is_no_request_of_ours_costs_nothing(request_: bytes, status: bytes) -> None:
    with serving() as probes:
        with connect(probes.port) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(request_)
            got = whole(client)
        assert got[9:12] == status
        assert Port(probes.port).ask("/live")[0] == 200


def test_clients_that_leave_are_no_news(start_worker: Start, tmp_path: Path) -> None:
    worker, port = measured(start_worker, **{**SHORT, "MARKET_PROVIDERS": "sample"})
    worker.ready()
    for sent in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n"):
        for _ in range(10):
            client = connect(port.number)
            client.sendall(sent)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()  # with a reset
    until("it answers", lambda: port.ask("/metrics")[0] == 200)
    assert worker.stop() == 0
    text = (tmp_path / "worker-0.log").read_text()
    assert "Traceback" not in text
    assert "Exception" not in text


def test_what_a_check_says_is_one_line_of_text() -> None:
    with serving(words="no\x1b[31m\r\nX: y\u202e\u2028") as probes:
        status, body = Port(probes.port).ask("/ready")
    assert status == 503
    assert body == "no\\x1b[31m X: y\\u202e\n"


def test_labels_of_metrics_are_text(conn: Conn, start_worker: Start) -> None:
    conn.execute("UPDATE reckoner_providers SET name = E'\\x1b[31m\"\\n\\u202e' WHERE name = 'csv'")
    conn.execute("UPDATE reckoner_providers SET paused_until = now() + interval '1 hour'")
    worker, port = measured(start_worker, **{**SHORT, "MARKET_PROVIDERS": "sample"})
    worker.ready()

    def paused() -> set[str]:
        found = port.scrape().samples.get("reckoner_provider_paused", {})
        return {dict(labels)["provider"] for labels in found}

    assert '\\x1b[31m"\\n\\u202e' in until("the pauses are told", paused)
    assert "\x1b" not in port.ask("/metrics")[1]


def test_it_listens_to_this_machine_alone_unless_told(start_worker: Start) -> None:
    assert WorkerSettings.model_fields["worker_metrics_host"].default == "127.0.0.1"
    worker, port = measured(start_worker, **BELL_ONLY)
    worker.ready()
    until("it answers", lambda: port.ask("/live")[0] == 200)
    # 127.0.0.2 is this machine too, and not the address that was named.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port.number), timeout=5).close()
    wide, other = measured(start_worker, **BELL_ONLY, WORKER_METRICS_HOST="0.0.0.0")  # noqa: S104
    wide.ready()
    until("it answers", lambda: other.ask("/live")[0] == 200)
    socket.create_connection(("127.0.0.2", other.number), timeout=5).close()


def test_a_host_that_is_none_is_2_and_one_line(url: str) -> None:
    for host in ("203.0.113.7", "no such host"):
        done = command(
            url, "worker", MARKET_PROVIDERS="sample",
            WORKER_METRICS_PORT=str(free_port()), WORKER_METRICS_HOST=host,
        )  # fmt: skip
        assert done.returncode == 2
        [said] = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert host in said
