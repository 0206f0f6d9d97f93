"""The newest session for many symbols at once, from providers that have it in few requests.

Only symbols that lack nothing else are topped up, and only where the same answer also has their
last stored session, so that a split or a restatement shows: those, and everything that is not
plain, are left for a fetch of their own. What is stored passes the same checks as there.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from market.prices import backfill
from market.prices.backfill import Plan, Summary
from market.providers import Provider, Request, selection
from market.providers.base import Batching, batching
from market.providers.limits import Paused, ask_many
from sql.database import Connection, Database

# The calendar whose whole market providers give at once.
CALENDAR = "XNYS"


@dataclass
class TopUp:
    """What `top_up` did: by symbol what was stored, and the symbols that need their own fetch."""

    stored: dict[str, Summary] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def top_up(
    database: Database,
    providers: Sequence[Provider],
    session: dt.date,
    symbols: Sequence[str],
    wait: Callable[[float], None],
) -> TopUp:
    """Fetch and store one finished session of many symbols; each is stored in its own transaction.

    wait: called with seconds until a provider's next free place. Raises psycopg.Error.
    """
    done = TopUp()
    with database.transaction() as conn:
        plans, days = _plans(conn, session, symbols)
    for provider in providers:
        able = batching(provider)
        if able is None or not plans:
            continue
        mine = {
            symbol: (plan, request)
            for symbol, plan in plans.items()
            for request in [Request(plan.name, days[0], session, days)]
            if not selection.lack(provider, plan.asset_type, plan.calendar, request)
        }
        for stored in _from(database, able, mine, wait):
            done.stored[stored.symbol] = stored
            del plans[stored.symbol]
    done.left = [symbol for symbol in symbols if symbol not in done.stored]
    return done


def _plans(
    conn: Connection, session: dt.date, symbols: Sequence[str]
) -> tuple[dict[str, Plan], list[dt.date]]:
    """The plans of those that lack this session only; and it with the session before it."""
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = %s AND session <= %s"
        " ORDER BY session DESC LIMIT 2",
        [CALENDAR, session],
    ).fetchall()
    days = sorted(row["session"] for row in rows)
    found = {}
    # A plan notes that work is going on; whoever is left here has none going on.
    with conn.transaction(force_rollback=True):
        for symbol in symbols:
            plan = backfill.plan(conn, symbol, 1)
            if plan and plan.calendar == CALENDAR and _lacks_only(plan, days):
                found[symbol] = plan
    return found, days


def _lacks_only(plan: Plan, days: Sequence[dt.date]) -> bool:
    before, session = days[0], days[-1]
    return (
        plan.request is not None
        and plan.request is not plan.whole
        and plan.status == "active"
        and (plan.last_bar, plan.request.end) == (before, session)
    )


def _from(
    database: Database,
    provider: Batching,
    wanted: dict[str, tuple[Plan, Request]],
    wait: Callable[[float], None],
) -> list[Summary]:
    """Ask for all in as few batches as the provider takes; stops when it is paused."""
    stored = []
    ordered = list(wanted.values())
    for first in range(0, len(ordered), provider.capabilities.batch):
        batch = ordered[first : first + provider.capabilities.batch]
        answers = ask_many(database, provider, [request for _, request in batch], wait)
        if isinstance(answers, Paused):
            break
        for (plan, request), answer in zip(batch, answers, strict=True):
            with database.transaction(seconds=300) as conn:
                bars = backfill.continuation(conn, plan, provider.name, request, answer)
                if bars:
                    stored.append(backfill.store(conn, plan, bars))
    return stored
