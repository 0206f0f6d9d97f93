"""Bulk top-up: the newest session of many symbols, from providers with batches.

A symbol is topped up only when it lacks no other session, and when the same answer also has its
last stored session, so that a split or a restatement shows. All other symbols are left for a fetch
of their own. Answers are graded and concluded as in `fetch`.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
# So many symbols are stored at once: while one is computed, the server works on another.
_THREADS = 2
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
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="top-up") as threads:
            first_of_all = [] if first else [works.pop(0)()]
            stored += filter(None, [*first_of_all, *threads.map(lambda work: work(), works)])
    return stored


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
