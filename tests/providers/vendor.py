"""A local HTTP server that answers as a provider would: what a test says, to whoever asks.

It owns the wire (statuses, headers, hanging, resets) and the log of requests. The words are the
providers' own, in the tests.
"""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.loopback import LoopbackServer

# Longer than any client of the tests waits.
_HANG_SECONDS = 30.0


@dataclass(frozen=True)
class Asked:
    """One request: its path as it stands for, its query, its headers in lower case."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Said:
    """One answer. body: JSON unless it is text or bytes."""

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    manner: Literal["whole", "hang", "reset", "half", "drip"] = "whole"

    @property
    def bytes(self) -> bytes:
        """What goes over the wire."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class Vendor(LoopbackServer):
    """The server, between __enter__ and __exit__. Tests set `says` and read `log`."""

    def __init__(self) -> None:
        self.says: Said | Callable[[Asked], Said] = Said(status=404)
        self.log: list[Asked] = []
        self.released = threading.Event()
        super().__init__(_handler(self))

    def __exit__(self, *exc_info: object) -> None:
        self.released.set()
        super().__exit__(*exc_info)

    def answer(self, asked: Asked) -> Said:
        """Answer one request, and log it."""
        self.log.append(asked)
        return self.says(asked) if callable(self.says) else self.says


def _handler(vendor: Vendor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            headers = {name.lower(): text for name, text in self.headers.items()}
            said = vendor.answer(Asked(unquote(parts.path), query, headers))
            with contextlib.suppress(OSError):
                self._say(said)

        def _say(self, said: Said) -> None:
            if said.manner == "hang":
                vendor.released.wait(_HANG_SECONDS)
            if said.manner in {"hang", "reset"}:
                # Closing without lingering is what sends a reset.
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                return
            body = said.bytes
            self.send_response(said.status)
            for name, text in said.headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if said.manner == "drip":
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if vendor.released.wait(0.05):
                        return
            self.wfile.write(body if said.manner == "whole" else body[: len(body) // 2])

        def log_message(self, *_arguments: object) -> None:
            """Nothing on stderr: `Vendor.log` has it all."""

    return Handler
