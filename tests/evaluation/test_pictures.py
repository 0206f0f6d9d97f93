"""Pictures of reports: a title, a legend that nothing runs through, and axes that say where they begin."""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from market.evaluation import accuracy, calibration, comparison, pictures
from market.evaluation.pictures.accuracy import MOST
from tests.evaluation.simulated import Predictor, simulate


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Two horizons of a year and a bit, by two models."""
    parts = [simulate(Predictor(skill=0.2), seed=4, sessions=n, years=1.3) for n in (1, 30)]
    frame = pd.concat(parts, ignore_index=True)
    odd = frame["prediction_id"] % 2 == 0
    return frame.assign(
        model=np.where(odd, "a $x$ model of a very long name, too long for a picture", "b"),
        benchmark_return_pct=0.1,
    )


def every_figure(frame: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    paths = pd.DataFrame(
        [
            {"symbol": row.symbol, "entry_session": row.entry_session, "session_offset": k, "path_pct": k / 10}
            for row in frame[frame["horizon"] == "t1"].drop_duplicates(["symbol", "entry_session"]).itertuples()
            for k in range(-10, 31)
        ]
    )  # fmt: skip
    models = accuracy.groups(frame, "model")
    yield "by horizon", pictures.by_horizon(accuracy.groups(frame))
    yield "by group", pictures.by_group(models, "model")
    yield (
        "comparison",
        pictures.comparison(comparison.compare(frame, "model", "b", models[0].group)),
    )
    yield "pnl", pictures.cumulative_pnl(frame, "SPY")
    yield "reliability", pictures.reliability(calibration.calibrations(frame))
    yield "event study", pictures.event_study(frame, paths)
    yield "nothing by horizon", pictures.by_horizon([])
    yield "nothing by group", pictures.by_group([], "model")
    yield "no pair", pictures.comparison([])
    yield "no pnl", pictures.cumulative_pnl(frame.iloc[:0], "SPY")
    yield "no reliability", pictures.reliability([])


def test_every_picture_has_a_title_and_a_legend_clear_of_its_axes(frame: pd.DataFrame) -> None:
    for name, figure in every_figure(frame):
        figure.savefig(io.BytesIO())  # which lays it out
        assert figure.get_suptitle(), name
        whole = figure.bbox
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert whole.x0 <= box.x0 < box.x1 <= whole.x1, name
            assert whole.y0 <= box.y0, name
            for axes in figure.axes:
                assert not box.overlaps(axes.bbox), name
        assert figure.legends or name.startswith("no"), name
        for axes in figure.axes:
            assert axes.get_legend() is None, name
            assert axes.get_xlabel() or name.startswith("no"), name


def test_the_lines_of_pnl_begin_at_zero_on_the_first_entry(frame: pd.DataFrame) -> None:
    figure = pictures.cumulative_pnl(frame, "SPY")
    for axes, horizon in zip(figure.axes, ("t1", "t30"), strict=True):
        first = frame[frame["horizon"] == horizon]["entry_session"].min()
        for line in axes.get_lines()[:3]:
            assert np.asarray(line.get_ydata())[0] == 0
            assert np.asarray(line.get_xdata())[0] == first.to_datetime64()
        assert f"from {first:%Y-%m-%d}" in axes.get_xlabel()


@pytest.mark.parametrize(("by", "first"), [("symbol", 0), ("month", 10)])
def test_a_picture_holds_the_best_groups_or_the_last_times(
    frame: pd.DataFrame, by: str, first: int
) -> None:
    group, *_ = accuracy.groups(frame)
    many = [dataclasses.replace(group, group=f"g{n:02}") for n in range(MOST + 10)]
    figure = pictures.by_group(many, by)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [f"g{n:02}" for n in range(first, first + MOST)]
    assert f"{MOST} of {MOST + 10}" in figure.get_suptitle()


def test_too_little_to_say_is_drawn_hollow(frame: pd.DataFrame) -> None:
    figure = pictures.by_horizon(accuracy.groups(frame))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"right", "right, too little to say"} <= set(labels)
