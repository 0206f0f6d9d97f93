"""A local HTTP server that receives messages: Discord, a Pushgateway, or a webhook of somebody's."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.loopback import LoopbackServer


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


class Receiver(LoopbackServer):
    """The server, between __enter__ and __exit__. Tests set `says` and read `log`."""

    def __init__(self) -> None:
        self.says: Reply | Callable[[Post], Reply] = Reply()
        self.log: list[Post] = []
        super().__init__(_handler(self))

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
