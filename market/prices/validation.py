"""Validation of a fetched batch: which of its rows are bars, and how good the whole is.

Every batch of every provider passes `validate` once before it is stored. A row that cannot be a bar
is rejected with its reason, and the rest is used. What is odd and may be true, such as a crash, is
noted and used. Bars that miss a told split, or are in another unit, are mended. A batch whose score
is below `LEAST_SCORE` is refused: none of it is stored, and the next provider is asked. `report`
defines the score.

Plain Python: 2,500 bars take some tens of milliseconds, much less than a request.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal

from market.prices.dividends import check_dividends
from market.prices.ratios import ROUNDING, is_split, is_unit, split_left_out
from market.prices.report import MANY, Known, Report
from market.prices.rows import PRICES, check_rows
from market.prices.splits import NEAR, mend_splits
from market.prices.units import check_units, closes_of
from market.providers.base import Action, Bar

_JUMP = 0.25
_SPLITS = (1e-6, 1e6)


def validate(
    bars: Iterable[Bar],
    sessions: Sequence[dt.date],
    *,
    actions: Sequence[Action] = (),
    known: Known | None = None,
    unreadable: Sequence[str] = (),
    fault: str | None = None,
) -> Report:
    """Grade a batch for the given (settled, ascending) sessions.

    Of two bars for the last session the later one counts, because the session was still open when
    the first was made. Two bars that disagree on an older session are both rejected. A field that
    cannot be becomes None, and its bar names it.
    actions: those of the same answer. unreadable: rows that the provider's reader rejected.
    fault: why the bars belong to another instrument.
    """
    known = known or Known()
    report = Report(rejected=list(unreadable))
    check_rows(report, bars, sessions, known.begun)
    if report.bars:
        all_actions = _check_actions(report, actions, known.actions)
        mend_splits(report, all_actions)
        check_units(report, known, all_actions)
        if not known.is_refetch:
            _check_stored(report, known.closes, all_actions)
        _check_jumps(report, all_actions)
        check_dividends(report, all_actions)
        _check_sessions(report, sessions)
        report.has_new_basis |= _has_new_basis(report, known)
    if fault:
        report.parts["stored"] = 0.0
        report.faults.insert(0, fault)
    return report


def _check_actions(
    report: Report, given: Sequence[Action], known: Sequence[Action]
) -> list[Action]:
    """Merge the known splits and dividends with those of this answer, which win."""
    all_actions = {(action.date, action.kind): action for action in known}
    fresh: dict[tuple[dt.date, Literal["split", "dividend"]], Action] = {}
    for action in given:
        least, most = _SPLITS if action.kind == "split" else PRICES
        if not least < action.value < most:  # nor NaN
            report.flags.append(f"{action.date}: a {action.kind} of {action.value:g} cannot be one")
            continue
        report.actions.append(action)
        before = all_actions.get((action.date, action.kind))
        if action.kind == "split" and before and abs(before.value / action.value - 1) > ROUNDING:
            report.flags.append(
                f"{action.date}: a split of {action.value:g}, {before.value:g} is stored"
            )
        if twin := fresh.get((action.date, action.kind)):  # two on one day: both count
            value = action.value
            value = twin.value * value if action.kind == "split" else twin.value + value
            action = action._replace(value=value)  # noqa: PLW2901 - the day's action
        fresh[action.date, action.kind] = action
    all_actions |= fresh
    return sorted(all_actions.values())


def _check_stored(
    report: Report, stored: Mapping[dt.date, float], all_actions: Sequence[Action]
) -> None:
    """Compare with stored closes: another unit, another instrument, or restated closes."""
    if not stored:
        return
    met = [
        (bar, (bar.close or math.nan) / stored[bar.date])
        for bar in report.bars
        if bar.date in stored
    ]
    if not met:
        _check_step(report, stored, all_actions)
        return
    usual = median(ratio for _, ratio in met)
    newest = max(stored)
    was_split = any(
        is_split(usual, action.value) for action in all_actions if action.kind == "split"
    )
    if is_unit(usual) and not was_split:
        report.parts["units"] = 0.0
        report.faults.append(f"closes are {usual:.4g} times the stored ones until {newest}")
        return
    strange = [bar for bar, ratio in met if abs(ratio / usual - 1) > 0.05 and abs(ratio - 1) > 0.05]
    if len(met) >= 3 and 2 * len(strange) > len(met):
        report.parts["stored"] = 0.0
        report.faults.append(
            f"another instrument: {len(strange)} of {len(met)} closes are far from the stored ones"
        )
        return
    changed = [bar for bar, ratio in met if abs(ratio - 1) > ROUNDING]
    if changed and not was_split:
        first = changed[0]
        report.flags.append(
            f"{first.date}: close {first.close}, {stored[first.date]} is stored;"
            f" {len(changed)} of {len(met)} differ"
        )


def _check_step(
    report: Report, stored: Mapping[dt.date, float], all_actions: Sequence[Action]
) -> None:
    """Compare the first bar with the last stored one before it, where no session has both."""
    first = report.bars[0]
    before = max((date for date in stored if date < first.date), default=None)
    if before is None or first.close is None:
        return
    ratio = first.close / stored[before]
    if abs(ratio - 1) <= _JUMP:
        return
    if any(
        is_split(ratio, action.value)
        for action in all_actions
        if action.kind == "split" and action.date > before - NEAR
    ):
        report.has_new_basis = True  # of a split that may be told early
        return
    found = f"{first.date}: close {first.close}, {stored[before]} is stored for {before}"
    if is_unit(ratio):
        report.parts["units"] = 0.0
        report.faults.append(f"{found}: a hundred times off")
    else:
        report.flags.append(found)


def _check_jumps(report: Report, all_actions: Sequence[Action]) -> None:
    """Flag unexplained moves of more than a quarter; find closes not adjusted for a split."""
    bars, closes = report.bars, closes_of(report.bars)
    jumps = 0
    for n in range(1, len(bars)):
        ratio = closes[n] / closes[n - 1]
        if abs(ratio - 1) <= _JUMP:
            continue
        date = bars[n].date
        between = [action for action in all_actions if bars[n - 1].date < action.date <= date]
        if any(
            action.kind == "dividend" and abs(ratio - (1 - action.value / closes[n - 1])) < 0.1
            for action in between
        ):
            continue
        if split := split_left_out(bars[n - 1], bars[n], between):
            report.parts["splits"] = 0.0
            report.faults.append(f"{date}: closes are not adjusted for a split of {split:g}")
            continue
        jumps += 1
        report.notes.append(
            f"{date}: close moved {100 * (ratio - 1):+.1f} %, no split or dividend explains it"
        )
    report.parts["jumps"] = 1 - jumps / max(1, len(bars) - 1)


def _check_sessions(report: Report, sessions: Sequence[dt.date]) -> None:
    if not report.bars:
        return
    first = report.bars[0].date
    report.expected = sum(session >= first for session in sessions)
    report.missing = report.expected - len(report.bars)
    report.parts["sessions"] = len(report.bars) / max(1, report.expected)
    if report.missing:
        there = {bar.date for bar in report.bars}
        hole = next(session for session in sessions if session >= first and session not in there)
        lines = report.flags if report.missing >= MANY * report.expected else report.notes
        lines.append(f"{hole}: no bar; {report.missing} of {report.expected} sessions lack one")


def _has_new_basis(report: Report, known: Known) -> bool:
    """Whether the stored bars have another basis than this batch.

    A split after the last stored bar changes the basis of all stored bars, a dividend that of all
    adjusted closes. Other closes for stored days mean another basis too. Bars of another program
    count only where no provider of ours gave a bar for these days.
    """
    last = known.last_bar
    if last is None:
        return False
    if any((b.has_split or b.has_dividend) and b.date > last for b in report.bars) or any(
        action.date > last for action in report.actions
    ):
        return True
    met = [bar for bar in report.bars if bar.date in known.closes]
    stored = known.closes if met else known.others
    return any(
        abs(stored[bar.date] / (bar.close or math.nan) - 1) > ROUNDING
        for bar in report.bars
        if bar.date in stored
    )
