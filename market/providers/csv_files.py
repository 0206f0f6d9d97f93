"""The `csv` provider: one file per symbol with prices as traded.

Columns `date,open,high,low,close,volume`, optionally `adjusted_close`, `dividend`, `split`.
A split or dividend stands on the first session at the new price; what came before is
adjusted here. Dividends by the usual formula (CRSP, Yahoo): every close before the
ex-date is multiplied by 1 - dividend / (last close before the ex-date).
"""

import csv
import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from market.providers.base import Answer, Bar, Kind, Request

_REQUIRED = ("date", "open", "high", "low", "close", "volume")


@dataclass
class _Row:
    date: dt.date
    open: float | None
    high: float | None
    low: float | None
    close: float
    volume: float | None
    adjusted_close: float | None
    dividend: float
    split: float


class CsvFiles:
    """Reads `<folder>/<SYMBOL, URL-quoted>.csv`; a missing file is an unknown symbol."""

    name = "csv"
    canary = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, request: Request) -> Answer:
        """Read the symbol's file; rows that cannot be bars are counted, the rest is used."""
        path = self._folder / f"{quote(request.symbol, safe='')}.csv"
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                columns = [name.strip().lower() for name in reader.fieldnames or ()]
                reader.fieldnames = columns
                missing = [name for name in _REQUIRED if name not in columns]
                if missing:
                    return Answer(Kind.BAD_ANSWER, message=f"{path.name}: no column {', '.join(missing)}")
                rows, rejected = _read(reader)
        except FileNotFoundError:
            if not self._folder.is_dir():
                return Answer(Kind.DOWN, message=f"MARKET_CSV_DIR: {self._folder} is no folder")
            return Answer(Kind.UNKNOWN, message=f"no file {path.name}")
        except OSError as error:
            return Answer(Kind.DOWN, message=f"{path.name}: {error.strerror}")
        except (UnicodeDecodeError, csv.Error) as error:
            return Answer(Kind.BAD_ANSWER, message=f"{path.name}: {error}")
        bars = [
            bar
            for bar in _adjust(rows, know_dividends="dividend" in columns)
            if request.start <= bar.date <= request.end
        ]
        return Answer(Kind.OK if bars else Kind.EMPTY, bars, path.name, rejected)


def _read(reader: "csv.DictReader[str]") -> tuple[list[_Row], list[str]]:
    rows: dict[dt.date, _Row] = {}
    rejected = []
    for fields in reader:
        try:
            row = _row(fields)
        except ValueError as error:
            rejected.append(f"line {reader.line_num}: {error}")
        else:
            rows[row.date] = row  # of a duplicated date the later line counts
    return [rows[date] for date in sorted(rows)], rejected


def _row(fields: dict[str, str]) -> _Row:
    close = _number(fields, "close")
    if close is None:
        raise ValueError("no close")
    split = _number(fields, "split") or 1.0
    if split <= 0:
        raise ValueError(f"a split of {split}")
    return _Row(
        date=dt.date.fromisoformat((fields["date"] or "").strip()),
        open=_number(fields, "open"),
        high=_number(fields, "high"),
        low=_number(fields, "low"),
        close=close,
        volume=_number(fields, "volume"),
        adjusted_close=_number(fields, "adjusted_close"),
        dividend=_number(fields, "dividend") or 0.0,
        split=split,
    )


def _number(fields: dict[str, str], name: str) -> float | None:
    text = (fields.get(name) or "").strip()
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text}")
    return value


def _adjust(rows: list[_Row], *, know_dividends: bool) -> Iterable[Bar]:
    """Adjust from the newest row back, as each split and dividend changes what came before it."""
    shares, paid = 1.0, 1.0
    bars = []
    for row, before in zip(reversed(rows), [*reversed(rows[:-1]), None], strict=True):
        close = row.close / shares
        adjusted = row.adjusted_close
        if adjusted is None and know_dividends:
            adjusted = close * paid
        bars.append(
            Bar(
                row.date,
                *(None if price is None else price / shares for price in (row.open, row.high, row.low)),
                close,
                adjusted,
                None if row.volume is None else round(row.volume * shares),
                has_split=row.split != 1,
                has_dividend=row.dividend > 0,
            )
        )
        if before is not None and before.close > 0:
            # The dividend is per new share: compare it with the last close in new shares.
            paid *= max(1 - row.dividend * row.split / before.close, 0.0) or 1.0
        shares *= row.split
    return reversed(bars)
