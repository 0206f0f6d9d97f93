"""Ratios of two prices that mean another unit or a split, not a move of the price.

A close in pence, or one not adjusted for a split, would become a wrong outcome.
"""

import itertools
import math
from collections.abc import Sequence

from market.providers.base import Action, Bar

# Providers round split-adjusted prices differently.
ROUNDING = 1e-3
# Pence among pounds, or thousands, give or take a day's move. No listed company's price ever moved
# by so much and came back.
_UNITS = ((80.0, 125.0), (800.0, 1250.0))
# The usual ratios of splits and reverse splits. A close that moved by one of these while the adjusted
# close did not is not adjusted for a split.
_SPLITS = (1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20, 25, 30, 40, 50, 100)


def is_unit(ratio: float) -> bool:
    """Tell whether prices differ by a hundred or a thousand, either way."""
    ratio = max(ratio, 1 / ratio)
    return any(low < ratio < high for low, high in _UNITS)


def nearest_unit(ratio: float) -> float:
    """Return 100 or 1000, or one by it: the factor between two units that a ratio is near to."""
    unit = 100.0 if max(ratio, 1 / ratio) < 400 else 1000.0
    return unit if ratio > 1 else 1 / unit


def scaled(bar: Bar, factor: float, *, adjusted: bool = True) -> Bar:
    """Return a bar with its prices multiplied. adjusted: also its adjusted close.

    A price that is nearer to the new close than to the old one stays: only a part was off.
    """
    close = (bar.close or math.nan) * factor

    def moved(price: float | None) -> float | None:
        if price is None or abs(math.log(price / close)) < abs(math.log(price / close * factor)):
            return price
        return price * factor

    opens, high, low = map(moved, bar[1:4])
    if high is not None and low is not None and high < low:
        high = low = None
    after = bar._replace(open=opens, high=high, low=low, close=close)
    if adjusted and bar.adjusted_close is not None:
        after = after._replace(adjusted_close=bar.adjusted_close * factor)
    return after


def shares_step(before: Bar, bar: Bar) -> bool:
    """Whether the adjusted closes of two bars step as their closes do."""
    if not (before.close and bar.close and before.adjusted_close and bar.adjusted_close):
        return True
    step = bar.adjusted_close / before.adjusted_close / (bar.close / before.close)
    return abs(math.log(step)) < abs(math.log(bar.close / before.close)) / 2


def is_split(ratio: float, split: float) -> bool:
    """Tell whether prices differ by a split's ratio, give or take a day's move."""
    nearest = min(abs(math.log(ratio * split)), abs(math.log(ratio / split)))
    return nearest < math.log(1.15) and nearest < abs(math.log(ratio))


def spread(closes: Sequence[float]) -> float:
    """Return the usual move of a day, as a logarithm: robust, and not 0 for shares seldom traded."""
    moves = sorted(abs(math.log(b / a)) for a, b in itertools.pairwise(closes))
    if len(moves) < 5:  # too few for a median: one of them may be the step in question
        return min([*moves, 0.02])
    middle, high = moves[(len(moves) - 1) // 2], moves[len(moves) * 9 // 10]
    return max(1.4826 * middle, high / 2 if len(moves) > 20 else 0.0, 0.002)


def split_left_out(before: Bar, bar: Bar, between: Sequence[Action]) -> float | None:
    """Return the split for which the closes of two bars are not adjusted, or None.

    between: the known splits and dividends after the first bar, until the second.
    """
    if before.close is None or bar.close is None:
        return None
    ratio = bar.close / before.close
    for action in between:
        if action.kind == "split" and is_split(ratio, action.value):
            return action.value
    if before.adjusted_close is None or bar.adjusted_close is None:
        return None
    more = ratio / (bar.adjusted_close / before.adjusted_close)
    paid = sum(action.value for action in between if action.kind == "dividend")
    if paid < before.close:  # a special dividend of a fifth is no split of 5:4
        more /= 1 - paid / before.close
    return next(
        (
            split if more < 1 else 1 / split
            for split in _SPLITS
            if abs(max(more, 1 / more) / split - 1) < 3 * ROUNDING
        ),
        None,
    )
