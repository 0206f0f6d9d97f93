"""The `csv` provider: one file per symbol with prices as traded.

Columns `date,open,high,low,close,volume`, optionally `adjusted_close`, `dividend`, `split`, under
these and other usual names (`csv_text`).
A split or dividend is on the row of the first session at the new price; earlier rows are
adjusted here. Dividends by the usual formula (CRSP, Yahoo): every close before the
ex-date is multiplied by 1 - dividend / (last close before the ex-date).

Another user may write to the folder. So only regular files in it are read, and no more of each than
a century of days takes.
"""

import csv
import datetime as dt
import errno
import math
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from market.files import FileRefusedError, read_inside
from market.providers import csv_text, items
from market.providers.base import (
    Action,
    Answer,
    AnyRequest,
    Bar,
    Capabilities,
    Intraday,
    IntradayBar,
    IntradayRequest,
    Kind,
    Payload,
    Request,
)
from sql.descriptors import is_short

# A day's line has some 60 bytes; a century has 26,000 sessions, and 37,000 days.
_MOST_BYTES = 8 * 2**20
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
    capabilities = Capabilities(
        plan="local files", intraday=Intraday(settle_seconds=0, span_days=36_500)
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, request: Request) -> Answer:
        """Read the symbol's file; rows that cannot be bars are rejected, the rest is used."""
        return self._read(request, f"{quote(request.symbol, safe='', errors='replace')}.csv")

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Read the symbol's file of five-minute bars: `SYMBOL.5m.csv`."""
        return self._read(request, f"{quote(request.symbol, safe='', errors='replace')}.5m.csv")

    def _read(self, request: AnyRequest, name: str) -> Answer:
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
        if isinstance(request, IntradayRequest):
            answer = _parse_intraday(request, name, body)
        else:
            answer = _parse(request, name, body)
        return replace(answer, payload=Payload(name, None, body))


def _parse(request: Request, name: str, body: bytes) -> Answer:
    try:
        table = csv_text.table(csv_text.decode(body))
        missing = [column for column in _REQUIRED if column not in table.columns]
        if missing:
            return Answer(Kind.BAD_ANSWER, message=f"{name}: no column {', '.join(missing)}")
        rows, rejected = _read(table)
        # The whole file is read, because later rows adjust earlier ones; the range is cut afterwards.
        bars, actions = _adjust(rows, know_dividends="dividend" in table.columns)
    except (ValueError, csv.Error, ArithmeticError) as error:
        return Answer(Kind.BAD_ANSWER, message=f"{name}: {type(error).__name__}: {error}")
    bars = [bar for bar in bars if request.start <= bar.date <= request.end]
    unread = [
        line for date, line in rejected if date is None or request.start <= date <= request.end
    ]
    if unread and not bars:
        more = f", and {len(unread) - 1} more" if len(unread) > 1 else ""
        return Answer(Kind.BAD_ANSWER, message=f"{name}: {unread[0]}{more}")
    return Answer(
        Kind.OK if bars else Kind.EMPTY,
        bars,
        name,
        unread,
        actions=[action for action in actions if request.start <= action.date <= request.end],
    )


def _parse_intraday(request: IntradayRequest, name: str, body: bytes) -> Answer:
    try:
        table = csv_text.table(csv_text.decode(body))
        missing = [column for column in _REQUIRED if column not in table.columns]
        if missing:
            return Answer(Kind.BAD_ANSWER, message=f"{name}: no column {', '.join(missing)}")
        bars: dict[dt.datetime, IntradayBar] = {}
        rejected = []
        for line, fields, fault in table.rows:
            if fault:
                rejected.append(f"line {line}: {fault}")
                continue
            try:
                bar = _intraday_bar(table, fields)
            except ValueError as error:
                rejected.append(f"line {line}: {error}")
            else:
                bars[bar.ts] = bar  # the later line of a time counts
    except (csv.Error, ValueError, ArithmeticError) as error:
        return Answer(Kind.BAD_ANSWER, message=f"{name}: {type(error).__name__}: {error}")
    inside = [bars[ts] for ts in sorted(bars) if request.since <= ts < request.until]
    if rejected and not bars:
        return Answer(Kind.BAD_ANSWER, message=f"{name}: {rejected[0]}")
    return Answer(Kind.OK if inside else Kind.EMPTY, (), name, rejected, intraday=inside)


def _intraday_bar(table: csv_text.Table, fields: dict[str, str]) -> IntradayBar:
    """Read a line; a time without a zone is UTC."""
    ts = items.moment((fields.get("date") or "").strip())
    close = _number(table, fields, "close")
    if close is None or not 0 < close < math.inf:
        raise ValueError(f"a close of {fields.get('close')!r}")
    return IntradayBar(
        ts.replace(tzinfo=dt.UTC) if ts.tzinfo is None else ts.astimezone(dt.UTC),
        _number(table, fields, "open"),
        _number(table, fields, "high"),
        _number(table, fields, "low"),
        close,
        items.shares(_number(table, fields, "volume")),
    )


def _read(table: csv_text.Table) -> tuple[list[_Row], list[tuple[dt.date | None, str]]]:
    """Read the rows, ascending, and the rejected lines, each with the last date before it."""
    rows: dict[dt.date, _Row] = {}
    rejected: list[tuple[dt.date | None, str]] = []
    date = None
    for line, fields, fault in table.rows:
        if fault:
            rejected.append((date, f"line {line}: {fault}"))
            continue
        try:
            row = _event(table, fields)
        except ValueError as error:
            rejected.append((date, f"line {line}: {error}"))
            continue
        date = row.date
        try:
            row = _with_prices(table, row, fields)
        except ValueError as error:
            rejected.append((date, f"line {line}: {error}"))
            if row.date in rows:
                continue  # a bad line does not replace a good one of its date
        rows[row.date] = row  # the later line of a date counts
    return [rows[date] for date in sorted(rows)], rejected


def _event(table: csv_text.Table, fields: dict[str, str]) -> _Row:
    """Read date, split and dividend; they count even where the prices are bad."""
    date = csv_text.date(fields.get("date") or "", day_first=table.day_first)
    split, dividend = _split(table, fields), _number(table, fields, "dividend")
    if not 0 < split < math.inf:  # it doubts every close before it
        raise ValueError(f"a split of {fields.get('split')!r}")
    return _Row(date, None, None, None, None, None, None, dividend or 0.0, split)


def _split(table: csv_text.Table, fields: dict[str, str]) -> float:
    """Read the new shares for each old one: `4`, `4:1` or `4/1`; NaN for what is none.

    Files written from data frames have 0 on every day without a split.
    """
    new, mark, old = (fields.get("split") or "").replace("/", ":").partition(":")
    shares, one = (csv_text.number(each, decimal_comma=table.decimal_comma) for each in (new, old))
    if not mark:
        return shares or 1.0
    return shares / one if shares and one else math.nan


def _with_prices(table: csv_text.Table, row: _Row, fields: dict[str, str]) -> _Row:
    close = _number(table, fields, "close")
    if close is None or not 0 < close < math.inf:
        raise ValueError(f"a close of {fields.get('close')!r}")
    return replace(
        row,
        open=_number(table, fields, "open"),
        high=_number(table, fields, "high"),
        low=_number(table, fields, "low"),
        close=close,
        volume=_number(table, fields, "volume"),
        adjusted_close=_number(table, fields, "adjusted_close"),
    )


def _number(table: csv_text.Table, fields: dict[str, str], name: str) -> float | None:
    return csv_text.number(fields.get(name), decimal_comma=table.decimal_comma)


def _adjust(rows: list[_Row], *, know_dividends: bool) -> tuple[list[Bar], list[Action]]:
    """Adjust from the newest row back: each split and dividend changes all earlier rows."""
    shares, paid = (
        1.0,
        1.0,
    )  # new shares per share of that day; share of the price left after dividends
    pending = 0.0  # a dividend until the last close before it is reached, in shares of its day
    bars, actions = [], []
    for row in reversed(rows):
        if row.dividend != 0:  # one that cannot be is told as it is: validation says so
            actions.append(Action(row.date, "dividend", row.dividend / shares))
        if row.split != 1:
            actions.append(Action(row.date, "split", row.split))
        dividend = row.dividend if 0 < row.dividend < math.inf else 0.0
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
                    volume=items.shares(None if row.volume is None else row.volume * shares),
                    has_split=row.split != 1,
                    has_dividend=dividend > 0,
                )
            )
        # Both are on the first session at the new price, so they change earlier rows only.
        pending = (pending + dividend) * row.split
        shares *= row.split
    return bars[::-1], actions[::-1]


def _over(price: float | None, shares: float) -> float | None:
    return None if price is None else price / shares
