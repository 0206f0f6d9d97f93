"""A report on a terminal, as Markdown, and as a page that opens without a network.

Symbols, sectors and models are strangers' text. All of it is escaped, also invisible characters and
those that turn the direction of writing. The page forbids scripts and every address except those of
its own pictures.
"""

import base64
import dataclasses
import html
from collections.abc import Mapping
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from market.cli.display.options import place
from market.evaluation.tables import Report, Table
from sql.streams import beneath
from sql.visible import visible_line

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1rem; margin: 2rem 0 .4rem; }
p.about { color: #52606d; margin-top: 0; } div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { font-weight: 600; color: #52606d; border-bottom: 2px solid #cbd2d9; }
th, td { padding: .25rem .7rem; text-align: right; } td { border-bottom: 1px solid #e4e7eb; }
th.word, td.word { text-align: left; } tr.next td { border-top: 2px solid #cbd2d9; }
ul { color: #52606d; padding-left: 1.1rem; max-width: 48rem; font-size: .9rem; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


# A column of words folds down to this width before it pushes a number off the screen.
_LEAST_WORDS = 12


def on_terminal(
    report: Report, about: str, *, wide: bool, file: IO[str], width: int | None = None
) -> None:
    """Draw the first tables, or every one. width: columns; None: the terminal's own."""
    console = Console(file=beneath(file), width=width, highlight=False)
    where = f" ({place()})" if place() else ""
    console.print(Text(visible_line(f"{report.answer.removesuffix('.')}{where}."), style="bold"))
    console.print(Text(visible_line(report.title), style="bold"), Text(visible_line(about)))
    for n, table in enumerate(report.tables if wide else report.tables[: report.first]):
        if not table.rows:
            continue
        if n:
            console.print()
        if table.title:
            console.print(Text(visible_line(table.title), style="bold"))
        shown, left_out = _narrowed(table, console.width)
        console.print(_rich(shown))
        if left_out:
            console.print(Text(f"not shown: {', '.join(left_out)} (a wider screen)", style="dim"))
    notes = report.notes if wide else ["--wide: all tables, and the methods."]
    for note in [report.legend, *notes] if report.tables[0].rows else []:
        console.print(Text(visible_line(note), style="dim"))


def _narrowed(table: Table, width: int) -> tuple[Table, list[str]]:
    """Leave out columns until the others fit, and return what was left out."""
    left_out: list[str] = []
    for name in [*table.gives_way, *reversed(table.header)]:
        widths = _widths(table)
        if sum(widths) + len(widths) - 1 <= width or len(widths) <= 2:
            break
        if name in table.header and name not in table.words and name:
            at = table.header.index(name)
            left_out.append(name)
            table = dataclasses.replace(
                table,
                header=(*table.header[:at], *table.header[at + 1 :]),
                rows=[(*row[:at], *row[at + 1 :]) for row in table.rows],
            )
    return table, left_out


def _widths(table: Table) -> list[int]:
    """Return the least width of each column that cuts no number."""
    widths = []
    for n, name in enumerate(table.header):
        widest = max([cell_len(visible_line(row[n])) for row in table.rows], default=0)
        least = min(widest, _LEAST_WORDS) if name == "group" else widest
        widths.append(max(cell_len(name), least))
    return widths


def _rich(table: Table) -> RichTable:
    shown = RichTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in table.header:
        folds = name == "group"
        shown.add_column(
            Text(name),
            justify="left" if name in table.words else "right",
            no_wrap=not folds,
            overflow="fold" if folds else "ellipsis",
        )
    for n, row in enumerate(table.rows):
        is_last = n + 1 < len(table.rows) and _is_next(table, row, table.rows[n + 1])
        shown.add_row(*(Text(visible_line(cell)) for cell in row), end_section=is_last)
        if is_last and len(table.rows) > len({r[0] for r in table.rows}):
            shown.add_row()
    return shown


def _is_next(table: Table, row: tuple[str, ...], following: tuple[str, ...]) -> bool:
    """Tell whether another horizon begins after this row."""
    return not table.header[0] and row[0] != following[0]


def as_markdown(report: Report, about: str, origin: str) -> str:
    """Make a Markdown page with every table as a GitHub table.

    about: what the report is about, with its filters. origin: when and from which database.
    """
    lines = [f"# {_escaped(report.title)}", "", f"**{_escaped(report.answer)}**", ""]
    lines += [_escaped(about), "", _escaped(origin), ""]
    for table in report.tables:
        if table.title:
            lines += [f"## {_escaped(table.title)}", ""]
        lines.append("| " + " | ".join(table.header) + " |")
        lines.append(
            "|" + "|".join("---" if n in table.words else "--:" for n in table.header) + "|"
        )
        lines += ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in table.rows]
        lines.append("")
    return "\n".join(
        [*lines, *(f"- {_escaped(note)}" for note in [report.legend, *report.notes]), ""]
    )


def _escaped(text: str) -> str:
    """Escape strangers' text: without columns, HTML or emphasis of its own."""
    text = html.escape(visible_line(text), quote=False)
    for mark in "\\|*_`[]~":
        text = text.replace(mark, "\\" + mark)
    return text


def as_page(report: Report, about: str, origin: str, pictures: Mapping[str, bytes]) -> str:
    """Make one HTML document.

    about, origin: as for `as_markdown`. pictures: caption to SVG.
    """
    answer, *others = report.tables
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_html(report.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_html(report.title)}</h1><p><strong>{_html(report.answer)}</strong></p>",
        f'<p class="about">{_html(about)}<br>{_html(origin)}</p>',
        _html_table(answer),
        "<ul>"
        + "".join(f"<li>{_html(note)}</li>" for note in [report.legend, *report.notes])
        + "</ul>",
    ]
    for caption, svg in pictures.items():
        data = base64.b64encode(svg).decode()
        text = _html(caption)
        parts.append(
            f"<h2>{text}</h2><figure>"
            f'<img alt="{text}" src="data:image/svg+xml;base64,{data}"></figure>'
        )
    parts += [_html_table(table) for table in others]
    return "\n".join([*parts, "</body></html>", ""])


def _html(text: str) -> str:
    """Escape strangers' text for HTML."""
    return html.escape(visible_line(text))


def _html_table(table: Table) -> str:
    marks = [' class="word"' if name in table.words else "" for name in table.header]
    head = "".join(
        f"<th{mark}>{_html(name)}</th>" for mark, name in zip(marks, table.header, strict=True)
    )
    body = []
    for n, row in enumerate(table.rows):
        is_next = n > 0 and _is_next(table, table.rows[n - 1], row)
        cells = "".join(
            f"<td{mark}>{_html(cell)}</td>" for mark, cell in zip(marks, row, strict=True)
        )
        mark = ' class="next"' if is_next else ""
        body.append(f"<tr{mark}>{cells}</tr>")
    title = f"<h2>{_html(table.title)}</h2>" if table.title else ""
    return (
        f'{title}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
