"""The plan of a fetch (`Plan`), and its result: one of five classes.

They are plain values between the step that asks providers (`fetch`) and the step that writes
(`store`), so that the network is never awaited inside a transaction.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from market.prices.ingestion import Attempt
from market.providers import Action, Bar, Payload, Request
from market.providers.base import AnyRequest, IntradayBar
from market.providers.renames import Name


@dataclass(frozen=True)
class Plan:
    """The needs of one ticker. request: None when nothing is missing."""

    symbol: str
    calendar: str
    status: str
    name: str  # the symbol that providers know
    asset_type: str  # by its spelling, or by a provider
    request: Request | None  # the missing range, with adjacent stored bars to compare
    whole: Request | None  # the stored and the wanted range, for a rebase
    missing_from: dt.date | None  # the first day that is missing
    last_bar: dt.date | None
    refetch: bool  # the whole range is wanted again
    covered_to: dt.date | None  # the last day for which providers answered
    last_session: dt.date | None  # the last that settled; None: the calendar is not loaded
    jobs: Sequence[int]  # jobs that the fetch serves
    timezone: str | None = None  # the exchange's; None: it has none
    names: Sequence[Name] = ()  # other names at providers; see `renames`
    waits: "Deferred | None" = None  # the calendar cannot be computed now

    @property
    def is_known_empty(self) -> bool:
        """Whether providers answered for days after the last bar, without bars."""
        return self.covered_to is not None and (
            self.last_bar is None or self.covered_to > self.last_bar
        )

    @property
    def has_recent_bars(self) -> bool:
        """Whether the last bar is at most a week older than the last session."""
        return (
            self.last_bar is not None
            and self.last_session is not None
            and self.last_bar >= self.last_session - dt.timedelta(days=7)
        )

    @property
    def has_no_calendar(self) -> bool:
        """Whether no rule names the ticker's calendar, so that no session can be missing."""
        return self.calendar.startswith("?")

    @property
    def has_sessions(self) -> bool:
        """Whether the calendar is loaded."""
        return self.last_session is not None


@dataclass(frozen=True)
class Fetched:
    """A provider gave bars (or a good, empty answer for a range after the stored bars)."""

    source: str
    request: AnyRequest
    bars: Sequence[Bar]
    rejected: Sequence[str] = ()
    left_out: Mapping[dt.date, str] = field(default_factory=dict)  # fields of bars, by date
    missing: int = 0  # sessions from the first bar on that have none
    has_new_basis: bool = False  # the stored bars have another basis
    asset_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    actions: Sequence[Action] = ()
    payload: Payload | None = None
    attempts: Sequence[Attempt] = ()  # as in every result: all attempts, in order
    intraday: Sequence[IntradayBar] = ()  # of a request for five-minute bars, which has no others


@dataclass(frozen=True)
class UnknownSymbol:
    """Every provider that knows unknown symbols from empty ranges answered "unknown symbol"."""

    reason: str
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True)
class Deferred:
    """A provider could not be asked now, which is not the ticker's fault. until: database time."""

    until: dt.datetime
    reason: str
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True)
class Failed:
    """Providers answered, and no answer could be used."""

    reason: str
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True)
class NoData:
    """Every provider gave a good answer without bars, where bars were expected.

    Either a slip of the providers, or a ticker that was never traded in the range: only another
    attempt shows which. nothing: the result to store when no attempt is left.
    """

    reason: str
    nothing: Fetched
    attempts: Sequence[Attempt] = ()


Result = Fetched | UnknownSymbol | Deferred | Failed | NoData
