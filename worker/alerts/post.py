"""Sends one message over HTTP, and says what became of it without the address.

An answer is read to a bound, a request ends by its deadline, and no redirect is followed: an address
that answers with one is a mistake, and the secret in it is not for another server.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpx

from market.providers.bounds import retry_after
from market.providers.wire import deadline, new_http
from sql.redaction import Secrets, one_line

_SECONDS = 15.0
# What is read of an answer; Discord's 429 is smaller.
_MOST_BYTES = 4_096
# Without a Retry-After, and the most that is heeded of one.
_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 60.0, 3_600.0
_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 10.0, 3_600.0


@dataclass(frozen=True)
class Tried:
    """What became of a try. answer: in words. seconds: until the next one.

    pauses: other messages of the channel wait as well.
    """

    result: Literal["sent", "later", "gave up"]
    answer: str
    seconds: float | None = None
    pauses: bool = False


@functools.cache
def _http() -> httpx.Client:
    return new_http()


def backoff(tries: int) -> float:
    """Return the seconds until the next try: 10, 20, 40, up to an hour."""
    return min(_MOST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(tries, 20))


def post(
    address: str,
    content: bytes,
    headers: Mapping[str, str],
    tries: int,
    secrets: tuple[str, ...] = (),
) -> Tried:
    """POST; never raises for what the network or the receiver does. tries: earlier ones."""
    kept = Secrets([address, *_parts(address), *secrets])
    try:
        with (
            deadline(_SECONDS),
            _http().stream(
                "POST", address, content=content, headers={**headers, "Accept-Encoding": "identity"}
            ) as response,
        ):
            body = _start(response)
    except Exception as error:  # noqa: BLE001 - an address may be anything, and so may its answer
        words = _said(kept, f"{type(error).__name__}: {error}")
        if isinstance(error, httpx.TransportError) and not isinstance(
            error, httpx.UnsupportedProtocol
        ):
            return Tried("later", words, backoff(tries))
        return Tried("gave up", words)
    said = _said(kept, f"HTTP {response.status_code} {body[:200].decode(errors='replace')}")
    status = response.status_code
    if status < 300:
        return Tried("sent", f"HTTP {status}")
    if status == 429:
        return Tried("later", said, _pause(response, body), pauses=True)
    if status >= 500 or status in {408, 425}:
        return Tried("later", said, backoff(tries))
    return Tried("gave up", said)


def _parts(address: str) -> list[str]:
    """Return what of an address may be secret by itself."""
    try:
        split = urlsplit(address)
        found = [split.path, split.query, split.password or "", *split.path.split("/")]
    except ValueError:
        return []
    return [part for part in found if len(part) >= 12]


def _said(secrets: Secrets, text: str) -> str:
    return one_line(secrets.clean(text))[:300]


def _start(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) >= _MOST_BYTES:
            break
    return body[:_MOST_BYTES]


def _pause(response: httpx.Response, body: bytes) -> float:
    """Return for how long a 429 wants silence: Discord says it in JSON, others in a header."""
    seconds: object = None
    try:
        document = json.loads(body)
        seconds = document.get("retry_after") if isinstance(document, dict) else None
    except (ValueError, RecursionError):
        pass
    if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        seconds, _ = retry_after(response.headers.get("retry-after"))
    return min(_MOST_PAUSE_SECONDS, float(seconds or _PAUSE_SECONDS))
