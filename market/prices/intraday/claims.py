"""Claims of symbols: no two workers ask for the five-minute bars of one symbol at once.

A claim is a row with an end, so that a worker that dies blocks nobody for longer than some minutes. It
is renewed before each request, and ends when the answer is stored.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from market.prices.intraday.fetch import settle_seconds
from market.providers import Provider
from sql.database import Database

# Longer than the requests of one symbol and the waits before them take.
_SECONDS = 300.0
# Claimed at once: few, so that several workers share a round.
_MANY = 20


@dataclass
class Claims:
    """The symbols that a worker has claimed, in the order in which they are fetched."""

    database: Database
    worker: str
    symbols: list[str]

    def renew(self, symbol: str) -> bool:
        """Prolong the claims; returns False where that of this symbol has passed to another worker."""
        with self.database.transaction() as conn:
            rows = conn.execute(
                "SELECT intraday_renew(%s, %s, %s) AS symbol", [self.worker, self.symbols, _SECONDS]
            ).fetchall()
        return symbol in {row["symbol"] for row in rows}

    def only(self, symbol: str) -> "Claims":
        """Return the claim of one symbol."""
        return Claims(self.database, self.worker, [symbol])


@contextlib.contextmanager
def held(database: Database, worker: str, symbols: Sequence[str]) -> Iterator[Claims]:
    """Claim those of the symbols that nobody has; gives back at the end what was not stored."""
    yield from _held(database, worker, [len(symbols), _SECONDS, 0.0, False, False, list(symbols)])


@contextlib.contextmanager
def due(
    database: Database, providers: Sequence[Provider], worker: str, *, polls: bool
) -> Iterator[Claims]:
    """Claim symbols whose bars are wanted now, the furthest behind first."""
    settle = float(settle_seconds(providers))
    yield from _held(database, worker, [_MANY, _SECONDS, settle, polls, not polls, None])


def _held(database: Database, worker: str, arguments: list[object]) -> Iterator[Claims]:
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT intraday_claim(%s, %s, %s, %s, %s, %s, %s::text[]) AS symbol",
            [worker, *arguments],
        ).fetchall()
    claims = Claims(database, worker, [row["symbol"] for row in rows])
    try:
        yield claims
    finally:
        if claims.symbols:
            with database.transaction() as conn:
                conn.execute("SELECT intraday_release(%s, %s)", [worker, claims.symbols])
