"""docs/indicators.md, from market/indicators: the columns, and the docstrings of what computes them."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from market.indicators import ENGINE_VERSION, columns
from tests.reference.markdown import head, table

_ANSWER = f"""\
Each indicator is computed here from the stored daily bars, adjusted for splits, over the whole history of
the symbol. It is NULL until its window is full, and it never depends on a later bar: what a bar has once, it
keeps, unless the bars themselves are revised. The formulas are those of engine version {ENGINE_VERSION}, which
stands beside every stored value."""

_RULES = """\
## Rules for all of them

- **First bar** is the first one that can have a value, counted from 1, or the number of finished weeks. A
  column with words has `UNKNOWN` from the first bar on, or NULL, as its section says.
- **A bar** is a session with a close. A holiday or a halt is not a bar: `perf_5d` over a halt reaches back to the
  fifth bar before. A crypto pair has seven bars a week. A bar whose close is unknown is passed over.
- **An unknown high or low** makes unknown what needs it. A window that holds it is NULL until it has left; the
  Wilder averages begin again after it, with a seed of their own; a comparison with it is false. Nothing is put in
  its place.
- **Nothing to divide by** (a close of zero or below, a true range or a range of zero) gives NULL, never infinity.
- **Equal** are numbers that differ by less than 1e-12 of their size, so that dividing a history by a split's
  ratio changes no comparison.
- **A later split** divides prices and averages of prices by its ratio. Percentages, counts and words stay.

TA-Lib gives the same numbers, except for three warm-ups: it sums 13 instead of 14 movements at the beginning of
`plus_di` and `minus_di`, so its `adx` begins otherwise as well, and it seeds the fast average of `macd` later. After
250 bars `macd` agrees to 1e-9 and `adx` to 1e-5. A flat `rsi` is 0 there and 50 here.
"""

# How a docstring begins its parts.
_PART = re.compile(r"^(Formula|Seed|First bar|Source): ?", re.MULTILINE)


def page() -> str:
    """Return the page of all indicators, a section for each family."""
    source = "`market/indicators/`: its columns and docstrings"
    lines = head("What is this indicator, and from which bar on is it known?", _ANSWER, source)
    lines += [*_RULES.splitlines(), ""]
    for family in columns.FAMILIES:
        lines += [f"## {family.title}", ""]
        lines += table(
            ("column", "type", "first bar"), [_row(*item) for item in family.columns.items()]
        )
        for function in family.functions:
            lines += _described(function)
    return "\n".join(lines)


def _row(name: str, column: columns.Column) -> tuple[str, str, str]:
    first = f"week {column.first}" if column.weekly else str(column.first)
    return f"`{name}`", column.type, first


def _described(function: Callable[..., Any]) -> list[str]:
    """A function's docstring as Markdown, without what concerns its callers only."""
    text = inspect.getdoc(function) or ""
    # After the source come shapes and codes.
    summary, parts = re.match(r"(.*?)\n\n(.*?Source: [^\n]*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    described = _PART.sub(lambda part: f"- **{part[1]}:** ", parts).splitlines()
    return [
        summary,
        "",
        *(line if line.startswith("- **") else f"  {line}" for line in described),
        "",
    ]
