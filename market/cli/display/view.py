"""What a command says of its rows besides the rows: columns, their order, a sentence, what next.

A view only concerns a person's screen. Programs (TSV, CSV, JSON) get every column in the order of
the rows, exact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Row = Mapping[str, Any]

# How a value becomes text, see `cells`.
Kind = Literal[
    "text",
    "number",
    "count",
    "price",
    "percent",
    "bytes",
    "when",
    "duration",
    "day",
    "state",
    "yes",
    "pairs",
    "list",
]

# Columns of this rank are never left out; without room the rows become records.
ALWAYS = 0
UNRANKED = 5
NEVER = 9  # only with -o wide or --columns


@dataclass(frozen=True)
class Column:
    """A column of a screen.

    key: the row's key. title: the header, with the unit. rank: columns with a higher rank give way
    first; 0 never, 9 at once. kind: None finds it by the values. least: the width to which a long
    text may be shortened; None: never shortened. wrap: instead, it continues below itself. value:
    computes what a screen shows, instead of the key's value. of: keys of the row that need no column of
    their own, because this one says them.
    """

    key: str
    title: str = ""
    rank: int = UNRANKED
    kind: Kind | None = None
    least: int | None = None
    wrap: bool = False
    value: Callable[[Row], Any] | None = None
    of: Sequence[str] = ()

    def of_row(self, row: Row) -> Any:
        """Return its value of a row."""
        return self.value(row) if self.value else row.get(self.key)

    @property
    def header(self) -> str:
        """The title, by default the key in words."""
        return self.title or self.key.replace("_", " ")


@dataclass(frozen=True)
class Change:
    """A value before and after: one where they are equal, else `before → after`."""

    before: Any
    after: Any


def changed(key: str, before: str, after: str, title: str = "", **options: Any) -> Column:
    """Make a column of two keys of a row, shown as `before → after`."""
    return Column(
        key,
        title,
        value=lambda row: Change(row.get(before), row.get(after)),
        of=(before, after),
        **options,
    )


@dataclass(frozen=True)
class View:
    """What a screen says about rows.

    columns: in their order; keys of the rows that are not named follow with the rank 9.
    sort: what needs attention first. summary: the sentence that answers. next: at most two commands.
    notes: lines below the rows. empty: the sentence where there are no rows. record: a single row is
    a record, not a table.
    fold: the name under which a row is only counted among `folded`; None: the row is shown.
    """

    columns: Sequence[Column] = ()
    sort: Callable[[Row], Any] | None = None
    summary: str = ""
    next: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())
    empty: str = "nothing"
    record: bool = True
    fold: Callable[[Row], str | None] | None = None
    folded: str = "also"
