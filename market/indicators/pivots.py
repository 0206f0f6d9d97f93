"""Trend lines as pivots show them: lows that a higher low follows, highs that a lower high follows."""

import numpy as np

from market.indicators.bars import Floats, empty, lengths, margin

SIDE = 20  # bars on either side of a pivot
PIVOTS = 3


def _counts(values: Floats, lowest: Floats) -> Floats:
    """Count the newest pivot lows that a higher one follows; `lowest` is of the last SIDE bars.

    With prices negated the lows are highs, and higher is lower.
    """
    total, width = len(values), 2 * SIDE + 1
    counts = empty(total)
    if total < width:
        return counts
    middle = values[SIDE:-SIDE]
    # Of equal lows the first is the pivot. NaN compares as false: what is unknown makes no pivot.
    tolerance = margin(middle)
    is_pivot = (middle < lowest[SIDE - 1 : -SIDE - 1] - tolerance) & (
        middle <= lowest[2 * SIDE :] + tolerance
    )
    places = np.flatnonzero(is_pivot) + SIDE
    found = values[places]
    # answers[k]: the count while k pivots are known. Three pivots never have more than five after them.
    answers = np.zeros(len(places) + 1)
    higher = np.full(len(places), -np.inf)
    for back in range(1, PIVOTS + 1):
        if len(found) > back:
            higher = np.maximum(higher[: len(found) - back], found[back:])
            answers[back + 1 :] += higher > (found + margin(found))[:-back]
    known = np.append(width - 1, places + SIDE)
    counts[width - 1 :] = np.repeat(answers, lengths(known, total))
    return counts


def trends(high: Floats, low: Floats, top: Floats, bottom: Floats) -> dict[str, Floats]:
    """Count the newest pivots that a later pivot confirms as a trend line.

    Formula: a pivot low is a low below those of the 20 bars before it and not above those of the 20 after it, so
    it is known 20 bars later. Of the newest three pivot lows that have a later one, `trend_up_count` counts those
    with a higher low among the next five. `trend_down_count` does the same with highs and lower highs. A pivot
    needs all of its 41 bars known.
    First bar: 41.
    Source: our own, after the trend lines of TradingView's pivots.

    `top` and `bottom` are the highest high and the lowest low of the last 20 bars.
    """
    return {"trend_up_count": _counts(low, bottom), "trend_down_count": _counts(-high, -top)}
