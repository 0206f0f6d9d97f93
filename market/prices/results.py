"""What a ticker needs (`Plan`), and the result of a fetch: one of five.

They are values that travel from the half of a fetch that asks providers (`fetch`) to the half that
writes (`store`), so that the network is never awaited inside a transaction.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from market.prices.ingestion import Attempt
from market.providers import Action, Bar, Payload, Request


@dataclass(frozen=True)
class Plan:
    """What one ticker needs. `request` is None when nothing is missing."""

    symbol: str
    calendar: str
    status: str
    name: str  # what providers call it
    asset_type: str  # as its name tells
    request: Request | None  # all that is missing, and stored bars beside it to compare
    whole: Request | None  # all that is stored and wanted, for when the basis changed
    missing_from: dt.date | None  # the first day that is missing
    last_bar: dt.date | None
    refetch: bool  # somebody asked for the whole range again
    covered_to: dt.date | None  # the last day for which providers answered
    last_session: dt.date | None  # that has settled; None: the calendar is not loaded
    jobs: Sequence[int]  # those that the fetch serves
    waits: "Deferred | None" = None  # the calendar cannot be computed now; tried again then

    @property
    def is_known_empty(self) -> bool:
        """Whether providers answered for days after the last bar, and had none."""
        return self.covered_to is not None and (
            self.last_bar is None or self.covered_to > self.last_bar
        )

    @property
    def has_sessions(self) -> bool:
        """Whether the calendar is loaded."""
        return self.last_session is not None


@dataclass(frozen=True)
class Fetched:
    """A provider gave bars (or a good, empty answer for a range after the stored bars)."""

    source: str
    request: Request
    bars: Sequence[Bar]
    rejected: Sequence[str] = ()
    missing: int = 0  # sessions from the first bar on that have none
    has_new_basis: bool = False  # its prices cannot stand beside the stored ones
    asset_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    actions: Sequence[Action] = ()
    payload: Payload | None = None
    attempts: Sequence[Attempt] = ()  # as in every result: all attempts, in order


@dataclass(frozen=True)
class UnknownSymbol:
    """Every provider that can tell said that it does not know the symbol."""

    reason: str
    attempts: Sequence[Attempt] = ()


@dataclass(frozen=True)
class Deferred:
    """A provider could not be asked now; not the ticker's fault. `until`: the database's time."""

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
    """Every provider answered well and had nothing, where bars were expected.

    A slip of theirs, or a ticker that was never traded in the range: only asking again tells.
    Once the caller has asked often enough, `nothing` is what to store.
    """

    reason: str
    nothing: Fetched
    attempts: Sequence[Attempt] = ()


Result = Fetched | UnknownSymbol | Deferred | Failed | NoData
