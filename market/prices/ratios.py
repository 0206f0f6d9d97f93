"""Ratios of prices that mean a unit or a split, and not that a price moved."""

import math
from collections.abc import Sequence

from market.providers.base import Action, Bar

# Split-adjusted prices are rounded by their providers, each for itself.
ROUNDING = 1e-3
# Pence among pounds, or thousands; with what a price may move in a day. No session of a listed
# company did this and came back.
_UNITS = ((80.0, 125.0), (800.0, 1250.0))
# The ratios at which shares are split, or joined. A price that moved by just this much while
# the adjusted one did not is not adjusted for a split.
_SPLITS = (1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20, 25, 30, 40, 50, 100)


def is_unit(ratio: float) -> bool:
    """Tell whether prices differ by a hundred or a thousand, either way."""
    ratio = max(ratio, 1 / ratio)
    return any(low < ratio < high for low, high in _UNITS)


def is_split(ratio: float, split: float) -> bool:
    """Tell whether prices differ by a split's ratio, give or take what a price moves."""
    nearest = min(abs(math.log(ratio * split)), abs(math.log(ratio / split)))
    return nearest < math.log(1.15) and nearest < abs(math.log(ratio))


def split_left_out(before: Bar, bar: Bar, between: Sequence[Action]) -> float | None:
    """Return the split that moved a close which ought to be adjusted for it.

    between: what is known to have happened after the first bar and until the second.
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
