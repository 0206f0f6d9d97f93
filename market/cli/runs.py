"""`market tasks`, `run-task` and `runs`: what can run, running it once, and what became of it.

A run is queued by a SQL function (66_runs.sql) and done by a worker.
"""

import getpass
import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from psycopg.types.json import Jsonb

from market.cli.console import LARGEST_ID, JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.views import schedules as views
from sql.database import Connection, Database, one
from sql.errors import InvalidInput, NotFound, ReckonerError, translated
from sql.rows import fetch_rows

app = application("Tasks.")
group = application("Runs of tasks: what ran, what runs, and how it ended.", no_args_is_help=True)

_TURN_SECONDS = 0.5
Run = Annotated[
    int, typer.Argument(metavar="ID", min=-LARGEST_ID, max=LARGEST_ID, help="Of the run.")
]
_OVER = {"ok", "error", "cancelled", "skipped"}


def actor() -> str:
    """Return who types this command, for the rows that say who did what."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"


@app.command("tasks")
def tasks(as_json: JsonOption = False) -> None:
    """List the tasks with their parameters and their last runs.

    Examples: `python -m market tasks`,
    `python -m market tasks -o wide`.
    """
    with command_database() as database, database.transaction() as conn:
        rows = fetch_rows(conn, "SELECT * FROM task_status")
    emit(rows, views.tasks(rows), as_json=as_json)


@app.command("run-task")
def run_task(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What runs; `tasks` lists them.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Queue one run of a task; a worker does it.

    With --wait exit code 1 where it does not end well. Examples:
    `python -m market run-task backfill_5m --param n_days=2 --wait`,
    `python -m market run-task recompute_indicators --param symbols=AAPL,MSFT`.
    """
    with command_database() as database:
        with database.transaction() as conn, translated():
            given = parameters(conn, task, param)
            row = one(conn, "SELECT run_task(%s, %s, %s) AS id", [task, Jsonb(given), actor()])
        wait_for(database, row["id"], wait=wait, as_json=as_json)


def parameters(conn: Connection, task: str, given: Sequence[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE as the task's parameters say; raises InvalidInput."""
    query = "SELECT parameter, kind FROM job_task_parameters() WHERE task = %s"
    kinds = {row["parameter"]: row["kind"] for row in conn.execute(query, [task])}
    read: dict[str, Any] = {}
    for text in given or ():
        name, separator, value = text.partition("=")
        if not separator:
            raise InvalidInput(f"--param {text}: write NAME=VALUE")
        match kinds.get(name):
            case "symbols":
                read[name] = [each.strip() for each in value.split(",") if each.strip()]
            case "integer" | "boolean":
                try:
                    read[name] = json.loads(value)
                except ValueError:
                    read[name] = value  # refused with the reason
            case _:
                read[name] = value
    return read


def wait_for(database: Database, run: int, *, wait: bool, as_json: bool) -> None:
    """Print a run, with `wait` when it is over; raises ReckonerError where it did not end well."""
    row = _run(database, run)
    with waiting(f"run {run}"):
        while wait and row["status"] not in _OVER:
            time.sleep(_TURN_SECONDS)  # its progress is in a table only, without a notification
            row = _run(database, run)
    emit([row], views.run(row), as_json=as_json)
    if wait and row["status"] != "ok":
        raise ReckonerError(f"run {run} ended: {row['status']}, {row['error']}")


@group.command("list")
def list_(
    task: Annotated[str | None, typer.Option("--task", help="Only runs of this task.")] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Only runs of this schedule.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the newest runs.

    Examples: `python -m market runs list --task restore_coverage`,
    `python -m market runs list --schedule coverage --limit 100`.
    """
    with command_database() as database, database.transaction() as conn:
        rows = fetch_rows(
            conn,
            "SELECT * FROM job_runs WHERE (%(task)s::text IS NULL OR task_name = %(task)s)"
            " AND (%(schedule)s::text IS NULL OR schedule = %(schedule)s)"
            " ORDER BY id DESC LIMIT %(limit)s",
            {"task": task, "schedule": schedule, "limit": limit},
        )
    emit(rows, views.runs(rows), as_json=as_json)


@group.command("show")
def show(
    run: Run,
    watch: Annotated[bool, typer.Option("--watch", help="Until it ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a run: its state, its counters, and how long it will take.

    Examples: `python -m market runs show 7 --watch`,
    `python -m market runs show 7 --json`.
    """
    with command_database() as database:
        row = _run(database, run)
        while watch and row["status"] not in _OVER:
            if sys.stdout.isatty() and not as_json:
                emit([row], views.run(row), as_json=False)
            time.sleep(_TURN_SECONDS * 2)
            row = _run(database, run)
    emit([row], views.run(row), as_json=as_json)


@group.command("cancel")
def cancel(
    run: Run,
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who look later.")],
    as_json: JsonOption = False,
) -> None:
    """Cancel a run: a queued one at once, a running one at its next look.

    Examples: `python -m market runs cancel 7 --reason 'wrong day'`,
    `python -m market runs cancel 8 --reason 'the provider is out of quota'`.
    """
    with command_database() as database:
        with database.transaction() as conn, translated():
            conn.execute("SELECT run_cancel(%s, %s, %s)", [run, reason, actor()])
        row = _run(database, run)
    emit([row], views.run(row), as_json=as_json)


def _run(database: Database, run: int) -> dict[str, Any]:
    with database.transaction() as conn:
        row = conn.execute("SELECT * FROM job_runs WHERE id = %s", [run]).fetchone()
    if row is None:
        raise NotFound(f"there is no run {run}; python -m market runs list has the newest")
    return dict(row)
