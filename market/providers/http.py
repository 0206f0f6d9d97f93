"""What the providers with an HTTP interface share: one client, and how little of it is trusted.

A key travels in a header where the provider takes one there, else in the query; it is in no
message, no kept URL and no kept body, also where the provider echoes it. Transport errors are
`down`; only a connection that was never made is tried again at once, because anything else may
have been counted by the provider. A document of another form is `bad_answer`, with the first
difference named by the model that it does not fit.
"""

import datetime as dt
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import tenacity
from pydantic import ValidationError

from market.providers.base import Action, Answer, Bar, Kind, Payload, Request
from sql.settings import redact

# Of one silence, and of the whole answer: a server may send a byte a second for ever.
_SILENCE_SECONDS = 15.0
_ANSWER_SECONDS = 40.0
_MOST_BYTES = 64 * 2**20


def new_http() -> httpx.Client:
    """The connections that all providers share; safe between threads."""
    # It logs every URL at INFO, keys and all.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.Client(timeout=_SILENCE_SECONDS, headers={"User-Agent": "reckoner"})


@dataclass(frozen=True)
class Reply:
    """What a provider sent. `url` has no key; `body` is as it came and may echo one."""

    url: str
    status: int
    body: bytes
    retry_after: float | None

    def said(self, *names: str) -> str:
        """The first of these fields of a JSON object that is a text, else an empty one."""
        document = self.document()
        texts = [document.get(name) for name in names]
        return next((text for text in texts if isinstance(text, str)), "")

    def document(self) -> dict[str, Any]:
        """The JSON object that came, else an empty one."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def start(self) -> str:
        """Its first words, for a message."""
        return " ".join(self.body[:120].decode(errors="replace").split())


class Client:
    """One provider's way through the shared connections.

    header: its name and its value's form, such as "Bearer {}". param: the query's field for the
    key of a provider that takes none in a header.
    """

    def __init__(
        self,
        http: httpx.Client,
        base_url: str,
        key: str,
        *,
        header: tuple[str, str] | None = None,
        param: str | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._headers = {header[0]: header[1].format(key)} if header and key else {}
        self._secret = {param: key} if param and key else {}
        quoted = json.dumps(key)[1:-1]
        forms = {key, quote(key, safe=""), quote_plus(key), quoted, quoted.replace("/", "\\/")}
        self._forms = sorted(forms - {""}, key=len, reverse=True)

    def ask(
        self,
        path: str,
        params: Mapping[str, str],
        refused: Callable[[Reply], Answer | None],
        read: Callable[[Reply], Answer],
    ) -> Answer:
        """GET, and what it says: `refused` has the provider's own words for no, `read` the bars."""
        reply = self.get(path, params)
        return reply if isinstance(reply, Answer) else self.conclude(reply, refused, read)

    def get(self, path: str, params: Mapping[str, str]) -> Reply | Answer:
        """GET, or why nothing came."""
        try:
            return self._get(self._base_url + path, params)
        except httpx.TransportError as error:
            words = f"{type(error).__name__}: {error}"
            return Answer(Kind.DOWN, message=self._clean(words))
        except httpx.HTTPError as error:
            return Answer(Kind.BAD_ANSWER, message=self._clean(f"{type(error).__name__}: {error}"))

    def conclude(
        self,
        reply: Reply,
        refused: Callable[[Reply], Answer | None],
        read: Callable[[Reply], Answer],
    ) -> Answer:
        """Turn what came into an answer, with the bytes that are kept of it."""
        try:
            answer = refused(reply) or _by_status(reply) or read(reply)
        except ValidationError as error:
            answer = Answer(Kind.BAD_ANSWER, message=_difference(reply, error))
        except (ValueError, ArithmeticError, OSError) as error:
            answer = Answer(Kind.BAD_ANSWER, message=f"HTTP {reply.status}: {error}")
        body = reply.body
        for form in self._forms:
            body = body.replace(form.encode(), b"***")
        payload = Payload(reply.url, reply.status, body)
        return replace(answer, message=self._clean(answer.message), payload=payload)

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(httpx.ConnectError),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
    )
    def _get(self, url: str, params: Mapping[str, str]) -> Reply:
        deadline = time.monotonic() + _ANSWER_SECONDS
        asked = {**params, **self._secret}
        with self._http.stream("GET", url, params=asked, headers=self._headers) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"no end after {_ANSWER_SECONDS:.0f} s")
                if len(body) > _MOST_BYTES:
                    raise httpx.DecodingError(f"no end after {_MOST_BYTES} bytes")
        seconds = response.headers.get("retry-after", "")
        return Reply(
            str(httpx.URL(url, params=dict(params))),
            response.status_code,
            bytes(body),
            float(seconds) if seconds.isascii() and seconds.isdecimal() else None,
        )

    def _clean(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return " ".join(redact(text).split())[:300]


def _by_status(reply: Reply) -> Answer | None:
    message = f"HTTP {reply.status}: {reply.start}"
    if reply.status == 429:
        return Answer(Kind.THROTTLED, message=message, retry_after=reply.retry_after)
    if reply.status in {401, 402, 403}:
        return Answer(Kind.PLAN, message=message)
    if reply.status >= 500:
        return Answer(Kind.DOWN, message=message)
    return None if reply.status == 200 else Answer(Kind.BAD_ANSWER, message=message)


def _difference(reply: Reply, error: ValidationError) -> str:
    """Where the document first differs from what the provider's format says; without its values."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the document"
    what = f"HTTP {reply.status}, another form: {where}: {first['msg']}"
    return what if first["type"] != "json_invalid" else f"{what}; it begins {reply.start!r}"


def answered(
    request: Request,
    bars: Iterable[Bar],
    *,
    asset_type: str | None = None,
    actions: Iterable[Action] = (),
) -> Answer:
    """What lies in the range that was asked for: OK, or EMPTY where there are no bars."""
    inside = [bar for bar in bars if request.start <= bar.date <= request.end]
    if not inside:
        return Answer(Kind.EMPTY, message="no bars in the range", asset_type=asset_type)
    told = [action for action in actions if request.start <= action.date <= request.end]
    return Answer(Kind.OK, inside, asset_type=asset_type, actions=told)


def nothing(message: str) -> Answer:
    """EMPTY by a provider that says the same of symbols that it does not know."""
    return Answer(Kind.EMPTY, message=message, abstains=True)


def whole(volume: float | None) -> int | None:
    """A volume as a number of shares; some count fractions of coins and shares."""
    return None if volume is None or not math.isfinite(volume) else round(volume)


def utc_seconds(date: dt.date) -> int:
    """The beginning of a UTC day in seconds since 1970."""
    return int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp())
