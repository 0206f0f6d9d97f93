"""`market tracked`, `import-holdings`: the symbols that are followed, and what is held."""

from pathlib import Path
from typing import Annotated

import typer

from market.cli.console import DryRunOption, JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.views import universe as views
from market.universe import holdings, registry
from sql.database import trying

app = application("The universe.")


@app.command("tracked")
def tracked(
    new: Annotated[bool, typer.Option("--new", help="Only those without any bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the symbols that are followed, why, and the bars that are stored of each.

    A prediction named the symbol, an index has or had it, it is held, or somebody registered it.
    Examples: `python -m market tracked`, `python -m market tracked --new -o csv`.
    """
    with (
        command_database() as database,
        waiting("counting"),
        database.transaction(seconds=300) as conn,
    ):
        rows = registry.tracked(conn, new=new)
    emit(rows, views.tracked(rows, new=new), as_json=as_json)


@app.command("import-holdings")
def import_holdings(
    file: Annotated[Path, typer.Argument(help="CSV with the columns symbol, quantity, account.")],
    account: Annotated[
        str, typer.Option(help="The account of lines without one.", show_default=True)
    ] = "main",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep holdings that the file lacks; only add and change.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the holdings of each account in a CSV file, and follow the held symbols.

    The file is the whole of the accounts that it names: what one held and the file lacks is removed,
    unless --keep. Other accounts stay as they are. A bad line is named with the reason, and then
    nothing is imported. Examples:
    `python -m market import-holdings positions.csv --dry-run`,
    `python -m market import-holdings ira.csv --account ira`.
    """
    with command_database() as database:
        lines = holdings.read(file, account)
        with database.transaction(seconds=300) as conn, trying(conn, dry_run=dry_run):
            rows = holdings.store(conn, file, lines, keep=keep)
    emit(rows, views.imported(rows, dry_run=dry_run), as_json=as_json)
