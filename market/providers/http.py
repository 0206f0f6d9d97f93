"""The HTTP client of the providers, which trusts no byte of an answer.

A key is sent in a header where the provider accepts that, else in the query. It is removed from
every message, kept URL and kept body, also where the provider echoes it. Transport errors are
`down`; only a connection that was never made is retried at once, because the provider may have
counted anything else. A document of another form is `bad_answer`, with its first difference from
the model. `bounds` limits how much is read. No redirect is followed, and no cookie is kept.
"""

import datetime as dt
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import tenacity
from pydantic import ValidationError

from market.providers.base import Action, Answer, Bar, IntradayBar, Kind, Payload, Request
from market.providers.bounds import (
    MOST_BYTES,
    MOST_KEPT,
    ExcessError,
    Inflated,
    check_size,
    retry_after,
)
from market.providers.wire import deadline, new_http
from sql.redaction import Secrets, one_line

__all__ = ["Client", "Reply", "answered", "intraday_answered", "new_http", "nothing", "utc_seconds"]

# Of the whole answer with its headers: a server may send a byte a second for ever.
_ANSWER_SECONDS = 40.0
# Longer than any sentence of a provider; cleaning reads a text several times.
_MOST_TEXT = 100_000


@dataclass(frozen=True)
class Reply:
    """A provider's response. url: without key. body: as it came, perhaps with an echoed key.

    clean: removes the key from a text. rest: a note about a capped Retry-After.
    """

    url: str
    status: int
    body: bytes
    clean: Callable[[bytes], bytes]
    retry_after: float | None
    rest: str

    def field(self, *names: str) -> str:
        """Return the first of these fields that is a text, else "".

        Fields of the JSON object of the body.
        """
        texts = [self.document.get(name) for name in names]
        return next((text[:_MOST_TEXT] for text in texts if isinstance(text, str)), "")

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is not one."""
        try:
            check_size(self.body)
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    @functools.cached_property
    def kept(self) -> bytes:
        """The body without the key."""
        return self.clean(self.body)

    @functools.cached_property
    def begin(self) -> bytes:
        """The part that is kept of an answer that is not good, without the key."""
        # No fragment of a key is left where the cut splits one.
        return self.clean(self.body[:MOST_KEPT])

    @property
    def start(self) -> str:
        """The first words for a message, without the key."""
        return " ".join(self.begin[:120].decode(errors="replace").split())


class Client:
    """One provider's client on the shared connections.

    header: name and value for the key, such as "Bearer {}". param: the query's field for the key of
    a provider that takes none in a header. headers: others, in each request.
    """

    def __init__(
        self,
        http: httpx.Client,
        base_url: str,
        key: str,
        *,
        header: tuple[str, str] | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._headers = dict(headers or {})
        if header and key:
            self._headers[header[0]] = header[1].format(key)
        self._secret = {param: key} if param and key else {}
        self._keys = Secrets([key])

    def fetch(
        self,
        path: str,
        params: Mapping[str, str],
        refused: Callable[[Reply], Answer | None],
        read: Callable[[Reply], Answer],
    ) -> Answer:
        """GET, and turn the response into an answer: `refused` reads refusals, `read` bars."""
        reply = self.get(path, params)
        return reply if isinstance(reply, Answer) else self.conclude(reply, refused, read)

    def get(self, path: str, params: Mapping[str, str]) -> Reply | Answer:
        """GET; returns an answer instead of a reply where no response came."""
        try:
            return self._get(self._base_url + path, params)
        except httpx.TransportError as error:
            return self._failed(Kind.DOWN, error)
        # Also errors that httpx does not wrap, such as a Location that is not an address.
        except Exception as error:  # noqa: BLE001 - any error of a stranger's bytes is an answer
            return self._failed(Kind.BAD_ANSWER, error)

    def _failed(self, kind: Kind, error: Exception) -> Answer:
        return Answer(kind, message=self._clean(f"{type(error).__name__}: {error}"))

    def conclude(
        self,
        reply: Reply,
        refused: Callable[[Reply], Answer | None],
        read: Callable[[Reply], Answer],
    ) -> Answer:
        """Turn a reply into an answer, with the bytes that are kept of it."""
        try:
            answer = refused(reply) or _by_status(reply)
            if answer is None:
                check_size(reply.body)  # before a parser makes objects of it
                answer = read(reply)
        except ValidationError as error:
            answer = Answer(Kind.BAD_ANSWER, message=_difference(reply, error))
        except ExcessError as error:
            answer = Answer(Kind.BAD_ANSWER, message=f"HTTP {reply.status}: {error}")
        except (KeyboardInterrupt, SystemExit):
            raise
        # A parser in Rust panics with a BaseException of its own.
        except BaseException as error:  # noqa: BLE001 - any error of a stranger's bytes is an answer
            words = f"HTTP {reply.status}: {type(error).__name__}: {error}"
            answer = Answer(Kind.BAD_ANSWER, message=words)
        rest = reply.rest if answer.retry_after is not None else ""
        body = reply.kept if answer.kind is Kind.OK else reply.begin
        return replace(
            answer,
            message=self._clean(answer.message) + rest,
            payload=Payload(reply.url, reply.status, body),
        )

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(httpx.ConnectError),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
    )
    def _get(self, url: str, params: Mapping[str, str]) -> Reply:
        query = {**params, **self._secret}
        with (
            deadline(_ANSWER_SECONDS),
            self._http.stream("GET", url, params=query, headers=self._headers) as response,
        ):
            body = _body(response)
        seconds, rest = retry_after(response.headers.get("retry-after"))
        return Reply(
            str(httpx.URL(url, params=dict(params))),
            response.status_code,
            body,
            self._keys.clean_bytes,
            seconds,
            rest,
        )

    def _clean(self, text: str) -> str:
        return one_line(self._keys.clean(text[:_MOST_TEXT]))[:300]


def _body(response: httpx.Response) -> bytes:
    """Read and decompress the body here: httpx expands a chunk to gigabytes before it returns."""
    inflated = Inflated(response.headers.get("content-encoding", ""))
    body = bytearray()
    for chunk in response.iter_raw():
        for piece in inflated.pieces(chunk):
            body += piece
            if len(body) > MOST_BYTES:
                raise ExcessError(f"no end after {MOST_BYTES} bytes")
    if not inflated.is_whole:
        raise ValueError("the compressed body has no end")
    return bytes(body)


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
    """Name the first difference of a document from its model, without the document's values."""
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
    rejected: Sequence[str] = (),
) -> Answer:
    """Return the bars in the requested range as OK, or EMPTY without any."""
    inside = [bar for bar in bars if request.start <= bar.date <= request.end]
    if not inside:
        message = "; ".join(["no bars in the range", *rejected[:1]])
        return Answer(Kind.EMPTY, message=message, asset_type=asset_type)
    inside_actions = [action for action in actions if request.start <= action.date <= request.end]
    return Answer(Kind.OK, inside, "", rejected, asset_type=asset_type, actions=inside_actions)


def intraday_answered(
    bars: Sequence[IntradayBar], *, asset_type: str | None = None, rejected: Sequence[str] = ()
) -> Answer:
    """Return five-minute bars as OK, or EMPTY without any."""
    if not bars:
        message = "; ".join(["no bars in the range", *rejected[:1]])
        return Answer(Kind.EMPTY, message=message, asset_type=asset_type)
    return Answer(Kind.OK, (), "", rejected, asset_type=asset_type, intraday=bars)


def nothing(message: str) -> Answer:
    """Return EMPTY for a provider that gives the same answer for unknown symbols."""
    return Answer(Kind.EMPTY, message=message, abstains=True)


def utc_seconds(date: dt.date) -> int:
    """Return the beginning of a UTC day in seconds since 1970."""
    return int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp())
