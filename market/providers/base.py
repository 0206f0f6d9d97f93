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


class IntradayBar(NamedTuple):
    """Five minutes' prices from a provider. ts: their start, in UTC; else as in `Bar`.

    Prices are adjusted for splits, as the provider knows them when it answers.
    """

    ts: dt.datetime
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: int | None = None


class Session(NamedTuple):
    """A session with its hours, in UTC: a bar is of it where opens_at <= ts < closes_at."""

    date: dt.date
    opens_at: dt.datetime
    closes_at: dt.datetime


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
class IntradayRequest:
    """The five-minute bars of one symbol from one moment to another, both in UTC.

    sessions: those of the range with their hours, ascending, at least one. now: the database's time
    before the request; a bar is final when its end and the provider's settle time are past.
    """

    symbol: str
    sessions: Sequence[Session]
    since: dt.datetime
    now: dt.datetime

    @property
    def start(self) -> dt.date:
        """The first session."""
        return self.sessions[0].date

    @property
    def end(self) -> dt.date:
        """The last session."""
        return self.sessions[-1].date

    @property
    def until(self) -> dt.datetime:
        """The end of the last session, even where it is under way."""
        return self.sessions[-1].closes_at


# What a provider is asked for, of either interval.
AnyRequest = Request | IntradayRequest


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
    intraday: Sequence[IntradayBar] = ()


@dataclass(frozen=True)
class Intraday:
    """A provider's offer of five-minute bars.

    days: how far back from now; None: without a bound. settle_seconds: after a bar's end, until it
    does not change any more. span_days: the most of one request; a longer one is sent in parts.
    """

    days: int | None = None
    settle_seconds: int = 60
    span_days: int = 60


@dataclass(frozen=True)
class Capabilities:
    """The offer of a provider, as data; `selection` requests nothing else.

    asset_types, calendars: of a ticker's plan; None: all. history_days: calendar days before the
    last session. batch: symbols in one `fetch_many`. credits: the most that one `fetch` costs of
    the quota. plan: of the key, for people. intraday: five-minute bars; None: it has none.
    """

    asset_types: frozenset[str] | None = None
    calendars: frozenset[str] | None = None
    history_days: int | None = None
    batch: int = 1
    credits: int = 1
    plan: str = "no key needed"
    intraday: Intraday | None = None


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


class Intradaily(Provider, Protocol):
    """A provider of five-minute bars; see `intradaily`."""

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Fetch once, within a minute. Bars outside of the request's sessions are cut by validation."""
        ...


def intradaily(provider: Provider) -> Intradaily | None:
    """Return the provider as `Intradaily`, or None when it has no five-minute bars."""
    return cast("Intradaily", provider) if provider.capabilities.intraday else None


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
