"""The steps of a restore, in their order. A step is a function and a line in STEPS.

Every step may run twice: it finds what is there, or notes what it began in the same transaction
(`Work.note`), so that the next try goes on with it. A step that cannot do all raises StepFailed with
what it did.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from market import coverage
from market.prices import jobs
from market.snapshots import Benchmark, history, refresh
from market.universe.constituents import refresh as constituents
from sql.database import Connection, Database, one
from sql.errors import ReckonerError, translated

if TYPE_CHECKING:
    from market.universe.constituents.listed import Source, Wait

Result = dict[str, Any]


class StepFailed(ReckonerError):
    """A step did not do all; `result` is what it did."""

    def __init__(self, message: str, result: Result) -> None:
        """Keep what was done."""
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Means:
    """What steps need from outside.

    sources: makes the sources of constituents. wait: sleeps between requests. follow: waits for a
    job until no symbol of it is left, and returns its progress. keep_days: of payloads.
    """

    sources: "Callable[[], Sequence[Source]]"
    wait: "Wait"
    follow: Callable[[int], dict[str, Any]]
    benchmark: str
    backfill_days: int
    keep_days: int


@dataclass(frozen=True)
class Work:
    """What a step is given. noted: what an earlier try of it noted."""

    database: Database
    means: Means
    restore: int
    turn: int
    number: int
    noted: Result

    def note(self, conn: Connection, result: Result) -> None:
        """Keep in this transaction what the step did so far, for the next try."""
        with translated():
            conn.execute(
                "SELECT restore_step_note(%s, %s, %s, %s)",
                [self.restore, self.turn, self.number, Jsonb(result)],
            )


@dataclass(frozen=True)
class Step:
    """A step: its name in rows, and what it does; the result are counts."""

    name: str
    run: Callable[[Work], Result]


def refresh_constituents(database: Database, means: Means, name: str | None = None) -> Result:
    """Refresh one index, or those that are followed: somebody refreshed them before.

    Raises StepFailed where one of them could not be refreshed.
    """
    with database.transaction() as conn:
        rows = conn.execute(
            "SELECT i.name FROM market_indexes i WHERE i.tried_at IS NOT NULL OR i.refreshed_at IS NOT NULL"
            " OR EXISTS (SELECT FROM index_constituents c WHERE c.index_name = i.name) ORDER BY i.name"
        ).fetchall()
        names = [row["name"] for row in rows]
        if name is not None:
            names = [constituents.find(conn, name).name]
    if not names:
        return {"summary": "no index is followed: market constituents refresh INDEX begins"}
    sources = means.sources()
    done = [
        constituents.refresh(database, sources, each, means.wait, keep_days=means.keep_days)
        for each in names
    ]
    result: Result = {"indexes": sum(each.is_done for each in done)}
    for counter in ("inserted", "reactivated", "inactivated"):
        result[counter] = sum(each.counters[counter] for each in done)
    failed = [f"{each.index}: {'; '.join(each.notes)}" for each in done if not each.is_done]
    if failed:
        raise StepFailed("; ".join(failed), result)
    return result


def _constituents(work: Work) -> Result:
    return refresh_constituents(work.database, work.means)


def _tracked(work: Work) -> Result:
    """Register members and holdings that are new; workers fetch them at low priority."""
    with work.database.transaction(seconds=300) as conn:
        row = one(conn, "SELECT count(*) AS n FROM tracked_register()")
        tracked = one(conn, "SELECT count(*) AS n FROM tracked_symbols")
    return {"new_symbols": row["n"], "tracked": tracked["n"]}


def _daily(work: Work) -> Result:
    """Fetch what stale symbols and those without a bar lack, by one job."""
    job = work.noted.get("job")
    if job is None:
        with work.database.transaction(seconds=300) as conn:
            today = one(conn, "SELECT (reckoner_now() AT TIME ZONE 'UTC')::date AS date")["date"]
            first = today - dt.timedelta(days=work.means.backfill_days)
            job = jobs.start(conn, "stale", None, first, today)
            work.note(conn, {"job": job})
    row = work.means.follow(job)
    return {
        "symbols": row["symbols"],
        "done": row["done"],
        "failed": row["failed"],
        "bars": int(row["rows"]),
    }


def _indicators(work: Work) -> Result:
    """Compute the indicators of all symbols with bars; a later try computes what is left."""
    if "marked" not in work.noted:
        with work.database.transaction(seconds=300) as conn:
            work.note(conn, {"marked": refresh.mark(conn, None, "restore-coverage")})
    done = refresh.due(work.database, Benchmark(work.means.benchmark))
    result: Result = {"stored": done.stored}
    if done.failed:
        name, reason = min(done.failed.items())
        raise StepFailed(f"{len(done.failed)} symbols failed; {name}: {reason}", result)
    return result


def _history(work: Work) -> Result:
    """Record the current snapshots, each under the day of its newest bar."""
    with work.database.transaction(seconds=300) as conn:
        rows = history.record(conn)
    return {
        "recorded": sum(row["recorded"] for row in rows),
        "days": sum(row["recorded"] > 0 for row in rows),
    }


def _coverage(work: Work) -> Result:
    """Keep the result as the newest snapshot."""
    with work.database.transaction() as conn:
        status = coverage.report(conn, refresh=True)["status"]
    return {"label": status["label"], "summary": status["summary"]}


STEPS = (
    Step("constituents", _constituents),
    Step("tracked", _tracked),
    Step("daily", _daily),
    Step("indicators", _indicators),
    Step("history", _history),
    Step("coverage", _coverage),
)
