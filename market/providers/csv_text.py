"""The text of csv files as people have them: separators, column names, dates and numbers.

Programs and web pages write the same table in many ways. Whatever can be read in one way only is
read; where two ways are possible, such as 03/04/2024, the rest of the file has to decide.
"""

import csv
import datetime as dt
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MOST_LINES = 100_000
_MOST_LETTERS = 4_096  # of a line
_SEPARATORS = ",;\t|"
# Names by letters alone: `Adj Close`, `adj_close` and `Adj. Close*` are `adjclose`. Not Yahoo's
# `Stock Splits`: the prices beside it are adjusted already.
_NAMES = {
    "date": "date",
    "datetime": "date",
    "timestamp": "date",
    "time": "date",
    "day": "date",
    "tradedate": "date",
    "tradingday": "date",
    "open": "open",
    "openprice": "open",
    "high": "high",
    "highprice": "high",
    "low": "low",
    "lowprice": "low",
    "close": "close",
    "closeprice": "close",
    "closelast": "close",
    "last": "close",
    "price": "close",
    "volume": "volume",
    "vol": "volume",
    "adjclose": "adjusted_close",
    "adjustedclose": "adjusted_close",
    "dividend": "dividend",
    "dividends": "dividend",
    "dividendamount": "dividend",
    "split": "split",
    "splitcoefficient": "split",
}
_BLANK = {"", "-", "--", "null", "none", "n/a", "na", "#n/a", "nil"}
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?=[ T]|$)")
_FORMATS = ("%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y", "%d.%m.%Y")
_TIMES = {"K": 1e3, "M": 1e6, "B": 1e9}
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?")
_DECIMAL_COMMA = re.compile(r"\d*,(\d{1,2}|\d{4,})|\d{1,3}(\.\d{3})+,\d+")
_MARKS = str.maketrans("", "", "$€£¥'’ \u00a0\u202f")  # noqa: RUF001 - as pages write thousands


@dataclass(frozen=True)
class Table:
    """The rows of a file by column, each with its line. fault: why a row has none of them."""

    columns: Sequence[str]
    rows: Sequence[tuple[int, dict[str, str], str | None]]
    decimal_comma: bool
    day_first: bool | None  # of dates with slashes; None: nothing tells


def decode(body: bytes) -> str:
    """Decode UTF-8, the UTF-16 of spreadsheets, or an older western encoding; raises ValueError."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body.decode("utf-16")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def table(text: str) -> Table:
    """Read a file's text; raises csv.Error where it is longer than any good one."""
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(_lines(text), delimiter=separator, skipinitialspace=True)
    columns: list[str] = []
    rows: list[tuple[int, dict[str, str], str | None]] = []
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if not columns:
            columns = _columns(values)
            continue
        fields, fault = _fields(columns, values)
        rows.append((reader.line_num, fields, fault))
    prices = [
        fields.get(name, "").translate(_MARKS)
        for _, fields, _ in rows
        for name in ("open", "high", "low", "close")
    ]
    return Table(
        columns,
        rows,
        any(_DECIMAL_COMMA.fullmatch(price) for price in prices),
        _day_first([fields.get("date", "").strip() for _, fields, _ in rows]),
    )


def _lines(text: str) -> Iterator[str]:
    """Yield the lines; raises csv.Error where one is too long or there are too many."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if len(line) > _MOST_LETTERS:
            raise csv.Error(f"line {number} is longer than {_MOST_LETTERS} characters")
        if number > _MOST_LINES:
            raise csv.Error(f"more than {_MOST_LINES} lines")
        yield line


def _columns(header: Sequence[str]) -> list[str]:
    letters = ["".join(re.findall(r"[a-z]+", name.lower())) for name in header]
    names = [_NAMES.get(each, each) for each in letters]
    if "close" in (letters[1:]) and letters[0] == "price":
        names[0] = ""  # yfinance's own first column
    if "date" not in names and names[0] not in set(_NAMES.values()):
        names[0] = "date"  # an index without a name
    # `Close` beside `Last` or `Price`: the plain name is meant.
    return [
        name if each == name or name not in letters else each
        for name, each in zip(names, letters, strict=True)
    ]


def _fields(columns: Sequence[str], values: list[str]) -> tuple[dict[str, str], str | None]:
    """Name a row's values. Thousands of a volume may stand there without quotes."""
    count = len(columns)
    extra = [value.strip() for value in values[count:]]
    fault = None
    if any(extra):
        if columns[-1] == "volume" and all(re.fullmatch(r"\d{3}", value) for value in extra):
            values = [*values[: count - 1], "".join([values[count - 1].strip(), *extra])]
        else:
            fault = f"{len(values)} values for {count} columns"
    return dict(zip(columns, values, strict=False)), fault


def _day_first(dates: Sequence[str]) -> bool | None:
    """Tell whether dates with slashes have the day first; None where nothing, or both, tell."""
    found = [_SLASHES.fullmatch(date) for date in dates]
    if not all(found):
        return None  # among other dates, one with slashes is a slip
    pairs = [(int(each[1]), int(each[2])) for each in found if each]
    day_first, month_first = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
    return None if day_first == month_first else day_first


def date(text: str, *, day_first: bool | None) -> dt.date:
    """Read a date, perhaps with a time and a zone, whose own day counts; raises ValueError."""
    text = text.strip()
    if _ISO.match(text):
        return dt.date.fromisoformat(text[:10])
    if slashes := _SLASHES.fullmatch(text):
        if day_first is None:
            raise ValueError(f"{text!r}: day or month first?")
        day, month = (1, 2) if day_first else (2, 1)
        return dt.date(int(slashes[3]), int(slashes[month]), int(slashes[day]))
    for form in _FORMATS:
        try:
            return dt.datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    return dt.date.fromisoformat(text.replace("/", "-"))


def number(text: str | None, *, decimal_comma: bool = False) -> float | None:
    """Read a number with its marks; None for a blank, NaN for what is none."""
    text = (text or "").strip()
    if text.lower() in _BLANK:
        return None
    text = text.translate(_MARKS)
    times = _TIMES.get(text[-1:].upper(), 1.0)
    digits = text[:-1] if times != 1 else text
    if decimal_comma:
        digits = digits.replace(".", "").replace(",", ".") if "," in digits else digits
    elif _THOUSANDS.fullmatch(digits.lstrip("+-")):
        digits = digits.replace(",", "")
    try:
        return float(digits) * times
    except ValueError:
        return math.nan
