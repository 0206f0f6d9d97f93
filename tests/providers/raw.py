"""A local server that sends bytes as they are: what no HTTP library would let a server say.

Each connection gets one request read and then whatever the test's function yields; None is a
pause of a tenth of a second. It ends when the client leaves, or the test.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Self

Script = Callable[[bytes], Iterable[bytes | None]]


class Raw:
    """The server, between __enter__ and __exit__. `asked` has the requests' heads."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[bytes] = []
        self.sent = 0
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                got = connection.recv(65536)
                if not got:
                    return
                head += got
            self.asked.append(head)
            for piece in self.script(head):
                if self._ended.is_set():
                    return
                if piece is None:
                    self._ended.wait(0.1)
                else:
                    connection.sendall(piece)
                    self.sent += len(piece)


def whole(
    body: bytes, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()
) -> Iterator[bytes]:
    """A usual answer."""
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers)
    yield f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode()
    yield body


def chunked(pieces: Iterable[bytes], headers: str = "") -> Iterator[bytes]:
    """An answer in chunks, as they are made."""
    yield f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
