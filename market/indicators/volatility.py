"""How volatile it is for itself: the average true range in percent, against its own last year."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.indicators import windows
from market.indicators.bars import EQUAL, Flags, Floats, Integers, empty

WINDOW = 252
LEVELS = (None, "LOW", "MEDIUM", "HIGH", "EXTREME")
TRENDS = (None, "CONTRACTING", "STABLE", "EXPANDING")
_CHUNK = 512  # bars whose windows are compared at once: what they need stays in the cache


def _counted(compare: np.ufunc, values: NDArray[Any], own: NDArray[Any]) -> Floats:
    """Count in each bar's window the values that compare so with the bar's own."""
    views = np.lib.stride_tricks.sliding_window_view(values, len(own))
    counts = np.empty(len(own))
    for begin in range(0, len(own), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        flags: Flags = compare(views[:, part], own[part])
        # No sum is above 252, so bytes are enough.
        counts[part] = np.add.reduce(flags.view(np.uint8), axis=0, dtype=np.uint8)
    return counts


def _ranks(percent: Floats) -> Floats:
    """Return the mean rank of each bar's value in its window, from the first full window on."""
    order = np.argsort(percent)
    ordered = percent[order]
    if len(percent) < 2**15 and (ordered[1:] > ordered[:-1] * (1 + EQUAL)).all():
        # All differ: what is compared may be their places, which are a quarter as wide.
        places = np.empty(len(percent), dtype=np.int16)
        places[order] = np.arange(len(percent), dtype=np.int16)
        return _counted(np.less_equal, places, places[WINDOW - 1 :])
    own = percent[WINDOW - 1 :]
    below = _counted(np.less, percent, own * (1 - EQUAL))
    return (below + _counted(np.less_equal, percent, own * (1 + EQUAL)) + 1) / 2


def percentile(percent: Floats, *, last: bool = False) -> Floats:
    """Rank the ATR percent among its last 252 values, itself included.

    Formula: the share of values at or below it, · 100; of equal values each has their mean rank, so that a
    volatility which never changes is in the middle (50.2). Values that differ by less than 1e-12 of their size
    are equal. Unknown values are passed over, so that one bad high does not make a year unknown.
    First bar: 266 (252 values of ATR, the first on bar 15).
    Source: our own; ranks as in scipy.stats.percentileofscore.

    With `last` only the last bar's is computed, and the others are NaN.
    """
    results = empty(len(percent))
    known = np.flatnonzero(np.isfinite(percent))
    if last:
        known = known[-WINDOW:]
    if len(known) >= WINDOW:
        results[known[WINDOW - 1 :]] = _ranks(percent[known]) / WINDOW * 100
    return results


def level(percentiles: Floats) -> Integers:
    """Name the percentile.

    Formula: `volatility_level` is `LOW` up to 25, `MEDIUM` up to 75, `HIGH` up to 90, else `EXTREME`.
    First bar: 266.
    Source: our own.

    Returns places in LEVELS.
    """
    codes = np.searchsorted([25.0, 75.0, 90.0], percentiles) + 1
    return np.where(np.isnan(percentiles), 0, codes)


def trend(percent: Floats) -> Integers:
    """Compare the newest ATR percent with that of two to four weeks ago.

    Formula: the mean of the last 5 values divided by the mean of the 10 values from 19 to 10 bars before: over
    1.15 `EXPANDING`, under 0.85 `CONTRACTING`, else `STABLE`; NULL while nothing moved.
    First bar: 34 (20 values of ATR, the first on bar 15).
    Source: our own.

    Returns places in TRENDS.
    """
    codes = np.zeros(len(percent), dtype=np.int64)
    if len(percent) >= 20:
        means = windows.means(percent, (5, 10))
        ratio = means[5][10:] / means[10][:-10]
        codes[10:] = np.where(np.isfinite(ratio), 2 + (ratio > 1.15) - (ratio < 0.85), 0)
    return codes
