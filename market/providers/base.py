"""The interface of every provider: a request, an answer of one of seven classes, and bars.

Only `OK` changes data. The class alone decides what follows (`market/prices/responses.py`), never
an exception type or an empty frame.
"""

import datetime as dt
import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast


class Kind(enum.StrEnum):
    """The class of an answer."""

    OK = "ok"  # bars for the requested symbol
    EMPTY = "empty"  # a good answer without bars
    UNKNOWN = "unknown"  # an explicit "unknown symbol"
    THROTTLED = "throttled"  # too many requests, for every symbol
    PLAN = "plan"  # refused for this key or plan
    BAD_ANSWER = "bad_answer"  # not in the provider's format
    DOWN = "down"  # no answer: timeout, refused, reset, 5xx


class Bar(NamedTuple):
    """One session's prices from a provider, in the listing's currency.

    close: adjusted for splits. adjusted_close: for splits and dividends. None: unknown; a NaN or a
    volume below 0: given, and not readable. Only the types are checked so far.
    """

    date: dt.date
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    adjusted_close: float | None = None
    volume: int | None = None
    has_split: bool = False
    has_dividend: bool = False


class Action(NamedTuple):
    """A split or a dividend, on the first session at the new price.

    value: for a split, new shares per old share (4.0 for 4:1); for a dividend, the amount per share
    of today (adjusted for later splits, as `close` is), in the listing's currency.
    """

    date: dt.date
    kind: Literal["split", "dividend"]
    value: float


@dataclass(frozen=True)
class Payload:
    """The bytes of an answer. url: their address, without key or password.

    status: of HTTP; None for a file.
    """

    url: str
    status: int | None
    body: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the body, in hexadecimal digits."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Request:
    """One range of one symbol. `sessions`: the dates on which a bar is expected, ascending."""

    symbol: str
    start: dt.date
    end: dt.date
    sessions: Sequence[dt.date]


@dataclass(frozen=True)
class Answer:
    """One provider's answer. message: one line for people. rejected: unreadable rows.

    actions: the provider's splits and dividends in the range. payload: the bytes that the answer
    was read from; None without any (no connection, invented prices). currency: of the prices, as
    the provider writes it (`GBp` is pence). timezone: of the exchange, as a name like
    `America/New_York`. abstains: the answer proves nothing about the symbol: a
    PLAN for this symbol or range only, or an EMPTY that the provider also gives for unknown
    symbols. exhausted: THROTTLED until this window of the provider's quota ends.
    """

    kind: Kind
    bars: Sequence[Bar] = ()
    message: str = ""
    rejected: Sequence[str] = ()
    retry_after: float | None = None
    asset_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    timezone: str | None = None
    actions: Sequence[Action] = ()
    payload: Payload | None = None
    abstains: bool = False
    exhausted: Literal["minute", "day"] | None = None


@dataclass(frozen=True)
class Capabilities:
    """The offer of a provider, as data; `selection` requests nothing else.

    asset_types, calendars: of a ticker's plan; None: all. history_days: calendar days before the
    last session. batch: symbols in one `fetch_many`. credits: the most that one `fetch` costs of
    the quota. plan: of the key, for people.
    """

    asset_types: frozenset[str] | None = None
    calendars: frozenset[str] | None = None
    history_days: int | None = None
    batch: int = 1
    credits: int = 1
    plan: str = "no key needed"


# The calendars of providers with US listings and coins only.
US = frozenset({"XNYS", "24/7"})


class Limited(Protocol):
    """What `limits` knows of whoever is asked. canary: None if it is local; see Provider."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as above
    @property
    def canary(self) -> str | None: ...  # noqa: D102 - as above


class Provider(Protocol):
    """A source of daily bars. canary: a symbol that it certainly knows; None if it is local.

    Every bar's `close` is adjusted for splits and nothing else, whatever the vendor sends.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - as above
    @property
    def canary(self) -> str | None: ...  # noqa: D102 - as above
    @property
    def capabilities(self) -> Capabilities: ...  # noqa: D102 - as above

    def fetch(self, request: Request) -> Answer:
        """Fetch once, within a minute. No answer of a provider raises an error."""
        ...


class Batching(Provider, Protocol):
    """A provider that takes many symbols at once; see `batching`."""

    def credits_for(self, requests: Sequence[Request]) -> int:
        """Return the cost of `fetch_many` of these, in credits of the quota."""
        ...

    def fetch_many(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Fetch the same range of many symbols; returns an answer for each, in their order."""
        ...


def batching(provider: Provider) -> Batching | None:
    """Return the provider as `Batching`, or None when it takes one symbol at a time."""
    return cast("Batching", provider) if provider.capabilities.batch > 1 else None
