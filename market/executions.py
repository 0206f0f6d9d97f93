"""Files of fills, and the SQL function that stores them.

A file is read here only as far as it has lines and cells: executions_add() (86_executions.sql) reads the
values, so that a file, the API and a statement in psql are judged by one rule. All fills of a file are
stored, or none. A line that cannot be read goes to that function with its fault, so that one answer names
every bad line.
"""

import contextlib
import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from market.files import read_regular
from market.providers.csv_text import decode
from sql.database import Connection, one
from sql.errors import InvalidInput
from sql.visible import json_text

# Fills with all columns: some 200,000.
MOST_BYTES = 2**26
_SEPARATORS = ",;\t|"
_REQUIRED = ("order_id", "symbol", "side", "quantity", "fill_price", "filled_at")
# Keys of a fill that say something of its line; a file's own columns of these names are left out.
_OURS = frozenset({"", "line", "fault"})

Fill = dict[str, Any]


@dataclass(frozen=True)
class Added:
    """What became of fills: fills = added + unchanged + refused, unless one is refused.

    errors: line, order_id and reason of the first 50 that are refused. ignored: names that are not
    columns. before, after: rows of the table.
    """

    fills: int
    added: int
    unchanged: int
    refused: int
    errors: list[dict[str, Any]]
    ignored: list[str]
    before: int
    after: int


def read(path: Path) -> list[Fill]:
    """Read a CSV file, or JSON lines: each fill with its `line`, values as they stand there.

    Raises InvalidInput for what is neither, or lacks a column that every fill needs.
    """
    try:
        text = decode(read_regular(path, MOST_BYTES))
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except UnicodeError:
        raise InvalidInput(f"{path}: not a text file") from None
    is_json = text.lstrip()[:1] in {"{", "["}
    return list(_json_lines(text) if is_json else _csv(text, path))


def add(conn: Connection, fills: Sequence[Fill]) -> Added:
    """Store all of the fills, or none where one is refused."""
    count = "SELECT count(*) AS n FROM execution_feedback"
    before = one(conn, count)["n"]
    row = one(conn, "SELECT * FROM executions_add(%s::jsonb)", [json_text(_storable(list(fills)))])
    return Added(**row, before=before, after=one(conn, count)["n"])


def _json_lines(text: str) -> Iterator[Fill]:
    # Not splitlines(), which also ends a line at characters that JSON has within a text.
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = (
                str(error).partition(":")[0] if isinstance(error, ValueError) else "nested too deep"
            )
            yield {"line": number, "fault": f"is not JSON: {why}"}
            continue
        if isinstance(found, dict):
            own = {name: each for name, each in found.items() if name not in _OURS}
            yield own | {"line": number}
        else:
            yield {"line": number, "fault": "is not a fill: one JSON object a line"}


def _csv(text: str, path: Path) -> Iterator[Fill]:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=max(_SEPARATORS, key=first.count),
        skipinitialspace=True,
    )
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if names:
                    yield _named(names, cells) | {"line": line}
                else:
                    names = _names(cells, path)
            line = reader.line_num + 1  # where the next row begins: a cell may have line ends
    except csv.Error as error:
        raise InvalidInput(f"{path}, line {line}: {error}") from None


def _names(header: Sequence[str], path: Path) -> list[str]:
    names = ["_".join(name.lower().split()) for name in header]
    twice = {name for name in names if name and names.count(name) > 1}
    lacking = [name for name in _REQUIRED if name not in names]
    if twice or lacking:
        why = "has twice" if twice else "lacks"
        raise InvalidInput(f"{path}: the header {why} {', '.join(sorted(twice) or lacking)}")
    return names


def _named(names: Sequence[str], cells: Sequence[str]) -> Fill:
    if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
        return {"fault": f"has {len(cells)} cells, and the header {len(names)}"}
    fill: Fill = {
        name: cell for name, cell in zip(names, cells, strict=False) if name not in _OURS and cell
    }
    if "market_conditions" in fill:
        with contextlib.suppress(ValueError, RecursionError):  # a text is JSON too
            fill["market_conditions"] = json.loads(fill["market_conditions"])
    return fill


def _storable(value: Any) -> Any:
    """Replace what PostgreSQL's JSON lacks: NUL, half characters, and numbers that are none."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    # As a text it is refused by its name; as null it would be missing.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
