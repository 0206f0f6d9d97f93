"""`accuracy-report` and `calibration-report`: from options to a report in the wanted form.

pandas, numpy and matplotlib are imported when there is something to compute, so that the other
commands start fast, and an empty report too.
"""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from market.cli import figures
from market.cli.console import JsonOption, application, command_database, waiting
from market.cli.report_forms import print_report, rows_of, span
from market.cli.report_options import (
    NO_VALUES,
    CompareOption,
    ConfidenceOption,
    Filters,
    Form,
    FormOption,
    Grouping,
    Horizon,
    HorizonOption,
    PlotsOption,
    Sides,
    SinceOption,
    UntilOption,
    WideOption,
)
from market.evaluation import accuracy_tables, calibration_tables, comparison_tables, listing
from market.evaluation.lines import lines_of
from market.evaluation.records import Bin, Calibration, Comparison, Group
from sql.errors import InvalidInput, ReckonerError
from sql.rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

app = application("Reports.")


@app.command("accuracy-report")
def accuracy_report(
    horizon: HorizonOption = Horizon.ALL,
    min_confidence: ConfidenceOption = None,
    by_confidence: Annotated[
        bool, typer.Option("-b", "--by-confidence", help="The same as --by confidence.")
    ] = False,
    by: Annotated[Grouping | None, typer.Option(help="One line for each of these.")] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Only so many lines of each horizon, the best by edge."),
    ] = None,
    compare: CompareOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    form: FormOption = Form.TABLE,
    wide: WideOption = False,
    plots: PlotsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report how many predictions came true, against no skill.

    Examples: `python -m market accuracy-report -t t7 --by symbol --top 10`,
    `python -m market accuracy-report --compare model=A,B`,
    `python -m market accuracy-report -b --format html > report.html`.
    """
    if by_confidence and by not in {None, Grouping.CONFIDENCE}:
        raise InvalidInput(f"--by-confidence and --by {by}: one of them")
    grouping = Grouping.CONFIDENCE.value if by_confidence else by and by.value
    if compare is not None and (grouping or top):
        raise InvalidInput("--compare needs no --by and no --top: it names its two groups")
    form = Form.JSON if as_json else form
    pictures = figures.are_wanted(plots, html=form is Form.HTML)
    filters = Filters(horizon, min_confidence, since, until)
    if compare is not None:
        _compare(Sides.of(compare), filters, form, plots, pictures=pictures, wide=wide)
        return
    frame, paths = _read(filters, grouping, pictures=pictures, with_paths=pictures)
    groups: list[Group] = []
    drawn: dict[str, Figure] = {}
    with waiting("computing"):
        if frame is not None:
            from market.evaluation import accuracy  # noqa: PLC0415 - pandas takes a second

            if grouping:
                _expect_values(frame, grouping, f"--by {grouping}")
            groups = accuracy.groups(frame, grouping)
        report = accuracy_tables.report(groups, filters.about() | {"by": grouping}, top)
        lines = lines_of(groups, grouping, top)
        if pictures and frame is not None:
            drawn = figures.of_accuracy(frame, paths, lines, grouping, filters.benchmark)
    words = filters.words()
    words += [f"by {grouping.replace('_', ' ')}"] if grouping else []
    words += [f"the best {top}"] if top else []
    print_report(
        report, rows_of(Group, lines if top else groups), span(frame), words, form, drawn, wide=wide
    )
    figures.save(drawn, plots)


def _compare(
    sides: Sides,
    filters: Filters,
    form: Form,
    plots: Path | None,
    *,
    pictures: bool,
    wide: bool,
) -> None:
    frame, _ = _read(filters, sides.by, pictures=pictures, with_paths=False)
    found: list[Comparison] = []
    left, right = sides.first()
    with waiting("computing"):
        if frame is not None and len(frame):
            from market.evaluation import comparison  # noqa: PLC0415

            _expect_values(frame, sides.by, f"--compare {sides.by}")
            left, right = sides.among(comparison.names(frame, sides.by))
            found = comparison.compare(frame, sides.by, left, right)
        about = filters.about() | {"compare": sides.by, "left": left, "right": right}
        report = comparison_tables.report(found, about)
        drawn = figures.of_comparison(found) if pictures else {}
    words = filters.words()
    print_report(report, rows_of(Comparison, found), span(frame), words, form, drawn, wide=wide)
    figures.save(drawn, plots)


def _expect_values(frame: "pd.DataFrame", by: str, option: str) -> None:
    """Say which column a grouping needs where no row has a value."""
    from market.evaluation import accuracy  # noqa: PLC0415

    if accuracy.is_missing(frame, by):
        raise ReckonerError(f"{option}: {NO_VALUES[by]}")


@app.command("calibration-report")
def calibration_report(
    horizon: HorizonOption = Horizon.ALL,
    since: SinceOption = None,
    until: UntilOption = None,
    split: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="First UTC day that is scored; without it 70 % are fitted."
        ),
    ] = None,
    form: FormOption = Form.TABLE,
    wide: WideOption = False,
    plots: PlotsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report whether a confidence of 0.8 is right eight times in ten.

    Fitted on earlier posts, scored on later ones. Examples:
    `python -m market calibration-report -t t7 --wide`,
    `python -m market calibration-report --split 2026-01-01 --plots pictures`.
    """
    form = Form.JSON if as_json else form
    pictures = figures.are_wanted(plots, html=form is Form.HTML)
    filters = Filters(horizon, None, since, until)
    frame, _ = _read(filters, None, pictures=pictures, with_paths=False)
    found: list[Calibration] = []
    with waiting("computing"):
        if frame is not None:
            from market.evaluation import calibration  # noqa: PLC0415

            found = calibration.calibrations(frame, split and split.replace(tzinfo=dt.UTC))
        report = calibration_tables.report(found, filters.about())
        drawn = figures.of_calibration(found) if pictures else {}
    parts = [rows_of(Bin, one.bins, horizon=one.horizon, split=one.split) for one in found]
    columns = rows_of(Bin, (), horizon="", split="").columns
    rows = Rows([row for part in parts for row in part], columns)
    print_report(report, rows, span(frame), filters.words(), form, drawn, wide=wide)
    figures.save(drawn, plots)


def _read(
    filters: Filters, by: str | None, *, pictures: bool, with_paths: bool
) -> "tuple[pd.DataFrame | None, pd.DataFrame | None]":
    """Read the outcomes; None where there is none, which takes no pandas, and nothing to draw."""
    with (
        command_database() as database,
        waiting("reading outcomes"),
        database.transaction(seconds=300) as conn,
    ):
        if not pictures and not listing.is_any(conn, **filters.about()):
            return None, None
        from market.evaluation import frame as frames  # noqa: PLC0415

        with_source = by == "source"
        found = frames.outcomes_frame(conn, **filters.about(), with_source=with_source)
        return found, frames.paths_frame(conn, filters.since) if with_paths else None
