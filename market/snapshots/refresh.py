"""Computing snapshots that are due: a few symbols at a time, so that memory stays bounded.

What is due is rows (`market_snapshot_due`). So a refresh that was killed goes on where it was, with
any worker's next sweep or the command run again.
"""

import importlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from market.snapshots.benchmark import Benchmark
from market.snapshots.prepare import Snapshot, compared_with, computed, store
from market.snapshots.stored import read
from sql.database import Connection, Database, error_line, is_external, one

# 2,500 bars of a symbol take 0.1 MB.
_BATCH = 25
# Of a symbol whose bars change while it is computed.
_TRIES = 3


@dataclass
class Refreshed:
    """The result of a refresh. failed: why, by symbol."""

    stored: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def engine_version() -> str | None:
    """Return the version of the indicators; None in a process that has computed none.

    To import them takes a tenth of a second and 30 MB, which an idle worker does without.
    """
    if "market.indicators" not in sys.modules:
        return None
    # Not the entry of sys.modules: another thread may still be importing it, and this waits for that.
    return str(importlib.import_module("market.indicators").ENGINE_VERSION)


def mark(conn: Connection, symbols: Sequence[str] | None, reason: str) -> int:
    """Mark the snapshots of these symbols as due, or of all with bars; returns how many."""
    row = one(
        conn,
        "SELECT snapshots_mark_all(%s::text[], %s) AS n",
        [None if symbols is None else list(symbols), reason],
    )
    return int(row["n"])


def count_due(conn: Connection) -> int:
    """Count the snapshots that are due, those that wait after a failure too."""
    return int(one(conn, "SELECT count(*) AS n FROM market_snapshot_due")["n"])


def due(
    database: Database,
    benchmark: Benchmark,
    *,
    seconds: float | None = None,
    show: Callable[[Refreshed], None] = lambda _: None,
) -> Refreshed:
    """Compute what is due, the longest first, for at most so many seconds. Raises psycopg.Error."""
    done, tried = Refreshed(), Counter[str]()
    began = time.monotonic()
    while seconds is None or time.monotonic() - began < seconds:
        with database.transaction() as conn:
            # More than a batch, because those that were tried often enough come first.
            spent = [symbol for symbol, times in tried.items() if times >= _TRIES]
            rows = conn.execute(
                "SELECT snapshots_due(%s) AS symbol", [_BATCH + len(spent)]
            ).fetchall()
        symbols = [row["symbol"] for row in rows if row["symbol"] not in spent][:_BATCH]
        if not symbols:
            break
        tried.update(symbols)
        _batch(database, benchmark, symbols, done)
        show(done)
    return done


def these(
    database: Database,
    benchmark: Benchmark,
    symbols: Sequence[str],
    show: Callable[[Refreshed], None] = lambda _: None,
) -> Refreshed:
    """Compute the snapshots of these symbols. Raises psycopg.Error."""
    done = Refreshed()
    for first in range(0, len(symbols), _BATCH):
        left = list(symbols[first : first + _BATCH])
        for _ in range(_TRIES):
            left = _batch(database, benchmark, left, done) if left else left
        show(done)
    return done


def _batch(
    database: Database, benchmark: Benchmark, symbols: Sequence[str], done: Refreshed
) -> list[str]:
    """Compute and store a batch; returns the symbols that were not stored."""
    with database.transaction() as conn:
        found = [(each, compared_with(conn, each, benchmark)) for each in read(conn, symbols)]
    made, faults = [], {}
    for stored, compared in found:
        try:
            made.append(computed(stored, compared))
        except Exception as error:
            if is_external(error):
                raise
            faults[stored.symbol] = error_line(error)
    with database.transaction(300) as conn:
        for symbol, reason in faults.items():
            conn.execute("SELECT snapshot_failed(%s, %s)", [symbol, reason])
        left = store(conn, made) if made else {}
    if len(left) > 1 and len(left) == len(made):
        left = _singly(database, made)  # an error of one is an error of all
    for symbol in symbols:
        done.failed.pop(symbol, None)
    done.failed |= left | faults
    done.stored += len(made) - len(left)
    return list(left)


def _singly(database: Database, made: Sequence[Snapshot]) -> dict[str, str]:
    left: dict[str, str] = {}
    for each in made:
        with database.transaction() as conn:
            left |= store(conn, [each])
    return left
