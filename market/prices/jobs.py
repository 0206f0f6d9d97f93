"""Jobs: the prices of many symbols, written as events at once and fetched by any workers.

A job is rows (`price_jobs`, `price_job_symbols`) and ticker events of low priority. A plan reads
the jobs that its fetch serves from those rows, not from the event. The transaction that stores the
bars also settles them, so that a job's count stays exact when any process dies. The SQL is
`sql/functions/62_jobs.sql`.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

from market.prices.results import (
    Deferred,
    Failed,
    Fetched,
    NoData,
    Plan,
    Result,
    UnknownSymbol,
)
from market.prices.store import Summary
from sql.database import Connection, one
from sql.errors import NotFound
from sql.rows import Rows, fetch_rows

Kind = Literal["backfill", "missing", "stale", "sync", "update"]
_NEWEST = 20  # each progress reads the waiting events of tickers
# Below the priority of predictions; the newest days before whole years.
PRIORITIES: dict[Kind, int] = {
    "backfill": -20,
    "missing": -20,
    "stale": -10,
    "sync": -5,
    "update": -5,
}


def start(
    conn: Connection, kind: Kind, symbols: Sequence[str] | None, start: dt.date, end: dt.date
) -> int:
    """Write a job and its events; returns its id. symbols None: all active tickers."""
    row = one(
        conn,
        "SELECT job_start(%s, %s::text[], %s, %s, %s) AS id",
        [kind, None if symbols is None else list(symbols), start, end, PRIORITIES[kind]],
    )
    return int(row["id"])


def preview(
    conn: Connection, kind: Kind, symbols: Sequence[str] | None, start: dt.date, end: dt.date
) -> dict[str, Any]:
    """Return the progress that a job would begin with; writes nothing."""
    return one(
        conn,
        "SELECT * FROM job_preview(%s, %s::text[], %s, %s)",
        [kind, None if symbols is None else list(symbols), start, end],
    )


def resume(conn: Connection, job: int) -> int:
    """Resume a job; returns how many of its symbols are left. Raises NotFound."""
    progress(conn, job)
    return int(one(conn, "SELECT job_resume(%s) AS n", [job])["n"])


def progress(conn: Connection, job: int) -> dict[str, Any]:
    """Return the progress of a job; raises NotFound where it does not exist."""
    row = conn.execute("SELECT * FROM job_progress(%s)", [job]).fetchone()
    if row is None:
        raise NotFound(f"there is no job {job}; the table price_jobs has all of them")
    return row


def newest(conn: Connection) -> Rows:
    """List the progress of the newest jobs, the newest first."""
    return fetch_rows(
        conn,
        "SELECT p.* FROM (SELECT id FROM price_jobs ORDER BY id DESC LIMIT %s) j"
        " CROSS JOIN LATERAL job_progress(j.id) p ORDER BY p.job DESC",
        [_NEWEST],
    )


def symbols(conn: Connection, job: int) -> Rows:
    """List a job's symbols with the state of each."""
    return fetch_rows(conn, "SELECT * FROM job_symbols(%s)", [job])


def runs(conn: Connection, job: int) -> list[dict[str, Any]]:
    """List the ingestion audit of a job's fetches, oldest first."""
    rows = conn.execute("SELECT to_jsonb(a) AS run FROM job_fetches(%s) a", [job])
    return [dict(row["run"]) for row in rows]


def run_name(event: str, plan: Plan) -> str:
    """Name a run for the ingestion audit: its event, and the jobs that it serves."""
    return ", ".join([event, *(f"job {job}" for job in plan.jobs)])


def settle(
    conn: Connection, plan: Plan, result: Result | None, summary: Summary, *, last: bool
) -> int:
    """Settle the jobs that a fetch served with its result; returns how many.

    last: no attempt follows. A deferred result, or one before another attempt, settles nothing.
    """
    match result:
        case Deferred():
            return 0
        case Failed(reason=reason) | NoData(reason=reason):
            return _settle(conn, plan, "failed", reason=reason) if last else 0
        case UnknownSymbol(reason=reason):
            return _settle(conn, plan, "failed", reason=reason)
        case Fetched():
            return _settle(
                conn,
                plan,
                "done",
                rows=summary.details["inserted"] + summary.details["updated"],
                provider=result.source,
                reason=None if result.bars else "the providers have no bars there",
            )
        case None:
            return _settle(conn, plan, "done", reason="nothing was missing")


def _settle(
    conn: Connection,
    plan: Plan,
    state: str,
    *,
    rows: int = 0,
    provider: str | None = None,
    reason: str | None = None,
) -> int:
    row = one(
        conn,
        "SELECT job_settle(p_symbol => %s, p_jobs => %s::bigint[], p_state => %s, p_rows => %s,"
        " p_provider => %s, p_reason => %s) AS n",
        [plan.symbol, list(plan.jobs), state, rows, provider, reason],
    )
    return int(row["n"])
