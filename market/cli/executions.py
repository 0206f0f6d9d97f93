"""`market import-fills` and `execution-report`: what orders were filled at, and what that cost."""

import dataclasses
import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from market import executions
from market.cli.completion import complete_symbol
from market.cli.console import DryRunOption, JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.views import executions as views
from market.universe import symbol_lists
from sql.database import trying
from sql.errors import InvalidInput, ReckonerError
from sql.rows import Rows

app = application("Fills of orders.")

_DATE = ["%Y-%m-%d"]


class Grouping(StrEnum):
    """The groupings of an execution report."""

    SYMBOL = "symbol"
    SIDE = "side"
    VENUE = "venue"
    MONTH = "month"
    CURRENCY = "currency"


class Horizon(StrEnum):
    """Sessions after the entry of the predictions."""

    T1 = "t1"
    T3 = "t3"
    T7 = "t7"
    T30 = "t30"


@app.command("import-fills")
def import_fills(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV with a header, or JSON lines.", dir_okay=False),
    ],
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Store the fills of a file: all of them, or none where one is refused.

    A fill needs order_id, symbol, side, quantity, fill_price and filled_at; slippage needs
    expected_price. A fill that is stored already is no change. Exit code 1 when one is refused.
    Examples: `python -m market import-fills fills.csv --dry-run`,
    `python -m market import-fills fills.jsonl --json`.
    """
    fills = executions.read(file)
    with (
        command_database() as database,
        waiting("storing fills"),
        database.transaction(seconds=600) as conn,
        trying(conn, dry_run=dry_run),
    ):
        added = executions.add(conn, fills)
    row = dataclasses.asdict(added) | {"dry_run": dry_run}
    emit([row], views.imported(row, file.name), as_json=as_json)
    if added.refused:
        raise ReckonerError(
            f"{added.refused:,} of {added.fills:,} fills are refused and nothing is stored: correct"
            f" these lines of {file.name} and import it again"
        )


@app.command("execution-report")
def execution_report(
    by: Annotated[Grouping | None, typer.Option(help="One line for each of these.")] = None,
    symbol: Annotated[
        str | None,
        typer.Option(
            "-s", "--symbol", autocompletion=complete_symbol, help="Only fills of this symbol."
        ),
    ] = None,
    since: Annotated[
        dt.datetime | None, typer.Option(formats=_DATE, help="First UTC day of the fills.")
    ] = None,
    until: Annotated[
        dt.datetime | None, typer.Option(formats=_DATE, help="Last UTC day of the fills.")
    ] = None,
    horizon: Annotated[
        Horizon, typer.Option("-t", "--horizon", help="Of the predictions' outcomes.")
    ] = Horizon.T7,
    as_json: JsonOption = False,
) -> None:
    """Report slippage of fills with intervals, its cost, and where in the session's range they are.

    Examples: `python -m market execution-report --by venue`,
    `python -m market execution-report --by month --since 2026-01-01 -o csv`.
    """
    if since and until and since > until:
        raise InvalidInput(
            f"--since {since:%Y-%m-%d} is after --until {until:%Y-%m-%d}: the first day goes first"
        )
    with (
        command_database() as database,
        waiting("reading fills"),
        database.transaction(seconds=300) as conn,
    ):
        from market.evaluation import executions as evaluation  # noqa: PLC0415 - pandas takes a second
        from market.evaluation.tables import plain  # noqa: PLC0415

        if symbol is not None:
            [symbol] = symbol_lists.checked(
                conn, [(symbol, "--symbol")], registered=not evaluation.has_fills(conn, symbol)
            )
        fills = evaluation.read(
            conn,
            since=since and since.date(),
            until=until and until.date(),
            symbol=symbol,
            horizon=horizon.value,
        )
        groups = evaluation.costs(fills, by and by.value) if fills else []
        whole = evaluation.costs(fills)[0] if fills else None
    columns = [field.name for field in dataclasses.fields(evaluation.Cost)]
    rows = Rows([plain(dataclasses.asdict(each)) for each in groups], columns)
    total = plain(dataclasses.asdict(whole)) if whole else None
    emit(rows, views.costs(total, by and by.value, horizon.value), as_json=as_json)
