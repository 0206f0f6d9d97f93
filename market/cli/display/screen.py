"""Draw rows on a terminal: a sentence that answers, the rows, what is equal, what is left out, next.

The only module that draws rich's tables for rows (`./dev lint` holds it). Every text went through
`sql.visible` in `cells`; a str would be markup.
"""

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from market.cli.display.cells import BAD, GOOD, UNSETTLED, text_of
from market.cli.display.layout import Layout, Shown, lay_out
from market.cli.display.options import Output, place
from market.cli.display.view import Row, View
from sql.streams import beneath
from sql.visible import visible_line

_UNBOUNDED = 10_000
_STATE_STYLES = (("green", GOOD), ("red", BAD), ("yellow", UNSETTLED))


def draw(
    rows: Sequence[Row], keys: Sequence[str], view: View, output: Output, title: str = ""
) -> None:
    """Draw rows on stdout. title: the name of this table among several."""
    console = Console(file=beneath(sys.stdout), highlight=False)
    page = screen(rows, keys, view, output, console.width, title)
    if output.wide or output.columns:
        # The lines go on beyond the screen; rich would fold them.
        console = Console(file=beneath(sys.stdout), highlight=False, width=_UNBOUNDED)
    lines = len(console.render_lines(page, pad=False)) if len(rows) > 1 else 0
    with _paged(console, lines):
        console.print(page)


def screen(
    rows: Sequence[Row],
    keys: Sequence[str],
    view: View,
    output: Output,
    width: int,
    title: str = "",
) -> RenderableType:
    """Compose the screen of rows for a width."""
    parts: list[RenderableType] = []
    if title:
        parts.append(Text(visible_line(title), style="bold"))
    if view.summary:
        parts.append(sentence(view.summary))
    if not rows:
        said = view.summary or view.notes
        return Group(*parts, *([] if said else [Text(visible_line(view.empty))]), *_below(view))
    now = dt.datetime.now(dt.UTC)
    every = output.wide or bool(output.columns)
    rows, folded = (rows, ()) if every else _folded(rows, view)
    below = [*_folds(folded, view), *_below(view)]
    if not rows:
        return Group(*parts, *below)
    ordered = sorted(rows, key=view.sort) if view.sort else list(rows)
    layout = lay_out(ordered, keys, view, width, now, wide=output.wide, chosen=output.columns)
    if (len(rows) == 1 and view.record and not output.columns) or not layout.fits:
        parts += _records(ordered, keys, view, now, every=output.wide or len(rows) == 1)
        return Group(*parts, *below)
    parts.append(_table(layout, len(ordered)))
    if layout.equal:
        facts = ", ".join(f"{header} {text}" for header, text in layout.equal)
        parts.append(Text(f"all: {facts}", style="dim"))
    if layout.left_out:
        parts.append(Text(f"not shown: {', '.join(layout.left_out)} (-o wide)", style="dim"))
    return Group(*parts, *below)


def _folded(rows: Sequence[Row], view: View) -> tuple[list[Row], list[str]]:
    """Return the rows that are shown, and the names of the others."""
    if view.fold is None:
        return list(rows), []
    named = [(row, view.fold(row)) for row in rows]
    return (
        [row for row, name in named if name is None],
        [name for _, name in named if name is not None],
    )


def _folds(names: Sequence[str], view: View) -> Iterator[RenderableType]:
    if names:
        text = text_of(names, "list", dt.datetime.now(dt.UTC))
        yield Text(f"{visible_line(view.folded)}: {text} (-o wide)", style="dim")


def sentence(summary: str) -> Text:
    """The sentence that answers, with the database that it is about."""
    placed = f"{summary.removesuffix('.')} ({place()})." if place() else summary
    return Text(visible_line(placed), style="bold")


def say_first(summary: str) -> None:
    """Print the sentence of several tables, above them."""
    Console(file=beneath(sys.stdout), highlight=False).print(sentence(summary))


def _table(layout: Layout, rows: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for each in layout.columns:
        table.add_column(
            Text(each.column.header),
            justify="right" if each.right else "left",
            no_wrap=not each.column.wrap,
            overflow="fold" if each.column.wrap else "ellipsis",
            width=each.width,
        )
    for n in range(rows):
        table.add_row(*(_cell(each, n) for each in layout.columns))
    return table


def _cell(shown: Shown, n: int) -> Text:
    text = shown.texts[n]
    return Text(text, style=_style(text) if shown.kind in {"state", "yes"} else "")


def _style(state: str) -> str:
    return next((style for style, states in _STATE_STYLES if state.lower() in states), "")


def _records(
    rows: Sequence[Row], keys: Sequence[str], view: View, now: dt.datetime, *, every: bool
) -> Iterator[RenderableType]:
    """Each row as lines of header and value; long values continue below themselves."""
    # A width without bound: a record leaves nothing out for room.
    layout = lay_out(rows, keys, view, _UNBOUNDED, now, wide=every)
    for n in range(len(rows)):
        record = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        record.add_column(style="dim", no_wrap=True)
        record.add_column(overflow="fold")
        for each in layout.columns:
            if each.texts[n]:
                record.add_row(Text(each.column.header), _cell(each, n))
        if n:
            yield Text()
        yield record


def _below(view: View) -> Iterator[RenderableType]:
    for note in view.notes:
        yield Text(visible_line(note))
    if view.next:
        yield Text(f"next: {visible_line(' or '.join(view.next[:2]))}", style="dim")


@contextlib.contextmanager
def _paged(console: Console, lines: int) -> Iterator[None]:
    """Show through $PAGER what is longer than the screen, where a person can turn pages."""
    if lines <= console.height or not sys.stdin.isatty():
        yield
        return
    os.environ.setdefault("LESS", "FRSX")
    with console.pager(styles=not console.no_color):
        yield
