"""The four pictures of a report. Needs matplotlib, the optional extra `plots`.

Figures are made without pyplot, so that nothing is global and no display is needed. Strangers' text
(names of groups) is drawn literally: otherwise a dollar sign would start a formula.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from market.evaluation.accuracy import Group
from market.evaluation.blocks import Blocks, Floats, mean_interval
from market.evaluation.calibration import Calibration
from market.files import replaced
from sql.visible import visible_line

_COLOURS = ("#2563a8", "#c2571a", "#2c8a5b", "#8455a6", "#a3324f", "#6b6b6b")
_GREY = "#7b8794"
_SENTIMENTS = {"bullish": _COLOURS[2], "neutral": _GREY, "bearish": _COLOURS[4]}
# Groups in one picture; more cannot be told apart.
MOST = len(_COLOURS)
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.hashsalt": "reckoner",  # the same picture is the same file
}


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as a PNG named after its key.

    Makes the folder where it is missing. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with replaced(path) as file, rc_context(_STYLE):
            figure.savefig(file, dpi=144, format="png")
        paths.append(path)
    return paths


def as_svg(figure: Figure) -> bytes:
    """Return the figure as an SVG document."""
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def accuracy_by_horizon(series: Mapping[str, Sequence[Group]]) -> Figure:
    """Draw accuracy with 95 % intervals per horizon, and a short line for "always bullish".

    series: name of a group to its horizons; at most MOST.
    """
    with rc_context(_STYLE):
        figure, axes = _figure()
        names = list(dict.fromkeys(g.horizon for groups in series.values() for g in groups))
        judged = {
            name: [g for g in groups if g.correct + g.incorrect] for name, groups in series.items()
        }
        judged = {name: groups for name, groups in judged.items() if groups}
        step = 0.7 / max(len(judged), 1)
        for n, (name, groups) in enumerate(judged.items()):
            x = np.array(
                [names.index(g.horizon) + (n - (len(judged) - 1) / 2) * step for g in groups]
            )
            y, low, high, base = (
                100 * np.array([getattr(g, key) for g in groups])
                for key in ("accuracy", "accuracy_low", "accuracy_high", "base_rate")
            )
            axes.errorbar(
                x,
                y,
                _errors(y, low, high),
                fmt="o",
                capsize=4,
                color=_COLOURS[n],
                label=_label(name),
            )
            axes.hlines(base, x - step * 0.45, x + step * 0.45, color=_GREY, linestyles="dashed")
        axes.plot(
            [], [], color=_GREY, linestyle="dashed", label='"always bullish" on the same rows'
        )
        axes.set_xticks(range(len(names)), [n.replace("t", "T+") for n in names])
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_ylabel("right, %")
        axes.grid(visible=False, axis="x")
        _legend(axes)
        return figure


def reliability(found: Sequence[Calibration]) -> Figure:
    """Draw stated confidence against accuracy, per horizon, for later posts only."""
    with rc_context(_STYLE):
        columns = min(len(found), 2) or 1
        rows = -(-len(found) // columns) or 1
        figure = Figure(figsize=(4.2 * columns, 3.9 * rows), layout="constrained")
        for n, one in enumerate(found):
            axes = figure.add_subplot(rows, columns, n + 1)
            bins = one.bins
            stated, actual = (
                np.array([getattr(b, k) for b in bins]) for k in ("confidence", "accuracy")
            )
            low, high = (
                np.array([getattr(b, f"accuracy_{k}") for b in bins]) for k in ("low", "high")
            )
            axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="stated = right")
            axes.axhline(
                one.base_rate,
                color=_GREY,
                linewidth=1,
                linestyle="dotted",
                label="base rate, earlier",
            )
            if len(bins):
                axes.plot(
                    stated,
                    [b.fitted for b in bins],
                    color=_COLOURS[1],
                    linestyle="dashed",
                    label="curve, earlier",
                )
                errors = np.maximum(np.vstack([actual - low, high - actual]), 0)
                axes.errorbar(
                    stated,
                    actual,
                    errors,
                    fmt="o",
                    capsize=3,
                    color=_COLOURS[0],
                    label="right, later",
                )
            axes.set(
                xlim=(0, 1.02),
                ylim=(0, 1.02),
                xlabel="confidence stated",
                ylabel="share that was right",
            )
            axes.set_title(one.horizon.replace("t", "T+"), loc="left")
            axes.set_aspect("equal")
            if n == 0:
                axes.legend(loc="upper left", fontsize="small")
        return figure


def cumulative_pnl(frame: pd.DataFrame, benchmark: str) -> Figure:
    """Draw cumulative pnl by the day of the exit.

    As predicted, always bullish, and the benchmark, all on the same rows.
    """
    with rc_context(_STYLE):
        rows = frame[frame["correct"].notna() & frame["exit_session"].notna()]
        horizons = sorted(rows["sessions"].unique())
        columns = min(len(horizons), 2) or 1
        lines = -(-len(horizons) // columns) or 1
        figure = Figure(figsize=(4.6 * columns, 3.2 * lines), layout="constrained")
        for n, sessions in enumerate(horizons):
            axes = figure.add_subplot(lines, columns, n + 1)
            _pnl(axes, rows[rows["sessions"] == sessions], benchmark)
            axes.set_title(f"T+{sessions}", loc="left")
            if n == 0:
                axes.legend(loc="upper left", fontsize="small")
        return figure


def _pnl(axes: Axes, rows: pd.DataFrame, benchmark: str) -> None:
    both = rows[rows["benchmark_return_pct"].notna()]
    if len(both):
        rows = both
    lines = {
        "as predicted": (rows["direction"] * rows["pnl_usd"], _COLOURS[0], "solid"),
        "always bullish": (rows["pnl_usd"], _GREY, "dashed"),
    }
    if len(both):
        lines[f"{benchmark} instead"] = (rows["benchmark_return_pct"] * 10, _COLOURS[1], "solid")
    for name, (pnl, colour, style) in lines.items():
        days = pnl.groupby(rows["exit_session"]).sum().cumsum() / 1000
        axes.plot(days.index.to_numpy(), days.to_numpy(), color=colour, linestyle=style, label=name)
    axes.axhline(0, color=_GREY, linewidth=0.8)
    axes.set_ylabel("thousand $")
    # matplotlib types its figures, and not its dates.
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def event_study(frame: pd.DataFrame, paths: pd.DataFrame) -> Figure:
    """Draw the average price around the entry for each sentiment.

    With 95 % bands. Only outcomes with a bar for every session from -10 to +30 count, so that all
    points of a line have the same outcomes.
    """
    with rc_context(_STYLE):
        figure, axes = _figure()
        whole = paths.pivot_table(
            index=["symbol", "entry_session"],
            columns="session_offset",
            values="path_pct",
            observed=True,
        )
        whole = whole.reindex(columns=range(-10, 31)).dropna()
        rows = frame.drop_duplicates(["prediction_id", "symbol"])
        rows = rows[rows["sentiment"].notna()]
        places = whole.index.get_indexer(
            pd.MultiIndex.from_arrays([rows["symbol"].astype(str), rows["entry_session"]])
        )
        values = whole.to_numpy()
        for sentiment, colour in _SENTIMENTS.items():
            is_of = (rows["sentiment"] == sentiment).to_numpy() & (places >= 0)
            if is_of.any():
                blocks = Blocks.of(rows["prediction_date"].to_numpy()[is_of], 30)
                label = f"{sentiment} ({int(is_of.sum()):,})"
                _band(axes, values[places[is_of]], blocks, colour, label)
        axes.axvline(0, color=_GREY, linewidth=0.8)
        axes.axhline(0, color=_GREY, linewidth=0.8)
        axes.set_xlabel("sessions since the entry")
        axes.set_ylabel("price against the entry, %")
        _legend(axes)
        return figure


def _band(axes: Axes, values: Floats, blocks: Blocks, colour: str, label: str) -> None:
    offsets = np.arange(-10, 31)
    means = [mean_interval(values[:, n], blocks) for n in range(values.shape[1])]
    axes.plot(offsets, [m.mean for m in means], color=colour, label=label)
    axes.fill_between(
        offsets,
        [m.low for m in means],
        [m.high for m in means],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def _errors(middle: Floats, low: Floats, high: Floats) -> Floats:
    """Compute lengths below and above; by rounding, Wilson's interval may exclude the mean."""
    return np.maximum(np.vstack([middle - low, high - middle]), 0)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def _label(name: str) -> str:
    """Return a group's name for the legend, which would omit one that begins with _."""
    shown = visible_line(name)
    return f" {shown}" if shown.startswith("_") else shown


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize="small")
