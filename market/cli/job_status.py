"""`market backfill-status`: the jobs, or the progress of one."""

from typing import Annotated

import typer

from market.cli import following
from market.cli.console import LARGEST_ID, JsonOption, application, command_database
from market.cli.display import emit
from market.cli.views import jobs as views
from market.prices import jobs
from sql.errors import InvalidInput

app = application("Jobs.")


@app.command("backfill-status")
def backfill_status(
    job: Annotated[
        int | None,
        typer.Argument(
            min=-LARGEST_ID, max=LARGEST_ID, help="The number of a job; without it the newest jobs."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow until it ends.")] = False,
    each: Annotated[bool, typer.Option("--symbols", help="A row for each symbol.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the newest jobs, or a job's progress.

    Symbols done and left, rows, pace, time to go, rows by provider. Examples:
    `python -m market backfill-status`, `python -m market backfill-status 7 --watch`,
    `python -m market backfill-status 7 --symbols --json`.
    """
    if job is None:
        _list(watch=watch, each=each, as_json=as_json)
        return
    with command_database() as database:
        row = following.follow(database, job) if watch else following.progress(database, job)
        if each:
            with database.transaction() as conn:
                rows = jobs.symbols(conn, job)
    if each:
        emit(rows, views.symbols(rows, job), as_json=as_json)
    else:
        emit([row], views.job(row), as_json=as_json)


def _list(*, watch: bool, each: bool, as_json: bool) -> None:
    if watch or each:
        raise InvalidInput("--watch and --symbols are of one job: give its number")
    with command_database() as database, database.transaction(seconds=60) as conn:
        rows = jobs.newest(conn)
    emit(rows, views.listing(rows), as_json=as_json)
