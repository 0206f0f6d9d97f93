"""Jobs: the prices of many symbols, asked for at once and fetched by whichever workers there are.

A job is rows (`price_jobs`, `price_job_symbols`) and ticker events of low priority. What a fetch
owes a job it learns from those rows and not from its event, and it settles them in the transaction
in which its bars are stored: so a job's count is exact, whoever dies, and anybody anywhere may look
on. The SQL is `sql/functions/62_jobs.sql`.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

from market.prices.backfill import Summary
from market.prices.results import Bars, Failed, Later, Plan, Silent, Unknown, Verdict
from sql.database import Connection, one
from sql.errors import NotFound

Kind = Literal["backfill", "missing", "sync", "update"]
# Behind everything that a prediction waits for; the newest days before the years.
PRIORITIES: dict[Kind, int] = {"backfill": -20, "missing": -20, "sync": -5, "update": -5}


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


def resume(conn: Connection, job: int) -> int:
    """Take a job up again; returns how many symbols it is owed. Raises NotFound."""
    progress(conn, job)
    return int(one(conn, "SELECT job_resume(%s) AS n", [job])["n"])


def progress(conn: Connection, job: int) -> dict[str, Any]:
    """How far a job is; raises NotFound where there is none."""
    row = conn.execute("SELECT * FROM job_progress(%s)", [job]).fetchone()
    if row is None:
        raise NotFound(f"there is no job {job}; the table price_jobs has those there are")
    return row


def symbols(conn: Connection, job: int) -> list[dict[str, Any]]:
    """A job's symbols, and what became of each."""
    return conn.execute("SELECT * FROM job_symbols(%s)", [job]).fetchall()


def runs(conn: Connection, job: int) -> list[dict[str, Any]]:
    """The rows of the audit of a job's fetches, oldest first."""
    rows = conn.execute("SELECT to_jsonb(a) AS run FROM job_runs(%s) a", [job])
    return [dict(row["run"]) for row in rows]


def run_name(conn: Connection, event: str, symbol: str) -> str:
    """What the audit calls a run: the event, and the jobs that it is for."""
    owed = one(conn, "SELECT job_owed(%s) AS jobs", [symbol])["jobs"]
    return ", ".join([event, *(f"job {job}" for job in owed)])


def settle(
    conn: Connection, plan: Plan, verdict: Verdict | None, summary: Summary, *, last: bool
) -> int:
    """Tell the jobs that a fetch served what came of it; returns how many.

    last: it is not tried again. What is put off or tried again settles nothing.
    """
    asked_from = plan.request.start if plan.request else None
    match verdict:
        case Later():
            return 0
        case Failed(reason=reason) | Silent(reason=reason):
            if not last:
                return 0
            return _settle(conn, plan, asked_from or dt.date.min, "failed", reason=reason)
        case Unknown(reason=reason):
            return _settle(conn, plan, asked_from, "failed", reason=reason)
        case Bars(request=request):
            return _settle(
                conn,
                plan,
                request.start,
                "done",
                rows=summary.details["inserted"] + summary.details["updated"],
                provider=verdict.source,
                reason=None if verdict.bars else "the providers have no bars there",
            )
        case None:
            return _settle(conn, plan, None, "done", reason="nothing was missing")


def _settle(
    conn: Connection,
    plan: Plan,
    asked_from: dt.date | None,
    state: str,
    *,
    rows: int = 0,
    provider: str | None = None,
    reason: str | None = None,
) -> int:
    row = one(
        conn,
        "SELECT job_settle(%s, %s, %s, %s, %s, %s) AS n",
        [plan.symbol, asked_from, state, rows, provider, reason],
    )
    return int(row["n"])
