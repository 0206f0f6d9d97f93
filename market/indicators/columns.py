"""The columns that are computed: their SQL types, and the first bar that can have a value.

The snapshot tables and docs/indicators.md are made from this; what a
column means is in the docstring of the function that computes it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
)

DOUBLE, INTEGER, BOOLEAN, TEXT = "double precision", "integer", "boolean", "text"


class Column(NamedTuple):
    """A column's SQL type and its first bar, counted from 1; weeks where `weekly` is set."""

    type: str
    first: int
    weekly: bool = False


class Family(NamedTuple):
    """Columns that belong together, and the functions whose docstrings say what they are."""

    title: str
    functions: tuple[Callable[..., Any], ...]
    columns: Mapping[str, Column]


def _double(firsts: Mapping[str, int]) -> dict[str, Column]:
    return {name: Column(DOUBLE, first) for name, first in firsts.items()}


FAMILIES = (
    Family(
        "Simple moving averages", (averages.sma,), _double({f"sma_{n}": n for n in averages.SMA})
    ),
    Family("Exponential averages", (averages.ema,), _double({f"ema_{n}": n for n in averages.EMA})),
    Family("RSI", (wilder.rsi,), _double({"rsi": 15})),
    Family(
        "Average true range",
        (wilder.true_range, wilder.atr, wilder.atr_percent, wilder.distances),
        _double({"atr_value": 15, "atr_percent": 15, "atr_distance": 50}),
    ),
    Family(
        "Directional movement",
        (wilder.adx,),
        _double({"adx": 28, "plus_di": 15, "minus_di": 15}),
    ),
    Family(
        "MACD", (averages.macd,), _double({"macd": 26, "macd_signal": 34, "macd_histogram": 34})
    ),
    Family(
        "Performance over bars",
        (performance.over_bars,),
        _double({f"perf_{n}d": n + 1 for n in performance.BARS}),
    ),
    Family(
        "Performance since a period began",
        (performance.since_period,),
        _double(dict.fromkeys(performance.PERIODS, 2)),
    ),
    Family(
        "Distance from an average",
        (averages.percent_distances,),
        _double(
            {f"pct_dist_ema{n}": n for n in averages.DISTANCES}
            | {f"atr_dist_ema{n}": max(n, 15) for n in averages.DISTANCES}
        ),
    ),
    Family("Place in the range", (ranges.positions,), _double(ranges.WINDOWS)),
    Family(
        "Order of the averages",
        (averages.aligned, averages.bucket),
        {"ma_aligned": Column(BOOLEAN, 200), "ma_bucket": Column(TEXT, 1)},
    ),
    Family(
        "TD Sequential",
        (demark.setups, demark.perfect, demark.countdown),
        {
            "td_buy_setup": Column(INTEGER, 6),
            "td_sell_setup": Column(INTEGER, 6),
            "td_buy_complete": Column(BOOLEAN, 6),
            "td_sell_complete": Column(BOOLEAN, 6),
            "td_perfect_buy": Column(BOOLEAN, 6),
            "td_perfect_sell": Column(BOOLEAN, 6),
            "td_buy_countdown": Column(INTEGER, 6),
            "td_sell_countdown": Column(INTEGER, 6),
        },
    ),
    Family(
        "Gaps",
        (gaps.unfilled,),
        {"gaps_unfilled_up": Column(INTEGER, 121), "gaps_unfilled_down": Column(INTEGER, 121)},
    ),
    Family(
        "Trend lines",
        (pivots.trends,),
        {"trend_up_count": Column(INTEGER, 41), "trend_down_count": Column(INTEGER, 41)},
    ),
    Family(
        "Stages",
        (weekly.stage, weekly.slope_and_distance, weekly.mansfield),
        {
            "stage_label": Column(TEXT, 1),
            "stage_slope_pct": Column(DOUBLE, 35, weekly=True),
            "stage_dist_pct": Column(DOUBLE, 30, weekly=True),
            "rs_mansfield_pct": Column(DOUBLE, 52, weekly=True),
        },
    ),
    Family(
        "Volatility",
        (volatility.percentile, volatility.level, volatility.trend),
        {
            "volatility_level": Column(TEXT, 266),
            "volatility_percentile": Column(DOUBLE, 266),
            "volatility_trend": Column(TEXT, 34),
        },
    ),
)

COLUMNS: Mapping[str, Column] = {
    name: column for family in FAMILIES for name, column in family.columns.items()
}
