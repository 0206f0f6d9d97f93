"""How volatile it is for itself: the average true range in percent, against its own last year."""

import numpy as np

from market.indicators import windows
from market.indicators.bars import EQUAL, Flags, Floats, Integers, empty

WINDOW = 252
LEVELS = (None, "LOW", "MEDIUM", "HIGH", "EXTREME")
TRENDS = (None, "CONTRACTING", "STABLE", "EXPANDING")
_CHUNK = 256  # bars whose windows are compared at once: what they need stays in the cache


def _counted(compare: np.ufunc, percent: Floats, margin: float) -> Floats:
    """Count in each bar's window the values that compare so with the bar's own, moved by a margin."""
    views = np.lib.stride_tricks.sliding_window_view(percent, len(percent) - WINDOW + 1)
    own = percent[WINDOW - 1 :] * (1 + margin)
    counts = np.empty(len(own))
    for begin in range(0, len(own), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        smaller: Flags = compare(views[:, part], own[part])
        # No sum is above 252, so bytes are enough.
        counts[part] = np.add.reduce(smaller.view(np.uint8), axis=0, dtype=np.uint8)
    return counts


def percentile(percent: Floats) -> Floats:
    """Rank the ATR percent among its last 252 values, itself included.

    Formula: the share of values at or below it, · 100; of equal values each has their mean rank, so that a
    volatility which never changes is in the middle (50.2). Values that differ by less than 1e-12 of their size
    are equal.
    First bar: 266 (252 values of ATR, the first on bar 15).
    Source: our own; ranks as in scipy.stats.percentileofscore.
    """
    results = empty(len(percent))
    if len(percent) >= WINDOW:
        below = _counted(np.less, percent, -EQUAL)
        upto = _counted(np.less_equal, percent, EQUAL)
        known = windows.sums(percent, (WINDOW,))[WINDOW][WINDOW - 1 :]
        ranks = (below + upto + 1) / 2 / WINDOW * 100
        results[WINDOW - 1 :] = np.where(np.isfinite(known), ranks, np.nan)
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
