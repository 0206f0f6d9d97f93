"""The tables of a web page as grids of text. lxml parses, which yfinance brings."""

from collections.abc import Iterator
from typing import Any

from lxml import etree, html

# A good page has a megabyte. Of one cell: a span of a million columns is a row of a million cells.
_MOST_BYTES = 6 * 2**20
_MOST_TABLES = 500
_MOST_CELLS = 200_000
_MOST_SPAN = 50
_MOST_ROWS_SPAN = 1_000
_MOST_COLUMNS = 200
_MOST_TEXT = 500  # tables in tables would repeat a long text for each level
# What a reader does not read as text of the cell. sup: footnotes.
_HIDDEN = {"style", "script", "sup", "template"}


def grids(body: bytes) -> list[list[list[str]]]:
    """Return the rows of each table, with spanned cells repeated; raises ValueError."""
    if not body.strip():
        return []
    if len(body) > _MOST_BYTES:
        raise ValueError(f"a page of more than {_MOST_BYTES:,} bytes")
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        document = html.document_fromstring(body, parser=parser)
    except etree.ParserError:
        return []  # nothing in it is an element
    left = _MOST_CELLS
    found: list[list[list[str]]] = []
    for table in document.iter("table"):
        grid = _grid(table)
        left -= sum(map(len, grid))
        if left < 0 or len(found) == _MOST_TABLES:
            raise ValueError(f"more than {_MOST_CELLS:,} cells or {_MOST_TABLES} tables")
        found.append(grid)
    return found


def _grid(table: Any) -> list[list[str]]:
    rows: list[list[str]] = []
    # Cells that reach into later rows: by column their text and the rows that are left.
    open_: dict[int, tuple[str, int]] = {}
    cells = 0
    for tr in _rows(table):
        row: list[str] = []
        given = [
            (_text(cell), _span(cell, "colspan"), _span(cell, "rowspan")) for cell in _cells(tr)
        ]
        while len(row) < _MOST_COLUMNS and (given or any(each >= len(row) for each in open_)):
            column = len(row)
            if column in open_:
                words, more = open_.pop(column)
                row.append(words)
                if more > 1:
                    open_[column] = (words, more - 1)
                continue
            if not given:
                row.append("")
                continue
            words, wide, high = given.pop(0)
            for place in range(column, column + wide):
                open_.pop(place, None)
                row.append(words)
                if high > 1:
                    open_[place] = (words, high - 1)
        cells += len(row)
        if cells > _MOST_CELLS:
            raise ValueError(f"a table of more than {_MOST_CELLS:,} cells")
        rows.append(row)
    return rows


def _rows(table: Any) -> Iterator[Any]:
    """Yield the rows of this table, not those of tables in its cells."""
    for child in table:
        if child.tag == "tr":
            yield child
        elif child.tag in {"thead", "tbody", "tfoot"}:
            yield from (each for each in child if each.tag == "tr")


def _cells(tr: Any) -> Iterator[Any]:
    return (each for each in tr if each.tag in {"td", "th"})


def _span(cell: Any, name: str) -> int:
    most = _MOST_SPAN if name == "colspan" else _MOST_ROWS_SPAN
    digits = cell.get(name, "1").strip()
    if not (digits.isascii() and digits.isdecimal()):
        return 1
    return min(max(int(digits[:9]), 1), most)  # thousands of digits are not read


def _text(cell: Any) -> str:
    words = ""
    for part in _texts(cell):
        words += part[:_MOST_TEXT]
        if len(words) > _MOST_TEXT:
            break
    return " ".join(words.split())


def _texts(element: Any) -> Iterator[str]:
    if element.tag in _HIDDEN:
        return
    yield element.text or ""
    for child in element:
        # A line break separates words.
        yield " " if child.tag in {"br", "li", "p", "div"} else ""
        yield from _texts(child)
        yield child.tail or ""
