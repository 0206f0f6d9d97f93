"""The rows of a batch: which are bars, and which of their fields can be believed.

Only the close decides: a row whose close cannot be a price, or is far outside its own high and low,
is rejected. Every other field that cannot be is left out of its bar, which names it. London's
thin shares have an open or a close outside high and low every third day.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from market.prices.ratios import ROUNDING
from market.prices.report import MANY, Report
from market.providers.base import Bar, IntradayBar

_MAX_VOLUME = 2**63
# Wide enough for every coin and every currency, narrow enough to divide by.
PRICES = (1e-18, 1e18)
# A close further outside high and low is doubtful. Closing auctions reach 20 % for thin shares.
_OUTSIDE = 1.25


def check_rows(
    report: Report, bars: Iterable[Bar], sessions: Sequence[dt.date], begun: dt.date | None
) -> None:
    """Set the report's bars, and why other rows are not among them."""
    rows = list(bars)
    last = sessions[-1] if sessions else dt.date.min
    inside = _of_sessions(report, rows, sessions, begun)
    good: dict[dt.date, Bar] = {}
    disputed: set[dt.date] = set()
    blank: dict[dt.date, str] = {}
    for bar in inside:
        date = bar.date
        if _is_blank(bar):
            blank[date] = f"{date}: a row without prices"
        elif why := fault(bar):
            report.rejected.append(f"{date}: {why}")
        elif date in disputed:
            continue
        elif date != last and date in good and _disagree(good[date], bar):
            disputed.add(date)
            closes = f"{good.pop(date).close} and {bar.close}"
            report.rejected.append(f"{date}: given twice, with closes of {closes}")
        else:
            if good.get(date, bar)[:7] != bar[:7]:
                report.flags.append(f"{date}: given twice, the later one counts")
            good[date] = bar
    # Yahoo writes a session without trades so.
    lines = report.notes if len(blank) < MANY * len(good) else report.rejected
    lines += [line for date, line in blank.items() if date not in good]
    report.bars = [_believed(report, good[date]) for date in sorted(good)]
    _check_below(report, list(good.values()))
    report.given = len(good) + len(report.rejected)
    report.parts["rows"] = len(good) / max(1, report.given)
    if rows and not report.given:
        report.faults.append("no session of the batch is over")


def _of_sessions(
    report: Report, bars: Iterable[Bar], sessions: Sequence[dt.date], begun: dt.date | None
) -> list[Bar]:
    """Return the bars of sessions. Those of one that is not over are ignored: it is fetched again."""
    expected = frozenset(sessions)
    last = sessions[-1] if sessions else dt.date.min
    inside = []
    for bar in bars:
        if bar.date in expected:
            inside.append(bar)
        elif not (bar.date > last and begun is not None and bar.date <= begun):
            what = "no session of its calendar"
            what = what if bar.date <= last else "no finished session: too new"
            report.rejected.append(f"{bar.date}: {what}")
    return inside


def _check_below(report: Report, bars: Sequence[Bar]) -> None:
    below = [bar.date for bar in bars if (bar.adjusted_close or 1) <= 0]
    if below:
        report.flags.append(
            f"{max(below)}: {len(below)} adjusted closes until then are not positive, as after a"
            " dividend above the price"
        )


def is_price(price: float | None) -> bool:
    """Whether it can be a price of a listing; a NaN cannot."""
    return price is not None and PRICES[0] < price < PRICES[1]


def _is_blank(bar: Bar) -> bool:
    return all(price is None or math.isnan(price) for price in bar[1:6])


def fault(bar: Bar | IntradayBar) -> str | None:
    """Return what makes the close doubtful."""
    if bar.close is None:
        return "no close"
    if not is_price(bar.close):
        return f"a close that is not a positive number of a listing: {bar.close}"
    high, low = bar.high, bar.low
    if high is None or low is None or not (is_price(high) and is_price(low)) or high < low:
        return None
    if not low / _OUTSIDE <= bar.close <= high * _OUTSIDE:
        return f"close {bar.close} outside {low}..{high}"
    return None


def _disagree(bar: Bar, other: Bar) -> bool:
    """Whether two bars of a session, each with a close, differ by more than rounding."""
    return abs((bar.close or math.nan) / (other.close or math.nan) - 1) > ROUNDING


def _is_sound(bar: Bar) -> bool:
    """Whether nothing is to be left out: a quick look at the many bars that are whole."""
    _, opens, high, low, close, adjusted, volume, *_ = bar
    if opens is None or high is None or low is None or close is None:
        return False
    return (
        PRICES[0] < low <= opens <= high < PRICES[1]
        and low <= close <= high
        and (adjusted is None or PRICES[0] < adjusted < PRICES[1])
        and (volume is None or 0 <= volume < _MAX_VOLUME)
    )


def _believed(report: Report, bar: Bar) -> Bar:
    """Leave out the fields that cannot be, and note each."""
    if _is_sound(bar):
        return bar
    left_out = unbelieved(bar, bar.adjusted_close)
    if not left_out:
        return bar
    words = ", ".join(f"{name} {value}" for name, value in left_out.items())
    report.notes.append(f"{bar.date}: {words} left out, close {bar.close}")
    report.left_out[bar.date] = ", ".join(left_out)
    return bar._replace(**cast("dict[str, Any]", dict.fromkeys(left_out)))


def unbelieved(
    bar: Bar | IntradayBar, adjusted_close: float | None = None
) -> Mapping[str, float | None]:
    """Return the fields of a bar with a good close that cannot be, with their values."""
    prices: Mapping[str, float | None] = {
        "open": bar.open, "high": bar.high, "low": bar.low, "adjusted_close": adjusted_close,
    }  # fmt: skip
    left_out: dict[str, float | None] = {
        name: price for name, price in prices.items() if price is not None and not is_price(price)
    }
    opens, high, low, _ = (None if name in left_out else prices[name] for name in prices)
    close = bar.close or math.nan
    if high is not None and low is not None and high < low:
        left_out |= {"high": high, "low": low}
        high = low = None
    # A close outside means that high or low is not the day's.
    if high is not None and close > high * (1 + ROUNDING):
        left_out["high"], high = high, None
    if low is not None and close < low * (1 - ROUNDING):
        left_out["low"], low = low, None
    if opens is not None and (
        (high is not None and opens > high * (1 + ROUNDING))
        or (low is not None and opens < low * (1 - ROUNDING))
    ):
        left_out["open"] = opens
    volume = bar.volume
    if volume is not None and not 0 <= volume < _MAX_VOLUME:
        left_out["volume"] = volume
    return left_out
