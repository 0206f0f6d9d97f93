"""Wilder's indicators: RSI, average true range, directional movement; each over 14 bars.

Source: Wilder, New Concepts in Technical Trading Systems (1978). His averages are exponential with
k = 1/14 and are seeded by a mean of 14. A high or low that nobody knows makes the true range unknown, and
the averages begin again, with a seed of their own, after it.
"""

from collections.abc import Mapping

import numpy as np

from market.indicators import recursions
from market.indicators.averages import DISTANCES
from market.indicators.bars import Floats, empty, margin, positive

LENGTH = 14


def _average(values: Floats) -> Floats:
    return recursions.average(values, LENGTH, 1 / LENGTH)


def rsi(close: Floats) -> Floats:
    """Compare the average gain with the average loss of a bar.

    Formula: `rsi = gain / (gain + loss) · 100`, gain and loss being Wilder averages of 14 changes of the close.
    Nothing moved: 50; only gains: 100.
    Seed: the means of the first 14 gains and of the first 14 losses.
    First bar: 15.
    Source: Wilder (1978), section VI.
    """
    results = empty(len(close))
    if len(close) > LENGTH:
        change = close[1:] - close[:-1]
        gain = _average(np.maximum(change, 0))
        # A change is its gain less its loss, and an average is linear in what it averages.
        total = gain + _average(np.maximum(-change, 0))
        results[1:] = np.where(total == 0, 50, gain / total * 100)
    return results


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Measure how far the price moved in each bar, from the close before.

    Formula: `max(high, close before) - min(low, close before)`.
    First bar: 2.
    Source: Wilder (1978), section III.
    """
    results = empty(len(close))
    before = close[:-1]
    results[1:] = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    return results


def atr(ranges: Floats) -> Floats:
    """Average the true range.

    Formula: `atr_value = (atr before · 13 + true range) / 14`.
    Seed: the mean of the first 14 true ranges, the first of which is the second bar's.
    First bar: 15.
    Source: Wilder (1978), section III.
    """
    results = empty(len(ranges))
    results[1:] = _average(ranges[1:])
    return results


def atr_percent(average: Floats, price: Floats) -> Floats:
    """Measure the average true range in percent of the close.

    Formula: `atr_percent = atr_value / close · 100`; NULL where the close is not above zero.
    First bar: 15.
    Source: Forman, Stocks & Commodities (May 2006), as normalized ATR.
    """
    return average / price * 100


def distances(close: Floats, average: Floats, found: Mapping[str, Floats]) -> dict[str, Floats]:
    """Measure how far the close is from an average, in average true ranges.

    Formula: `atr_distance = (close - sma_50) / atr_value`; `atr_dist_emaN = (close - ema_N) / atr_value`; NULL while
    nothing moved.
    First bar: 50 for atr_distance; 15, 21, 200 for N of 8, 21, 200.
    Source: our own.
    """
    divisor = positive(average)
    names = {"atr_distance": "sma_50"} | {f"atr_dist_ema{n}": f"ema_{n}" for n in DISTANCES}
    return {name: (close - found[mean]) / divisor for name, mean in names.items()}


def adx(high: Floats, low: Floats, ranges: Floats, average: Floats) -> dict[str, Floats]:
    """Compare movement upwards with movement downwards, and average how one-sided it is.

    Formula: +DM is the rise of the high where it is above zero and above the fall of the low, else 0; -DM the
    reverse. `plus_di` = +DM / true range · 100 and `minus_di` = -DM / true range · 100, each a Wilder sum of 14;
    DX = |plus_di - minus_di| / (plus_di + minus_di) · 100, 0 where both are 0; `adx` is its Wilder average of 14.
    NULL while the true range is zero.
    Seed: the sums of the first 14; the mean of the first 14 DX.
    First bar: 15 for plus_di and minus_di, 28 for adx.
    Source: Wilder (1978), section IV.
    """
    total = len(high)
    names = ("adx", "plus_di", "minus_di")
    if total <= LENGTH:
        return {name: empty(total) for name in names}
    up, down = high[1:] - high[:-1], low[:-1] - low[1:]
    # Only the greater of the two counts; the product with a flag keeps NaN as it is.
    tolerance = margin(high[1:])
    plus = np.maximum(up, 0) * (up > down + tolerance)
    minus = np.maximum(down, 0) * (down > up + tolerance)
    if np.isnan(average[LENGTH:]).any():  # holes: all three averages begin again at the same bar
        unknown = np.isnan(up) | np.isnan(down) | np.isnan(ranges[1:])
        plus[unknown] = minus[unknown] = np.nan
        average = empty(total)
        average[1:] = _average(np.where(unknown, np.nan, ranges[1:]))
    # Averages are sums divided by 14, and so is what they are divided by.
    divisor = positive(average[1:]) / 100
    di_plus, di_minus = _average(plus) / divisor, _average(minus) / divisor
    both = di_plus + di_minus
    dx = np.where(both == 0, 0, np.abs(di_plus - di_minus) / both * 100)
    results = {name: empty(total) for name in names}
    results["plus_di"][1:], results["minus_di"][1:] = di_plus, di_minus
    results["adx"][LENGTH:] = _average(dx[LENGTH - 1 :])
    return results
