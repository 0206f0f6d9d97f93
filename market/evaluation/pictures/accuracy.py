"""Pictures of accuracy: by horizon, by group, and of two groups compared."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from market.evaluation.method import MIN_BLOCKS
from market.evaluation.pictures.figure import (
    GREY,
    ORANGE,
    horizon_name,
    interval,
    legend,
    panels,
    short,
    styled,
)
from market.evaluation.records import TIMES, Comparison, Group

# Groups in one picture; more cannot be read.
MOST = 30
_BASE = '"always bullish" on the same rows'
_RIGHT = "right, % (axis from 0)"
_WHOLE = (-2, 102)  # a point at 0 or 100 is whole


@styled
def by_horizon(groups: Sequence[Group]) -> Figure:
    """Draw accuracy with 95 % intervals per horizon, and a short line for "always bullish"."""
    figure, [axes] = panels("Right by horizon, with 95 % intervals", 1, 1, (7, 3.8))
    judged = [group for group in groups if group.correct + group.incorrect]
    _accuracies(axes, judged, np.arange(len(judged), dtype=np.float64), upright=True)
    axes.set_xticks(
        range(len(judged)),
        [f"{horizon_name(g.horizon)}\n{g.correct + g.incorrect:,} judged" for g in judged],
    )
    axes.set(xlim=(-0.6, max(len(judged), 1) - 0.4), ylim=_WHOLE, ylabel=_RIGHT)
    axes.set_xlabel("sessions after the entry")
    axes.grid(visible=False, axis="x")
    legend(figure, [axes])
    return figure


@styled
def by_group(groups: Sequence[Group], by: str) -> Figure:
    """Draw one line for each group, in their order, and one panel for each horizon.

    At most MOST groups: the first ones, of times the last ones.
    """
    judged = [group for group in groups if group.correct + group.incorrect]
    names = list(dict.fromkeys(group.group for group in judged))
    horizons = sorted({group.horizon for group in judged}, key=lambda name: int(name[1:]))
    title = f"Right by {by.replace('_', ' ')}, with 95 % intervals"
    if len(names) > MOST:
        which = "last" if by in TIMES else "best"
        title += f" (the {which} {MOST} of {len(names):,})"
        names = names[-MOST:] if by in TIMES else names[:MOST]
    figure, every = panels(
        title, len(horizons) or 1, 4, (3.1, 0.7 + 0.27 * max(len(names), 2)), shared=True
    )
    for horizon, axes in zip(horizons, every, strict=False):
        own = [g for g in judged if g.horizon == horizon and g.group in names]
        places = np.array([names.index(g.group) for g in own], dtype=np.float64)
        _accuracies(axes, own, places, upright=False)
        axes.set(xlim=_WHOLE, xlabel=_RIGHT)
        axes.set_title(horizon_name(horizon), loc="left")
        axes.grid(visible=False, axis="y")
    if not horizons:
        _accuracies(every[0], [], np.zeros(0), upright=False)
    every[0].set_yticks(range(len(names)), [short(name) for name in names])
    every[0].set_ylim(max(len(names), 1) - 0.4, -0.6)  # the first one on top
    for axes in every[1:]:
        axes.tick_params(labelleft=False)
    legend(figure, every)
    return figure


def _accuracies(axes: Axes, groups: Sequence[Group], at: np.ndarray, *, upright: bool) -> None:
    if not groups:
        axes.text(0.5, 0.5, "nothing judged yet", transform=axes.transAxes, ha="center")
        return
    middle, low, high, base = (
        100 * np.array([getattr(g, key) for g in groups])
        for key in ("accuracy", "accuracy_low", "accuracy_high", "base_rate")
    )
    guesses = [g.interval != "bootstrap" for g in groups]
    interval(axes, at, middle, (low, high), guesses, label="right", upright=upright)
    draw = axes.hlines if upright else axes.vlines
    draw(base, at - 0.3, at + 0.3, color=ORANGE, linewidth=2, label=_BASE)


@styled
def comparison(found: Sequence[Comparison]) -> Figure:
    """Draw how much more often A is right than B, with 95 % intervals, per horizon."""
    paired = [one for one in found if one.pairs]
    title = f"A: {short(found[0].left)}, B: {short(found[0].right)}" if found else "No pair"
    figure, [axes] = panels(title, 1, 1, (7, 3.8))
    at = np.arange(len(paired), dtype=np.float64)
    middle, low, high = (
        100 * np.array([getattr(one, key) for one in paired])
        for key in ("difference", "difference_low", "difference_high")
    )
    axes.axhline(0, color=GREY, linewidth=1, label="no difference")
    if paired:
        guesses = [one.effective_blocks < MIN_BLOCKS for one in paired]
        interval(axes, at, middle, (low, high), guesses, label="A less B")
    else:
        axes.text(0.5, 0.6, "no pair", transform=axes.transAxes, ha="center")
    names = [f"{horizon_name(one.horizon)}\n{one.pairs:,} pairs" for one in paired]
    axes.set_xticks(range(len(paired)), names)
    axes.set_xlim(-0.6, max(len(paired), 1) - 0.4)
    axes.set(xlabel="sessions after the entry", ylabel="A less B, percentage points")
    axes.grid(visible=False, axis="x")
    legend(figure, [axes])
    return figure
