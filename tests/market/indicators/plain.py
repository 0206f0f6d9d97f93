"""Every column once more, as its definition reads: loops over bars, nothing shared with the product.

Slow on purpose. A list of one value a bar, None where it is unknown. Bars have all of their prices.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from market.indicators import Bars
from tests.market.indicators.plain_numbers import Value, Values, above, divided, mean, percent, sma
from tests.market.indicators.plain_patterns import (
    gaps_up,
    rising_lows,
    sequential,
    setups,
    volatility,
    weekly,
)


def smoothed(values: Sequence[Value], n: int, k: float) -> Values:
    """Exponential average; unknown values at the beginning only."""
    first = next((i for i, value in enumerate(values) if value is not None), len(values))
    known = [value for value in values[first:] if value is not None]
    results: Values = [None] * len(values)
    for i in range(n - 1, len(known)):
        before = results[first + i - 1] if i >= n else None
        results[first + i] = mean(known[:n]) if before is None else known[i] * k + before * (1 - k)
    return results


def ema(values: Sequence[Value], n: int) -> Values:
    return smoothed(values, n, 2 / (n + 1))


def minus(a: Sequence[Value], b: Sequence[Value]) -> Values:
    return [None if x is None or y is None else x - y for x, y in zip(a, b, strict=True)]


def quotient(a: Sequence[Value], b: Sequence[Value], factor: float = 1) -> Values:
    ratios = [divided(x, y) for x, y in zip(a, b, strict=True)]
    return [None if ratio is None else ratio * factor for ratio in ratios]


def wilder(values: Sequence[Value]) -> Values:
    return smoothed(values, 14, 1 / 14)


def rsi(close: list[float]) -> Values:
    changes = [b - a for a, b in pairwise(close)]
    first: Values = [None] * min(len(close), 1)
    gains = wilder([*first, *(max(x, 0) for x in changes)])
    losses = wilder([*first, *(max(-x, 0) for x in changes)])
    return [
        None if up is None or down is None else 50 if up + down == 0 else 100 * up / (up + down)
        for up, down in zip(gains, losses, strict=True)
    ]


def directional(high: list[float], low: list[float], close: list[float]) -> dict[str, Values]:
    n = len(close)
    ranges: Values = [None] * min(n, 1)
    plus, negative = ranges[:], ranges[:]
    for i in range(1, n):
        ranges.append(max(high[i], close[i - 1]) - min(low[i], close[i - 1]))
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        is_tie = abs(up - down) <= 1e-12 * high[i]
        plus.append(up if up > down and up > 0 and not is_tie else 0.0)
        negative.append(down if down > up and down > 0 and not is_tie else 0.0)
    atr = wilder(ranges)
    di_plus, di_minus = quotient(wilder(plus), atr, 100), quotient(wilder(negative), atr, 100)
    dx: Values = []
    for a, b in zip(di_plus, di_minus, strict=True):
        dx.append(
            None if a is None or b is None else 0 if a + b == 0 else abs(a - b) / (a + b) * 100
        )
    return {"atr_value": atr, "plus_di": di_plus, "minus_di": di_minus, "adx": wilder(dx)}


def since(dates: list[dt.date], close: list[float], period: Callable[[dt.date], Any]) -> Values:
    results: Values = []
    for i, date in enumerate(dates):
        before = [j for j in range(i) if period(dates[j]) != period(date)]
        results.append(percent(close[i], close[before[-1]]) if before else None)
    return results


def place(close: list[float], high: list[float], low: list[float], n: int) -> Values:
    results: Values = [None] * len(close)
    for i in range(n - 1, len(close)):
        top, bottom = max(high[i - n + 1 : i + 1]), min(low[i - n + 1 : i + 1])
        results[i] = None if top == bottom else (close[i] - bottom) / (top - bottom) * 100
    return results


def series(bars: Bars, benchmark: Bars | None = None) -> dict[str, list[Any]]:
    """Every column."""
    dates: list[dt.date] = bars.dates.tolist()
    high, low, close = bars.high.tolist(), bars.low.tolist(), bars.close.tolist()
    up, down = [-x for x in high], [-x for x in low]
    found: dict[str, list[Any]] = {}
    found |= {f"sma_{n}": sma(close, n) for n in (5, 8, 10, 14, 20, 21, 50, 100, 150, 200)}
    found |= {f"ema_{n}": ema(close, n) for n in (8, 10, 21, 200)}
    found |= directional(high, low, close) | {"rsi": rsi(close)}
    found["atr_percent"] = quotient(found["atr_value"], close, 100)
    found["atr_distance"] = quotient(minus(close, found["sma_50"]), found["atr_value"])
    found["macd"] = minus(ema(close, 12), ema(close, 26))
    found["macd_signal"] = ema(found["macd"], 9)
    found["macd_histogram"] = minus(found["macd"], found["macd_signal"])
    for n in (1, 3, 5, 20, 60, 120, 252):
        base = ([None] * n + close)[: len(close)]
        found[f"perf_{n}d"] = [percent(a, b) for a, b in zip(close, base, strict=True)]
    found["perf_mtd"] = since(dates, close, lambda day: (day.year, day.month))
    found["perf_qtd"] = since(dates, close, lambda day: (day.year, (day.month - 1) // 3))
    found["perf_ytd"] = since(dates, close, lambda day: day.year)
    for n in (8, 21, 200):
        average = found[f"ema_{n}"]
        found[f"pct_dist_ema{n}"] = [percent(a, b) for a, b in zip(close, average, strict=True)]
        found[f"atr_dist_ema{n}"] = quotient(minus(close, average), found["atr_value"])
    for name, n in (("20d", 20), ("50d", 50), ("52w", 252)):
        found[f"range_pos_{name}"] = place(close, high, low, n)
    found["ma_aligned"], found["ma_bucket"] = [], []
    for i in range(len(close)):
        row = [found[name][i] for name in ("ema_10", "sma_20", "sma_50", "sma_100", "sma_200")]
        found["ma_aligned"].append(
            None if None in row else not any(above(b, a) for a, b in pairwise(row))
        )
        row = [close[i], *(found[f"sma_{n}"][i] for n in (5, 8, 21, 50, 100, 200))]
        pairs = list(pairwise(row))
        found["ma_bucket"].append(
            "UNKNOWN" if None in row
            else "LEADING" if all(above(a, b) for a, b in pairs)
            else "LAGGING" if all(above(b, a) for a, b in pairs)
            else "NEUTRAL"
        )  # fmt: skip
    buy, sell = setups(close, 1), setups(close, -1)
    found["td_buy_setup"], found["td_sell_setup"] = buy, sell
    found["td_buy_complete"] = [None if x is None else x == 9 for x in buy]
    found["td_sell_complete"] = [None if x is None else x == 9 for x in sell]
    found["td_perfect_buy"], found["td_buy_countdown"] = sequential(high, low, close, buy, sell)
    found["td_perfect_sell"], found["td_sell_countdown"] = sequential(
        down, up, [-x for x in close], sell, buy
    )
    found["gaps_unfilled_up"] = gaps_up(high, low, 1)
    found["gaps_unfilled_down"] = gaps_up(down, up, -1)
    found["trend_up_count"], found["trend_down_count"] = rising_lows(low), rising_lows(up)
    others = None if benchmark is None else benchmark.dates.tolist()
    closes = [] if benchmark is None else benchmark.close.tolist()
    found["stage_label"], stages = weekly(dates, close, others, closes)
    found |= stages
    found |= {f"volatility_{name}": each for name, each in volatility(found["atr_percent"]).items()}
    return found
