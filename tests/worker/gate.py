"""A relay on TCP in front of PostgreSQL that holds new connections back, or lets nobody in."""

import contextlib
import socket
import threading
from typing import Self

from psycopg import conninfo


class Gate:
    """Each new connection waits `delay` seconds at it; while `shut` is set, it is turned away.

    url: what a worker connects to. passed, refused: how many connections it saw.
    """

    def __init__(self, url: str, delay: float = 0.0) -> None:
        self.delay = delay
        self.shut = threading.Event()
        self.passed = 0
        self.refused = 0
        self._target = conninfo.conninfo_to_dict(url)
        self._sockets: list[socket.socket] = []
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = conninfo.make_conninfo(
            url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        for open_socket in [self._listener, *self._sockets]:
            _end(open_socket)
            open_socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.shut.is_set():
                    self.refused += 1
                    client.close()
                    continue
                self._sockets.append(client)
                threading.Thread(target=self._admit, args=[client], daemon=True).start()

    def _admit(self, client: socket.socket) -> None:
        if self.delay and self._closing.wait(self.delay):
            return
        server = self._connect()
        self._sockets.append(server)
        self.passed += 1
        threading.Thread(target=_relay, args=[server, client], daemon=True).start()
        _relay(client, server)

    def _connect(self) -> socket.socket:
        host = str(self._target.get("host") or "localhost")
        port = int(self._target.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _end(target)


def _end(other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)
