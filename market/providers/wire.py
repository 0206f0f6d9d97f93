"""The connections of the providers over HTTP, with one deadline for all that a request waits for.

httpx has a timeout for each read, so that a server that sends its headers a byte at a time is waited
for without end. Here every read of a request gets what is left of its time.
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

# Of one silence.
_SILENCE_SECONDS = 15.0
_request = threading.local()  # .ends: when the request of this thread has to be over


def new_http() -> httpx.Client:
    """The connections that all providers share; safe between threads."""
    # It logs every URL at INFO, keys and all.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = httpx.Client(
        timeout=_SILENCE_SECONDS,
        # br and zstd would be decompressed without a bound.
        headers={"User-Agent": "reckoner", "Accept-Encoding": "gzip, deflate"},
        # One provider's cookies are nothing to another, and a jar only grows.
        cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
    )
    transports = [client._transport, *client._mounts.values()]  # noqa: SLF001 - it takes no backend
    for transport in transports:
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()  # noqa: SLF001 - as above
    return client


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let the body's request of this thread take so long, from the connection to the last byte."""
    _request.ends = time.monotonic() + seconds
    _request.seconds = seconds
    try:
        yield
    finally:
        del _request.ends


def _wait(
    wait: Callable[[float | None], T], timeout: float | None, error: type[httpcore.TimeoutException]
) -> T:
    """Wait for what is left of the request at most; raises `error` when nothing is."""
    ends: float | None = getattr(_request, "ends", None)
    if ends is None:
        return wait(timeout)
    left = ends - time.monotonic()
    if left > 0:
        try:
            return wait(left if timeout is None else min(timeout, left))
        except error:
            if time.monotonic() < ends:
                raise  # one silence was too long
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
