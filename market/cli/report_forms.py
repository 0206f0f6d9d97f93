"""A report in the form that was asked for: a screen, a table for programs, Markdown, or a page."""

import dataclasses
import datetime as dt
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from market.cli import figures
from market.cli.console import say
from market.cli.display import draws, emit, emit_json
from market.cli.display.options import asked, place
from market.cli.report_options import Form
from sql.rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from market.evaluation.tables import Report


def print_report(
    report: "Report",
    rows: Rows,
    about: str,
    filters: Sequence[str],
    form: Form,
    drawn: "dict[str, Figure]",
    *,
    wide: bool,
) -> None:
    """Print a report. rows: its lines for programs. filters: in words."""
    if form is Form.TABLE and (not draws() or asked().columns):
        emit(rows, as_json=False)
        return
    if form is Form.JSON:
        emit_json(report.document)
        return
    from market.cli import show  # noqa: PLC0415 - a second's worth

    kept = ", ".join([about, *(filters or ["no filter"])])
    if form is Form.MD:
        say(show.as_markdown(report, kept, origin()))
    elif form is Form.HTML:
        from market.evaluation.pictures import as_svg  # noqa: PLC0415

        svgs = {figures.CAPTIONS[name]: as_svg(figure) for name, figure in drawn.items()}
        say(show.as_page(report, kept, origin(), svgs))
    else:
        about = ", ".join([about, *filters])
        show.on_terminal(report, about, wide=wide or asked().wide, file=sys.stdout)


def origin() -> str:
    """Say when and from which database a report was made, for a page that is kept."""
    made = f"Made on {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
    return f"{made} from {place()}." if place() else f"{made}."


def span(frame: "pd.DataFrame | None") -> str:
    """Say which predictions a report is about."""
    if frame is None or frame.empty:
        return "no outcome matches"
    days = frame["prediction_date"].dropna()
    count = f"{frame['prediction_id'].nunique():,} predictions"
    return f"{count} of {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}" if len(days) else count


def rows_of(kind: type[Any], lines: Sequence[Any], **first: Any) -> Rows:
    """Return dataclasses as rows with their columns, NaN as NULL."""
    from market.evaluation.tables import plain  # noqa: PLC0415

    names = [field.name for field in dataclasses.fields(kind)]
    return Rows([{**first, **plain(dataclasses.asdict(line))} for line in lines], [*first, *names])
