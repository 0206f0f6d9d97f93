"""`market validation-report`: completeness and quality of the stored bars of a range."""

import datetime as dt
from typing import Annotated, Any

import typer

from market.cli.console import JsonOption, application, command_database, say, waiting
from market.cli.display import emit, emit_json
from market.cli.report_options import Form
from market.cli.views import prices as views
from market.prices.report import LEAST_SCORE
from market.universe import symbol_lists
from sql.errors import InvalidInput, Unhealthy
from sql.rows import Rows, fetch_rows

app = application("The quality of stored bars.")

_DATE = ["%Y-%m-%d"]


@app.command("validation-report")
def validation_report(
    start: Annotated[dt.datetime, typer.Option("--start", formats=_DATE, help="First day.")],
    end: Annotated[
        dt.datetime, typer.Option("--end", formats=_DATE, help="Last day, as far as it is over.")
    ],
    symbols: Annotated[
        str, typer.Option(help="all (active tickers), A,B, or @FILE with symbols.")
    ] = "all",
    form: Annotated[
        Form, typer.Option("--format", help="html is one self-contained page.")
    ] = Form.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Report stored and expected sessions of each symbol, and the scores of its answers.

    Exit code 3 when a score is below 0.6: completeness times the score of the last answer.
    Examples: `python -m market validation-report --start 2025-01-01 --end 2025-12-31`,
    `python -m market validation-report --start 2025-01-01 --end 2025-12-31 --format html > report.html`.
    """
    if start > end:
        raise InvalidInput(
            f"--start {start:%Y-%m-%d} is after --end {end:%Y-%m-%d}: the first day goes first"
        )
    form = Form.JSON if as_json else form
    words = symbol_lists.read(symbols)
    with command_database() as database, waiting("counting"), database.transaction(600) as conn:
        names = None if words is None else symbol_lists.checked(conn, words, registered=True)
        rows = fetch_rows(
            conn,
            "SELECT * FROM validation_report(%s, %s, %s)",
            [start.date(), end.date(), names],
        )
    bad = [row["symbol"] for row in rows if row["score"] is not None and row["score"] < LEAST_SCORE]
    _show(rows, bad, f"{start:%Y-%m-%d} to {end:%Y-%m-%d}", form)
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise Unhealthy(f"below {LEAST_SCORE}: {', '.join(bad[:5])}{more}")


def _show(rows: Rows, bad: list[str], about: str, form: Form) -> None:
    if form is Form.JSON:
        emit_json(rows)
        return
    if form is Form.TABLE:
        emit(rows, views.validated(rows, about, LEAST_SCORE), as_json=False)
        return
    from market.cli.report_forms import origin  # noqa: PLC0415
    from market.cli.show import as_markdown, as_page  # noqa: PLC0415 - loads a second's worth
    from market.evaluation.tables import Report, Table  # noqa: PLC0415

    table = Table(
        "",
        rows.columns,
        [tuple(_cell(value) for value in row.values()) for row in rows],
        frozenset({"symbol", "providers"}),
    )
    report = Report(
        "Validation report",
        [table],
        "score: completeness times the score of the last answer that was used.",
        [],
        {},
        f"{len(bad)} of {len(rows)} symbols are below {LEAST_SCORE}.",
    )
    is_md = form is Form.MD
    text = as_markdown(report, about, origin()) if is_md else as_page(report, about, origin(), {})
    say(text.rstrip("\n"))


def _cell(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {n}" for name, n in sorted(value.items()))
    return str(value)
