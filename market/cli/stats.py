"""`market stats`, `processing-stats`, `watch`: rows, stages and the live page."""

from market.cli import watch as watching
from market.cli.console import JsonOption, application, command_database, waiting
from market.cli.display import emit
from sql.rows import fetch_rows
from sql.schema.catalogue import recorded

app = application("The state of the data.")


@app.command("stats")
def stats(as_json: JsonOption = False) -> None:
    """Count rows and bytes per table; a table of more than 16 MB is estimated.

    Examples: `python -m market stats`, `python -m market stats --json`.
    """
    tables = sorted({item.parent for item in recorded() if item.kind == "column"})
    with command_database() as database, database.transaction() as conn:
        rows = fetch_rows(conn, "SELECT * FROM table_rows(%s)", [tables])
    emit(rows, as_json=as_json)


@app.command("processing-stats")
def processing_stats(as_json: JsonOption = False) -> None:
    """Count predictions and outcomes by stage, with the oldest in each.

    `matured tN` counts every outcome whose return of that horizon is known, so a complete one is in
    all four. Counted exactly: reads predictions and outcomes once. Examples:
    `python -m market processing-stats`, `python -m market processing-stats --json`.
    """
    with (
        command_database() as database,
        waiting("counting"),
        database.transaction(seconds=600) as conn,
    ):
        rows = fetch_rows(conn, "SELECT * FROM processing_stages()")
    emit(rows, as_json=as_json)


app.command("watch")(watching.command)
