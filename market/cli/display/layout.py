"""Which columns a screen shows, and how wide: pure, without a terminal.

Empty columns vanish. A column that is equal in all rows becomes a line below the table. Columns give
way by rank until the rest fits. Only a column with a `least` is shortened; numbers, symbols, dates
and states never are. Where not even the columns of rank 0 fit, the rows are shown as records.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from market.cli.display.cells import RIGHT, kind_of, text_of
from market.cli.display.view import ALWAYS, NEVER, Column, Kind, Row, View

_GAP = 2
# Fewer rows do not make an equal column a fact about all of them.
_LEAST_EQUAL = 3


@dataclass(frozen=True)
class Shown:
    """A column with the text of its cells and the width that it gets."""

    column: Column
    kind: Kind
    texts: Sequence[str]
    width: int

    @property
    def right(self) -> bool:
        """Whether its cells are aligned at the right."""
        return self.kind in RIGHT


@dataclass(frozen=True)
class Layout:
    """What a screen shows: columns, equal ones as (header, text), headers of what is left out."""

    columns: Sequence[Shown]
    equal: Sequence[tuple[str, str]]
    left_out: Sequence[str]
    fits: bool


def lay_out(
    rows: Sequence[Row],
    keys: Sequence[str],
    view: View,
    width: int,
    now: dt.datetime,
    *,
    wide: bool = False,
    chosen: Sequence[str] = (),
) -> Layout:
    """Lay rows out. keys: the rows' columns. chosen: keys that are shown, and no others."""
    named = _columns(keys, view, chosen)
    every = [_shown(column, rows, now) for column in named]
    filled = every if chosen else [each for each in every if any(each.texts)]
    kept, equal = (filled, []) if chosen or wide else _without_equal(filled, len(rows))
    if wide or chosen:
        return Layout(kept, equal, (), fits=True)
    kept, left_out = _give_way(kept, width)
    fits = _total([_least(each) for each in kept]) <= width
    return Layout(_stretched(kept, width) if fits else kept, equal, left_out, fits=fits)


def _columns(keys: Sequence[str], view: View, chosen: Sequence[str]) -> list[Column]:
    known = {column.key: column for column in view.columns}
    rank = NEVER if view.columns else 5
    if chosen:
        return [known.get(key, Column(key)) for key in chosen]
    said = known.keys() | {key for column in view.columns for key in column.of}
    others = [Column(key, rank=rank) for key in keys if key not in said]
    return [column for column in view.columns if column.value or column.key in keys] + others


def _shown(column: Column, rows: Sequence[Row], now: dt.datetime) -> Shown:
    values = [column.of_row(row) for row in rows]
    kind = column.kind or kind_of(column.key, values)
    texts = [text_of(value, kind, now) for value in values]
    return Shown(column, kind, texts, max(map(cell_len, [column.header, *texts])))


def _without_equal(
    columns: Sequence[Shown], rows: int
) -> tuple[list[Shown], list[tuple[str, str]]]:
    if rows < _LEAST_EQUAL:
        return list(columns), []
    equal = [
        each
        for each in columns
        if each.column.rank not in {ALWAYS, NEVER} and len(set(each.texts)) == 1
    ]
    return (
        [each for each in columns if each not in equal],
        [(each.column.header, each.texts[0]) for each in equal],
    )


def _give_way(columns: Sequence[Shown], width: int) -> tuple[list[Shown], list[str]]:
    kept = [each for each in columns if each.column.rank < NEVER]
    gone = {id(each) for each in columns if each.column.rank >= NEVER}
    while _total([_least(each) for each in kept]) > width:
        highest = max((each.column.rank for each in kept), default=ALWAYS)
        if highest == ALWAYS:
            break
        last = [each for each in kept if each.column.rank == highest][-1]
        kept.remove(last)
        gone.add(id(last))
    return kept, [each.column.header for each in columns if id(each) in gone]


def _stretched(columns: Sequence[Shown], width: int) -> list[Shown]:
    """Give the columns that may be shortened what the others leave."""
    spare = width - _total([_least(each) for each in columns])
    widths = []
    for each in columns:
        more = min(spare, each.width - _least(each))
        spare -= more
        widths.append(_least(each) + more)
    return [
        Shown(each.column, each.kind, each.texts, own)
        for each, own in zip(columns, widths, strict=True)
    ]


def _least(shown: Shown) -> int:
    least = shown.column.least
    # A header is never cut.
    return (
        shown.width
        if least is None
        else min(shown.width, max(least, cell_len(shown.column.header)))
    )


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * max(len(widths) - 1, 0)
