"""Running a restore: beginning or taking it up, and recording each step.

A process that is killed leaves its step `running`; the next call takes the restore up there. A step
that fails is recorded, and the next ones run all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from market.restore.steps import STEPS, Means, Result, Step, StepFailed, Work
from sql.away import is_away
from sql.database import Connection, Database, error_line, one
from sql.errors import Conflict, ReckonerError, translated
from sql.rows import Rows, fetch_rows

# What a step notes for its next try, and nobody else reads.
_INNER = ("job", "marked")


def run(
    database: Database,
    means: Means,
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
        _step(database, means, step, begun, row["number"])
        with database.transaction() as conn:
            say(line(listing(conn, begun["id"])[row["number"] - 1]))
    with database.transaction() as conn:
        return listing(conn, begun["id"])


def _step(
    database: Database, means: Means, step: Step, begun: Mapping[str, Any], number: int
) -> None:
    key = [begun["id"], begun["turn"], number]
    with database.transaction() as conn, translated():
        noted = one(conn, "SELECT restore_step_begin(%s, %s, %s) AS noted", key)["noted"]
    result: Result = {}
    failure = None
    try:
        result = step.run(Work(database, means, begun["id"], begun["turn"], number, noted))
    except Conflict:
        raise
    except StepFailed as error:
        result, failure = error.result, str(error)
    except ReckonerError as error:
        failure = str(error)
    except psycopg.Error as error:
        if is_away(database, error):
            raise
        failure = error_line(error)
    with database.transaction() as conn, translated():
        conn.execute("SELECT restore_step_end(%s, %s, %s, %s, %s)", [*key, Jsonb(result), failure])


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
    result = {name: each for name, each in row["result"].items() if name not in _INNER}
    if "summary" in result:
        return str(result["summary"])
    counts = ", ".join(f"{each} {name.replace('_', ' ')}" for name, each in result.items())
    return counts or ("nothing to do" if row["state"] == "done" else "")
