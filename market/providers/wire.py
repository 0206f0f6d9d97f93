"""The connections of the HTTP providers, with one deadline for each request as a whole.

The timeout of httpx counts for each read: a server that sends its headers a byte at a time would
hold a lane for ever. Here every wait of a request gets what is left of its deadline.
"""

import contextlib
import http.cookiejar
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpcore
import httpx

T = TypeVar("T")

# The longest wait for one read, write or connection.
_SILENCE_SECONDS = 15.0
_request = threading.local()  # .ends: the deadline of this thread's request


def new_http() -> httpx.Client:
    """Make the client that all providers share; safe between threads."""
    # At INFO httpx logs every URL, with its key.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = httpx.Client(
        timeout=_SILENCE_SECONDS,
        # httpx would decompress br and zstd without a bound.
        headers={"User-Agent": "reckoner", "Accept-Encoding": "gzip, deflate"},
        # No cookies: a jar is shared between providers and only grows.
        cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
    )
    transports = [client._transport, *client._mounts.values()]  # noqa: SLF001 - it takes no backend
    for transport in transports:
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()  # noqa: SLF001 - as above
    return client


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit the request in the body to these seconds.

    They count from the connection to the last byte.
    """
    _request.ends = time.monotonic() + seconds
    _request.seconds = seconds
    try:
        yield
    finally:
        del _request.ends


def _wait(
    wait: Callable[[float | None], T], timeout: float | None, error: type[httpcore.TimeoutException]
) -> T:
    """Wait at most until the request's deadline; raises `error` when that has passed."""
    ends: float | None = getattr(_request, "ends", None)
    if ends is None:
        return wait(timeout)
    left = ends - time.monotonic()
    if left > 0:
        try:
            return wait(left if timeout is None else min(timeout, left))
        except error:
            if time.monotonic() < ends:
                raise  # the single wait timed out before the deadline
    raise error(f"no end after {_request.seconds:g} s")


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _wait(lambda left: self._stream.read(max_bytes, left), timeout, httpcore.ReadTimeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _wait(lambda left: self._stream.write(buffer, left), timeout, httpcore.WriteTimeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "_Stream":
        return _wait(
            lambda left: _Stream(self._stream.start_tls(ssl_context, server_hostname, left)),
            timeout,
            httpcore.ConnectTimeout,
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        connect = super().connect_tcp
        return _wait(
            lambda left: _Stream(connect(host, port, left, local_address, socket_options)),
            timeout,
            httpcore.ConnectTimeout,
        )
