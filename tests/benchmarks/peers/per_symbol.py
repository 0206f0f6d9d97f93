"""A symbol's indicators by TA-Lib and by plain pandas, each the set that it has."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import talib

from market.indicators import Bars


def with_talib(bars: Bars) -> dict[str, Any]:
    """One call for each column: averages, RSI, ATR, directional movement, MACD, changes, extremes."""
    high, low, close = bars.high, bars.low, bars.close
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    found = {f"sma_{n}": talib.SMA(close, n) for n in (5, 8, 10, 14, 20, 21, 50, 100, 150, 200)}
    found |= {f"ema_{n}": talib.EMA(close, n) for n in (8, 10, 21, 200)}
    found |= {f"perf_{n}d": talib.ROC(close, n) for n in (1, 3, 5, 20, 60, 120, 252)}
    found |= {f"highest_{n}": talib.MAX(high, n) for n in (20, 50, 252)}
    found |= {f"lowest_{n}": talib.MIN(low, n) for n in (20, 50, 252)}
    return found | {
        "rsi": talib.RSI(close, 14),
        "atr_value": talib.ATR(high, low, close, 14),
        "atr_percent": talib.NATR(high, low, close, 14),
        "adx": talib.ADX(high, low, close, 14),
        "plus_di": talib.PLUS_DI(high, low, close, 14),
        "minus_di": talib.MINUS_DI(high, low, close, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": histogram,
    }


def _average(values: pd.Series, length: int, k: float) -> pd.Series:
    """Seeded by a mean: pandas' ewm begins with a first value, so the mean is put there."""
    known = values.dropna()
    seeded = known.iloc[length - 1 :].copy()
    seeded.iloc[0] = known.iloc[:length].mean()
    return seeded.ewm(alpha=k, adjust=False).mean().reindex(values.index)


def with_pandas(bars: Bars) -> Mapping[str, Any]:
    """The same columns with rolling, ewm, groupby and resample; setups, gaps and pivots in loops.

    Gaps and pivots for the last bar only, which is in its favour; no countdown and no stage.
    """
    frame = pd.DataFrame(
        {"high": bars.high, "low": bars.low, "close": bars.close},
        index=pd.DatetimeIndex(bars.dates),
    )
    high, low, close = frame["high"], frame["low"], frame["close"]
    found: dict[str, pd.Series] = {}
    for n in (5, 8, 10, 14, 20, 21, 50, 100, 150, 200):
        found[f"sma_{n}"] = close.rolling(n).mean()
    for n in (8, 10, 12, 21, 26, 200):
        found[f"ema_{n}"] = _average(close, n, 2 / (n + 1))
    found["macd"] = found["ema_12"] - found["ema_26"]
    found["macd_signal"] = _average(found["macd"], 9, 2 / 10)
    found["macd_histogram"] = found["macd"] - found["macd_signal"]
    change = close.diff()
    gain = _average(change.clip(lower=0), 14, 1 / 14)
    loss = _average(-change.clip(upper=0), 14, 1 / 14)
    found["rsi"] = 100 * gain / (gain + loss)
    before = close.shift()
    sides = pd.concat([high - low, (high - before).abs(), (low - before).abs()], axis=1)
    atr = found["atr_value"] = _average(sides.max(axis=1).iloc[1:].reindex(close.index), 14, 1 / 14)
    found["atr_percent"] = atr / close * 100
    found["atr_distance"] = (close - found["sma_50"]) / atr
    up, down = high.diff(), -low.diff()
    plus = _average(up.where((up > down) & (up > 0), 0.0).iloc[1:].reindex(close.index), 14, 1 / 14)
    minus = _average(
        down.where((down > up) & (down > 0), 0.0).iloc[1:].reindex(close.index), 14, 1 / 14
    )
    found["plus_di"], found["minus_di"] = 100 * plus / atr, 100 * minus / atr
    both = found["plus_di"] + found["minus_di"]
    found["adx"] = _average((found["plus_di"] - found["minus_di"]).abs() / both * 100, 14, 1 / 14)
    for n in (1, 3, 5, 20, 60, 120, 252):
        found[f"perf_{n}d"] = close.pct_change(n) * 100
    index = pd.DatetimeIndex(close.index)
    for name, period in (("mtd", "M"), ("qtd", "Q"), ("ytd", "Y")):
        last = close.groupby(index.to_period(period)).last().shift()
        found[f"perf_{name}"] = (close / last.reindex(index.to_period(period)).to_numpy() - 1) * 100
    for n in (8, 21, 200):
        found[f"pct_dist_ema{n}"] = (close / found[f"ema_{n}"] - 1) * 100
        found[f"atr_dist_ema{n}"] = (close - found[f"ema_{n}"]) / atr
    for name, n in (("20d", 20), ("50d", 50), ("52w", 252)):
        bottom, top = low.rolling(n).min(), high.rolling(n).max()
        found[f"range_pos_{name}"] = (close - bottom) / (top - bottom) * 100
    found["volatility_percentile"] = found["atr_percent"].rolling(252).rank(pct=True) * 100
    found["volatility_trend"] = found["atr_percent"].rolling(5).mean() / found[
        "atr_percent"
    ].rolling(10).mean().shift(10)
    averages = pd.DataFrame(
        {"close": close} | {f"{n}": found[f"sma_{n}"] for n in (5, 8, 21, 50, 100, 200)}
    )
    found["ma_bucket"] = averages.apply(_bucket, axis=1)
    buy, sell = _setups(close)
    return {name: values.to_numpy() for name, values in found.items()} | {
        "td_buy_setup": buy,
        "td_sell_setup": sell,
        "gaps_unfilled_up": _gaps(high, low),
        "gaps_unfilled_down": _gaps(-low, -high),
        "trend_up_count": _pivots(low),
        "trend_down_count": _pivots(-high),
        "weekly": close.resample("W-FRI").last().rolling(30).mean(),
    }


def _bucket(row: pd.Series) -> str:
    values = list(row)
    if any(pd.isna(value) for value in values):
        return "UNKNOWN"
    pairs = list(pairwise(values))
    return (
        "LEADING"
        if all(a > b for a, b in pairs)
        else "LAGGING"
        if all(a < b for a, b in pairs)
        else "NEUTRAL"
    )


def _setups(close: pd.Series) -> tuple[Any, Any]:
    buy, sell = np.zeros(len(close)), np.zeros(len(close))
    for i in range(5, len(close)):
        now, four, before, five = (
            close.iloc[i],
            close.iloc[i - 4],
            close.iloc[i - 1],
            close.iloc[i - 5],
        )
        if now < four and (before > five or buy[i - 1]):
            buy[i] = buy[i - 1] + 1 if buy[i - 1] < 9 else 0
        if now > four and (before < five or sell[i - 1]):
            sell[i] = sell[i - 1] + 1 if sell[i - 1] < 9 else 0
    return buy, sell


def _gaps(high: pd.Series, low: pd.Series) -> Any:
    count = 0
    for i in range(len(low) - 120, len(low)):
        before = high.iloc[i - 1]
        if low.iloc[i] - before >= 0.005 * abs(before) and not (low.iloc[i + 1 :] <= before).any():
            count += 1
    return np.array([count])


def _pivots(low: pd.Series) -> Any:
    places = [i for i in range(20, len(low) - 20) if low.iloc[i] == low.iloc[i - 20 : i + 21].min()]
    values = [low.iloc[i] for i in places]
    followed = [any(x > values[i] for x in values[i + 1 : i + 6]) for i in range(len(values) - 1)]
    return np.array([sum(followed[-3:])])
