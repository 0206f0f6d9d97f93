"""Adjusted closes and dividends: whether the two agree, and whether the closes believe them.

On an ex-date the adjusted close has to step by the dividend's share of the last close, and on no
other day by anything. A dividend that agrees and is wrong shows in the closes, if it is large, or
beside the other dividends: the same one again within days, or one a hundred times off. What is found
is flagged; no close depends on it, and total return does.
"""

import datetime as dt
import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

from market.prices.ratios import spread
from market.prices.report import Report
from market.prices.units import closes_of
from market.providers.base import Action, Bar

# Providers divide by the last close or by the ex-date's, and round.
_FORMULA = 0.15
_ROUNDING = 3e-4
# Smaller steps on days without a told dividend are rounding of cheap shares.
_LEAST_STEP = 2e-3
# A dividend of this share of the price shows in the close.
_SEEN = 0.1
_SHIFT_SEEN = 0.04
# The same dividend again within so many days; weekly payers have more between two.
_AGAIN = dt.timedelta(days=5)
_AGAIN_RARE = dt.timedelta(days=7)
_SAME = 0.15
_HUNDRED = (67.0, 150.0)
_TINY = 5e-4
_MOST = 500  # a monthly payer has fewer in forty years


class _Day(NamedTuple):
    """A session and what was paid on it, as shares of the last close."""

    n: int
    date: dt.date
    told: float
    step: float | None  # of the adjusted close; None: not known
    move: float


def check_dividends(report: Report, all_actions: Sequence[Action]) -> None:
    """Flag dividends that adjusted closes or closes contradict."""
    bars = report.bars
    told = [action for action in all_actions if action.kind == "dividend"]
    dates = [bar.date for bar in bars]
    if len(bars) < 2 or not told or _usual_gap(dates) > 4:
        return
    days = _days(bars, told)
    usual = spread(closes_of(bars))
    steps = sorted(abs(day.step) for day in days if day.step is not None and not day.told)
    noise = quantiles(steps, n=20)[-1] if len(steps) > 1 else 0.0
    noise = max(noise, _rounding(bars) / 2)
    for day in days:
        words = _disagree(day, noise, usual)
        if words is None and day.told:
            words = _not_believed(day, days, usual)
        if words:
            report.flags.append(f"{day.date}: {words}")
    inside = [action for action in told if dates[0] < action.date <= dates[-1]]
    report.flags += _repeated(inside)
    report.flags += _hundredfold(inside, {day.date: day for day in days})
    report.flags += _all_too_small(days, usual)


def _rounding(bars: Sequence[Bar]) -> float:
    """Return the last decimal of the adjusted closes as a share of the lowest; 0 for many decimals."""
    prices = [bar.adjusted_close for bar in bars if bar.adjusted_close is not None]
    for decimals in range(6):
        if all(abs(round(price, decimals) - price) < 1e-9 for price in prices):
            return 10.0**-decimals / min(prices, default=1.0)
    return 0.0


def _days(bars: Sequence[Bar], told: Sequence[Action]) -> list[_Day]:
    found, at = [], 0
    told = sorted(action for action in told if action.date > bars[0].date)
    for n in range(1, len(bars)):
        before, bar = bars[n - 1], bars[n]
        paid = 0.0
        while at < len(told) and told[at].date <= bar.date:
            paid += told[at].value
            at += 1
        close, last = bar.close or math.nan, before.close or math.nan
        step = None
        if bar.adjusted_close is not None and before.adjusted_close is not None:
            step = 1 - before.adjusted_close / last / (bar.adjusted_close / close)
        found.append(_Day(n, bar.date, paid / last, step, close / last - 1))
    return found


def _disagree(day: _Day, noise: float, usual: float) -> str | None:
    """Say where the adjusted close does not step by the told dividend."""
    if day.step is None:
        return None
    allowed = 3 * noise + _ROUNDING + _FORMULA * day.told
    if abs(day.step - day.told) <= (allowed if day.told else max(allowed, _LEAST_STEP)):
        return None
    # A capital gain that was paid beside the dividend, and is not told, shows in the close.
    closer = abs(day.move + day.told) - abs(day.move + day.step)
    if day.step - day.told > 3 * usual and closer > 2 * usual:
        return None
    return (
        f"the adjusted close steps by {100 * day.step:.3g} %,"
        f" and a dividend of {100 * day.told:.3g} % of the close is told"
    )


def _not_believed(day: _Day, days: Sequence[_Day], usual: float) -> str | None:
    """Say where the close does not move by a large dividend."""
    if day.told >= 1:
        return f"a dividend of {100 * day.told:.3g} % of the close"
    if day.told >= _SEEN and day.move > -day.told / 2 and day.move + day.told > 6 * usual:
        return f"a dividend of {100 * day.told:.3g} %, and the close moved {100 * day.move:+.1f} %"
    if day.told < max(_SHIFT_SEEN, 4 * usual) or abs(day.move + day.told) < 0.6 * day.told:
        return None
    near = days[max(0, day.n - 11) : day.n + 10]
    for other in near:
        if not other.told and abs(other.move + day.told) < 0.3 * day.told:
            return (
                f"a dividend of {100 * day.told:.3g} %, and the close fell by it"
                f" on {other.date}, not on its day"
            )
    return None


def _usual_gap(dates: Sequence[dt.date]) -> float:
    """Return the median of the days between neighbours."""
    return median((b - a).days for a, b in itertools.pairwise(dates))


def _repeated(told: Sequence[Action]) -> list[str]:
    rare = len(told) > 1 and _usual_gap([action.date for action in told]) > 14
    within = _AGAIN_RARE if rare else _AGAIN
    return [
        f"{b.date}: a dividend of {b.value:g}, and one of {a.value:g} on {a.date}"
        for a, b in itertools.pairwise(told)
        if b.date - a.date <= within and abs(math.log(b.value / a.value)) < _SAME
    ]


def _hundredfold(told: Sequence[Action], days: Mapping[dt.date, _Day]) -> list[str]:
    """Say which dividend of a steady payer is a hundred times off the others."""
    found: list[str] = []
    if len(told) > _MOST:
        return found
    for n, action in enumerate(told):
        others = [other.value for other in (*told[:n], *told[n + 1 :])]
        if len(others) < 3 or max(others) > 4 * min(others):
            continue
        usual = median(others)
        ratio = max(action.value / usual, usual / action.value)
        day = days.get(action.date)
        seen = day is not None and abs(day.move + day.told) < day.told / 2
        if _HUNDRED[0] < ratio < _HUNDRED[1] and not (action.value > usual and seen):
            found.append(f"{action.date}: a dividend of {action.value:g}, where {usual:g} is usual")
    return found


def _all_too_small(days: Sequence[_Day], usual: float) -> list[str]:
    """Say where the closes fall by a hundred times the told dividends, on the whole.

    The falls are fitted to the hundredfold. Without a dividend the fit's factor is 0, with an error
    of the usual move.
    """
    tiny = [day for day in days if 0 < day.told < _TINY]
    if len(tiny) < 8:
        return []
    weight = sum((100 * day.told) ** 2 for day in tiny)
    factor = -sum(100 * day.told * math.log1p(day.move) for day in tiny) / weight
    if not 0.4 < factor < 1.6 or factor * math.sqrt(weight) < 3 * usual:
        return []
    told = f"{len(tiny)} dividends of about {100 * tiny[-1].told:.2g} %"
    return [f"{tiny[-1].date}: {told}, and the close falls by {100 * factor:.0f} times that"]
