"""Reading the items of an answer, one at a time: an unreadable one costs none of the others.

A number that is given and cannot be read becomes NaN, a volume below 0: validation leaves the field
out, or the bar where it is the close, and says so.
"""

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    OSError,
)
# Fewer than half of the rows are never another form, nor so few.
_MOST = 1000
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")


def number(value: Any) -> float | None:
    """Read a number, also one in a text; None and "" are None, what is none is NaN."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def shares(value: Any) -> int | None:
    """Read a volume in whole shares; some providers count fractions. -1: none can be read."""
    count = number(value)
    if count is None:
        return None
    return round(count) if math.isfinite(count) else -1


def date(value: Any) -> dt.date:
    """Read an ISO date, perhaps with a time behind it; raises ValueError."""
    text = str(value)
    if not _DAY.match(text) or text[10:11] not in {"", " ", "T"}:
        raise ValueError(f"{text[:40]!r} is not a date")
    return dt.date.fromisoformat(text[:10])


def moment(value: Any) -> dt.datetime:
    """Read an ISO date with its time, as it stands there, perhaps without a zone; raises ValueError."""
    text = str(value)
    if not _MOMENT.match(text):
        raise ValueError(f"{text[:40]!r} is not a date with its time")
    return dt.datetime.fromisoformat(text)


def read(rows: Iterable[T], one: Callable[[T], Any]) -> tuple[list[Any], list[str]]:
    """Read each row; returns what could be read, and a line for each that could not.

    Raises ValueError where no row could be read, or most of many could not: it is another form.
    """
    found, rejected = [], []
    for n, row in enumerate(rows):
        try:
            found.append(one(row))
        except _UNREADABLE as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            rejected.append(f"item {n}: {what}"[:200])
            if len(rejected) > max(_MOST, len(found)):
                break  # half a million wrong items are no answer
    if len(rejected) > max(_MOST, len(found)) or (rejected and not found):
        raise ValueError(f"another form: {rejected[0]}")
    return found, rejected
