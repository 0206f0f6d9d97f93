"""The patterns of plain.py: TD Sequential, gaps, pivots, weeks, volatility; loops over bars."""

import datetime as dt
import math
from typing import Any

from tests.market.indicators.plain_numbers import Values, above, divided, mean, near, percent, sma


def setups(close: list[float], direction: int) -> list[int | None]:
    """Counts of buy setups; with a direction of -1, of sell setups."""
    results: list[int | None] = [None] * min(len(close), 5)
    side = [0] * 4 + [
        above(close[i - 4], close[i]) - above(close[i], close[i - 4]) for i in range(4, len(close))
    ]
    count = 0
    for i in range(5, len(close)):
        if side[i] != direction:
            count = 0
        elif side[i - 1] == -direction:
            count = 1
        elif count:
            count = count + 1 if count < 9 else 0
        results.append(count)
    return results


def sequential(
    high: list[float],
    low: list[float],
    close: list[float],
    mine: list[int | None],
    other: list[int | None],
) -> tuple[list[bool | None], list[int | None]]:
    """Perfection and countdown of buy setups."""
    perfect: list[bool | None] = [None] * min(len(close), 5)
    shown: list[int | None] = perfect[:]  # type: ignore[assignment]
    count, active, eighth, roof = 0, False, math.nan, math.inf
    for i in range(5, len(close)):
        perfect.append(
            mine[i] == 9 and not above(min(low[i], low[i - 1]), min(low[i - 2], low[i - 3]))
        )
        if mine[i] == 9:
            count, active, eighth = 0, True, math.nan
            roof = max(max(high[j], close[j - 1]) for j in range(i - 8, i + 1))
        elif other[i] == 9 or (active and above(min(low[i], close[i - 1]), roof)):
            active = False
        now = 0
        if active:
            if not above(close[i], low[i - 2]):
                count += 1
                if count == 8:
                    eighth = close[i]
                if count >= 13 and not above(low[i], eighth):
                    now, active = 13, False
            if active:
                now = min(count, 12)
        shown.append(now)
    return perfect, shown


def gaps_up(high: list[float], low: list[float], sign: int) -> list[int | None]:
    results: list[int | None] = [None] * min(len(low), 120)
    for i in range(120, len(low)):
        count = 0
        for j in range(i - 119, i + 1):
            edge = high[j - 1] * (1 + sign * 0.005)
            is_gap = low[j] > high[j - 1] and not above(edge, low[j])
            count += is_gap and not any(not above(low[k], high[j - 1]) for k in range(j + 1, i + 1))
        results.append(count)
    return results


def rising_lows(low: list[float]) -> list[int | None]:
    results: list[int | None] = [None] * min(len(low), 40)
    for i in range(40, len(low)):
        pivots = [
            low[j]
            for j in range(20, i - 19)
            if all(above(x, low[j]) for x in low[j - 20 : j])
            and not any(above(low[j], x) for x in low[j + 1 : j + 21])
        ]
        followed = [
            any(above(x, pivots[j]) for x in pivots[j + 1 : j + 6]) for j in range(len(pivots) - 1)
        ]
        results.append(sum(followed[-3:]))
    return results


def finished_weeks(dates: list[dt.date], until: dt.date) -> dict[dt.date, int]:
    """The Friday of each week that a bar until then has finished, with its last bar."""
    weeks: dict[dt.date, int] = {}
    seen = [date for date in dates if date <= until]
    for i, date in enumerate(seen):
        weeks[date + dt.timedelta((4 - date.weekday()) % 7)] = i
    return {friday: i for friday, i in weeks.items() if seen[-1] >= friday}


def weekly(
    dates: list[dt.date], close: list[float], others: list[dt.date] | None, benchmark: list[float]
) -> tuple[list[str], dict[str, Values]]:
    labels = []
    values: dict[str, Values] = {
        "stage_slope_pct": [],
        "stage_dist_pct": [],
        "rs_mansfield_pct": [],
    }
    for date in dates:
        own = finished_weeks(dates, date)
        theirs = None if others is None else finished_weeks(others, date)
        fridays = [friday for friday in own if theirs is None or friday in theirs]
        closes = [close[own[friday]] for friday in fridays]
        strength = [] if theirs is None else [close[own[f]] / benchmark[theirs[f]] for f in fridays]
        average = sma(closes, 30)
        now = average[-1] if average else None
        values["stage_dist_pct"].append(percent(closes[-1], now) if now else None)
        values["stage_slope_pct"].append(percent(now, average[-6]) if len(average) >= 35 else None)
        year = mean(strength[-52:]) if len(strength) >= 52 else None
        values["rs_mansfield_pct"].append(percent(strength[-1], year) if year else None)
        if len(strength) < 40:
            labels.append("UNKNOWN")
            continue
        sma_now, sma_then = average[-1], average[-11]
        assert sma_now is not None and sma_then is not None  # noqa: PT018 - for the type checker
        ups = (
            above(closes[-1], sma_now),
            above(sma_now, sma_then),
            above(strength[-1], strength[-11]),
        )
        downs = (
            above(sma_now, closes[-1]),
            above(sma_then, sma_now),
            above(strength[-11], strength[-1]),
        )
        is_flat = abs(sma_now - sma_then) / 10 <= 0.0001 * sma_now
        is_near = abs(closes[-1] - sma_now) <= 0.03 * sma_now
        labels.append(
            "2" if all(ups) else "4" if all(downs) else "1" if is_flat and is_near else "3"
        )
    return labels, values


def volatility(atr_percent: Values) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = {"percentile": [], "level": [], "trend": []}
    for i in range(len(atr_percent)):
        year = [x for x in atr_percent[max(0, i - 251) : i + 1] if x is not None]
        rank = None
        if len(year) == 252:
            below = sum(above(year[-1], x) for x in year)
            same = sum(near(x, year[-1]) for x in year)
            rank = (below + (same + 1) / 2) / 252 * 100
        result["percentile"].append(rank)
        levels = ("LOW", 25), ("MEDIUM", 75), ("HIGH", 90), ("EXTREME", math.inf)
        result["level"].append(
            None if rank is None else next(w for w, top in levels if rank <= top)
        )
        month = [x for x in atr_percent[max(0, i - 19) : i + 1] if x is not None]
        change = divided(mean(month[-5:]), mean(month[:10])) if len(month) == 20 else None
        result["trend"].append(
            None
            if change is None
            else "EXPANDING"
            if change > 1.15
            else "CONTRACTING"
            if change < 0.85
            else "STABLE"
        )
    return result
