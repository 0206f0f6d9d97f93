"""Storing the result of a fetch: bars or a failure, the outcomes that follow, and the audit.

All in one transaction of the caller, which ends its event in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from market import outcomes, snapshots
from market.prices import bars_table, ingestion
from market.prices.ingestion import Run
from market.prices.results import (
    Deferred,
    Failed,
    Fetched,
    NoData,
    Plan,
    Result,
    UnknownSymbol,
)
from market.snapshots import Benchmark, Prepared
from sql.database import Connection


@dataclass
class Summary:
    """A summary of what was stored. result: of the fetch, in a word."""

    symbol: str
    result: str
    details: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] | None = None  # the run's row of ingestion_audit


def snapshot(conn: Connection, plan: Plan, result: Result | None, benchmark: Benchmark) -> Prepared:
    """Compute the snapshot that follows from a result, in a transaction before that of `store`.

    It only reads. Raises psycopg.Error.
    """
    if not isinstance(result, Fetched):
        return None
    return snapshots.prepare(
        conn,
        plan.symbol,
        result.bars,
        result.request.start,
        result.request.end,
        benchmark,
        rebased=result.has_new_basis,
    )


def store(
    conn: Connection,
    plan: Plan,
    result: Result | None,
    run: Run | None = None,
    snapshot: Prepared = None,
) -> Summary:
    """Write the result of a fetch, and the outcomes that follow, in the caller's transaction.

    result None: nothing was missing. `Deferred` and `Failed` are only noted in the registry. The
    attempts are recorded with every result. snapshot: of the bars as they will be; where they turn
    out otherwise, or without it, the next sweep computes it.
    """
    if result is None:
        changed = outcomes.fill_due(conn, plan.symbol)
        return Summary(plan.symbol, "up to date", {"outcomes": changed})
    run = run or Run()
    ids = ingestion.keep(conn, result.attempts, run)
    summary = _store(conn, plan, result, ids)
    if snapshot is not None:
        snapshots.store(conn, [snapshot])
    summary.audit = ingestion.record(
        conn, plan.symbol, result.attempts, ids, run, summary.result, summary.details
    )
    return summary


def _store(conn: Connection, plan: Plan, result: Result, ids: Mapping[str, int]) -> Summary:
    match result:
        case Fetched():
            return _store_bars(conn, plan, result, ids)
        case UnknownSymbol(reason=reason):
            conn.execute(
                "SELECT ticker_fetch_concluded(%s, 'invalid', %s, 'failed', %s)",
                [plan.symbol, reason, reason],
            )
            changed = outcomes.fill_symbol(conn, plan.symbol)
            return Summary(plan.symbol, "unknown", {"reason": reason, "outcomes": changed})
        case Deferred(reason=reason):
            _note(conn, plan.symbol, "pending", reason)
            return Summary(plan.symbol, "later", {"reason": reason})
        case Failed(reason=reason) | NoData(reason=reason):
            _note(conn, plan.symbol, "failed", reason)
            outcomes.fill_due(
                conn, plan.symbol
            )  # an outcome whose session is over awaits prices from now on
            return Summary(plan.symbol, "failed", {"reason": reason})


def _store_bars(conn: Connection, plan: Plan, fetched: Fetched, ids: Mapping[str, int]) -> Summary:
    request = fetched.request
    bars_table.store_actions(
        conn,
        plan.symbol,
        fetched.source,
        fetched.actions,
        request.start,
        request.end,
        rebased=fetched.has_new_basis,
    )
    counts = bars_table.store(
        conn,
        plan.symbol,
        fetched.source,
        fetched.bars,
        request.start,
        request.end,
        rebased=fetched.has_new_basis,
        payload_id=ids.get(fetched.payload.sha256) if fetched.payload else None,
    )
    bars_table.flag(conn, plan.symbol, fetched.left_out)
    _describe(conn, plan.symbol, fetched)
    # Also complete outcomes where their prices changed, and unresolvable ones where the ticker was
    # not active, or the whole range was fetched again.
    everything = (
        fetched.has_new_basis or counts["revised"] > 0 or plan.status != "active" or plan.refetch
    )
    after = [bar for bar in fetched.bars if plan.last_bar is None or bar.date > plan.last_bar]
    if not everything and counts["inserted"] <= len(after) and not counts["updated"]:
        changed = outcomes.fill_due(conn, plan.symbol)  # only newer bars came
    else:
        changed = outcomes.fill_symbol(conn, plan.symbol, everything=everything)
    details: dict[str, Any] = {
        "provider": fetched.source,
        "from": str(request.start),
        "to": str(request.end),
        "bars": len(fetched.bars),
        **counts,
        "rejected": len(fetched.rejected),
        "rebased": fetched.has_new_basis,
        "outcomes": changed,
    }
    if fetched.rejected:
        details["first_rejected"] = fetched.rejected[0]
    return Summary(plan.symbol, "fetched", details)


def _note(conn: Connection, symbol: str, status: str, reason: str) -> None:
    conn.execute(
        "UPDATE ticker_registry SET backfill_status = %s, backfill_error = one_line(%s),"
        " updated_at = reckoner_now() WHERE symbol = %s",
        [status, reason, symbol],
    )


def _describe(conn: Connection, symbol: str, fetched: Fetched) -> None:
    """Store what the provider says of a ticker: better than a guess from its spelling."""
    if fetched.asset_type or fetched.exchange or fetched.currency:
        conn.execute(
            "UPDATE ticker_registry SET asset_type = coalesce(%s, asset_type),"
            " exchange = coalesce(%s, exchange), currency = coalesce(%s, currency) WHERE symbol = %s",
            [fetched.asset_type, fetched.exchange, fetched.currency, symbol],
        )
