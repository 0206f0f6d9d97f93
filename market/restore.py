"""Restore coverage step by step: what `market restore-coverage` runs.

A restore and each of its steps are rows (`sql/functions/69_restore.sql`). A process that is killed
leaves its step `running`; the next call takes the restore up there. Every step may run twice: it
finds what is there, or notes what it began in the same transaction (`Work.note`). A step that fails
is recorded, and the next ones run all the same.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from market import coverage
from market.prices import jobs
from sql.away import is_away
from sql.database import Connection, Database, error_line, one
from sql.errors import Conflict, ReckonerError, translated
from sql.rows import Rows, fetch_rows

Result = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What a step is given. noted: what an earlier try of it noted.

    follow: waits for a job until no symbol of it is left, and returns its progress.
    """

    database: Database
    backfill_days: int
    follow: Callable[[int], dict[str, Any]]
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


def _daily(work: Work) -> Result:
    """Fetch what stale symbols and those without a bar lack, by one job."""
    job = work.noted.get("job")
    if job is None:
        with work.database.transaction(seconds=300) as conn:
            today = one(conn, "SELECT (reckoner_now() AT TIME ZONE 'UTC')::date AS date")["date"]
            first = today - dt.timedelta(days=work.backfill_days)
            job = jobs.start(conn, "stale", None, first, today)
            work.note(conn, {"job": job})
    row = work.follow(job)
    return {
        "symbols": row["symbols"],
        "done": row["done"],
        "failed": row["failed"],
        "bars": int(row["rows"]),
    }


def _coverage(work: Work) -> Result:
    with work.database.transaction() as conn:
        status = coverage.report(conn, refresh=True)["status"]
    return {"label": status["label"], "summary": status["summary"]}


# In this order. A step is a line here and a function.
STEPS = (
    Step("daily", _daily),
    Step("coverage", _coverage),
)


def run(
    database: Database,
    backfill_days: int,
    follow: Callable[[int], dict[str, Any]],
    say: Callable[[str], None],
    steps: Sequence[Step] = STEPS,
) -> Rows:
    """Begin a restore, or take up the one that is under way; returns its steps.

    say: told in a line what each step did. Raises Conflict where another process takes the restore
    up meanwhile, and psycopg.Error where the database is away.
    """
    with database.transaction() as conn:
        begun = one(conn, "SELECT * FROM restore_begin(%s::text[])", [[s.name for s in steps]])
        rows = listing(conn, begun["id"])
    if not begun["is_new"]:
        say(f"restore {begun['id']} is taken up")
    for step, row in zip(steps, rows, strict=True):
        if row["state"] in {"done", "failed"}:
            continue
        _step(database, step, begun, row["number"], backfill_days, follow)
        with database.transaction() as conn:
            say(line(listing(conn, begun["id"])[row["number"] - 1]))
    with database.transaction() as conn:
        return listing(conn, begun["id"])


def _step(
    database: Database,
    step: Step,
    begun: dict[str, Any],
    number: int,
    backfill_days: int,
    follow: Callable[[int], dict[str, Any]],
) -> None:
    key = [begun["id"], begun["turn"], number]
    with database.transaction() as conn, translated():
        noted = one(conn, "SELECT restore_step_begin(%s, %s, %s) AS noted", key)["noted"]
    work = Work(database, backfill_days, follow, begun["id"], begun["turn"], number, noted)
    result: Result = {}
    failure = None
    try:
        result = step.run(work)
    except Conflict:
        raise
    except ReckonerError as error:
        failure = str(error)
    except psycopg.Error as error:
        if is_away(database, error):
            raise
        failure = error_line(error)
    with database.transaction() as conn, translated():
        conn.execute(
            "SELECT restore_step_end(%s, %s, %s, %s, %s)",
            [*key, Jsonb(result), failure],
        )


def listing(conn: Connection, restore: int | None = None) -> Rows:
    """List the steps of a restore, by default of the newest."""
    return fetch_rows(conn, "SELECT * FROM restore_steps(%s)", [restore])


def planned(conn: Connection) -> Rows:
    """List the steps that a call would run: those left of the restore under way, or all."""
    rows = listing(conn)
    left = [row for row in rows if row["state"] in {"pending", "running"}]
    if left and [row["step"] for row in rows] == [step.name for step in STEPS]:
        return Rows(left, rows.columns)
    empty = dict.fromkeys(rows.columns) | {"state": "pending", "tries": 0, "result": {}}
    return Rows(
        [{**empty, "number": n, "step": step.name} for n, step in enumerate(STEPS, 1)], rows.columns
    )


def line(row: Mapping[str, Any]) -> str:
    """Say in a line what a step did."""
    return f"{row['number']} {row['step']}: {detail(row)}"


def detail(row: Mapping[str, Any]) -> str:
    """Say what a step did: its error, its own words, or its counts."""
    if row["error"]:
        return str(row["error"])
    result = {name: each for name, each in row["result"].items() if name != "job"}
    if "summary" in result:
        return str(result["summary"])
    counts = ", ".join(f"{each} {name.replace('_', ' ')}" for name, each in result.items())
    return counts or ("nothing to do" if row["state"] == "done" else "")
