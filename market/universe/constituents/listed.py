"""A source's list of members, and the index that it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from market.providers.base import Kind, Payload
from sql.database import Database

Wait = Callable[[float], None]


@dataclass(frozen=True)
class Member:
    """One member as the source writes it; SQL decides what a symbol is."""

    symbol: str
    name: str | None = None
    sector: str | None = None
    industry: str | None = None


@dataclass(frozen=True)
class Index:
    """A row of market_indexes. fmp, wikipedia, csv: where each source has the members; None: nowhere."""

    name: str
    least: int
    most: int
    fmp: str | None = None
    wikipedia: str | None = None
    csv: str | None = None

    @property
    def expected(self) -> str:
        """The number of symbols of a good list, in words."""
        return f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True)
class Listed:
    """What a source gave. Only OK has members, in the source's order. message: one line for people."""

    kind: Kind
    members: Sequence[Member] = ()
    message: str = ""
    payload: Payload | None = None


class Source(Protocol):
    """A source of members."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as above

    def has(self, index: Index) -> bool:
        """Whether the index has a place at this source."""
        ...

    def fetch(self, database: Database, index: Index, wait: Wait) -> Listed:
        """Fetch once. No answer of a source raises an error.

        wait: called with the seconds until the provider's next free place. Raises psycopg.Error.
        """
        ...
