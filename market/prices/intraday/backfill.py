"""Five-minute bars of finished sessions, for many symbols: a command, the night's fetch, a task.

Symbols go in batches: each is claimed, fetched outside of any transaction, and the batch is stored in
one. A process that ends leaves what it stored; what it had claimed another one may take minutes later.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from market.prices.ingestion import Run
from market.prices.intraday import claims
from market.prices.intraday.fetch import fetch
from market.prices.intraday.plan import IntradayPlan, plan
from market.prices.intraday.store import Stored, store
from market.prices.plan import calendars_missing
from market.prices.results import Result
from market.providers import Provider
from market.universe import sessions
from sql.database import Database

# Sessions that the night's fetch looks back for holes, and symbols that it stores at once.
NIGHT_SESSIONS = 5
BATCH_SIZE = 50
# The share of each quota that is left for daily bars.
LEAVES = 0.2

Wait = Callable[[float], None]


@dataclass(frozen=True)
class How:
    """How bars are fetched. worker: who claims. keep_days: of retention. by_merit: see `fetch`."""

    worker: str
    keep_days: int = 90
    by_merit: bool = False
    leaves: float = 0.0
    run: Run = field(default_factory=Run)


def tracked(database: Database) -> list[str]:
    """Return the symbols whose five-minute bars are followed."""
    with database.transaction() as conn:
        rows = conn.execute("SELECT symbol FROM intraday_tracked ORDER BY symbol").fetchall()
    return [row["symbol"] for row in rows]


def run(
    database: Database,
    providers: Sequence[Provider],
    symbols: Sequence[str],
    wait: Wait,
    how: How,
    *,
    n_days: int = NIGHT_SESSIONS,
    batch_size: int = BATCH_SIZE,
    refetch: bool = False,
) -> Iterator[Stored]:
    """Fetch the newest sessions of these registered symbols; yields what was stored of each.

    n_days: sessions of each symbol's calendar, one under way included. refetch: also those that a
    provider answered for. A symbol that another worker fetches now is left to it. Raises
    psycopg.Error, and every error of `wait`.
    """
    with database.transaction() as conn:
        missing = calendars_missing(conn, list(symbols))
    for calendar in missing:
        sessions.ensure_one(database, calendar)
    for first in range(0, len(symbols), batch_size):
        batch = symbols[first : first + batch_size]
        with claims.held(database, how.worker, batch) as mine:
            yield from [
                Stored(symbol, "busy", {"reason": "another worker fetches it now"})
                for symbol in batch
                if symbol not in mine.symbols
            ]
            yield from _batch(database, providers, mine, wait, how, n_days, refetch=refetch)


def _batch(
    database: Database,
    providers: Sequence[Provider],
    mine: claims.Claims,
    wait: Wait,
    how: How,
    n_days: int | None,
    *,
    refetch: bool = False,
) -> list[Stored]:
    """Fetch the claimed symbols one after the other, and store them all at once."""
    results: list[tuple[IntradayPlan, Result]] = []
    done = []
    for symbol in list(mine.symbols):
        if not mine.renew(symbol):
            continue
        with database.transaction() as conn:
            made = plan(conn, symbol, n_days, keep_days=how.keep_days, refetch=refetch)
        result = None
        if made is not None:
            result = fetch(
                database, providers, made, wait, by_merit=how.by_merit, leaves=how.leaves
            )
        if made is None or result is None:
            done.append(Stored(symbol, "up to date"))
            continue
        results.append((made, result))
    if results:
        with database.transaction(seconds=300) as conn:
            done += store(conn, results, providers, how.run)
    return done


def night(
    database: Database, providers: Sequence[Provider], wait: Wait, how: How
) -> Iterator[Stored]:
    """Fetch the last settled session of each tracked symbol, with holes of the sessions before.

    All workers share the symbols. Ends when none is left, or when a provider is paused.
    """
    return _rounds(database, providers, wait, how, NIGHT_SESSIONS)


def poll(
    database: Database, providers: Sequence[Provider], wait: Wait, how: How
) -> Iterator[Stored]:
    """Fetch the bars of sessions under way that became final since the last answer.

    All workers share the symbols. Ends when none is left, or when a provider is paused.
    """
    return _rounds(database, providers, wait, how, None)


def _rounds(
    database: Database, providers: Sequence[Provider], wait: Wait, how: How, n_days: int | None
) -> Iterator[Stored]:
    seen: set[str] = set()
    while True:
        with claims.due(database, providers, how.worker, polls=n_days is None) as mine:
            new = [symbol for symbol in mine.symbols if symbol not in seen]
            if not new:
                return  # one that is due again at once waits for the next call
            seen.update(new)
            for symbol in new:
                done = _batch(database, providers, mine.only(symbol), wait, how, n_days)
                yield from done
                if any(each.result == "later" for each in done):
                    return
