"""A report as tables of text: the parts that all reports share.

The first table is the answer; the others show what it rests on. A command draws them on a terminal,
in Markdown or in a page.
"""

import math
from dataclasses import dataclass
from typing import Any

from market.evaluation.method import MIN_BLOCKS, RESAMPLES, SEED, block_days
from market.horizons import HORIZONS

# A value that is not known.
NONE = "·"

METHOD = (
    "whole blocks of the calendar, two horizons long, drawn anew"
    f" {RESAMPLES:,} times (bootstrap-t, seed {SEED}), so that outcomes of one post,"
    " overlapping horizons and the days' market count as dependent;"
    f" below {MIN_BLOCKS} blocks of equal size, or of unequal ones that tell no more, Wilson's interval"
    " on their number."
)


@dataclass(frozen=True)
class Table:
    """A table of text; columns named in `words` are set left, numbers right."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: frozenset[str] = frozenset({"group", "finding", "confidence", "said"})
    gives_way: tuple[str, ...] = ()  # columns that a narrow screen leaves out, the first one first


@dataclass(frozen=True)
class Report:
    """A report, the answer first."""

    title: str
    tables: list[Table]
    legend: str  # needed to read the answer
    notes: list[str]  # methods
    document: dict[str, Any]  # the same for programs; NaN is None
    answer: str  # one sentence
    first: int = 1  # tables that a screen shows unless it is asked for all


def method() -> dict[str, Any]:
    """Describe how intervals and p-values are computed, for programs."""
    return {
        "interval": "cluster bootstrap-t, symmetric, 95 %",
        "resamples": RESAMPLES,
        "seed": SEED,
        "block_days": {name: block_days(n) for name, n in HORIZONS.items()},
        "least_blocks": MIN_BLOCKS,
        "effective_blocks": "Kish: (sum of sizes)^2 / sum of squared sizes",
        "fallback": "Wilson, n = effective blocks",
        "p_value": "sign flips of block sums; the larger of those against base_rate and chance_rate",
        "correction": "Benjamini-Hochberg over the groups",
    }


def plain(values: Any) -> Any:
    """Replace NaN and infinities by None, because JSON has neither."""
    if isinstance(values, dict):
        return {name: plain(value) for name, value in values.items()}
    if isinstance(values, list):
        return [plain(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def horizon_name(horizon: str) -> str:
    """Return T+7 for t7."""
    return "T+" + horizon.removeprefix("t")


def number(value: float, form: str) -> str:
    """Format a number; NONE for NaN."""
    return NONE if math.isnan(value) else format(value, form)


def share(value: float) -> str:
    """Format a share of 0..1 as percent; NONE for NaN."""
    return NONE if math.isnan(value) else f"{100 * value:.1f} %"


def span(low: float, high: float, scale: float, form: str = ".1f") -> str:
    """Format an interval times a scale; NONE for NaN."""
    if math.isnan(low) or math.isnan(high):
        return NONE
    return f"{format(low * scale, form)} to {format(high * scale, form)}"


def p_text(value: float) -> str:
    """Format a p-value; NONE for NaN."""
    return "<0.001" if value < 0.001 else number(value, ".3f")


def printable(name: str) -> str:
    """Return strangers' text without control characters, which would act on the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
