"""The picture of confidence: what was stated against what was right."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from market.evaluation.pictures.figure import (
    GREY,
    ORANGE,
    horizon_name,
    interval,
    legend,
    panels,
    styled,
)
from market.evaluation.records import Calibration


@styled
def reliability(found: Sequence[Calibration]) -> Figure:
    """Draw stated confidence against accuracy, per horizon, for later posts only."""
    title = "Confidence: stated and right, on later posts"
    figure, every = panels(title, len(found) or 1, 2, (3.8, 3.6))
    for one, axes in zip(found, every, strict=False):
        _tiers(axes, one)
        axes.set_title(f"{horizon_name(one.horizon)}, {one.later:,} later rows", loc="left")
    for axes in every:
        axes.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            xlabel="confidence stated (axis from 0)",
            ylabel="share that was right (axis from 0)",
        )
        axes.set_aspect("equal")
    legend(figure, every, columns=3)
    return figure


def _tiers(axes: Axes, one: Calibration) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="stated = right")
    axes.axhline(
        one.base_rate, color=GREY, linewidth=1, linestyle="dotted", label="base rate, earlier"
    )
    if not one.bins:
        return
    stated, fitted, right, low, high = (
        np.array([getattr(tier, key) for tier in one.bins])
        for key in ("confidence", "fitted", "accuracy", "accuracy_low", "accuracy_high")
    )
    axes.plot(stated, fitted, color=ORANGE, linestyle="dashed", label="curve, earlier")
    guesses = [tier.finding == "too little to say" for tier in one.bins]
    interval(axes, stated, right, (low, high), guesses, label="right, later")
