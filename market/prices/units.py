"""Units of prices: pence among pounds, cents among rands, found by steps of a hundred or a thousand.

The level before a step decides, however long the new level lasts. A step that the day's own high
and low bridge is a move of the price: some coins did fall that far.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from market.prices.ratios import (
    ROUNDING,
    is_split,
    is_unit,
    nearest_unit,
    scaled,
    shares_step,
    spread,
)
from market.prices.report import MANY, Known, Report
from market.prices.rows import is_price
from market.providers.base import Action, Answer, Bar

# The currencies that are a part of another: its name, and how many make one of it.
_PARTS = {
    "GBp": ("GBP", 100.0),
    "GBX": ("GBP", 100.0),
    "ZAc": ("ZAR", 100.0),
    "ZAC": ("ZAR", 100.0),
    "ILA": ("ILS", 100.0),
    "ILa": ("ILS", 100.0),
    "KWF": ("KWD", 1000.0),
}


def in_stored_unit(answer: Answer, known: Known) -> Answer:
    """Return an answer in the unit of the stored bars, where it tells another of the same currency.

    Closes that already fit the stored ones are left: then only the word changed.
    """
    if not (answer.currency and known.currency) or known.is_refetch:
        return answer  # a person who asks for everything again is obeyed
    told, count = _PARTS.get(answer.currency, (answer.currency, 1.0))
    stored, stored_count = _PARTS.get(known.currency, (known.currency, 1.0))
    factor = stored_count / count
    if told != stored:
        return answer
    met = _met(answer.bars, known)
    if factor != 1 and not (met and 0.4 < median(met) < 2.5):
        answer = replace(
            answer,
            bars=[_times(bar, factor) for bar in answer.bars],
            actions=[
                action._replace(value=action.value * factor)
                if action.kind == "dividend"
                else action
                for action in answer.actions
            ],
        )
    return replace(answer, currency=known.currency)


def check_units(report: Report, known: Known, all_actions: Sequence[Action] = ()) -> None:
    """Mend bars that step to another unit, for some days or for good.

    A single bar at either end is rejected, because tomorrow tells; so is one that is no whole
    unit off.
    """
    if not known.is_refetch:
        _to_stored_level(report, known, all_actions)
    bars, closes = report.bars, closes_of(report.bars)
    wrong, lasting = _off(bars, closes)
    if len(wrong) * 2 > len(bars) or (lasting and len(bars) == 2 and not _knows(bars[0], known)):
        report.parts["units"] = 0.0
        report.faults.append("closes change between units, and most may be wrong")
        return
    if 1 in lasting and not _knows(bars[0], known):
        lasting.remove(1)
        wrong.add(0)
    if len(bars) - 1 in lasting:
        lasting.remove(len(bars) - 1)
        wrong.add(len(bars) - 1)
    report.parts["units"] = 1 - len(wrong) / len(bars)
    # As with holes: a few days in another unit are no doubt about the others.
    lines = report.flags if len(wrong) >= MANY * len(bars) else report.notes
    usual, factor, adjusted = spread(closes), 1.0, True
    kept: list[Bar] = []
    for n, bar in enumerate(bars):
        if n in lasting:
            factor /= nearest_unit(closes[n] / closes[n - 1])
            adjusted = shares_step(bars[n - 1], bar)
            report.flags.append(
                f"{bar.date}: close {closes[n]} is in another unit than {closes[n - 1]} before;"
                f" the bars from there on are multiplied by {factor:g}"
            )
        if n in wrong:
            last = kept[-1] if kept and n < len(bars) - 1 else None
            mended = _mended(bar, last, usual)
            if mended is None:
                report.rejected.append(f"{bar.date}: close {bar.close} is a hundred times off")
            else:
                lines.append(f"{bar.date}: close {bar.close} is a hundred times off, and mended")
                kept.append(mended)
        else:
            kept.append(scaled(bar, factor, adjusted=adjusted) if factor != 1 else bar)
    report.bars = kept
    if factor != 1 and not known.is_refetch:
        _to_stored_level(report, known, all_actions)


def _to_stored_level(report: Report, known: Known, all_actions: Sequence[Action]) -> None:
    """Mend an answer that is a whole unit off the stored bars, on each of several days."""
    met = _met(report.bars, known)
    if len(met) < 2 or not is_unit(median(met)):
        return
    if any(each.kind == "split" and is_split(median(met), each.value) for each in all_actions):
        return  # a new basis
    factor = 1 / nearest_unit(median(met))
    if any(abs(ratio * factor - 1) > ROUNDING for ratio in met):
        return
    report.flags.append(
        f"{report.bars[0].date}: closes are {1 / factor:g} times the stored ones on {len(met)} days;"
        f" all are multiplied by {factor:g}"
    )
    report.bars = [scaled(bar, factor) for bar in report.bars]


def _met(bars: Sequence[Bar], known: Known) -> list[float]:
    """List the ratios to stored closes."""
    return [
        bar.close / known.closes[bar.date]
        for bar in bars
        if bar.close is not None and is_price(bar.close) and bar.date in known.closes
    ]


def _times(bar: Bar, factor: float) -> Bar:
    """Return a bar that is not validated yet with its prices multiplied."""

    def times(price: float | None) -> float | None:
        return None if price is None else price * factor

    return bar._replace(
        open=times(bar.open),
        high=times(bar.high),
        low=times(bar.low),
        close=times(bar.close),
        adjusted_close=times(bar.adjusted_close),
    )


def _off(bars: Sequence[Bar], closes: Sequence[float]) -> tuple[set[int], list[int]]:
    """Return the bars that step to another unit and back, and the steps that last."""
    steps = [n for n in range(1, len(bars)) if is_unit(closes[n] / closes[n - 1])]
    wrong: set[int] = set()
    lasting = []
    while steps:
        first = steps.pop(0)
        if steps and 0.4 < closes[steps[0]] / closes[first - 1] < 2.5:  # the level of before
            wrong.update(range(first, steps.pop(0)))
        elif not _is_bridged(bars[first - 1], bars[first]):
            lasting.append(first)
    return wrong, lasting


def _mended(bar: Bar, last: Bar | None, usual: float) -> Bar | None:
    """Return the bar in the unit of the last one, where a whole unit and a usual move remain."""
    if last is None or last.close is None or bar.close is None:
        return None
    factor = 1 / nearest_unit(bar.close / last.close)
    if abs(math.log(bar.close * factor / last.close)) > min(0.25, max(0.1, 5 * usual)):
        return None
    return scaled(bar, factor, adjusted=shares_step(last, bar))


def _is_bridged(before: Bar, bar: Bar) -> bool:
    """Whether the later bar's own prices reach from one level to the other."""
    levels = (before.close or math.nan, bar.close or math.nan)
    reach = [price for price in (bar.open, bar.high, bar.low) if price is not None]
    between = math.sqrt(levels[0] * levels[1])
    if levels[1] < levels[0]:
        return any(price > between for price in reach)
    return any(price < between for price in reach)


def _knows(bar: Bar, known: Known) -> bool:
    """Whether the stored close of the bar's day has its unit."""
    stored = known.closes.get(bar.date)
    return stored is not None and 0.4 < (bar.close or math.nan) / stored < 2.5


def closes_of(bars: Sequence[Bar]) -> list[float]:
    """List the closes; each bar has one by now."""
    return [bar.close or math.nan for bar in bars]
