"""Validation of a fetched batch: which of its rows are bars, and how good the whole is.

Every batch of every provider passes `validate` once before it is stored. A row that cannot be a bar
is rejected with its reason, and the rest is used. A row that is odd and may be true, such as a
crash, is flagged and used. A batch whose score is below `LEAST_SCORE` is refused: none of it is
stored, and the next provider is asked. `report` defines the score.

Plain Python: 2,500 bars take a few milliseconds, less than making a data frame of them.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from market.prices.ratios import ROUNDING, is_split, is_unit, split_left_out
from market.prices.report import Known, Report
from market.providers.base import Action, Bar

_JUMP = 0.25
_MAX_VOLUME = 2**63
# Wide enough for every coin and every currency, narrow enough to divide by.
_PRICES = (1e-18, 1e18)
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
    the first was made. Two bars that disagree on an older session are both rejected. An impossible
    volume becomes None.
    actions: those of the same answer. unreadable: rows that the provider's reader rejected.
    fault: why the bars belong to another instrument.
    """
    known = known or Known()
    report = Report(rejected=list(unreadable))
    _check_rows(report, bars, sessions, known.begun)
    if report.bars:
        _check_units(report)
        all_actions = _check_actions(report, actions, known.actions)
        if not known.is_refetch:
            _check_stored(report, known.closes, all_actions)
        _check_jumps(report, all_actions)
        _check_sessions(report, sessions)
        report.has_new_basis = _has_new_basis(report, known)
    if fault:
        report.parts["stored"] = 0.0
        report.faults.insert(0, fault)
    return report


def _check_rows(
    report: Report, bars: Iterable[Bar], sessions: Sequence[dt.date], begun: dt.date | None
) -> None:
    expected = frozenset(sessions)
    last = sessions[-1] if sessions else dt.date.min
    good: dict[dt.date, Bar] = {}
    disputed: set[dt.date] = set()
    unfinished = 0
    for bar in bars:
        date = bar.date
        if date not in expected:
            if date > last and begun is not None and date <= begun:
                unfinished += 1  # ignored: its bar is fetched again when the session is over
                continue
            what = "no session of its calendar" if date <= last else "no finished session: too new"
            report.rejected.append(f"{date}: {what}")
        elif fault := _fault(bar):
            report.rejected.append(f"{date}: {fault}")
        elif date in disputed:
            continue
        elif date != last and date in good and _disagree(good[date], bar):
            disputed.add(date)
            closes = f"{good.pop(date).close} and {bar.close}"
            report.rejected.append(f"{date}: given twice, with closes of {closes}")
        else:
            if date in good and good[date] != bar:
                report.flags.append(f"{date}: given twice, the later one counts")
            volume = bar.volume
            is_volume = volume is None or 0 <= volume < _MAX_VOLUME
            good[date] = bar if is_volume else bar._replace(volume=None)
    report.bars = [good[date] for date in sorted(good)]
    report.given = len(good) + len(report.rejected)
    report.parts["rows"] = len(good) / max(1, report.given)
    if unfinished and not report.given:
        report.faults.append("no session of the batch is over")


def _fault(bar: Bar) -> str | None:
    _, opens, high, low, close, adjusted = bar[:6]
    if close is None:
        return "no close"
    for price in (opens, high, low, close, adjusted):
        if price is not None and not _PRICES[0] < price < _PRICES[1]:  # nor NaN
            return "a price that is not a positive number of a listing"
    if high is not None and low is not None:
        if high < low:
            return f"high {high} below low {low}"
        slack = high * ROUNDING
        for name, price in (("open", opens), ("close", close)):
            if price is not None and not low - slack <= price <= high + slack:
                return f"{name} {price} outside {low}..{high}"
    return None


def _disagree(bar: Bar, other: Bar) -> bool:
    """Whether two bars of a session, each with a close, differ by more than rounding."""
    return abs((bar.close or math.nan) / (other.close or math.nan) - 1) > ROUNDING


def _closes(bars: Sequence[Bar]) -> list[float]:
    return [bar.close or math.nan for bar in bars]  # each has one by now


def _check_units(report: Report) -> None:
    """Reject bars that step to another unit and back, and a single one at either end.

    A step that lasts is not rejected: some coins did fall that far.
    """
    bars, closes = report.bars, _closes(report.bars)
    steps = [n for n in range(1, len(bars)) if is_unit(closes[n] / closes[n - 1])]
    wrong: set[int] = set()
    lasting = []
    while steps:
        first = steps.pop(0)
        if steps and 0.4 < closes[steps[0]] / closes[first - 1] < 2.5:  # the level of before
            wrong.update(range(first, steps.pop(0)))
        else:
            lasting.append(first)
    if len(wrong) * 2 > len(bars) or (lasting and len(bars) == 2):
        report.parts["units"] = 0.0
        report.faults.append("closes change between units, and most may be wrong")
        return
    if 1 in lasting:
        wrong.add(0)
    if len(bars) - 1 in lasting:
        wrong.add(len(bars) - 1)
    report.rejected += [
        f"{bars[n].date}: close {closes[n]} is a hundred times off" for n in sorted(wrong)
    ]
    report.parts["units"] = 1 - len(wrong) / len(bars)
    report.bars = [bar for n, bar in enumerate(bars) if n not in wrong]


def _check_actions(
    report: Report, given: Sequence[Action], known: Sequence[Action]
) -> list[Action]:
    """Merge the known splits and dividends with those of this answer, which win."""
    all_actions = {(action.date, action.kind): action for action in known}
    for action in given:
        least, most = _SPLITS if action.kind == "split" else _PRICES
        if not least < action.value < most:  # nor NaN
            report.flags.append(f"{action.date}: a {action.kind} of {action.value:g} cannot be one")
            continue
        report.actions.append(action)
        before = all_actions.get((action.date, action.kind))
        if action.kind == "split" and before and abs(before.value / action.value - 1) > ROUNDING:
            report.flags.append(
                f"{action.date}: a split of {action.value:g}, {before.value:g} is stored"
            )
        all_actions[action.date, action.kind] = action
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
    if abs(ratio - 1) <= _JUMP or any(
        is_split(ratio, action.value)
        for action in all_actions
        if action.kind == "split" and action.date > before
    ):
        return
    found = f"{first.date}: close {first.close}, {stored[before]} is stored for {before}"
    if is_unit(ratio):
        report.parts["units"] = 0.0
        report.faults.append(f"{found}: a hundred times off")
    else:
        report.flags.append(found)


def _check_jumps(report: Report, all_actions: Sequence[Action]) -> None:
    """Flag unexplained moves of more than a quarter; find closes not adjusted for a split."""
    bars, closes = report.bars, _closes(report.bars)
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
        report.flags.append(
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
        report.flags.append(
            f"{hole}: no bar; {report.missing} of {report.expected} sessions lack one"
        )


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
