"""The plan of a fetch: the range that a ticker lacks. Read-only, one statement.

`ticker_plan` in sql/functions/42_ticker_plan.sql decides: it compares the wanted range with
`price_coverage`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from market.prices.results import Deferred, Plan
from market.providers import Request
from market.providers.renames import Name
from market.universe import sessions
from sql.database import Connection, Database


def plan(
    conn: Connection,
    symbol: str,
    backfill_days: int,
    *,
    refetch: bool = False,
    since: dt.date | None = None,
) -> Plan | None:
    """Plan what this symbol lacks; returns None when it is not registered.

    refetch: the whole range again. since: everything since that date, stored or not.
    """
    row = conn.execute(
        "SELECT p.*, c.timezone, (SELECT jsonb_agg(n) FROM"
        " symbol_names(p.symbol, p.provider_symbol, p.whole_from, p.last_session) n) AS names"
        " FROM ticker_plan(%s, %s, %s, %s) p"
        " LEFT JOIN market_calendars c ON c.calendar = p.calendar",
        [symbol, backfill_days, refetch, since],
    ).fetchone()
    if row is None:
        return None
    return of_row(row, row["sessions"], refetch=refetch)


def of_row(row: Mapping[str, Any], sessions: Sequence[dt.date], *, refetch: bool = False) -> Plan:
    """Make a plan of a row of `ticker_plan` or `bulk_plans`. sessions: of its range, ascending."""
    request = whole = None
    if row["missing_from"] is not None:
        name, start, end = row["provider_symbol"], row["request_from"], row["request_to"]
        whole = Request(name, row["whole_from"], row["last_session"], sessions)
        wanted = [session for session in whole.sessions if start <= session <= end]
        request = Request(name, start, end, wanted)
    return Plan(
        symbol=row["symbol"],
        calendar=row["calendar"],
        status=row["status"],
        name=row["provider_symbol"],
        asset_type=row["asset_type"],
        request=request,
        whole=whole,
        missing_from=row["missing_from"],
        last_bar=row["last_bar"],
        refetch=refetch,
        covered_to=row["covered_to"],
        last_session=row["last_session"],
        jobs=row["jobs"],
        timezone=row["timezone"],
        names=_names(row["names"] or []),
    )


def names(conn: Connection, symbol: str, name: str, start: dt.date, end: dt.date) -> Sequence[Name]:
    """Return a ticker's names at providers on these days, where some are not `name`."""
    rows = conn.execute(
        "SELECT to_jsonb(n) AS name FROM symbol_names(%s, %s, %s, %s) n", [symbol, name, start, end]
    )
    return _names([row["name"] for row in rows])


def _names(rows: Sequence[Mapping[str, Any]]) -> list[Name]:
    day = dt.date.fromisoformat
    return [Name(row["provider"], day(row["from"]), day(row["to"]), row["name"]) for row in rows]


def prepare(
    database: Database, symbol: str, backfill_days: int, *, refetch: bool = False
) -> Plan | None:
    """Load the ticker's calendar where it is missing, then plan.

    Each step has a transaction of its own.
    """
    with database.transaction() as conn:
        missing = calendars_missing(conn, [symbol])
    for calendar in missing:
        sessions.ensure_one(database, calendar)
    with database.transaction() as conn:
        made = plan(conn, symbol, backfill_days, refetch=refetch)
        if made is None or made.has_sessions:
            return made
        return replace(made, waits=_waits(conn, made.calendar))


def _waits(conn: Connection, calendar: str) -> Deferred | None:
    """Return until when tickers of a calendar wait, and why; None for an unknown calendar."""
    row = conn.execute(
        "SELECT retry_at, reason FROM market_calendars WHERE calendar = %s AND state = 'failed'",
        [calendar],
    ).fetchone()
    if row is None:
        return None
    return Deferred(row["retry_at"], f"sessions of {calendar} cannot be computed: {row['reason']}")


def calendars_missing(conn: Connection, symbols: list[str]) -> list[str]:
    """Return the calendars of these tickers that have no sessions yet."""
    rows = conn.execute("SELECT ticker_calendars_missing(%s::text[]) AS calendar", [symbols])
    return [row["calendar"] for row in rows]


def mark_started(conn: Connection, plan: Plan) -> None:
    """Record in the registry that a fetch began, with its calendar and the provider's symbol."""
    conn.execute("SELECT ticker_fetch_started(%s, %s, %s)", [plan.symbol, plan.calendar, plan.name])
