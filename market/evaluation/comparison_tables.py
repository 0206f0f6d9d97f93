"""The comparison of two groups as tables, with a sentence that answers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from market.evaluation.method import MIN_BLOCKS, SIGNIFICANT
from market.evaluation.records import OF_SYMBOLS, Comparison
from market.evaluation.tables import (
    METHOD,
    Report,
    Table,
    horizon_name,
    method,
    number,
    p_text,
    plain,
    printable,
    share,
    span,
)

_PAIRS = {
    True: "a prediction that names symbols of both",
    False: "a symbol and an entry session on which both were judged",
}
_FINDING_NOTE = (
    f"Finding: at q < {SIGNIFICANT:g}, p-values by flipping the signs of whole blocks, corrected over"
    " the {} lines (Benjamini-Hochberg)."
)


def report(found: Sequence[Comparison], about: Mapping[str, Any]) -> Report:
    """Make the report of a comparison. about: compare, left, right, since, and so on."""
    left, right = (printable(about[side]) for side in ("left", "right"))
    of_symbols = about["compare"] in OF_SYMBOLS
    return Report(
        f"A: {left}, B: {right}.",
        [_answer(found), _agreement(found), _returns(found)],
        f"A pair is {_PAIRS[of_symbols]}. right: the share of pairs in which the call came true, less:"
        " A less B in percentage points. * the interval is a guess, because there are fewer than"
        f" {MIN_BLOCKS} stretches of time of equal size.",
        [
            f"95 %: {METHOD}",
            _FINDING_NOTE.format(len(found)),
        ],
        {
            "about": dict(about),
            "method": method()
            | {
                "pair": _PAIRS[of_symbols],
                "p_value": "sign flips of block sums",
                "correction": "Benjamini-Hochberg over the horizons",
                "significant": SIGNIFICANT,
            },
            "comparisons": [plain(dataclasses.asdict(one)) for one in found],
        },
        answer(found, left, right),
    )


def answer(found: Sequence[Comparison], left: str, right: str) -> str:
    """Answer in a sentence; a difference only where it is shown."""
    paired = [one for one in found if one.pairs]
    if not paired:
        return f"Nothing to compare: {left} and {right} share no judged pair."
    shown = {
        name: [one for one in paired if one.finding == f"{side} is right more often"]
        for side, name in (("A", left), ("B", right))
    }
    said = [
        f"{name} is right more often at {', '.join(map(_score, lines))}"
        for name, lines in shown.items()
        if lines
    ]
    if said:
        return f"{' and '.join(said)}."
    if all(one.finding == "the same in every pair" for one in paired):
        counts = ", ".join(f"{horizon_name(one.horizon)} {one.pairs:,}" for one in paired)
        return f"No difference: both were right in the same pairs ({counts})."
    few = all(one.finding == "too few pairs to say" for one in paired)
    verdict = "Too few pairs to say" if few else "No difference shown"
    return f"{verdict}: {', '.join(map(_score, paired))}."


def _score(one: Comparison) -> str:
    a, b = (f"{100 * each:.0f} %" for each in (one.left_accuracy, one.right_accuracy))
    word = "pair" if one.pairs == 1 else "pairs"
    return f"{horizon_name(one.horizon)} A {a}, B {b} of {one.pairs:,} {word}"


def _answer(found: Sequence[Comparison]) -> Table:
    return Table(
        "",
        ("", "pairs", "A right", "B right", "less", "95 %", "p", "finding"),
        [
            (
                horizon_name(one.horizon),
                f"{one.pairs:,}",
                share(one.left_accuracy),
                share(one.right_accuracy),
                number(100 * one.difference, "+.1f"),
                span(one.difference_low, one.difference_high, 100)
                + ("*" if one.interval == "wilson" else ""),
                p_text(one.p_value),
                one.finding,
            )
            for one in found
        ],
        gives_way=("p", "B right", "A right"),
    )


def _agreement(found: Sequence[Comparison]) -> Table:
    return Table(
        "Pairs by which side was right; mixed: several calls on one side that disagree. rows: judged, in"
        " pairs or not",
        ("", "both", "only A", "only B", "neither", "mixed", "blocks", "rows A", "rows B"),
        [
            (
                horizon_name(one.horizon),
                *(
                    f"{n:,}"
                    for n in (
                        one.both_right,
                        one.only_left_right,
                        one.only_right_right,
                        one.neither_right,
                        one.mixed,
                    )
                ),
                f"{one.blocks} ({one.effective_blocks:.1f})",
                f"{one.left_rows:,}",
                f"{one.right_rows:,}",
            )
            for one in found
        ],
    )


def _returns(found: Sequence[Comparison]) -> Table:
    return Table(
        "Directional return over the same pairs, percent",
        ("", "A", "B", "less", "95 %"),
        [
            (
                horizon_name(one.horizon),
                number(one.left_return_pct, "+.2f"),
                number(one.right_return_pct, "+.2f"),
                number(one.return_difference_pct, "+.2f"),
                span(one.return_low_pct, one.return_high_pct, 1, ".2f"),
            )
            for one in found
        ],
    )
