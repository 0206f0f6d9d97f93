"""Fetching a ticker's prices: what is missing, and writing what came of asking for it.

Three steps with a seam between them, so that the network is never awaited inside a
transaction: `plan` (one statement), `asking.fetch` (providers, no transaction), `store` (in the
transaction in which the caller ends its event).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from market import outcomes
from market.prices import ingestion, storage
from market.prices.fetch import continuation, fetch
from market.prices.ingestion import Run
from market.prices.results import Bars, Failed, Later, Plan, Silent, Unknown, Verdict
from market.providers import Request
from market.universe import sessions
from sql.database import Connection, Database

# The whole of a backfill can be had from here.
__all__ = [
    "Bars", "Failed", "Later", "Plan", "Silent", "Summary", "Unknown", "Verdict",
    "continuation", "fetch", "plan", "prepare", "store",
]  # fmt: skip

# How many stored bars a refresh fetches again, to see whether their basis changed.
_OVERLAP_SESSIONS = 5


def plan(
    conn: Connection,
    symbol: str,
    backfill_days: int,
    *,
    refetch: bool = False,
    since: dt.date | None = None,
) -> Plan | None:
    """Ask the database what this symbol lacks; None when it is not registered.

    refetch: the whole range again. since: everything since that date, stored or not.
    """
    row = conn.execute(
        "SELECT * FROM ticker_plan(%s, %s, %s, %s)", [symbol, backfill_days, refetch, since]
    ).fetchone()
    if row is None:
        return None
    request = whole = None
    if row["fetch_from"] is not None:
        known = [row[name] for name in ("fetch_from", "asked_from", "first_bar") if row[name]]
        whole = request = _request(conn, row, min(known), row["fetch_to"])
        if row["last_bar"] and row["asked_from"] and row["fetch_from"] > row["asked_from"]:
            # Only the end is missing: ask again for a few stored bars too, to compare them.
            before = [session for session in whole.sessions if session < row["fetch_from"]]
            start = min([row["fetch_from"], row["last_bar"], *before[-_OVERLAP_SESSIONS:]])
            request = _request(conn, row, start, row["fetch_to"])
    return Plan(
        symbol=symbol,
        calendar=row["calendar"],
        status=row["status"],
        name=row["provider_symbol"],
        asset_type=row["asset_type"],
        request=request,
        whole=whole,
        last_bar=row["last_bar"],
        refetch=refetch,
        known_silent=row["asked_to"] is not None
        and (row["last_bar"] is None or row["asked_to"] > row["last_bar"]),
        has_sessions=row["fetch_to"] is not None,
    )


def prepare(
    database: Database, symbol: str, backfill_days: int, *, refetch: bool = False
) -> Plan | None:
    """Plan in a transaction of its own, and load the ticker's calendar where it is missing."""
    with database.transaction() as conn:
        made = plan(conn, symbol, backfill_days, refetch=refetch)
    if made is None or made.has_sessions:
        return made
    # Whatever this changed: another loader may have been faster.
    sessions.ensure_one(database, made.calendar)
    with database.transaction() as conn:
        made = plan(conn, symbol, backfill_days, refetch=refetch)
        if made is None or made.has_sessions:
            return made
        return replace(made, waits=_waits(conn, made.calendar))


def _waits(conn: Connection, calendar: str) -> Later | None:
    """Until when a ticker of this calendar waits, and why; None: no such calendar is known."""
    row = conn.execute(
        "SELECT retry_at, reason FROM market_calendars WHERE calendar = %s AND state = 'failed'",
        [calendar],
    ).fetchone()
    if row is None:
        return None
    return Later(row["retry_at"], f"sessions of {calendar} cannot be computed: {row['reason']}")


def _request(conn: Connection, row: dict[str, Any], start: dt.date, end: dt.date) -> Request:
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = %s AND session BETWEEN %s AND %s ORDER BY session",
        [row["calendar"], start, end],
    )
    return Request(row["provider_symbol"], start, end, [each["session"] for each in rows])


@dataclass
class Summary:
    """What storing a verdict did, for the event's result and for people."""

    symbol: str
    outcome: str
    details: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] | None = None  # the run's row of ingestion_audit


def store(conn: Connection, plan: Plan, verdict: Verdict | None, run: Run | None = None) -> Summary:
    """Write what `fetch` concluded, and the outcomes that follow, in the caller's transaction.

    verdict None: nothing was missing. `Later` and `Failed` are noted and decide nothing. With it
    goes the record of who was asked and what they said, whatever came of it.
    """
    if verdict is None:
        changed = outcomes.fill_due(conn, plan.symbol)
        return Summary(plan.symbol, "up to date", {"outcomes": changed})
    run = run or Run()
    ids = ingestion.keep(conn, verdict.asked, run)
    summary = _store(conn, plan, verdict, ids)
    summary.audit = ingestion.log(
        conn, plan.symbol, verdict.asked, ids, run, summary.outcome, summary.details
    )
    return summary


def _store(conn: Connection, plan: Plan, verdict: Verdict, ids: Mapping[str, int]) -> Summary:
    match verdict:
        case Bars():
            return _store_bars(conn, plan, verdict, ids)
        case Unknown(reason=reason):
            _verdict(conn, plan.symbol, "invalid", reason, "failed", reason)
            changed = outcomes.fill_symbol(conn, plan.symbol)
            return Summary(plan.symbol, "unknown", {"reason": reason, "outcomes": changed})
        case Later(reason=reason):
            _note(conn, plan.symbol, "pending", reason)
            return Summary(plan.symbol, "later", {"reason": reason})
        case Failed(reason=reason) | Silent(reason=reason):
            _note(conn, plan.symbol, "failed", reason)
            outcomes.fill_due(conn, plan.symbol)  # what is over by now is awaited, not maturing
            return Summary(plan.symbol, "failed", {"reason": reason})


def _store_bars(conn: Connection, plan: Plan, verdict: Bars, ids: Mapping[str, int]) -> Summary:
    request = verdict.request
    storage.store_actions(
        conn,
        plan.symbol,
        verdict.source,
        verdict.actions,
        request.start,
        request.end,
        rebased=verdict.rebased,
    )
    counts = storage.store(
        conn,
        plan.symbol,
        verdict.source,
        verdict.bars,
        request.start,
        request.end,
        rebased=verdict.rebased,
        payload_id=ids.get(verdict.payload.sha256) if verdict.payload else None,
    )
    _describe(conn, plan.symbol, verdict)
    # Complete ones too where their prices changed, unresolvable ones too where the ticker
    # was thought unknown or somebody asked for everything again.
    everything = verdict.rebased or counts["revised"] > 0 or plan.status != "active" or plan.refetch
    behind = [bar for bar in verdict.bars if plan.last_bar is None or bar.date > plan.last_bar]
    if not everything and counts["inserted"] <= len(behind) and not counts["updated"]:
        changed = outcomes.fill_due(conn, plan.symbol)  # no hole was filled
    else:
        changed = outcomes.fill_symbol(conn, plan.symbol, everything=everything)
    details: dict[str, Any] = {
        "provider": verdict.source,
        "from": str(request.start),
        "to": str(request.end),
        "bars": len(verdict.bars),
        **counts,
        "rejected": len(verdict.rejected),
        "rebased": verdict.rebased,
        "outcomes": changed,
    }
    if verdict.rejected:
        details["first_rejected"] = verdict.rejected[0]
    return Summary(plan.symbol, "fetched", details)


def _verdict(conn: Connection, symbol: str, *values: str | None) -> None:
    conn.execute("SELECT registry_verdict(%s, %s, %s, %s, %s)", [symbol, *values])


def _note(conn: Connection, symbol: str, status: str, reason: str) -> None:
    conn.execute(
        "UPDATE ticker_registry SET backfill_status = %s, backfill_error = one_line(%s),"
        " updated_at = reckoner_now() WHERE symbol = %s",
        [status, reason, symbol],
    )


def _describe(conn: Connection, symbol: str, verdict: Bars) -> None:
    """Take over what the provider knows better than the symbol's spelling tells."""
    if verdict.asset_type or verdict.exchange or verdict.currency:
        conn.execute(
            "UPDATE ticker_registry SET asset_type = coalesce(%s, asset_type),"
            " exchange = coalesce(%s, exchange), currency = coalesce(%s, currency) WHERE symbol = %s",
            [verdict.asset_type, verdict.exchange, verdict.currency, symbol],
        )
