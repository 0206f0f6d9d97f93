"""Where the close stands between the lowest low and the highest high."""

from market.indicators.bars import Floats, positive

WINDOWS = {"range_pos_20d": 20, "range_pos_50d": 50, "range_pos_52w": 252}


def positions(
    close: Floats, tops: dict[int, Floats], bottoms: dict[int, Floats]
) -> dict[str, Floats]:
    """Place the close between the extremes of the last N bars, in percent.

    Formula: `(close - lowest low) / (highest high - lowest low) · 100`; 52 weeks are 252 bars. NULL while the
    window holds an unknown high or low, or while all of it is one price.
    First bar: 20, 50, 252.
    Source: Lane's %K (1984) over other windows.
    """
    results = {}
    for name, length in WINDOWS.items():
        low = bottoms[length]
        results[name] = (close - low) / positive(tops[length] - low) * 100
    return results
