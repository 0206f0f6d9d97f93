"""Splits that are told and not in the closes, or in a part of them only.

Yahoo tells a split days before or after its prices change, changes them for one bar only, or twice.
So a told split is held against every step near it: where a step is the split's ratio and a day's
move, rather than a move alone, the bars on one side of it are multiplied by the ratio.
"""

import bisect
import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple

from market.prices.ratios import scaled, shares_step, spread
from market.prices.report import Report
from market.prices.units import closes_of
from market.providers.base import Action, Bar

# Calendar days between a told split and a step that it may explain: ten sessions.
NEAR = dt.timedelta(days=14)
# Smaller ones move prices by no more than a usual bad day.
_LEAST = math.log(1.08)
# A step on another day than the split's is explained by no smaller split, nor a block of bars by one
# smaller than the second: volatile shares move by so much, and come back.
_LEAST_FAR = math.log(1.4)
_LEAST_BLOCK = math.log(1.2)
# The largest move beside a split; reverse splits of small companies come with -50 %.
_MOVE = math.log(2.01)
# Companies consolidate their shares by the share of the price that they pay out: the dividend
# explains a step first, with a day's move beside it.
_PAID = math.log(1.15)
# Bars between a wrong step and the one back.
_BLOCK = 10
# No answer in good faith has more.
_MOST_MENDS = 20


class _Step(NamedTuple):
    """A step of the closes that a split explains. ratio: what the later close has too much."""

    n: int
    ratio: float
    rest: float  # the logarithm of the move that is left
    is_near: bool  # the other end of a block may be further from the split


def mend_splits(report: Report, all_actions: Sequence[Action]) -> None:
    """Multiply bars that are not on the newest basis, and flag each mend."""
    splits = [action for action in all_actions if action.kind == "split"]
    paid = [action for action in all_actions if action.kind == "dividend"]
    usual = spread(closes_of(report.bars)) if splits else 0.0
    mends = 0
    for split in splits:
        size = abs(math.log(split.value))
        steps = _steps(report.bars, split, paid, usual) if size > _LEAST else []
        while steps and mends <= _MOST_MENDS:
            first, *steps = steps
            back = next((step for step in steps if _is_back(first, step)), None)
            if back:
                steps = [step for step in steps if step.n > back.n]
                if size < _LEAST_BLOCK or not any(step.is_near for step in (first, back)):
                    continue
                _mend(report, split, range(first.n, back.n), 1 / first.ratio)
            elif first.is_near and _may_last(report.bars[first.n], first, split):
                _mend(report, split, range(first.n), first.ratio)
            else:
                continue
            mends += 1
    if mends > _MOST_MENDS:
        report.parts["splits"] = 0.0
        report.faults.append(f"closes do not know more than {_MOST_MENDS} told splits")


def _steps(bars: Sequence[Bar], split: Action, paid: Sequence[Action], usual: float) -> list[_Step]:
    """List the steps near a split that are better explained by it than by a move alone."""
    size = abs(math.log(split.value))
    allowed = min(_MOVE, 0.45 * size)
    low = bisect.bisect_left(bars, split.date - 2 * NEAR, key=lambda bar: bar.date)
    high = bisect.bisect_right(bars, split.date + 2 * NEAR, key=lambda bar: bar.date)
    found = []
    for n in range(max(1, low), high):
        before, close = (bars[k].close or math.nan for k in (n - 1, n))
        move = math.log(close / before)
        # Prices before a split of 4 that is left out are 4 times too high: a step of 1/4.
        ratio = 1 / split.value if move * math.log(split.value) < 0 else split.value
        rest = move - math.log(ratio)
        left = 1 - _paid(paid, bars[n - 1].date, bars[n].date) / before
        without = abs(move - math.log(left)) if left > 0 else math.inf
        if left != 1 and without < _PAID:
            continue
        if abs(rest) <= allowed and abs(rest) < min(abs(move), without) and abs(move) > 5 * usual:
            found.append(_Step(n, ratio, rest, abs(bars[n].date - split.date) <= NEAR))
    return found


def _paid(dividends: Sequence[Action], after: dt.date, until: dt.date) -> float:
    low = bisect.bisect_right(dividends, after, key=lambda action: action.date)
    high = bisect.bisect_right(dividends, until, key=lambda action: action.date)
    return sum(action.value for action in dividends[low:high])


def _is_back(first: _Step, step: _Step) -> bool:
    return step.n - first.n <= _BLOCK and abs(math.log(step.ratio * first.ratio)) < 1e-9


def _may_last(bar: Bar, step: _Step, split: Action) -> bool:
    """Whether a step without one back is the split, and not a crash some days from it."""
    size = abs(math.log(split.value))
    if bar.date == split.date:
        return abs(step.rest) < max(math.log(1.15), size / 3)
    return size > math.log(3) or (size >= _LEAST_FAR and abs(step.rest) < size / 4)


def _mend(report: Report, split: Action, places: range, factor: float) -> None:
    bars = report.bars
    n = places.stop if places.start == 0 else places.start
    adjusted = shares_step(bars[n - 1], bars[n])
    report.bars = [
        scaled(bar, factor, adjusted=adjusted) if at in places else bar
        for at, bar in enumerate(bars)
    ]
    which = (
        f"the bars before {bars[n].date}"
        if places.start == 0
        else f"the bars from {bars[n].date} to {bars[places.stop - 1].date}"
    )
    report.flags.append(
        f"{split.date}: a split of {split.value:g} is told, and the close moves from"
        f" {bars[n - 1].close} to {bars[n].close} on {bars[n].date};"
        f" {which} are multiplied by {factor:g}"
    )
