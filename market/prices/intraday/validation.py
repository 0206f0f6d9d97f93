"""Validation of five-minute bars: which are final bars of a session, and whose fields can be believed.

Providers send bars before the opening, after the close, and one at the close itself: those are cut.
So is a bar that is not final. What is left is graded as daily bars are (`market/prices/report.py`).
"""

import bisect
import datetime as dt
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any, cast

from market.prices.ratios import is_unit
from market.prices.report import MANY, Report
from market.prices.rows import fault, unbelieved
from market.providers.base import IntradayBar, IntradayRequest, Session

FIVE_MINUTES = dt.timedelta(minutes=5)
_JUMP = 0.25


def final_starts(request: IntradayRequest, settle_seconds: int) -> list[dt.datetime]:
    """Return the starts of the bars that a complete answer to the request has, ascending."""
    last = request.now - dt.timedelta(seconds=settle_seconds) - FIVE_MINUTES
    return [
        start
        for session in request.sessions
        for start in _starts(session)
        if request.since <= start <= last
    ]


def _starts(session: Session) -> Iterator[dt.datetime]:
    start = session.opens_at
    while start < session.closes_at:
        yield start
        start += FIVE_MINUTES


def validate(
    bars: Iterable[IntradayBar],
    request: IntradayRequest,
    settle_seconds: int,
    *,
    last_close: float | None = None,
    unreadable: Sequence[str] = (),
    fault_of_all: str | None = None,
) -> Report:
    """Grade a batch of five-minute bars.

    Of two bars with one start the later one counts. settle_seconds: of the provider. last_close: of
    the daily bar before the request. unreadable: rows that the provider's reader rejected.
    fault_of_all: why the bars belong to another instrument.
    """
    report = Report(rejected=list(unreadable))
    expected = final_starts(request, settle_seconds)
    good: dict[dt.datetime, IntradayBar] = {}
    for bar in _inside(report, bars, request, settle_seconds):
        if why := fault(bar):
            report.rejected.append(f"{_words(bar)}: {why}")
            continue
        if good.get(bar.ts, bar) != bar:
            report.flags.append(f"{_words(bar)}: given twice, the later one counts")
        good[bar.ts] = bar
    report.intraday = [_believed(report, good[ts]) for ts in sorted(good)]
    report.given = len(good) + len(report.rejected)
    report.parts["rows"] = len(good) / max(1, report.given)
    if report.intraday:
        _check_prices(report, last_close)
        _check_holes(report, expected, good)
    if fault_of_all:
        report.parts["stored"] = 0.0
        report.faults.insert(0, fault_of_all)
    return report


def _inside(
    report: Report, bars: Iterable[IntradayBar], request: IntradayRequest, settle_seconds: int
) -> Iterator[IntradayBar]:
    """Yield the final bars of the sessions; the others are cut, and only counted."""
    opens = [session.opens_at for session in request.sessions]
    settled = request.now - dt.timedelta(seconds=settle_seconds) - FIVE_MINUTES
    outside = 0
    for bar in bars:
        number = bisect.bisect_right(opens, bar.ts) - 1
        if number < 0 or bar.ts >= request.sessions[number].closes_at:
            outside += 1
        elif bar.ts > settled or bar.ts < request.since:
            continue  # it may change, or was had before
        elif (bar.ts - opens[number]) % FIVE_MINUTES:
            report.rejected.append(f"{_words(bar)}: not at five minutes after the opening")
        elif not _is_blank(bar):  # a row without prices had no trade
            yield bar
    if outside:
        report.notes.append(f"{outside} bars outside of the session were cut")


def _is_blank(bar: IntradayBar) -> bool:
    return all(price is None or math.isnan(price) for price in bar[1:5])


def _believed(report: Report, bar: IntradayBar) -> IntradayBar:
    """Leave out the fields that cannot be, and note each."""
    left_out = unbelieved(bar)
    if not left_out:
        return bar
    words = ", ".join(f"{name} {value}" for name, value in left_out.items())
    report.notes.append(f"{_words(bar)}: {words} left out, close {bar.close}")
    return bar._replace(**cast("dict[str, Any]", dict.fromkeys(left_out)))


def _check_prices(report: Report, last_close: float | None) -> None:
    """Compare with the daily close before: another unit, or a jump that may be a split."""
    bars = report.intraday
    if last_close:
        ratio = median(bar.close or math.nan for bar in bars) / last_close
        if is_unit(ratio):
            report.parts["units"] = 0.0
            report.faults.append(f"closes are {ratio:.4g} times the daily close before")
        elif abs(ratio - 1) > _JUMP:
            report.flags.append(f"closes are {ratio:.4g} times the daily close before")
    jumps = [
        bar
        for before, bar in itertools.pairwise(bars)
        if abs((bar.close or math.nan) / (before.close or math.nan) - 1) > _JUMP
    ]
    report.notes += [
        f"{_words(bar)}: close {bar.close} moved by more than a quarter" for bar in jumps
    ]
    report.parts["jumps"] = 1 - len(jumps) / max(1, len(bars) - 1)


def _check_holes(
    report: Report, expected: Sequence[dt.datetime], good: dict[dt.datetime, IntradayBar]
) -> None:
    report.expected = len(expected)
    report.missing = report.expected - len(good)
    report.parts["sessions"] = len(good) / max(1, report.expected)
    if report.missing:
        first = next(start for start in expected if start not in good)
        lines = report.flags if report.missing >= MANY * report.expected else report.notes
        lines.append(
            f"{first:%Y-%m-%d %H:%M}: no bar; {report.missing} of {report.expected} are missing"
        )


def _words(bar: IntradayBar) -> str:
    return f"{bar.ts:%Y-%m-%d %H:%M}"


def answered_to(
    request: IntradayRequest, bars: Sequence[IntradayBar], settle_seconds: int
) -> tuple[dt.datetime | None, bool]:
    """Return until when the provider answered, and whether the newest final bar is missing.

    A bar that is not there yet may come later, so the end of the newest one counts while its session
    is under way.
    """
    expected = final_starts(request, settle_seconds)
    if not expected:
        return None, False
    newest = bars[-1].ts if bars else None
    if newest == expected[-1]:
        return newest + FIVE_MINUTES, False
    return (newest + FIVE_MINUTES if newest else None), True
