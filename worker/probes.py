"""HTTP for platforms: `/metrics` for Prometheus, `/live` and `/ready` for supervisors of workers.

Off unless WORKER_METRICS_PORT is set, and only on this machine unless WORKER_METRICS_HOST names
another address. Every client is untrusted: the number of threads and connections is fixed, and each
connection has one short request and one deadline. When all connections are taken, the oldest one
without a complete request is closed, so that slow clients cannot shut a platform out. Nothing here
can slow the loop, and a port that is taken is an error at the start.
"""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sql.database import error_line
from sql.visible import visible_line

# A check returns None, or the problem in a sentence.
Check = Callable[[], str | None]

# Connections at once, each with a thread; of these, how many may query the database.
_CONNECTIONS = 8
_QUERYING = 4
# Deadlines of a whole request and of a whole answer, not of each byte.
_REQUEST_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
# A request line and its headers.
_MOST_BYTES = 8192
_TURN_SECONDS = 0.5

_TEXT = "text/plain; charset=utf-8"
_WORDS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

log = structlog.get_logger()


class Probes:
    """The server. port: 0 lets the system choose one; see `port`. Raises OSError."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, live: Check, ready: Check
    ) -> None:
        self._registry = registry
        self._checks = {"/live": live, "/ready": ready}
        self._stopping = threading.Event()
        self._waiting: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # Accepted and not closed yet, the oldest first; True once the request is read.
        self._open: dict[socket.socket, bool] = {}
        self._querying = threading.BoundedSemaphore(_QUERYING)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
        self._server.settimeout(_TURN_SECONDS)
        self._threads = [
            threading.Thread(target=self._accept, name="probes", daemon=True),
            *(
                threading.Thread(target=self._serve, name=f"probes-{n + 1}", daemon=True)
                for n in range(_CONNECTIONS)
            ),
        ]

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.getsockname()[1])

    def start(self) -> None:
        """Start all threads now: later the system may have none left."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._stopping.set()
        for _ in range(_CONNECTIONS):
            self._waiting.put(None)
        self._threads[0].join(2 * _TURN_SECONDS)
        self._server.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                # Mostly no descriptor is left: without this wait the loop would spin.
                self._stopping.wait(_TURN_SECONDS)
                continue
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        """Queue a connection; when all are taken, close the oldest without a request, or this one."""
        with self._lock:
            if len(self._open) >= _CONNECTIONS:
                idle = next((each for each, is_read in self._open.items() if not is_read), None)
                if idle is None:
                    client.close()
                    return
                del self._open[idle]
                with contextlib.suppress(OSError):  # the client closed it first
                    idle.shutdown(socket.SHUT_RDWR)
            self._open[client] = False
        self._waiting.put(client)

    def _serve(self) -> None:
        while (client := self._waiting.get()) is not None:
            # A client that leaves, or is too slow, is not worth a log line.
            with contextlib.suppress(OSError), client:
                self._converse(client)
            with self._lock:
                self._open.pop(client, None)

    def _converse(self, client: socket.socket) -> None:
        head = _read_head(client, time.monotonic() + _REQUEST_SECONDS)
        with self._lock:
            if client not in self._open:
                return  # closed to make room for another
            self._open[client] = True
        if head is None:
            return
        method, _, target = head.split(b"\n")[0].strip().decode("latin-1").partition(" ")
        status, body, kind = self._answer(method, target.partition(" ")[0].partition("?")[0])
        lines = [
            f"HTTP/1.1 {status} {_WORDS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        whole = "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)
        client.settimeout(_ANSWER_SECONDS)
        client.sendall(whole)  # the timeout counts for all of it
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    def _answer(self, method: str, path: str) -> tuple[int, bytes, str]:
        """Return status, body and content type."""
        if not path.startswith("/"):
            return 400, b"not HTTP\n", _TEXT
        if method not in {"GET", "HEAD"}:
            return 405, b"GET only\n", _TEXT
        if path == "/live":
            return self._check(path)  # needs no query, so no place among those that do
        if path not in {"/ready", "/metrics"}:
            return 404, b"here are /metrics, /live and /ready\n", _TEXT
        if not self._querying.acquire(blocking=False):
            return 503, b"busy: too many requests at once\n", _TEXT
        try:
            return self._metrics() if path == "/metrics" else self._check(path)
        finally:
            self._querying.release()

    def _metrics(self) -> tuple[int, bytes, str]:
        try:
            return 200, generate_latest(self._registry), CONTENT_TYPE_LATEST
        except Exception as error:  # noqa: BLE001 - a scrape that fails ends no thread
            return _failed("/metrics", error)

    def _check(self, path: str) -> tuple[int, bytes, str]:
        try:
            problem = self._checks[path]()
        except Exception as error:  # noqa: BLE001 - a check that fails ends no thread
            return _failed(path, error)
        return 503 if problem else 200, f"{visible_line(problem or 'ok')}\n".encode(), _TEXT


def _failed(path: str, error: Exception) -> tuple[int, bytes, str]:
    log.error("a probe failed", path=path, error=error_line(error))
    return 500, b"failed, see the log\n", _TEXT


def _read_head(client: socket.socket, deadline: float) -> bytes | None:
    """Read the request up to its empty line; None where it is too long or does not end.

    Raises OSError when the deadline passes or the client leaves.
    """
    head = bytearray()
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        client.settimeout(left)
        part = client.recv(_MOST_BYTES)
        head += part
        if not part or len(head) > _MOST_BYTES:
            return None
    return bytes(head)
