"""`market outcomes`: the rows behind a number of the accuracy report."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer

from market.cli.completion import complete_symbol
from market.cli.console import JsonOption, application, command_database, say, waiting
from market.cli.display import emit
from market.cli.display.options import asked, place
from market.cli.report_options import (
    ConfidenceOption,
    Filters,
    Horizon,
    HorizonOption,
    SinceOption,
    UntilOption,
)
from market.cli.views import data as views
from market.evaluation import listing
from market.universe import symbol_lists
from sql.database import Connection
from sql.errors import InvalidInput, ReckonerError
from sql.rows import Rows

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
    parquet: Annotated[
        Path | None,
        typer.Option(
            "--parquet",
            metavar="FILE",
            help="Write a Parquet file instead; needs the extra parquet.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the outcomes behind the accuracy report, one row for each horizon.

    The columns are those of the view outcome_facts. Examples:
    `python -m market outcomes -t t7 --since 2026-01-01 -o csv > outcomes.csv`,
    `python -m market outcomes -s AAPL --state known`,
    `python -m market outcomes --parquet outcomes.parquet`.
    """
    if parquet is not None:
        _expect_pyarrow(as_json=as_json)
    if state is not None and state not in _STATES:
        raise InvalidInput(f"--state is one of {', '.join(_STATES)}, not {state}")
    filters = Filters(horizon, min_confidence, since, until)
    with (
        command_database() as database,
        waiting("reading outcomes"),
        database.transaction(seconds=300) as conn,
    ):
        if symbol is not None:
            [symbol] = symbol_lists.checked(conn, [(symbol, "--symbol")], registered=True)
        rows = listing.outcomes(conn, **filters.about(), symbol=symbol, state=state, most=limit)
        if parquet is not None:
            about = filters.about() | {"symbol": symbol, "state": state, "limit": limit}
            _write(
                conn, parquet, rows, about | {"database": place(), "made": dt.datetime.now(dt.UTC)}
            )
    if parquet is None:
        emit(rows, views.outcomes(rows), as_json=as_json)
    else:
        say(f"{parquet}: {len(rows):,} outcomes.")


def _expect_pyarrow(*, as_json: bool) -> None:
    """Refuse what --parquet cannot do before the database is asked. Raises InvalidInput."""
    if as_json or asked().form is not None or asked().columns:
        raise InvalidInput(
            "--parquet writes a file with every column: without -o, --json, --columns"
        )
    try:
        import pyarrow  # noqa: F401, PLC0415 - checks whether it is there
    except ImportError:
        raise InvalidInput("--parquet needs the extra 'parquet' (pyarrow)") from None


def _write(conn: Connection, path: Path, rows: Rows, about: dict[str, Any]) -> None:
    from market.evaluation import parquet  # noqa: PLC0415 - pyarrow is an extra

    try:
        parquet.write(path, rows, parquet.schema_of(conn, rows, about))
    except OSError as error:
        raise ReckonerError(f"--parquet {path}: {error.strerror}") from error
