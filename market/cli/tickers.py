"""`market register-tickers`, `ticker-registry`, `set-ticker`, `remap-ticker`: the registry."""

from typing import Annotated

import typer

from market.cli.completion import complete_symbol
from market.cli.confirm import confirm_by_name, confirm_rewrite
from market.cli.console import (
    DryRunOption,
    JsonOption,
    YesOption,
    application,
    command_database,
    waiting,
)
from market.cli.display import emit
from market.cli.views import tickers as views
from market.universe import registry, tickers
from sql.database import trying
from sql.errors import InvalidInput, ReckonerError

app = application("The registry of tickers.")

Known = typer.Argument(autocompletion=complete_symbol, help="A registered symbol.")


@app.command("register-tickers")
def register_tickers(
    symbols: Annotated[list[str], typer.Argument(help="Symbols, in any case.")],
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Register symbols; a worker fetches the prices of new ones at once.

    Examples: `python -m market register-tickers AAPL TSLA`,
    `python -m market register-tickers BTC-USD --json`.
    """
    with (
        command_database() as database,
        database.transaction() as conn,
        trying(conn, dry_run=dry_run),
    ):
        done = registry.register(conn, symbols)
    rows = [
        {"symbol": symbol, "result": result} for result, group in done.items() for symbol in group
    ]
    emit(rows, views.registered(rows, dry_run=dry_run), as_json=as_json)
    if done["rejected"]:
        raise ReckonerError(
            f"not a symbol: {', '.join(map(repr, done['rejected']))}; the others were registered"
        )


@app.command("ticker-registry")
def ticker_registry(
    status: Annotated[str | None, typer.Option(help="active, inactive or invalid.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the registered tickers and what is stored for them.

    Examples: `python -m market ticker-registry`,
    `python -m market ticker-registry --status invalid`.
    """
    if status is not None and status not in registry.STATUSES:
        raise InvalidInput(f"--status is one of {', '.join(registry.STATUSES)}, not {status}")
    with command_database() as database, database.transaction() as conn:
        rows = registry.listing(conn, status)
    emit(rows, views.registry(rows), as_json=as_json)


@app.command("set-ticker")
def set_ticker(
    symbol: Annotated[str, Known],
    status: Annotated[str, typer.Option(help="active, inactive or invalid.")],
    reason: Annotated[str, typer.Option(help="Why, for status_reason and its outcomes.")],
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set a ticker's status; its events and outcomes follow in the same transaction.

    An inactive or invalid ticker is no longer fetched, and its open outcomes become unresolvable.
    An active one is fetched again. Predictions do not change. Examples:
    `python -m market set-ticker TWTR --status inactive --reason "taken private in 2022"`,
    `python -m market set-ticker AAPL --status active --reason "was a slip" --dry-run`.
    """
    if status not in registry.STATUSES:
        raise InvalidInput(f"--status is one of {', '.join(registry.STATUSES)}, not {status}")
    if not reason.strip():
        raise InvalidInput("--reason is empty: give a reason, the ticker's outcomes repeat it")
    with command_database() as database, waiting(f"changing {symbol}"):
        row = tickers.set_status(database, symbol, status, reason, dry_run=dry_run)
    row["dry_run"] = dry_run
    emit([row], views.status_set(row), as_json=as_json)


@app.command("remap-ticker")
def remap_ticker(
    old: Annotated[str, Known],
    new: Annotated[str, typer.Argument(autocompletion=complete_symbol, help="Its current symbol.")],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Map a ticker to another: its prices, sessions and outcomes, now and later.

    Predictions and outcomes keep the symbol that the prediction wrote. Bars of the old symbol are
    set aside, those of the new one are copied, and all are fetched again. A ticker remapped to
    itself gets its own name back. Examples: `python -m market remap-ticker FB META --dry-run`,
    `python -m market remap-ticker SQ XYZ --yes`.
    """
    with command_database() as database:
        if not dry_run and not yes:
            with waiting("counting"):
                row = tickers.remap(database, old, new, dry_run=True)
            if loss := views.destroys(row):
                confirm_by_name(database, loss, row["old"])
            else:
                rows = row["outcomes"] + row["bars_set_aside"] + row["bars_taken"]
                confirm_rewrite(database, rows)
        with waiting(f"remapping {old}"):
            row = tickers.remap(database, old, new, dry_run=dry_run)
    row["dry_run"] = dry_run
    emit([row], views.remapped(row), as_json=as_json)
