"""Relays in front of PostgreSQL that fail as networks do: half-open, or losing one answer."""

import contextlib
import socket
import threading

from tests.support.proxy import DeafProxy


class HalfOpenProxy(DeafProxy):
    """After `freeze` nothing comes through the connections of then, either way; no end is seen.

    New connections work.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._dead = threading.Event()

    def freeze(self) -> None:
        """Let every connection of now be dead without an end."""
        self._dead.set()
        self._dead = threading.Event()

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        self._relay(client, server)

    def _downwards(self, server: socket.socket, client: socket.socket) -> None:
        self._relay(server, client)

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        dead = self._dead
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if dead.is_set():
                    return  # the sockets stay open: nobody sees an end
                target.sendall(data)
            if not dead.is_set():
                target.shutdown(socket.SHUT_RDWR)


class ForgetfulProxy(DeafProxy):
    """Loses the answer to the COMMIT that follows a statement, once it is told to, and the connection.

    lose: part of the statement's text. lost: set when it happened.
    """

    def __init__(self, url: str, statement: str) -> None:
        super().__init__(url)
        self.lose = threading.Event()
        self.lost = threading.Event()
        self._statement = statement.encode()
        self._losing: socket.socket | None = None  # what comes from this server goes nowhere

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        seen = False
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                seen = seen or (self.lose.is_set() and self._statement in data)
                if seen and b"COMMIT" in data and self._losing is None:
                    self._losing = server
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _downwards(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            # What answers a COMMIT comes after it: the client hears of its end no earlier.
            while (data := server.recv(65536)) and self._losing is not server:
                client.sendall(data)
            if data:
                self.lost.set()
            client.shutdown(socket.SHUT_RDWR)
