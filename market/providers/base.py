"""What every provider gives back: one of seven classes of answer, and bars.

Only `OK` moves data. The class decides what follows (`market/prices/responses.py`); exception types
and empty frames decide nothing.
"""

import datetime as dt
import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast


class Kind(enum.StrEnum):
    """The class of an answer."""

    OK = "ok"  # bars for the symbol that was asked for
    EMPTY = "empty"  # a good answer without bars
    UNKNOWN = "unknown"  # the provider says that it does not know the symbol
    THROTTLED = "throttled"  # too many requests, for every symbol
    PLAN = "plan"  # not with this key or plan
    BAD_ANSWER = "bad_answer"  # not what the provider's format says
    DOWN = "down"  # no answer: timeout, refused, reset, 5xx


class Bar(NamedTuple):
    """One session's prices as a provider gave them, in the listing's currency.

    `close` is adjusted for splits, `adjusted_close` for splits and dividends; None is unknown.
    Nothing is validated yet, except that numbers are numbers.
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

    value: of a split the new shares for an old one (4.0 for 4:1); of a dividend the amount per
    share of today (adjusted for later splits, as `close` is), in the listing's currency.
    """

    date: dt.date
    kind: Literal["split", "dividend"]
    value: float


@dataclass(frozen=True)
class Payload:
    """The bytes of an answer. url: where they came from, without key or password.

    status: of HTTP; None where there is none, as for a file.
    """

    url: str
    status: int | None
    body: bytes

    @property
    def sha256(self) -> str:
        """Of the body, in hexadecimal digits."""
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
    """One provider's answer. `message`: one line for people. `rejected`: unreadable rows.

    actions: the splits and dividends that the provider knows of in the range. payload: what the
    answer was read from; None where there were no bytes (no connection, invented prices).
    currency: of the prices, as the provider writes it (`GBp` is pence).
    abstains: the answer says nothing of the symbol: a PLAN that is about this symbol or range
    only, or an EMPTY that the provider also gives for symbols that it does not know.
    exhausted: THROTTLED until this window of the provider's quota ends.
    """

    kind: Kind
    bars: Sequence[Bar] = ()
    message: str = ""
    rejected: Sequence[str] = ()
    retry_after: float | None = None
    asset_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    actions: Sequence[Action] = ()
    payload: Payload | None = None
    abstains: bool = False
    exhausted: Literal["minute", "day"] | None = None


@dataclass(frozen=True)
class Capabilities:
    """What a provider has, as data; it is not asked for more (`selection`).

    asset_types, calendars: those of a ticker's plan; None is all. history_days: calendar days
    back from the last session. batch: symbols in one `fetch_many`. credits: what one `fetch`
    costs of its quota at most. plan: of the key, for people.
    """

    asset_types: frozenset[str] | None = None
    calendars: frozenset[str] | None = None
    history_days: int | None = None
    batch: int = 1
    credits: int = 1
    plan: str = "no key needed"


# Calendars of those who have US listings and coins only.
US = frozenset({"XNYS", "24/7"})


class Provider(Protocol):
    """A source of daily bars. `canary`: a symbol that it surely knows, or None if it is local.

    Every bar's `close` is adjusted for splits and nothing else, whatever the wire has.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - as above
    @property
    def canary(self) -> str | None: ...  # noqa: D102 - as above
    @property
    def capabilities(self) -> Capabilities: ...  # noqa: D102 - as above

    def fetch(self, request: Request) -> Answer:
        """Ask once. Never raises for what a provider may answer; always ends within a minute."""
        ...


class Batching(Provider, Protocol):
    """A provider that answers for many symbols at once; see `batching`."""

    def credits_for(self, requests: Sequence[Request]) -> int:
        """What `fetch_many` of these costs of the quota."""
        ...

    def fetch_many(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Ask for the same range of many symbols; an answer for each, in their order."""
        ...


def batching(provider: Provider) -> Batching | None:
    """The provider as one that takes several symbols at once, or None when it does not."""
    return cast("Batching", provider) if provider.capabilities.batch > 1 else None
