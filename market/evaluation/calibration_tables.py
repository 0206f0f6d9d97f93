"""The calibration report as tables: which numbers, in which columns, with which words.

The first table answers; the others show each horizon by tier of confidence.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from market.evaluation.method import TRAIN_SHARE
from market.evaluation.records import Calibration
from market.evaluation.tables import (
    METHOD,
    Report,
    Table,
    horizon_name,
    method,
    number,
    plain,
    share,
    span,
)

_LEGEND = (
    "Left out: posts before it whose horizon ends on that day or later. skill: how much smaller, in"
    " percent, the Brier score of the confidence as stated is than that of the earlier base rate for"
    " every row; fitted: the same for a curve fitted to the earlier rows."
)


def report(found: Sequence[Calibration], about: Mapping[str, Any]) -> Report:
    """Make the calibration report. about: since, until, and so on, for `document`."""
    notes = [f"95 %: {METHOD}"]
    legend = "Nothing judged yet that has a confidence."
    if found:
        counts = "; ".join(
            f"{horizon_name(c.horizon)} {c.earlier:,} fitted, {c.left_out:,} left out, {c.later:,} scored"
            for c in found
        )
        legend = f"Split at {found[0].split:%Y-%m-%d %H:%M} UTC: {counts}. {_LEGEND}"
    return Report(
        "Is its confidence worth something?",
        [_brier(found), *[_reliability(one) for one in found]],
        legend,
        notes,
        {
            "about": dict(about),
            "method": method() | {"train_share": TRAIN_SHARE},
            "horizons": [plain(dataclasses.asdict(one)) for one in found],
        },
        answer(found),
    )


# Findings, the best first, and how the sentence begins.
_VERDICTS = {
    "worth something as stated": "Yes, as stated",
    "worth something once fitted": "Only once it is fitted to earlier results",
    "no better than the base rate": "No, it is no better than the base rate",
    "worse than the base rate": "No, it is worse than the base rate",
    "too little to say": "Too little to say",
}


def answer(found: Sequence[Calibration]) -> str:
    """Answer whether the confidence is worth something: by the best finding of all horizons."""
    for finding, verdict in _VERDICTS.items():
        lines = [one for one in found if one.finding == finding]
        if lines:
            return f"{verdict}: {', '.join(_skill(one) for one in lines)}."
    return "Nothing can be judged yet."


def _skill(one: Calibration) -> str:
    """Say what a finding rests on; without skill there are only rows."""
    name = horizon_name(one.horizon)
    if one.finding == "too little to say":
        return f"{name} {one.earlier:,} fitted, {one.later:,} scored"
    fitted = one.finding == "worth something once fitted"
    skill = one.skill_fitted if fitted else one.skill_stated
    return f"{name} skill {100 * skill:+.0f} % over {one.later:,} later rows"


def _brier(found: Sequence[Calibration]) -> Table:
    return Table(
        "",
        ("", "later", "base", "Brier", "skill", "95 %", "fitted", "95 % fitted", "finding"),
        [
            (
                horizon_name(one.horizon),
                f"{one.later:,}",
                number(one.brier_base, ".3f"),
                number(one.brier_stated, ".3f"),
                number(one.skill_stated * 100, "+.0f"),
                span(one.stated_low, one.stated_high, 100, ".0f"),
                number(one.skill_fitted * 100, "+.1f"),
                span(one.fitted_low, one.fitted_high, 100, ".1f"),
                one.finding,
            )
            for one in found
        ],
        gives_way=("base", "Brier", "95 % fitted", "fitted"),
    )


def _reliability(one: Calibration) -> Table:
    return Table(
        f"{horizon_name(one.horizon)}: stated confidence against results, later posts",
        ("confidence", "rows", "stated", "right", "95 %", "fitted", "finding"),
        [
            (
                b.tier,
                f"{b.rows:,}",
                share(b.confidence),
                share(b.accuracy),
                span(b.accuracy_low, b.accuracy_high, 100),
                share(b.fitted),
                b.finding,
            )
            for b in one.bins
        ],
    )
