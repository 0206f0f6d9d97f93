"""The calibration report as tables: which numbers, in which columns, with which words.

The first table answers; the others show each horizon by tier of confidence.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from market.evaluation import calibration
from market.evaluation.calibration import Calibration
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
            "method": method() | {"train_share": calibration.TRAIN_SHARE},
            "horizons": [plain(dataclasses.asdict(one)) for one in found],
        },
    )


def _brier(found: Sequence[Calibration]) -> Table:
    return Table(
        "",
        ("", "later", "base", "Brier", "skill", "95 %", "fitted", "95 %", "finding"),
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
