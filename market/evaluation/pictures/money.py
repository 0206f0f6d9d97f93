"""Pictures of prices: the cumulative pnl, and the path around the entry."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from market.evaluation.blocks import Blocks, Floats, mean_interval
from market.evaluation.money import cumulative, drawdown
from market.evaluation.pictures.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    legend,
    panels,
    styled,
)
from sql.visible import visible_line

_SENTIMENTS = {"bullish": GREEN, "neutral": GREY, "bearish": RED}


@styled
def cumulative_pnl(frame: pd.DataFrame, benchmark: str) -> Figure:
    """Draw cumulative pnl by the day of the exit, from 0 on the first entry.

    As predicted, always bullish, and the benchmark, all on the same rows.
    """
    rows = frame[frame["correct"].notna() & frame["exit_session"].notna()]
    horizons = sorted(rows["sessions"].unique())
    title = "Cumulative pnl of $1,000 on each outcome, by the day of the exit"
    figure, every = panels(title, len(horizons) or 1, 2, (4.4, 2.9))
    for sessions, axes in zip(horizons, every, strict=False):
        _pnl(axes, rows[rows["sessions"] == sessions], f"T+{sessions}", visible_line(benchmark))
    for axes in every:
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_ylabel("pnl, thousand $, from 0")
    legend(figure, every)
    return figure


def _pnl(axes: Axes, rows: pd.DataFrame, name: str, benchmark: str) -> None:
    both = rows[rows["benchmark_return_pct"].notna()]
    if len(both):
        rows = both
    exits = rows["exit_session"].to_numpy().astype("datetime64[D]")
    first = rows["entry_session"].min()
    said = (rows["direction"] * rows["pnl_usd"]).to_numpy(dtype=np.float64)
    lines = {
        "as predicted": (said, BLUE, "solid"),
        "always bullish": (rows["pnl_usd"].to_numpy(dtype=np.float64), GREY, "dashed"),
    }
    if len(both):
        instead = rows["benchmark_return_pct"].to_numpy(dtype=np.float64) * 10
        lines[f"{benchmark} instead"] = (instead, ORANGE, "solid")
    for label, (pnl, colour, style) in lines.items():
        days, sums = cumulative(pnl, exits)
        axes.plot(
            np.concatenate([[np.datetime64(first, "D")], days]),
            np.concatenate([[0.0], sums]) / 1000,
            color=colour,
            linestyle=style,
            label=label,
        )
    axes.set_title(
        f"{name}, {len(rows):,} outcomes, largest fall ${drawdown(said, exits):,.0f}", loc="left"
    )
    axes.set_xlabel(f"exit, from {first:%Y-%m-%d}")
    # matplotlib types its figures, and not its dates.
    locator = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


@styled
def event_study(frame: pd.DataFrame, paths: pd.DataFrame) -> Figure:
    """Draw the average price around the entry for each sentiment.

    With 95 % bands. Only outcomes with a bar for every session from -10 to +30 count, so that all
    points of a line have the same outcomes.
    """
    title = "Average price around the entry, with 95 % bands"
    figure, [axes] = panels(title, 1, 1, (7, 3.8))
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
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(-10, 30)
    axes.set_xlabel("sessions since the entry, from -10; at 0 the entry's close")
    axes.set_ylabel("price against the entry, %")
    legend(figure, [axes], columns=2)
    return figure


def _band(axes: Axes, values: Floats, blocks: Blocks, colour: str, label: str) -> None:
    offsets = np.arange(-10, 31)
    means = [mean_interval(values[:, n], blocks) for n in range(values.shape[1])]
    if blocks.are_few:
        label += ", too little for a band"
    axes.plot(offsets, [m.mean for m in means], color=colour, label=label)
    axes.fill_between(
        offsets,
        [m.low for m in means],
        [m.high for m in means],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
