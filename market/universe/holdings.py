"""Holdings from a CSV file: `symbol,quantity[,account]`, as brokers export them.

A bad line stops the import before anything is written, with its number and the reason: a file of
which some lines are missing would sell what they hold.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from market.files import read_regular
from sql.database import Connection
from sql.errors import InvalidInput, ReckonerError
from sql.rows import Rows, fetch_rows

_MOST_BYTES = 2**23
_MOST_LINES = 100_000
_SHOWN = 5
_SEPARATORS = ",;\t|"
_MOST = Decimal(10) ** 18
# By letters alone, in lower case.
_NAMES = {
    "symbol": {"symbol", "ticker"},
    "quantity": {"quantity", "qty", "shares", "units", "position"},
    "account": {"account", "accountnumber", "accountid", "portfolio"},
}


@dataclass(frozen=True)
class Line:
    """One line of the file. number: counted from 1, the header too."""

    number: int
    symbol: str
    quantity: Decimal
    account: str


def read(path: Path, account: str) -> list[Line]:
    """Read a file; account: of lines that name none. Raises InvalidInput, ReckonerError."""
    try:
        text = read_regular(path, _MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: not a text file (UTF-8)") from None
    if "\0" in text:
        raise InvalidInput(f"{path}: not a text file (it has a byte 0)")
    try:
        rows = list(_rows(text))
    except csv.Error as error:
        raise ReckonerError(f"{path}: {error}; nothing was imported") from None
    if not rows:
        raise ReckonerError(f"{path} is empty; nothing was imported")
    places = _places(path, rows[0][1])
    lines, faults = [], []
    for number, cells in rows[1:]:
        try:
            lines.append(_line(number, cells, places, account))
        except ValueError as error:
            faults.append((number, str(error)))
    _refuse(path, faults)
    if not lines:
        raise ReckonerError(f"{path} has no line below its header; nothing was imported")
    return lines


def store(conn: Connection, path: Path, lines: list[Line], *, keep: bool) -> Rows:
    """Make the lines the holdings of their accounts; returns each with before and after.

    keep: holdings that the file lacks stay. Raises ReckonerError where a line is not a symbol, or
    is there twice.
    """
    rows = conn.execute(
        "SELECT universe_symbol(word) AS symbol FROM unnest(%s::text[]) WITH ORDINALITY w(word, n)"
        " ORDER BY n",
        [[line.symbol for line in lines]],
    ).fetchall()
    symbols = [row["symbol"] for row in rows]
    first: dict[tuple[str, str], int] = {}
    faults = []
    for line, symbol in zip(lines, symbols, strict=True):
        if symbol is None:
            faults.append((line.number, f"{line.symbol[:30]!r} is not a symbol"))
            continue
        there = first.setdefault((line.account, symbol), line.number)
        if there != line.number:
            faults.append((line.number, f"{symbol} of {line.account[:30]} is in line {there} too"))
    _refuse(path, faults)
    return fetch_rows(
        conn,
        "SELECT account, symbol, before, after, CASE WHEN before IS NULL THEN 'added'"
        " WHEN after IS NULL THEN 'removed' WHEN before <> after THEN 'changed' ELSE 'same' END AS change"
        " FROM holdings_import(%s::text[], %s::numeric[], %s::text[], %s)",
        [
            symbols,
            [line.quantity for line in lines],
            [line.account for line in lines],
            keep,
        ],
    )


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    for cells in reader:
        if reader.line_num > _MOST_LINES:
            raise csv.Error(f"more than {_MOST_LINES:,} lines")
        if any(cell.strip() for cell in cells):
            yield reader.line_num, [cell.strip() for cell in cells]


def _places(path: Path, header: list[str]) -> dict[str, int]:
    names = ["".join(letter for letter in cell.lower() if letter.isalpha()) for cell in header]
    places = {}
    for field, known in _NAMES.items():
        found = [place for place, name in enumerate(names) if name in known]
        if len(found) > 1:
            raise ReckonerError(
                f"{path}: line 1 has {len(found)} columns for {field}; nothing was imported"
            )
        if found:
            places[field] = found[0]
    lacking = [field for field in ("symbol", "quantity") if field not in places]
    if lacking:
        raise ReckonerError(
            f"{path}: line 1 names no column {' and no column '.join(lacking)}: it has"
            f" {', '.join(cell[:30] for cell in header[:8])}; nothing was imported"
        )
    return places


def _line(number: int, cells: list[str], places: dict[str, int], account: str) -> Line:
    if len(cells) <= max(places.values()):
        raise ValueError(f"{len(cells)} values, {max(places.values()) + 1} are needed")
    words = cells[places["quantity"]]
    try:
        quantity = Decimal(words)
    except InvalidOperation:
        raise ValueError(f"{words[:30]!r} is not a quantity") from None
    if not quantity.is_finite() or abs(quantity) > _MOST or len(quantity.as_tuple().digits) > 30:
        raise ValueError(f"{words[:30]!r} is not a quantity of anything")
    named = cells[places["account"]] if "account" in places else ""
    if len(named) > 100:
        raise ValueError("an account of more than 100 characters")
    return Line(number, cells[places["symbol"]], quantity, named or account)


def _refuse(path: Path, faults: list[tuple[int, str]]) -> None:
    if not faults:
        return
    shown = "; ".join(f"line {number}: {why}" for number, why in faults[:_SHOWN])
    more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    raise ReckonerError(f"{path}: {shown}{more}; nothing was imported")
