"""A relay in front of PostgreSQL that can swallow notifications, as a transaction pooler does."""

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from psycopg import conninfo

_NOTIFICATION = b"A"  # NotificationResponse in the frontend/backend protocol


class DeafProxy:
    """Listens on a unix socket; while `swallow` is set, no notification comes through.

    url: what a worker connects to. passed, swallowed: how many notifications came through and
    were lost.
    """

    def __init__(self, url: str) -> None:
        self.swallow = threading.Event()
        self.passed = 0
        self.swallowed = 0
        self._target = conninfo.conninfo_to_dict(url)
        self._folder = Path(tempfile.mkdtemp(prefix="proxy-"))  # a socket's path must be short
        self._sockets: list[socket.socket] = []
        # The process behind this socket is ours, not the server's.
        self.url = conninfo.make_conninfo(
            url,
            host=str(self._folder),
            port=5432,
            requirepeer="",
            sslmode="disable",
            gssencmode="disable",
        )

    def __enter__(self) -> Self:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._folder / ".s.PGSQL.5432"))
        listener.listen()
        self._sockets.append(listener)
        self._accepting = self._start(self._accept, listener)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _end(self._sockets[0])
        self._accepting.join(10)  # it may have a connection in hand that is not in the list yet
        for open_socket in self._sockets:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        shutil.rmtree(self._folder)

    def _start(self, body: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=body, args=arguments, daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._sockets.append(client)
                server = self._connect()
                self._sockets.append(server)
                self._start(self._upwards, client, server)
                self._start(self._downwards, server, client)

    def _connect(self) -> socket.socket:
        host = str(self._target.get("host") or "localhost")
        port = int(self._target.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        _end(server)

    def _downwards(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), server.makefile("rb") as messages:
            while True:
                head = _exactly(messages.read(5), 5)
                size = int.from_bytes(head[1:], "big") - 4
                body = _exactly(messages.read(size), size)
                if head[:1] == _NOTIFICATION and self.swallow.is_set():
                    self.swallowed += 1
                else:
                    client.sendall(head + body)
                    self.passed += head[:1] == _NOTIFICATION
        _end(client)


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise EOFError
    return data


def _end(other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)
