"""`market stats`, `processing-stats`, `watch`: rows, stages and the live page."""

from market.cli import watch as watching
from market.cli.console import JsonOption, application, command_database, waiting
from market.cli.display import emit
from market.cli.views import data as views
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
    emit(rows, views.tables(rows), as_json=as_json)


@app.command("processing-stats")
def processing_stats(as_json: JsonOption = False) -> None:
    """Count predictions and outcomes by stage, with the oldest in each.

    `matured tN` counts every outcome whose return of that horizon is known, so a complete one is in
    all four. Counted exactly: reads predictions once and outcomes twice. Examples:
    `python -m market processing-stats`, `python -m market processing-stats --json`.
    """
    with (
        command_database() as database,
        waiting("counting"),
        database.transaction(seconds=600) as conn,
    ):
        rows = fetch_rows(conn, "SELECT * FROM processing_stages()")
        found = conn.execute(
            "SELECT outcome_state, count(*) AS n FROM prediction_outcomes GROUP BY 1"
        ).fetchall()
    states = {row["outcome_state"]: row["n"] for row in found}
    emit(rows, views.stages(rows, states), as_json=as_json)


app.command("watch")(watching.command)
