"""All indicators of one symbol: on each bar, or on the last one only.

Both go the same way. What never forgets (exponential and Wilder averages, setups, pivots, weeks) is
computed over the whole history; what looks at a window, for the last bar over the last window only. That
gives the same bits, because a window's steps do not depend on what came before it (`windows.py`).
"""

import math
from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from market.indicators import (
    averages,
    demark,
    gaps,
    performance,
    pivots,
    ranges,
    volatility,
    weekly,
    wilder,
    windows,
)
from market.indicators.bars import Bars, Flags, Floats, Integers, positive
from market.indicators.columns import BOOLEAN, COLUMNS, INTEGER

Values = NDArray[Any]

# The longest look back is to the close before the year, which has at most 366 bars.
_TAIL = 367

_INTEGERS = frozenset(name for name, column in COLUMNS.items() if column.type == INTEGER)
_LABELS: Mapping[str, Values] = {
    name: np.array(labels, dtype=object)
    for name, labels in {
        "ma_aligned": (False, True, None),
        "ma_bucket": averages.BUCKETS,
        "stage_label": weekly.STAGES,
        "volatility_level": volatility.LEVELS,
        "volatility_trend": volatility.TRENDS,
        **dict.fromkeys(
            (
                name
                for name, column in COLUMNS.items()
                if name.startswith("td_") and column.type == BOOLEAN
            ),
            (False, True, None),
        ),
    }.items()
}


def series(bars: Bars, benchmark: Bars | None = None) -> dict[str, Values]:
    """Compute each indicator on each bar.

    Numbers are float64, NaN where they are unknown; flags and labels are objects, None where they are unknown.
    """
    chosen = _known(bars)
    found = _computed(chosen, _known(benchmark), last=False)
    results = {
        name: _LABELS[name][found[name]] if name in _LABELS else found[name] for name in COLUMNS
    }
    if chosen is bars:
        return results
    known = np.isfinite(bars.close)
    return {name: _spread(values, known) for name, values in results.items()}


def latest(bars: Bars, benchmark: Bars | None = None) -> dict[str, float | int | bool | str | None]:
    """Compute each indicator on the last bar: what `series` has there, and None for NaN.

    Without bars, or with a last bar without a close, everything is None.
    """
    if not len(bars.close) or not np.isfinite(bars.close[-1]):
        return dict.fromkeys(COLUMNS)
    found = _computed(_known(bars), _known(benchmark), last=True)
    return {name: _plain(name, found[name][-1]) for name in COLUMNS}


@overload
def _known(bars: Bars) -> Bars: ...
@overload
def _known(bars: None) -> None: ...
def _known(bars: Bars | None) -> Bars | None:
    """Return the bars that have a close."""
    if bars is None:
        return None
    known = np.isfinite(bars.close)
    return bars if known.all() else bars.where(known)


def _plain(name: str, value: Any) -> float | int | bool | str | None:
    if name in _LABELS:
        label: bool | str | None = _LABELS[name][value]
        return label
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if name in _INTEGERS else number


def _spread(values: Values, known: Flags) -> Values:
    """Put the values of bars with a close among all bars."""
    spread = np.full(len(known), None if values.dtype == object else np.nan, dtype=values.dtype)
    spread[known] = values
    return spread


def _computed(bars: Bars, benchmark: Bars | None, *, last: bool) -> dict[str, Values]:
    """Compute every column, as numbers or as places in its labels; the last value of each is the last bar's."""
    if not len(bars.close):
        return {
            name: np.empty(0, dtype=np.int64 if name in _LABELS else np.float64) for name in COLUMNS
        }
    with np.errstate(all="ignore"):
        found = _whole(bars, benchmark, last=last)
        if last and len(bars.close) > _TAIL:
            bars = Bars(*(each[-_TAIL:] for each in bars))
            found = {name: values[-_TAIL:] for name, values in found.items()}
        return found | _windowed(bars, found)


def _whole(bars: Bars, benchmark: Bars | None, *, last: bool) -> dict[str, Values]:
    """Compute what depends on the whole history."""
    _, _, high, low, close, _ = bars
    moved = wilder.true_range(high, low, close)
    average = wilder.atr(moved)
    found: dict[str, Values] = {"rsi": wilder.rsi(close), "atr_value": average}
    found["atr_percent"] = percent = wilder.atr_percent(average, positive(close))
    found["volatility_percentile"] = volatility.percentile(percent, last=last)
    found |= averages.ema(close) | averages.macd(close)
    found |= wilder.adx(high, low, moved, average)
    found |= _demark(high, low, close, last=last)
    tops = windows.highest(high, (pivots.SIDE,))[pivots.SIDE]
    bottoms = windows.lowest(low, (pivots.SIDE,))[pivots.SIDE]
    found |= pivots.trends(high, low, tops, bottoms)
    values, found["stage_label"] = weekly.stages(bars, benchmark)
    return found | values


def _demark(high: Floats, low: Floats, close: Floats, *, last: bool) -> dict[str, Values]:
    """Compute both sides of TD Sequential; unknown on the first bars."""
    buy, sell = demark.setups(close)
    bought, sold = buy.complete, sell.complete
    # The newest setup of a side begins its countdown anew, whatever came before it.
    newest = slice(-1 if last else 0, None)
    numbers: dict[str, Integers] = {
        "td_buy_setup": buy.counts,
        "td_sell_setup": sell.counts,
        "td_buy_countdown": demark.countdown(high, low, close, bought[newest], sold),
        "td_sell_countdown": demark.countdown(-low, -high, -close, sold[newest], bought),
    }
    flags: dict[str, Flags] = {
        "td_buy_complete": buy.counts == demark.SETUP,
        "td_sell_complete": sell.counts == demark.SETUP,
        "td_perfect_buy": demark.perfect(low, bought),
        "td_perfect_sell": demark.perfect(-high, sold),
    }
    found: dict[str, Values] = {}
    for name, counts in numbers.items():
        found[name] = counts.astype(np.float64)
        found[name][: demark.FIRST] = np.nan
    for name, each in flags.items():
        found[name] = each.astype(np.int8)
        found[name][: demark.FIRST] = -1
    return found


def _windowed(bars: Bars, found: Mapping[str, Values]) -> dict[str, Values]:
    """Compute what depends on the bars of a window, and on what `_whole` found for them."""
    dates, _, high, low, close, _ = bars
    price = positive(close)
    means = averages.sma(close)
    all_means = {**found, **means}
    spans = ranges.WINDOWS.values()
    return {
        **means,
        **averages.percent_distances(close, found),
        **wilder.distances(close, found["atr_value"], all_means),
        **performance.over_bars(close, price),
        **performance.since_period(dates, close, price),
        **ranges.positions(close, windows.highest(high, spans), windows.lowest(low, spans)),
        "ma_aligned": averages.aligned(all_means),
        "ma_bucket": averages.bucket(close, means),
        **gaps.unfilled(high, low),
        "volatility_level": volatility.level(found["volatility_percentile"]),
        "volatility_trend": volatility.trend(found["atr_percent"]),
    }
