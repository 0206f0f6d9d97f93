"""`market outcomes`: the rows behind a number of the accuracy report."""

from typing import Annotated

import typer

from market.cli.completion import complete_symbol
from market.cli.console import JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.reports import (
    ConfidenceOption,
    Filters,
    Horizon,
    HorizonOption,
    SinceOption,
    UntilOption,
)
from market.cli.views import data as views
from market.universe import symbol_lists
from sql.errors import InvalidInput

app = application("Outcomes, one by one.")

_STATES = ("known", "pending", "unresolvable")


@app.command("outcomes")
def outcomes(
    horizon: HorizonOption = Horizon.ALL,
    min_confidence: ConfidenceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    symbol: Annotated[
        str | None,
        typer.Option("-s", "--symbol", autocompletion=complete_symbol, help="Only this symbol."),
    ] = None,
    state: Annotated[str | None, typer.Option(help="known, pending or unresolvable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, the newest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the outcomes behind the accuracy report, one row for each horizon.

    The columns are those of the view outcome_facts. Examples:
    `python -m market outcomes -t t7 --since 2026-01-01 -o csv > outcomes.csv`,
    `python -m market outcomes -s AAPL --state known`.
    """
    if state is not None and state not in _STATES:
        raise InvalidInput(f"--state is one of {', '.join(_STATES)}, not {state}")
    filters = Filters(horizon, min_confidence, since, until)
    with (
        command_database() as database,
        waiting("reading outcomes"),
        database.transaction(seconds=300) as conn,
    ):
        from market.evaluation import listing  # noqa: PLC0415 - its package loads pandas

        if symbol is not None:
            [symbol] = symbol_lists.checked(conn, [(symbol, "--symbol")], registered=True)
        rows = listing.outcomes(conn, **filters.about(), symbol=symbol, state=state, most=limit)
    emit(rows, views.outcomes(rows), as_json=as_json)
