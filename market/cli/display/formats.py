"""Rows for programs: TSV, CSV, JSON and JSON lines, exact and without anything beside them.

TSV and CSV are also for spreadsheets: white space is folded, other unprintable characters are
escapes, and a text that a spreadsheet would compute begins with an apostrophe. JSON keeps every text
as it was. Times are ISO 8601; numbers have their full precision.
"""

import csv
import datetime as dt
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from market.cli.display.view import Row
from sql.visible import json_text, visible_line

# Excel, LibreOffice and Google Sheets compute a text that begins so, also in full width. After a
# quotation mark they read on over tabs and line ends.
_COMPUTED = tuple('=+-@"\uff1d\uff0b\uff0d\uff20')
_NUMBER = re.compile(r"[-+]?(\d[\d,]*)?(\.\d+)?([eE][-+]?\d+)?( ?[%✓✗])?")


def write_tsv(rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Write a header and a line for each row, separated by tabs, without quotes."""
    for cells in _cells(rows, keys):
        sys.stdout.write("\t".join(cells) + "\n")


def write_csv(rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Write a header and a line for each row as RFC 4180 has them, but for its line ends."""
    csv.writer(sys.stdout, lineterminator="\n").writerows(_cells(rows, keys))


def write_json(document: Any) -> None:
    """Write one JSON document; times in ISO 8601, durations in seconds."""
    sys.stdout.write(json_text(document, default=_plain, indent=2) + "\n")


def write_json_lines(document: Any) -> None:
    """Write a JSON document without line ends in it; a list as a line for each item."""
    for each in document if isinstance(document, list | tuple) else [document]:
        sys.stdout.write(json_text(each, default=_plain) + "\n")


def _cells(rows: Sequence[Row], keys: Sequence[str]) -> Iterable[list[str]]:
    yield [exact(key) for key in keys]
    for row in rows:
        yield [exact(row.get(key)) for key in keys]


def exact(value: Any) -> str:
    """Format a cell exactly; no spreadsheet computes its text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, Mapping | list | tuple):
        return json_text(value, default=_plain)
    cell = visible_line(str(value))
    if isinstance(value, str) and cell.startswith(_COMPUTED) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def _plain(value: Any) -> Any:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return str(value)
