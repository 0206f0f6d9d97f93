"""How much the close changed: over so many bars, and since a month, a quarter or a year began."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.indicators.bars import Floats, empty, lengths

BARS = (1, 3, 5, 20, 60, 120, 252)
PERIODS = {"perf_mtd": 1, "perf_qtd": 3, "perf_ytd": 12}  # months


def over_bars(close: Floats, price: Floats) -> dict[str, Floats]:
    """Measure the change of the close over N bars, in percent.

    Formula: `perf_Nd = (close / close N bars before - 1) · 100`; NULL where that is not above zero. N counts
    bars, which are sessions: a halt or a holiday is not a bar.
    First bar: N + 1.
    Source: Murphy (1999), ch. 10: rate of change.
    """
    total = len(close)
    results = {}
    for bars in BARS:
        result = results[f"perf_{bars}d"] = empty(total)
        if total > bars:
            result[bars:] = (close[bars:] / price[: total - bars] - 1) * 100
    return results


def _begins(dates: NDArray[Any], months: int) -> NDArray[np.int64]:
    """Return the first bar of each calendar period of so many months, from the first bar's on."""
    first, last = dates[[0, -1]].astype("datetime64[M]").astype(np.int64)
    starts = np.arange(first // months * months, last + 1, months).astype("datetime64[M]")
    return np.searchsorted(dates, starts.astype(dates.dtype))


def since_period(dates: NDArray[Any], close: Floats, price: Floats) -> dict[str, Floats]:
    """Measure the change of the close since the last one before the period began, in percent.

    Formula: `(close / last close before the first day of the bar's month, quarter or year - 1) · 100`, for
    `perf_mtd`, `perf_qtd`, `perf_ytd`; NULL where that close is not above zero, or before all bars.
    First bar: the first one of the second month, quarter or year.
    Source: our own.
    """
    results = {}
    for name, months in PERIODS.items():
        begins = _begins(dates, months)
        # The first period has no bar before it, and so no base.
        bases = np.full(len(begins), np.nan)
        bases[1:] = price[begins[1:] - 1]
        results[name] = (close / np.repeat(bases, lengths(begins, len(dates))) - 1) * 100
    return results
