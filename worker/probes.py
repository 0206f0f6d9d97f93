"""HTTP for platforms: `/metrics` for Prometheus, `/live` and `/ready` for whoever restarts workers.

Off unless WORKER_METRICS_PORT is set. A few threads of the standard library; nothing here
can slow the loop, and a port that is taken is an error at the start.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# A check: None when all is well, else why not, in a sentence.
Check = Callable[[], str | None]


class Probes:
    """The server. port: 0 lets the system choose one; see `port` after `start`."""

    def __init__(self, port: int, registry: CollectorRegistry, live: Check, ready: Check) -> None:
        checks = {"/live": live, "/ready": ready}

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # of a client that sends nothing

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif path in checks:
                    problem = checks[path]()
                    self._answer(503 if problem else 200, f"{problem or 'ok'}\n".encode())
                else:
                    self._answer(404, b"here are /metrics, /live and /ready\n")

            def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Scrapes are no news."""

        self._server = ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve in a thread of its own."""
        threading.Thread(
            target=self._server.serve_forever,
            name="probes",
            kwargs={"poll_interval": 0.5},
            daemon=True,
        ).start()

    def stop(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
