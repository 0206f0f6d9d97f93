"""`accuracy-report` and `calibration-report`: from options to a report in the wanted form.

pandas, numpy and matplotlib are imported when a report is made, so that the other commands start
fast.
"""

import dataclasses
import datetime as dt
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from market.cli import figures
from market.cli.console import JsonOption, application, command_database, say, waiting
from market.cli.display import draws, emit, emit_json
from market.settings import BenchmarkSettings
from sql.errors import InvalidInput, ReckonerError
from sql.rows import Rows
from sql.settings import load

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from market.evaluation.tables import Report

app = application("Reports.")


class Horizon(StrEnum):
    """Sessions after the entry."""

    T1 = "t1"
    T3 = "t3"
    T7 = "t7"
    T30 = "t30"
    ALL = "all"


class Grouping(StrEnum):
    """The groupings of an accuracy report."""

    SYMBOL = "symbol"
    SENTIMENT = "sentiment"
    MONTH = "month"
    SECTOR = "sector"
    MODEL = "model"
    CONFIDENCE = "confidence"


class Form(StrEnum):
    """How a report is written; a table is TSV in a pipe."""

    TABLE = "table"
    JSON = "json"
    MD = "md"
    HTML = "html"


HorizonOption = Annotated[
    Horizon, typer.Option("-t", "--horizon", help="Sessions after the entry.")
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option("-c", "--min-confidence", min=0, max=1, help="Only predictions at least so sure."),
]
SinceOption = Annotated[
    dt.datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="First UTC day of the posts."),
]
UntilOption = Annotated[
    dt.datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Last UTC day of the posts."),
]
FormOption = Annotated[
    Form, typer.Option("--format", help="html is one self-contained page; needs the extra plots.")
]
PlotsOption = Annotated[
    Path | None,
    typer.Option(
        "--plots", metavar="DIR", help="Write pictures there, as PNG; needs the extra plots."
    ),
]
WideOption = Annotated[bool, typer.Option("--wide", help="Every table, not only the answer.")]


@app.command("accuracy-report")
def accuracy_report(
    horizon: HorizonOption = Horizon.ALL,
    min_confidence: ConfidenceOption = None,
    by_confidence: Annotated[
        bool, typer.Option("-b", "--by-confidence", help="The same as --by confidence.")
    ] = False,
    by: Annotated[Grouping | None, typer.Option(help="One line for each of these.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    form: FormOption = Form.TABLE,
    wide: WideOption = False,
    plots: PlotsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report how many predictions came true, against no skill.

    Examples: `python -m market accuracy-report -t t7 --by model`,
    `python -m market accuracy-report -b --format html > report.html`.
    """
    if by_confidence and by not in {None, Grouping.CONFIDENCE}:
        raise InvalidInput(f"--by-confidence and --by {by}: one of them")
    grouping = Grouping.CONFIDENCE.value if by_confidence else by and by.value
    form = Form.JSON if as_json else form
    pictures = figures.are_wanted(plots, html=form is Form.HTML)
    filters = Filters(horizon, min_confidence, since, until)
    frame, paths = _read(filters, with_paths=pictures)
    with waiting("computing"):
        from market.evaluation import accuracy, accuracy_tables  # noqa: PLC0415 - pandas takes a second

        if grouping and accuracy.is_missing(frame, grouping):
            raise ReckonerError(_NO_VALUES[grouping])
        groups = accuracy.groups(frame, grouping)
        report = accuracy_tables.report(groups, filters.about() | {"by": grouping})
        drawn = figures.of_accuracy(frame, paths, groups, filters.benchmark) if pictures else {}
    if form is Form.TABLE and not draws():
        rows = [_plain(group) for group in groups]
        emit(Rows(rows, _fields(accuracy.Group)), as_json=False)
    else:
        _show(report, frame, filters, form, drawn, wide=wide)
    figures.save(drawn, plots)


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
    frame, _ = _read(filters, with_paths=False)
    with waiting("computing"):
        from market.evaluation import calibration, calibration_tables  # noqa: PLC0415

        found = calibration.calibrations(frame, split and split.replace(tzinfo=dt.UTC))
        report = calibration_tables.report(found, filters.about())
        drawn = figures.of_calibration(found) if pictures else {}
    if form is Form.TABLE and not draws():
        rows = [
            {"horizon": one.horizon, "split": one.split, **_plain(tier)}
            for one in found
            for tier in one.bins
        ]
        emit(Rows(rows, ("horizon", "split", *_fields(calibration.Bin))), as_json=False)
    else:
        _show(report, frame, filters, form, drawn, wide=wide)
    figures.save(drawn, plots)


_NO_VALUES = {
    "model": "--by model: no prediction here names its model (predictions.llm_model)",
    "sector": (
        "--by sector: no ticker here has one; fill prediction_outcomes.sector, or a column sector of"
        " ticker_registry"
    ),
}


class Filters:
    """The outcomes that the options select."""

    def __init__(
        self,
        horizon: Horizon,
        min_confidence: float | None,
        since: dt.datetime | None,
        until: dt.datetime | None,
    ) -> None:
        self.horizons = [
            h.value for h in Horizon if h is not Horizon.ALL and horizon in {h, Horizon.ALL}
        ]
        self.min_confidence = min_confidence
        self.since = since and since.date()
        self.until = until and until.date()
        if self.since and self.until and self.since > self.until:
            raise InvalidInput(
                f"--since {self.since} is after --until {self.until}: the first day goes first"
            )
        self.benchmark = load(BenchmarkSettings).benchmark_symbol

    def about(self) -> dict[str, Any]:
        """Return the filters by name, as the frame takes them."""
        return dict(vars(self))

    def words(self) -> list[str]:
        """Return the filters as a person reads them; none for what is not filtered."""
        given = {
            "at least so sure: ": self.min_confidence,
            "since ": self.since,
            "until ": self.until,
        }
        return [f"{name}{value}" for name, value in given.items() if value is not None]


def _read(filters: Filters, *, with_paths: bool) -> "tuple[pd.DataFrame, pd.DataFrame | None]":
    with command_database() as database, waiting("reading outcomes"):
        from market.evaluation import frame as frames  # noqa: PLC0415

        with database.transaction(seconds=300) as conn:
            found = frames.outcomes_frame(conn, **filters.about())
            return found, frames.paths_frame(conn, filters.since) if with_paths else None


def _show(
    report: "Report",
    frame: "pd.DataFrame",
    filters: Filters,
    form: Form,
    drawn: "dict[str, Figure]",
    *,
    wide: bool,
) -> None:
    if form is Form.JSON:
        emit_json(report.document)
        return
    from market.cli import show  # noqa: PLC0415

    about = _about(frame, filters)
    if form is Form.MD:
        say(show.as_markdown(report, about))
    elif form is Form.HTML:
        from market.evaluation.pictures import as_svg  # noqa: PLC0415

        svgs = {figures.CAPTIONS[name]: as_svg(figure) for name, figure in drawn.items()}
        say(show.as_page(report, about, svgs))
    else:
        show.on_terminal(report, about, wide=wide, file=sys.stdout)


def _fields(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _plain(row: Any) -> dict[str, Any]:
    from market.evaluation.tables import plain  # noqa: PLC0415

    values: dict[str, Any] = plain(dataclasses.asdict(row))
    return values


def _about(frame: "pd.DataFrame", filters: Filters) -> str:
    if frame.empty:
        return ", ".join(["no outcome matches", *filters.words()])
    days = frame["prediction_date"]
    count = frame["prediction_id"].nunique()
    span = f"{count:,} predictions of {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}"
    return ", ".join([span, *filters.words()])
