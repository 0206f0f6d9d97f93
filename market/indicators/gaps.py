"""Gaps between one bar's range and the next that no later bar has filled."""

import numpy as np

from market.indicators.bars import Floats, Integers, margin

WINDOW = 120
SIZE = 0.005


def _unfilled(low: Floats, high: Floats) -> Integers:
    """Count for each bar the gaps among the last WINDOW bars that are still open.

    With prices negated a gap down is a gap up.
    """
    total = len(low)
    before = high[:-1]
    # A gap of exactly 0.5 % counts, though 100.5 / 100 - 1 is a little less in binary.
    tolerance = margin(before)
    least = before + np.abs(before) * SIZE - tolerance
    gaps = np.flatnonzero((low[1:] >= least) & (low[1:] > before)) + 1
    open_ = np.zeros(total + 1, dtype=np.int64)
    if len(gaps):
        closed = np.minimum(_filled(low, gaps, (before + tolerance)[gaps - 1]), gaps + WINDOW)
        open_[gaps] = 1
        open_ -= np.bincount(np.minimum(closed, total), minlength=total + 1)
    return np.cumsum(open_[:total])


def _filled(low: Floats, gaps: Integers, level: Floats) -> Integers:
    """Return the first bar after each gap whose low is at or below the level, if any of the next 127."""
    padded = np.full(len(low) + 2 * WINDOW, np.inf)
    padded[: len(low)] = low
    lowest = [padded]  # lowest[k][i] is over 2 ** k bars from i on
    for power in range(6):
        size = 2**power
        lowest.append(np.fmin(lowest[-1][:-size], lowest[-1][size:]))
    place = gaps + 1
    for power in range(6, -1, -1):  # pass over stretches without such a bar, the long ones first
        place += (lowest[power][place] > level) * 2**power
    return place


def unfilled(high: Floats, low: Floats) -> dict[str, Floats]:
    """Count the gaps of 0.5 % or more in the last 120 bars that no later bar filled.

    Formula: a gap up is a bar whose low is at least 0.5 % above the high of the bar before; a later bar fills
    it when its low is at or below that high. A gap down is a bar whose high is at least 0.5 % below the low of
    the bar before; a later bar fills it when its high is at or above that low. The bar of the gap is one of the
    last 120. NULL while one of their highs or lows, or of those of the bar before them, is unknown.
    First bar: 121.
    Source: Edwards and Magee, Technical Analysis of Stock Trends, ch. 12; the size and the window are our own.
    """
    total = len(low)
    holes = np.cumsum(np.isnan(high) | np.isnan(low))
    unknown = np.ones(total, dtype=np.bool_)
    if total > WINDOW:
        unknown[WINDOW] = holes[WINDOW] > 0
        unknown[WINDOW + 1 :] = holes[WINDOW + 1 :] > holes[: total - WINDOW - 1]
    found = {
        "gaps_unfilled_up": _unfilled(low, high),
        "gaps_unfilled_down": _unfilled(-high, -low),
    }
    return {name: np.where(unknown, np.nan, counts) for name, counts in found.items()}
