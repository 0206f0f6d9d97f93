"""A local HTTP server that receives messages: Discord, a Pushgateway, or a webhook of somebody's."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Post:
    """One request: its path, its headers in lower case, its body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer. body: JSON unless it is text."""

    status: int = 204
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)


class Receiver:
    """The server, between __enter__ and __exit__. Tests set `says` and read `log`."""

    def __init__(self) -> None:
        self.says: Reply | Callable[[Post], Reply] = Reply()
        self.log: list[Post] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, post: Post) -> Reply:
        """Answer one request, and log it."""
        self.log.append(post)
        return self.says(post) if callable(self.says) else self.says


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): text for name, text in self.headers.items()}
            reply = receiver.answer(Post(self.path, headers, body))
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            with contextlib.suppress(OSError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *_arguments: object) -> None:
            """Nothing on stderr: `Receiver.log` has it all."""

    return Handler
