"""Bulk top-up: the newest session of many symbols, from providers with batches.

A symbol is topped up only when it lacks no other session, and when the same answer also has its
last stored session, so that a split or a restatement shows. All other symbols are left for a fetch
of their own. Answers are graded and concluded as in `fetch`.
"""

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import psycopg

from market.prices.fetch import continuation
from market.prices.plan import of_row as plan_of
from market.prices.results import Plan
from market.prices.store import Summary, snapshot, store
from market.providers import Answer, Provider, Request, renames, selection
from market.providers.base import Batching, batching
from market.providers.limits import Paused, attempt_many
from market.snapshots import Benchmark
from sql.away import is_away
from sql.database import Connection, Database, error_line
from sql.logs import logger

# The calendar of which providers give the whole market at once.
CALENDAR = "XNYS"
# Symbols that one statement plans, at half a millisecond each.
_PLANNED = 500


@dataclass
class TopUp:
    """The result of `top_up`. stored: by symbol; left: symbols that need a fetch of their own."""

    stored: dict[str, Summary] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def top_up(
    database: Database,
    providers: Sequence[Provider],
    session: dt.date,
    symbols: Sequence[str],
    wait: Callable[[float], None],
    benchmark: Benchmark | None = None,
) -> TopUp:
    """Fetch and store one finished session of many symbols.

    Each symbol is stored in its own transaction. wait: called with the seconds until a provider's
    next free place. benchmark: also compute the snapshots; without it the next sweep does. A symbol
    that cannot be stored is left. Raises psycopg.Error.
    """
    done = TopUp()
    plans: dict[str, Plan] = {}
    days: Sequence[dt.date] = ()
    for first in range(0, len(symbols), _PLANNED):
        with database.transaction() as conn:
            found, days = _plans(conn, session, symbols[first : first + _PLANNED])
        plans |= found
    for provider in providers:
        able = batching(provider)
        if able is None or not plans:
            continue
        mine = {
            symbol: (plan, request)
            for symbol, plan in plans.items()
            for request in renames.parts(
                Request(plan.name, days[0], session, days), provider.name, plan.names
            )
            # A name that changes between the two days is left for a fetch of its own.
            if (request.start, request.end) == (days[0], session)
            and not selection.lack(provider, plan.asset_type, plan.calendar, request)
        }
        for stored in _from(database, able, mine, wait, benchmark):
            done.stored[stored.symbol] = stored
            del plans[stored.symbol]
    done.left = [symbol for symbol in symbols if symbol not in done.stored]
    return done


def _plans(
    conn: Connection, session: dt.date, symbols: Sequence[str]
) -> tuple[dict[str, Plan], list[dt.date]]:
    """Plan the symbols that lack only this session; returns it and the session before it too."""
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = %s AND session <= %s"
        " ORDER BY session DESC LIMIT 2",
        [CALENDAR, session],
    ).fetchall()
    days = sorted(row["session"] for row in rows)
    planned = conn.execute(
        "SELECT * FROM bulk_plans(%s, %s::text[], %s, %s)",
        [CALENDAR, list(symbols), days[0], session],
    )
    return {row["symbol"]: plan_of(row, days) for row in planned}, days


def _from(
    database: Database,
    provider: Batching,
    wanted: dict[str, tuple[Plan, Request]],
    wait: Callable[[float], None],
    benchmark: Benchmark | None,
) -> list[Summary]:
    """Fetch all symbols in as few batches as possible; stops when the provider is paused."""
    stored: list[Summary] = []
    leader = benchmark.symbol if benchmark else None
    # The benchmark first: snapshots that were computed without its new bar would be due again.
    ordered = sorted(wanted.values(), key=lambda each: each[0].symbol != leader)
    for first in range(0, len(ordered), provider.capabilities.batch):
        batch = ordered[first : first + provider.capabilities.batch]
        answers = attempt_many(database, provider, [request for _, request in batch], wait)
        if isinstance(answers, Paused):
            break
        works = [
            partial(_store, database, provider.name, plan, request, answer, benchmark)
            for (plan, request), answer in zip(batch, answers, strict=True)
        ]
        stored += [] if first else _in_two([works.pop(0)])
        stored += _in_two(works)
    return stored


def _in_two(works: Sequence[Callable[[], Summary | None]]) -> list[Summary]:
    """Do works in this thread and another; returns what they return. Raises the first error.

    While one computes, the server works for the other. Not an executor: the interpreter would wait at
    its end for everything that is queued.
    """
    left, lock = iter(works), threading.Lock()
    done: list[Summary] = []
    failed: list[BaseException] = []

    def run() -> None:
        while not failed:
            with lock:
                work = next(left, None)
            if work is None:
                return
            try:
                summary = work()
            except BaseException as error:  # noqa: BLE001 - raised below
                failed.append(error)
                return
            if summary is not None:
                done.append(summary)

    helper = threading.Thread(target=run, name="top-up", daemon=True)
    if len(works) > 1:
        helper.start()
    run()
    if len(works) > 1:
        helper.join()
    if failed:
        raise failed[0]
    return done


def _store(
    database: Database,
    source: str,
    plan: Plan,
    request: Request,
    answer: Answer,
    benchmark: Benchmark | None,
) -> Summary | None:
    """Store one symbol's answer with its snapshot; None where it is left."""
    try:
        with database.transaction() as conn:
            fetched = continuation(conn, plan, source, request, answer)
            # Holds no lock that anybody waits for.
            made = snapshot(conn, plan, fetched, benchmark) if benchmark else None
        if fetched is None:
            return None
        with database.transaction(seconds=300, lock_seconds=2) as conn:
            return store(conn, plan, fetched, snapshot=made)
    except psycopg.Error as error:
        if is_away(database, error):
            raise
        # Its event counts and delays the failure; the other symbols go on.
        logger().warning("not topped up", symbol=plan.symbol, error=error_line(error))
        return None
