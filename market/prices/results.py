"""What a ticker needs (`Plan`), and what came of asking for it: one of five verdicts.

They are values that travel between the two halves of a backfill, the one that asks providers
(`asking`) and the one that writes (`backfill`), so that the network is never awaited inside a
transaction.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from market.prices.ingestion import Asked
from market.providers import Action, Bar, Payload, Request


@dataclass(frozen=True)
class Plan:
    """What one ticker needs. `request` is None when nothing is missing."""

    symbol: str
    calendar: str
    status: str
    name: str  # what providers call it
    asset_type: str  # as its name tells
    request: Request | None
    whole: Request | None  # all that is stored and wanted, for when the basis changed
    last_bar: dt.date | None
    refetch: bool  # somebody asked for the whole range again
    known_silent: bool  # providers answered for days behind its last bar, and had none
    has_sessions: bool  # the calendar is loaded
    waits: "Later | None" = None  # the calendar cannot be loaded now, and is tried again then


@dataclass(frozen=True)
class Bars:
    """A provider gave bars (or a good, empty answer for a range behind stored bars)."""

    source: str
    request: Request
    bars: Sequence[Bar]
    rejected: Sequence[str] = ()
    missing: int = 0  # sessions from the first bar on that have none
    rebased: bool = False
    asset_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    actions: Sequence[Action] = ()
    payload: Payload | None = None
    asked: Sequence[Asked] = ()  # as in every verdict: everyone who was asked for it, in order


@dataclass(frozen=True)
class Unknown:
    """Every provider that gave a verdict said that it does not know the symbol."""

    reason: str
    asked: Sequence[Asked] = ()


@dataclass(frozen=True)
class Later:
    """Nobody could be asked now; not the ticker's fault. `until` is the database's time."""

    until: dt.datetime
    reason: str
    asked: Sequence[Asked] = ()


@dataclass(frozen=True)
class Failed:
    """Providers answered, and no answer could be used."""

    reason: str
    asked: Sequence[Asked] = ()


@dataclass(frozen=True)
class Silent:
    """Every provider answered well and had nothing, where bars were expected.

    A slip of theirs, or a ticker that was never traded in the range: only asking again tells.
    Once the caller has asked often enough, `nothing` is what to store.
    """

    reason: str
    nothing: Bars
    asked: Sequence[Asked] = ()


Verdict = Bars | Unknown | Later | Failed | Silent
