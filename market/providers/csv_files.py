"""The `csv` provider: one file per symbol with prices as traded.

Columns `date,open,high,low,close,volume`, optionally `adjusted_close`, `dividend`, `split`.
A split or dividend is on the row of the first session at the new price; earlier rows are
adjusted here. Dividends by the usual formula (CRSP, Yahoo): every close before the
ex-date is multiplied by 1 - dividend / (last close before the ex-date).

Another user may write to the folder. So only regular files in it are read, and no more of each than
a century of days takes.
"""

import csv
import datetime as dt
import errno
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from market.files import FileRefusedError, read_inside
from market.providers.base import Action, Answer, Bar, Capabilities, Kind, Payload, Request
from market.providers.bounds import whole
from sql.descriptors import is_short

# A day's line has some 60 bytes; a century has 26,000 sessions, and 37,000 days.
_MOST_BYTES = 8 * 2**20
_MOST_LINES = 100_000
_MOST_LETTERS = 4_096  # of a line
_REQUIRED = ("date", "open", "high", "low", "close", "volume")


@dataclass
class _Row:
    date: dt.date
    open: float | None
    high: float | None
    low: float | None
    close: float | None  # None: not a bar, but its split or dividend still counts
    volume: float | None
    adjusted_close: float | None
    dividend: float
    split: float


class CsvFiles:
    """Reads `<folder>/<SYMBOL, URL-quoted>.csv`; a missing file is an unknown symbol."""

    name = "csv"
    canary = None
    capabilities = Capabilities(plan="local files")

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, request: Request) -> Answer:
        """Read the symbol's file; rows that cannot be bars are rejected, the rest is used."""
        name = f"{quote(request.symbol, safe='', errors='replace')}.csv"
        try:
            body = read_inside(self._folder, name, _MOST_BYTES)
        except FileRefusedError as error:
            return Answer(Kind.BAD_ANSWER, message=f"{name} {error.strerror}")
        except OSError as error:
            if is_short(error):
                raise  # no descriptor is left: not a fault of the folder
            if error.errno in {errno.ENOENT, errno.ENOTDIR} and not self._folder.is_dir():
                return Answer(Kind.DOWN, message=f"MARKET_CSV_DIR: {self._folder} is not a folder")
            if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
                return Answer(Kind.UNKNOWN, message=f"no file {name}")
            return Answer(Kind.DOWN, message=f"{name}: {error.strerror}")
        return replace(_parse(request, name, body), payload=Payload(name, None, body))


def _parse(request: Request, name: str, body: bytes) -> Answer:
    try:
        reader = csv.DictReader(_lines(body.decode("utf-8-sig")))
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        missing = [column for column in _REQUIRED if column not in columns]
        if missing:
            return Answer(Kind.BAD_ANSWER, message=f"{name}: no column {', '.join(missing)}")
        rows, rejected = _read(reader)
        # The whole file is read, because later rows adjust earlier ones; the range is cut afterwards.
        bars, actions = _adjust(rows, know_dividends="dividend" in columns)
    except (UnicodeDecodeError, csv.Error, ArithmeticError) as error:
        return Answer(Kind.BAD_ANSWER, message=f"{name}: {type(error).__name__}: {error}")
    bars = [bar for bar in bars if request.start <= bar.date <= request.end]
    return Answer(
        Kind.OK if bars else Kind.EMPTY,
        bars,
        name,
        [line for date, line in rejected if date is None or request.start <= date <= request.end],
        actions=[action for action in actions if request.start <= action.date <= request.end],
    )


def _lines(text: str) -> Iterator[str]:
    """Yield the lines; raises csv.Error where one is too long or there are too many."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if len(line) > _MOST_LETTERS:
            raise csv.Error(f"line {number} is longer than {_MOST_LETTERS} characters")
        if number > _MOST_LINES:
            raise csv.Error(f"more than {_MOST_LINES} lines")
        yield line


def _read(reader: "csv.DictReader[str]") -> tuple[list[_Row], list[tuple[dt.date | None, str]]]:
    """Read the rows, ascending, and the rejected lines, each with the last date before it."""
    rows: dict[dt.date, _Row] = {}
    rejected: list[tuple[dt.date | None, str]] = []
    date = None
    for fields in reader:
        try:
            row = _event(fields)
        except (ValueError, TypeError) as error:
            rejected.append((date, f"line {reader.line_num}: {error}"))
            continue
        date = row.date
        try:
            row = _with_prices(row, fields)
        except ValueError as error:
            rejected.append((date, f"line {reader.line_num}: {error}"))
            if row.date in rows:
                continue  # a bad line does not replace a good one of its date
        rows[row.date] = row  # the later line of a date counts
    return [rows[date] for date in sorted(rows)], rejected


def _event(fields: dict[str, str]) -> _Row:
    """Read date, split and dividend; they count even where the prices are bad."""
    # Files written from data frames have 0 on every day without a split.
    split, dividend = _number(fields, "split") or 1.0, _number(fields, "dividend") or 0.0
    if split <= 0 or dividend < 0:
        raise ValueError(f"a split of {split}, a dividend of {dividend}")
    date = dt.date.fromisoformat((fields.get("date") or "").strip())
    return _Row(date, None, None, None, None, None, None, dividend, split)


def _with_prices(row: _Row, fields: dict[str, str]) -> _Row:
    close = _number(fields, "close")
    if close is None or close <= 0:
        raise ValueError(f"a close of {close}")
    return replace(
        row,
        open=_number(fields, "open"),
        high=_number(fields, "high"),
        low=_number(fields, "low"),
        close=close,
        volume=_number(fields, "volume"),
        adjusted_close=_number(fields, "adjusted_close"),
    )


def _number(fields: dict[str, str], name: str) -> float | None:
    text = (fields.get(name) or "").strip()
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text}")
    return value


def _adjust(rows: list[_Row], *, know_dividends: bool) -> tuple[list[Bar], list[Action]]:
    """Adjust from the newest row back: each split and dividend changes all earlier rows."""
    shares, paid = (
        1.0,
        1.0,
    )  # new shares per share of that day; share of the price left after dividends
    pending = 0.0  # a dividend until the last close before it is reached, in shares of its day
    bars, actions = [], []
    for row in reversed(rows):
        if row.dividend > 0:
            actions.append(Action(row.date, "dividend", row.dividend / shares))
        if row.split != 1:
            actions.append(Action(row.date, "split", row.split))
        if row.close is not None:
            if 0 < pending < row.close:
                paid *= 1 - pending / row.close
            pending = 0.0
            close = row.close / shares
            adjusted = row.adjusted_close
            if adjusted is None and know_dividends:
                adjusted = close * paid
            bars.append(
                Bar(
                    row.date,
                    open=_over(row.open, shares),
                    high=_over(row.high, shares),
                    low=_over(row.low, shares),
                    close=close,
                    adjusted_close=adjusted,
                    volume=whole(None if row.volume is None else row.volume * shares),
                    has_split=row.split != 1,
                    has_dividend=row.dividend > 0,
                )
            )
        # Both are on the first session at the new price, so they change earlier rows only.
        pending = (pending + row.dividend) * row.split
        shares *= row.split
    return bars[::-1], actions[::-1]


def _over(price: float | None, shares: float) -> float | None:
    return None if price is None else price / shares
