"""`market constituents refresh`, `show`: the members of indexes."""

import datetime as dt
import time
from typing import Annotated

import typer

from market.cli.console import DryRunOption, JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.views import universe as views
from market.settings import MarketSettings
from market.universe.constituents import refresh as refreshing
from sql.errors import ReckonerError
from sql.rows import Rows
from sql.settings import load

app = application("Members of indexes.", no_args_is_help=True)


@app.command("refresh")
def refresh(
    index: Annotated[
        list[str] | None, typer.Argument(help="SP500, NASDAQ100, DOW30 …; without it all.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Take a list although many members would leave.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Refresh the members of indexes from FMP, Wikipedia or CSV lists, the first that can be taken.

    A list that is too short or too long changes nothing, and the next source is asked. Where more than
    10 members (3 of the Dow) would leave, nothing changes without --yes. Members that leave become
    inactive and stay followed; new ones are registered, and workers fetch their prices at low
    priority. Exit code 1 where an index was not refreshed. Examples:
    `python -m market constituents refresh`,
    `python -m market constituents refresh SP500 --dry-run`.
    """
    from market.universe.constituents.sources import build  # noqa: PLC0415 - brings httpx

    settings = load(MarketSettings)
    sources = build(settings)
    done = []
    with command_database() as database:
        with database.transaction() as conn:
            every = refreshing.names(conn)
            asked = [refreshing.find(conn, each).name for each in index or every]
        for name in dict.fromkeys(asked):
            with waiting(f"refreshing {name}"):
                done.append(
                    refreshing.refresh(
                        database,
                        sources,
                        name,
                        time.sleep,
                        yes=yes,
                        dry_run=dry_run,
                        keep_days=settings.raw_retention_days,
                    )
                )
    rows = Rows([each.as_row() for each in done], refreshing.COLUMNS)
    emit(rows, views.refreshed(rows, dry_run=dry_run), as_json=as_json)
    failed = [each for each in done if not each.is_done]
    if failed:
        raise ReckonerError(
            "; ".join(f"{each.index} was not refreshed: {'; '.join(each.notes)}" for each in failed)
        )


@app.command("show")
def show(
    index: Annotated[
        str | None, typer.Argument(help="SP500, NASDAQ100, DOW30 …; without it the state of all.")
    ] = None,
    as_of: Annotated[
        dt.datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="The members at the end of this day."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the members of an index now or on a day, or the state of all indexes.

    Members are known since the first refresh: for an earlier day there are none, which the screen
    says. Examples: `python -m market constituents show`,
    `python -m market constituents show SP500 --as-of 2026-03-31 --json`.
    """
    date = as_of.date() if as_of else None
    with command_database() as database, database.transaction() as conn:
        states = refreshing.states(conn, index)
        if index is None:
            emit(states, views.indexes(states), as_json=as_json)
            return
        rows = refreshing.members(conn, index, date)
    emit(rows, views.members(rows, states[0], date), as_json=as_json)
