"""Moving averages of the close, and what is read off them."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from market.indicators import recursions, windows
from market.indicators.bars import Floats, Integers, empty, margin, positive

SMA = (5, 8, 10, 14, 20, 21, 50, 100, 150, 200)
EMA = (8, 10, 21, 200)
DISTANCES = (8, 21, 200)

ALIGNED = ("ema_10", "sma_20", "sma_50", "sma_100", "sma_200")
BUCKET = ("sma_5", "sma_8", "sma_21", "sma_50", "sma_100", "sma_200")
BUCKETS = ("UNKNOWN", "NEUTRAL", "LEADING", "LAGGING")


def sma(close: Floats) -> dict[str, Floats]:
    """Average the last N closes, each with the same weight.

    Formula: `sma_N = (close + … + close N-1 bars before) / N`.
    First bar: N.
    Source: Murphy, Technical Analysis of the Financial Markets (1999), ch. 9.
    """
    return {f"sma_{length}": mean for length, mean in windows.means(close, SMA).items()}


def exponential(close: Floats, length: int) -> Floats:
    """Average exponentially: k = 2 / (length + 1), seeded by the mean of the first `length`."""
    return recursions.average(close, length, 2 / (length + 1))


def ema(close: Floats) -> dict[str, Floats]:
    """Average all closes, the newer with the greater weight.

    Formula: `ema_N = close · k + ema_N before · (1 - k)`, k = 2 / (N + 1).
    Seed: the mean of the first N closes, on bar N. An EMA of 200 needs some 700 bars to forget it.
    First bar: N.
    Source: Murphy (1999), ch. 9; the seed as in TA-Lib.
    """
    return {f"ema_{length}": exponential(close, length) for length in EMA}


def macd(close: Floats) -> dict[str, Floats]:
    """Subtract a slow EMA from a fast one, and average the difference.

    Formula: `macd = EMA 12 - EMA 26`; `macd_signal` = EMA 9 of macd; `macd_histogram = macd - macd_signal`.
    Seed: each EMA has its own, the mean of its first 12, 26 and 9 values.
    First bar: 26 for macd, 34 for the others.
    Source: Appel, Technical Analysis: Power Tools for Active Investors (2005).
    """
    difference = exponential(close, 12) - exponential(close, 26)
    signal = empty(len(close))
    signal[25:] = exponential(difference[25:], 9)  # without the bars that have no macd
    return {
        "macd": difference,
        "macd_signal": signal,
        "macd_histogram": difference - signal,
    }


def percent_distances(price: Floats, found: Mapping[str, Floats]) -> dict[str, Floats]:
    """Measure how far the close is from an EMA, in percent of the EMA.

    Formula: `pct_dist_emaN = (close / ema_N - 1) · 100`; NULL where ema_N is not above zero.
    First bar: N.
    Source: our own.
    """
    return {
        f"pct_dist_ema{length}": (price / positive(found[f"ema_{length}"]) - 1) * 100
        for length in DISTANCES
    }


def aligned(found: Mapping[str, Floats]) -> Integers:
    """Tell whether each average is at or above the next slower one.

    Formula: `ma_aligned` = ema_10 ≥ sma_20 ≥ sma_50 ≥ sma_100 ≥ sma_200; averages that differ by less than
    1e-12 of their size are equal.
    First bar: 200.
    Source: our own.

    Returns 1, 0, or -1 for NULL.
    """
    averages = [found[name] for name in ALIGNED]
    flags = np.ones(len(averages[0]), dtype=np.bool_)
    for fast, slow in pairwise(averages):
        flags &= fast >= slow - margin(slow)
    return np.where(np.isnan(averages[-1]), -1, flags)


def bucket(close: Floats, found: Mapping[str, Floats]) -> Integers:
    """Tell whether close and averages stand in order of their length.

    Formula: close, sma_5, 8, 21, 50, 100, 200 strictly falling: `LEADING`; strictly rising: `LAGGING`; else
    `NEUTRAL`; one missing: `UNKNOWN`. Averages that differ by less than 1e-12 of their size are equal.
    First bar: 200 (`UNKNOWN` before).
    Source: our own.

    Returns places in BUCKETS.
    """
    averages = [close, *(found[name] for name in BUCKET)]
    falling = np.ones(len(close), dtype=np.bool_)
    rising = falling.copy()
    for fast, slow in pairwise(averages):
        difference, tolerance = fast - slow, margin(slow)
        falling &= difference > tolerance
        rising &= difference < -tolerance
    # What is missing is missing at the slowest average too.
    codes: Integers = (~np.isnan(averages[-1])).astype(np.int64) + falling + 2 * rising
    return codes
