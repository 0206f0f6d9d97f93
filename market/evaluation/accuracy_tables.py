"""The accuracy report as tables: which numbers, in which columns, with which words.

The first table answers; the others show what it rests on.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from market.evaluation.lines import lines_of
from market.evaluation.method import MIN_BLOCKS, SIGNIFICANT
from market.evaluation.records import Group
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

_LEGEND = (
    "right: came true by the 0.5 % rule. base: what 'always bullish' would have scored on the same"
    " rows, chance: the same calls dealt out at random, percent. 95 %: stretches of time are drawn"
    f" anew, not rows, because rows depend on each other; * below {MIN_BLOCKS} such stretches."
)
_FINDING_NOTE = (
    "Finding: better or worse at q < 0.05 than both 'always bullish' and the same calls dealt out at"
    " random; 'than chance only': than the latter alone; p-values corrected over the {} lines (Benjamini-Hochberg)."
)


def report(groups: Sequence[Group], about: Mapping[str, Any], top: int | None = None) -> Report:
    """Make the accuracy report.

    about: benchmark, by, since, until, and so on, for `document`. top: only so many lines of each
    horizon, the best; the sentence and the corrected p-values are those of all lines.
    """
    judged = sum(group.correct + group.incorrect for group in groups)
    known = sum(group.benchmark_rows for group in groups)
    benchmark = about["benchmark"]
    notes = [f"95 %: {METHOD}", _FINDING_NOTE.format(len(groups))]
    if judged and not known:
        notes.append(
            f"{benchmark} has no prices here, so there is no excess over it:"
            f" python -m market fetch-prices -s {benchmark} -d DAYS"
        )
    elif known < judged:
        notes.append(
            f"Excess: on {known:,} of {judged:,} rows, where {benchmark} has a close on both sessions."
        )
    lines = lines_of(groups, about.get("by"), top)
    if len(lines) < len(groups):
        notes.insert(0, f"Shown: {len(lines):,} of {len(groups):,} lines, the best by edge.")
    one = not about.get("by")
    tables = [
        _answer(lines),
        _said_and_came(lines),
        _against_bullish(lines),
        _against_chance(lines),
        _counts(lines),
        _returns(lines),
        _money(lines, benchmark),
        _trades(lines),
    ]
    return Report(
        "Did they come true?",
        [_without_single(table) for table in tables],
        _LEGEND,
        notes,
        {
            "about": dict(about) | ({"top": top, "lines": len(groups)} if top else {}),
            "method": method() | {"significant": SIGNIFICANT},
            "groups": [plain(dataclasses.asdict(group)) for group in (lines if top else groups)],
        },
        answer(groups),
        2 if one and lines else 1,
    )


def answer(groups: Sequence[Group]) -> str:
    """Answer the report's question in a sentence: yes only where it is more than chance."""
    judged = [group for group in groups if group.correct + group.incorrect]
    better = [group for group in judged if group.finding.startswith("better than always")]
    if not judged:
        return "Nothing can be judged yet."
    few = all(group.finding == "too little to say" for group in judged)
    if any(group.group != "all" for group in judged):
        if few:
            which = "the only line" if len(judged) == 1 else f"any of {len(judged):,} lines"
            return f"Too little to say about {which}."
        if not better:
            return f"No line of {len(judged):,} is shown to be better than 'always bullish'."
        best = max(better, key=lambda group: group.edge)
        return (
            f"{len(better):,} of {len(judged):,} lines are better than 'always bullish', most"
            f" {_key(best)[1]} at {_score(best)}."
        )
    verdict = "Yes" if better else "Too little to say" if few else "No"
    return f"{verdict}: {', '.join(map(_score, better or judged))}."


def _score(group: Group) -> str:
    right, base = (f"{100 * each:.0f} %" for each in (group.accuracy, group.base_rate))
    return f"{horizon_name(group.horizon)} {right} right (always bullish {base})"


def _answer(groups: Sequence[Group]) -> Table:
    return Table(
        "",
        ("", "group", "judged", "right", "95 %", "base", "chance", "finding"),
        [
            (
                *_key(g),
                f"{g.correct + g.incorrect:,}",
                share(g.accuracy),
                span(g.accuracy_low, g.accuracy_high, 100)
                + ("*" if g.interval == "wilson" else ""),
                number(100 * g.base_rate, ".1f"),
                number(100 * g.chance_rate, ".1f"),
                g.finding.replace("always bullish", "base"),
            )
            for g in groups
        ],
        gives_way=("chance", "judged", "base"),
    )


def _said_and_came(groups: Sequence[Group]) -> Table:
    """Judged rows by what was said and what came; a sentiment that nobody gave has no line."""
    rows = []
    for g in groups:
        for said, right in (("bullish", "up"), ("neutral", "flat"), ("bearish", "down")):
            counts = {came: getattr(g, f"{said}_{came}") for came in ("up", "flat", "down")}
            total = sum(counts.values())
            if total:
                rows.append(
                    (
                        *_key(g),
                        said,
                        *(f"{n:,}" for n in counts.values()),
                        share(counts[right] / total),
                    )
                )
    return Table(
        "Said and came: judged outcomes; up and down by more than 0.5 %",
        ("", "group", "said", "up", "flat", "down", "right"),
        rows,
    )


def _against_bullish(groups: Sequence[Group]) -> Table:
    return Table(
        "Against 'always bullish': right less base, percentage points; q both: corrected p of differing"
        " from that and from chance, which is below; blocks: in brackets how many of equal size tell as much",
        ("", "group", "blocks", "less base", "95 %", "p", "q both"),
        [
            (
                *_key(g),
                f"{g.blocks} ({g.effective_blocks:.1f})",
                number(g.edge * 100, "+.1f"),
                span(g.edge_low, g.edge_high, 100),
                p_text(g.base_p_value),
                p_text(g.q_value),
            )
            for g in groups
        ],
    )


def _against_chance(groups: Sequence[Group]) -> Table:
    return Table(
        "Against the same calls dealt out at random over each symbol's rows, and whether confidence"
        " ranks returns (IC: Spearman)",
        ("", "group", "chance", "p", "q", "IC", "95 % IC"),
        [
            (
                *_key(g),
                share(g.chance_rate),
                p_text(g.chance_p_value),
                p_text(g.chance_q_value),
                number(g.information_coefficient, "+.3f"),
                span(g.ic_low, g.ic_high, 1, ".2f"),
            )
            for g in groups
        ],
    )


def _counts(groups: Sequence[Group]) -> Table:
    names = ("outcomes", "correct", "incorrect", "unjudged", "pending", "unresolvable")
    return Table(
        "Counts: outcomes = correct + incorrect + unjudged (no sentiment) + pending + unresolvable",
        ("", "group", "posts", *names),
        [
            (*_key(g), *(f"{getattr(g, name):,}" for name in ("predictions", *names)))
            for g in groups
        ],
    )


def _returns(groups: Sequence[Group]) -> Table:
    return Table(
        "Returns, percent; directional: times the sign of the sentiment",
        ("", "group", "mean", "median", "with dividends", "directional", "95 %"),
        [
            (
                *_key(g),
                number(g.mean_return_pct, "+.2f"),
                number(g.median_return_pct, "+.2f"),
                number(g.mean_total_return_pct, "+.2f"),
                number(g.directional_return_pct, "+.2f"),
                span(g.directional_low_pct, g.directional_high_pct, 1, ".2f"),
            )
            for g in groups
        ],
    )


def _money(groups: Sequence[Group], benchmark: str) -> Table:
    return Table(
        f"Excess over {benchmark} in percentage points, pnl of positions of $1,000",
        ("", "group", "excess", "with dividends", "directional", "pnl $", "directional $"),
        [
            (
                *_key(g),
                number(g.mean_excess_pct, "+.2f"),
                number(g.mean_total_excess_pct, "+.2f"),
                number(g.directional_excess_pct, "+.2f"),
                f"{g.pnl_usd:,.0f}",
                f"{g.directional_pnl_usd:,.0f}",
            )
            for g in groups
        ],
    )


def _trades(groups: Sequence[Group]) -> Table:
    return Table(
        "Positions of $1,000 in the direction of the call, closed at the horizon: bought and sold, the largest"
        " fall of the cumulative pnl, and pnl per turnover in basis points, which costs must stay below",
        ("", "group", "trades", "turnover $", "directional $", "drawdown $", "bps"),
        [
            (
                *_key(g),
                f"{g.directional_trades:,}",
                f"{g.directional_turnover_usd:,.0f}",
                f"{g.directional_pnl_usd:,.0f}",
                number(g.directional_drawdown_usd, ",.0f"),
                number(g.breakeven_bps, "+.1f"),
            )
            for g in groups
        ],
    )


def _without_single(table: Table) -> Table:
    """Drop the column "group" where the only group is `all`."""
    if any(row[1] != "all" for row in table.rows) or not table.rows:
        return table
    header = (table.header[0], *table.header[2:])
    return dataclasses.replace(table, header=header, rows=[(r[0], *r[2:]) for r in table.rows])


def _key(group: Group) -> tuple[str, str]:
    return horizon_name(group.horizon), printable(group.group)
