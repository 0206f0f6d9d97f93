"""Gaps between one bar's range and the next that no later bar has filled."""

import numpy as np

from market.indicators.bars import EQUAL, Floats, Integers

WINDOW = 120
SIZE = 0.005


def _unfilled(low: Floats, high: Floats, up: int) -> Integers:
    """Count for each bar the gaps among the last WINDOW bars that are still open.

    With `up` of -1 prices are negated, and a gap down is a gap up.
    """
    total = len(low)
    before = high[:-1]
    # A gap of exactly 0.5 % counts, though 100.5 / 100 - 1 is a little less in binary.
    least = before * (1 + up * SIZE) - np.abs(before) * EQUAL
    gaps = np.flatnonzero((low[1:] >= least) & (low[1:] > before)) + 1
    open_ = np.zeros(total + 1, dtype=np.int64)
    if len(gaps):
        padded = np.full(total + WINDOW, np.inf)
        padded[:total] = low
        later = np.lib.stride_tricks.sliding_window_view(padded, WINDOW - 1)[gaps + 1]
        filled = later <= before[gaps - 1][:, None]
        # The first later bar that comes back to the high before; else the gap leaves the window.
        bars = np.where(filled.any(axis=1), filled.argmax(axis=1) + 1, WINDOW)
        np.add.at(open_, gaps, 1)
        np.add.at(open_, np.minimum(gaps + bars, total), -1)
    return np.cumsum(open_[:total])


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
        "gaps_unfilled_up": _unfilled(low, high, 1),
        "gaps_unfilled_down": _unfilled(-high, -low, -1),
    }
    return {name: np.where(unknown, np.nan, counts) for name, counts in found.items()}
