"""A small Yahoo of our own, reached by an unmodified yfinance through environment variables.

It is an HTTP proxy: the client asks it to CONNECT to Yahoo's hosts, and it ends the TLS
itself with certificates of its own authority. So a real worker process runs the real
transport, cookies, crumbs and retries included, and nothing in it is patched. Owns the
hosts, the faults and the log of requests; the numbers are those of `listings`. Nothing is
ever passed on: a host that is not Yahoo's is refused and counted.
"""

import contextlib
import datetime as dt
import json
import socket
import ssl
import struct
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

from tests.yahoo.listings import ALL_ROWS, ONE_ROW, Listing, chart, rows

HOSTS = (
    "query1.finance.yahoo.com",
    "query2.finance.yahoo.com",
    "finance.yahoo.com",
    "fc.yahoo.com",
    "guce.yahoo.com",
    "consent.yahoo.com",
)
_CHART = "/v8/finance/chart/"
_HTML = b"<!DOCTYPE html><html><head><title>Yahoo</title></head><body>Back soon</body></html>"
_CONSENT = (
    b'<html><form><input name="csrfToken" value="t0k"><input name="sessionId" value="s1"></form>'
)
_COOKIE = "A3=d=crumbs; Domain=.yahoo.com; Path=/; Max-Age=31536000; Secure"
# Longer than any client waits.
_HANG_SECONDS = 120.0

Network = Literal["up", "refuse", "hang", "503", "tls_abort"]


@dataclass
class Fault:
    """What goes wrong with a symbol's charts.

    kind: a status ("429"; "404" is an HTML page, not Yahoo's verdict), one of `_BODIES`, a way
    of not answering ("hang", "reset", "truncated_http"), "wrong_symbol", or a content fault of
    `listings`. times: how many requests it meets (None: all), after `skip` of them.
    date, factor: for content faults that change one day's row.
    """

    kind: str
    times: int | None = None
    skip: int = 0
    date: dt.date | None = None
    factor: float = 100.0
    retry_after: int | None = None


class Entry(NamedTuple):
    """One request, when it came (time.monotonic), and what was answered; status 0: nothing."""

    at: float
    host: str
    path: str
    symbol: str | None
    period1: int
    period2: int
    status: int


class Reply(NamedTuple):
    """An answer; manner says how much of it comes."""

    status: int
    body: bytes
    kind: str = "application/json"
    cookie: str | None = None
    retry_after: int | None = None
    manner: Literal["whole", "hang", "reset", "half"] = "whole"
    headers: tuple[tuple[str, str], ...] = ()


def _said(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


def _error(status: int, code: str, description: str) -> Reply:
    error = {"code": code, "description": description}
    return _said({"chart": {"result": None, "error": error}}, status)


_INSTEAD = {
    "404": Reply(404, _HTML, "text/html"),
    "401": _said({"finance": {"result": None, "error": {"code": "Unauthorized"}}}, 401),
    "crumb": _said(
        {"finance": {"error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}, 401
    ),
    "422": _error(422, "Unprocessable Entity", "1d data not available for the range"),
    "429": Reply(429, b"Too Many Requests\r\n", "text/plain"),
    "html200": Reply(200, _HTML, "text/html"),
    "empty_body": Reply(200, b""),
    "null_chart": _said({"chart": None}),
    "null_result": _said({"chart": {"result": None, "error": None}}),
    "hang": Reply(0, b"", manner="hang"),
    "reset": Reply(0, b"", manner="reset"),
}


class Yahoo:
    """The server. Tests set `listings`, `now`, faults and the network, and read `log`.

    folder: for the authority's certificate. Runs between __enter__ and __exit__.
    """

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self.now = now
        self.listings: dict[str, Listing] = {}
        self.log: list[Entry] = []
        self.strangers: Counter[str] = Counter()
        self.errors: list[str] = []  # of this server itself
        self.network: Network = "up"
        # A test's own answer to a host and an address; None: the usual one.
        self.instead: Callable[[str, str], Reply | None] | None = None
        self.released = threading.Event()  # what hangs may go on
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.set_alpn_protocols(["http/1.1"])
        authority.issue_cert(*HOSTS).configure_cert(self.tls)
        self._bundle = folder / "yahoo-authority.pem"
        authority.cert_pem.write_to_path(str(self._bundle))
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()
        # Bound and never listening: while ours is closed, nobody else gets the port.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self._port: int = self._place.getsockname()[1]
        self._listener: _Listener | None = None

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()
        self._place.close()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client's process believe that this is Yahoo."""
        proxy, bundle = f"http://127.0.0.1:{self._port}", str(self._bundle)
        trust = dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), bundle)
        names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        return {**dict.fromkeys(names, proxy), **trust, "NO_PROXY": "localhost", "no_proxy": ""}

    def charts(self, symbol: str | None = None) -> list[Entry]:
        """The requests for charts so far, of one symbol or of all."""
        return [entry for entry in self.log if entry.symbol and symbol in {None, entry.symbol}]

    def fail(self, symbol: str, kind: str, **options: Any) -> None:
        """Let a symbol ("*": all) meet a fault; see `Fault`. Several take their turns."""
        with self._lock:
            self._faults.setdefault(symbol, []).append(Fault(kind, **options))

    def heal(self, symbol: str | None = None) -> None:
        """End a symbol's faults, or all; without a symbol the network's too."""
        with self._lock:
            if symbol is None:
                self._faults.clear()
            else:
                self._faults.pop(symbol, None)
        if symbol is None:
            self.cut("up")

    def cut(self, network: Network) -> None:
        """Set what happens to new connections; the open ones end."""
        self.network = network
        self._close()
        if network != "refuse":
            self._open()

    def _open(self) -> None:
        self.released = threading.Event()
        self._listener = _Listener(("127.0.0.1", self._port), self)
        threading.Thread(target=self._listener.serve_forever, args=[0.02], daemon=True).start()

    def _close(self) -> None:
        self.released.set()
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.end_connections()
            self._listener = None

    def answer(self, host: str, target: str) -> Reply:
        """Answer one request, and log it."""
        came, parts = time.monotonic(), urlsplit(target)
        symbol, periods = None, (0, 0)
        if self.instead and (own := self.instead(host, target)):
            reply = own
        elif host.startswith("query") and parts.path.startswith(_CHART):
            symbol = unquote(parts.path.removeprefix(_CHART))
            asked = parse_qs(parts.query)
            periods = (int(asked["period1"][0]), int(asked["period2"][0]))
            reply = self._chart(symbol, *periods)
        elif parts.path == "/v1/test/getcrumb":
            reply = Reply(200, b"a.crumb", "text/plain")
        elif host == "fc.yahoo.com":
            reply = Reply(404, _HTML, "text/html", _COOKIE)
        elif host in {"guce.yahoo.com", "consent.yahoo.com"}:
            reply = Reply(200, _CONSENT, "text/html", _COOKIE)
        else:
            self.strangers[f"{host}{parts.path}"] += 1
            reply = Reply(403, _HTML, "text/html")
        with self._lock:
            self.log.append(Entry(came, host, parts.path, symbol, *periods, reply.status))
        return reply

    def _fault(self, symbol: str) -> Fault | None:
        with self._lock:
            for fault in [*self._faults.get(symbol, []), *self._faults.get("*", [])]:
                if fault.skip:
                    fault.skip -= 1
                elif fault.times is None or fault.times > 0:
                    fault.times = fault.times and fault.times - 1
                    return fault
        return None

    def _chart(self, symbol: str, period1: int, period2: int) -> Reply:
        fault = self._fault(symbol)
        if fault is None:
            return self._good_chart(symbol, period1, period2, None)
        if fault.kind in _INSTEAD:
            return _INSTEAD[fault.kind]._replace(retry_after=fault.retry_after)
        if fault.kind.isdecimal():
            return Reply(int(fault.kind), _HTML, "text/html", retry_after=fault.retry_after)
        good = self._good_chart(symbol, period1, period2, fault)
        if fault.kind == "truncated_http":
            return good._replace(status=0, manner="half")
        if fault.kind == "truncated_json":
            return good._replace(body=good.body[: len(good.body) // 2])
        return good

    def _good_chart(self, symbol: str, period1: int, period2: int, fault: Fault | None) -> Reply:
        listing = self.listings.get(symbol)
        if listing is None:
            return _error(404, "Not Found", "No data found, symbol may be delisted")
        every = rows(listing, self.now)
        if period2 <= every[0].stamp or (listing.delisted and period1 > every[-1].stamp):
            words = f"Data doesn't exist for startDate = {period1}, endDate = {period2}"
            return _error(400, "Bad Request", words)
        shown = [row for row in every if period1 <= row.stamp < period2]
        if fault and shown and fault.kind in ONE_ROW:
            change = ONE_ROW[fault.kind]
            bad = fault.date or shown[-1].date
            shown = [change(row, fault.factor) if row.date == bad else row for row in shown]
        if fault and shown and fault.kind in ALL_ROWS:
            shown = ALL_ROWS[fault.kind](shown, listing)
        said = "ZZZZ" if fault and fault.kind == "wrong_symbol" else symbol
        return _said(chart(said, listing, shown, self.now))


class _Listener(ThreadingHTTPServer):
    """The port: a thread for each connection, and all of them can be ended at once."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], yahoo: Yahoo) -> None:
        self.yahoo = yahoo
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A bug of ours: whoever runs the server looks for it at the end."""
        self.yahoo.errors.append(traceback.format_exc())

    def noted(self, connection: socket.socket, *, is_open: bool) -> None:
        """Remember a connection, or forget it."""
        with self._lock:
            (self._connections.add if is_open else self._connections.discard)(connection)

    def end_connections(self) -> None:
        """End what is open; its threads notice and leave."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own: its thread may be reading.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection: a CONNECT, the TLS inside it, and then requests to one host."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    connection: socket.socket
    host = ""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        self.server.noted(self.connection, is_open=False)
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def do_CONNECT(self) -> None:
        yahoo, host = self.server.yahoo, self.path.rpartition(":")[0]
        if yahoo.network == "hang":
            yahoo.released.wait(_HANG_SECONDS)
            self.close_connection = True
        elif yahoo.network == "503" or host not in HOSTS:
            if host not in HOSTS:
                yahoo.strangers[host] += 1
            self._send(Reply(503 if yahoo.network == "503" else 403, b"", "text/plain"))
            self.close_connection = True
        else:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._start_tls(host)

    def _start_tls(self, host: str) -> None:
        if self.server.yahoo.network == "tls_abort":
            self.wfile.write(b"\x15\x03\x01\x00\x02\x02\x28")  # an alert: handshake failure
            self.close_connection = True
            return
        self.host, self.close_connection = host, False
        self.connection = self.server.yahoo.tls.wrap_socket(self.connection, server_side=True)
        self.server.noted(self.connection, is_open=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")

    def do_GET(self) -> None:
        yahoo = self.server.yahoo
        reply = yahoo.answer(self.host, self.path)
        if reply.manner == "hang":
            yahoo.released.wait(_HANG_SECONDS)
        if reply.manner in {"hang", "reset"}:
            # Closing without lingering is what sends a reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
        else:
            self._send(reply)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def _send(self, reply: Reply) -> None:
        body, is_whole = reply.body, reply.manner == "whole"
        self.send_response(reply.status if is_whole else 200, "as it is")
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(body)))
        for name, text in reply.headers:
            self.send_header(name, text)
        if reply.cookie:
            self.send_header("Set-Cookie", reply.cookie)
        if reply.retry_after is not None:
            self.send_header("Retry-After", str(reply.retry_after))
        self.end_headers()
        self.wfile.write(body if is_whole else body[: len(body) // 2])
        self.close_connection = self.close_connection or not is_whole

    def log_message(self, *_arguments: object) -> None:
        """Nothing on stderr: `Yahoo.log` has it all."""
