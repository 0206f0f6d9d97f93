"""Bars made by hand: from closes, from whole bars, and random ones whose prices are cents."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.indicators import Bars

MONDAY = dt.date(2024, 1, 1)


def weekdays(number: int, first: dt.date = MONDAY) -> NDArray[Any]:
    """Dates from a Monday to Friday on, without weekends."""
    return np.busday_offset(np.datetime64(first, "D"), np.arange(number), roll="forward")


def every_day(number: int, first: dt.date = MONDAY) -> NDArray[Any]:
    return np.datetime64(first, "D") + np.arange(number)


def bars(
    close: Sequence[float],
    *,
    high: Sequence[float] | None = None,
    low: Sequence[float] | None = None,
    dates: NDArray[Any] | None = None,
) -> Bars:
    """Bars of one symbol; without high or low each bar is its close."""
    closes = np.array(close, dtype=np.float64)
    highs = closes.copy() if high is None else np.array(high, dtype=np.float64)
    lows = closes.copy() if low is None else np.array(low, dtype=np.float64)
    days = weekdays(len(closes)) if dates is None else dates
    return Bars(days, closes.copy(), highs, lows, closes, np.full(len(closes), 1000.0))


def walk(seed: int, number: int, dates: NDArray[Any] | None = None) -> Bars:
    """A random walk in cents, with equal closes, gaps and bars of one price among it."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 0.02, number) * random.choice([0, 1], number, p=[0.1, 0.9])
    close = np.round(50 * np.exp(np.cumsum(steps)), 2)
    width = np.abs(random.normal(0, 0.008, (2, number))) * random.choice(
        [0, 1], number, p=[0.1, 0.9]
    )
    high = np.round(close * (1 + width[0]), 2)
    low = np.round(close * (1 - width[1]), 2)
    days = weekdays(number) if dates is None else dates
    return Bars(
        days,
        np.clip(np.append(close[:1], close[:-1]), low, high),
        high,
        low,
        close,
        np.ones(number),
    )
