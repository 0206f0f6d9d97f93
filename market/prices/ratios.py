"""Ratios of two prices that mean another unit or a split, not a move of the price.

A close in pence, or one not adjusted for a split, would become a wrong outcome.
"""

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


def is_split(ratio: float, split: float) -> bool:
    """Tell whether prices differ by a split's ratio, give or take a day's move."""
    nearest = min(abs(math.log(ratio * split)), abs(math.log(ratio / split)))
    return nearest < math.log(1.15) and nearest < abs(math.log(ratio))


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
    return next(
        (
            split if more < 1 else 1 / split
            for split in _SPLITS
            if abs(max(more, 1 / more) / split - 1) < 3 * ROUNDING
        ),
        None,
    )
