"""What the indicators are computed from, and the kinds of arrays that they share."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Prices that a split divided, and sums of prices, differ in their last digits from what they should be.
# Numbers that are nearer to each other than this share of their size count as equal, so that a constant
# price is flat and a later split changes no comparison (tests/market/indicators/test_properties.py).
EQUAL = 1e-12


class Bars(NamedTuple):
    """Daily bars of one symbol, oldest first, one a date; prices adjusted for splits.

    A price that nobody knows is NaN. A bar without a close is passed over: its own values are NULL,
    and the later ones are computed as if it were not there.
    """

    dates: NDArray[Any]  # datetime64[D], ascending
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def where(self, chosen: Flags) -> "Bars":
        """Return the chosen bars."""
        return Bars(*(each[chosen] for each in self))


def empty(length: int) -> Floats:
    """Return an array of NaN."""
    return np.full(length, np.nan)


def margin(values: Floats) -> Floats:
    """Return how much another number may differ from each value and still equal it."""
    return np.abs(values) * EQUAL


def positive(values: Floats) -> Floats:
    """Return the values, with NaN instead of those that nothing can be divided by."""
    return np.where(values > 0, values, np.nan)


def lengths(starts: Integers, total: int) -> Integers:
    """Return how far it is from each start to the next one, and from the last to the end."""
    ends = np.empty_like(starts)
    ends[:-1], ends[-1:] = starts[1:], total
    return ends - starts


def shifted(values: Floats, bars: int) -> Floats:
    """Return the value that each bar had so many bars before."""
    earlier = empty(len(values))
    if len(values) > bars:
        earlier[bars:] = values[: len(values) - bars]
    return earlier
