"""A value as the text of a cell: the only place of the screen that formats one.

Times are relative on a screen ("3 min ago", "in 2 h"), because a person asks how long; programs get
ISO 8601 from `formats`. Numbers have no unit: the header does.
"""

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from market.cli.display.view import Change, Kind
from sql.visible import visible_line

_MOST_ITEMS = 6
# The largest unit whose count is at least two, so that "90 min" is not "2 h".
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

RIGHT: frozenset[Kind] = frozenset({"number", "count", "price", "percent", "bytes", "duration"})

# Words of every state, verdict and finding that a screen colours.
GOOD = frozenset(
    {
        *("ok", "done", "active", "complete", "completed", "yes", "alive"),
        *("registered", "fetched", "additive"),
    }
)
BAD = frozenset(
    {
        *("fail", "failed", "dead", "invalid", "error", "unhealthy", "rejected", "unresolvable"),
        *("late", "unknown", "parked", "cancelled", "danger", "failing", "paused", "gone"),
    }
)
UNSETTLED = frozenset(
    {
        *("warn", "warning", "pending", "processing", "maturing", "awaiting_prices", "in_progress"),
        *("inactive", "later", "waiting", "working", "polling"),
    }
)


def kind_of(key: str, values: Iterable[Any]) -> Kind:
    """Find the kind of a column by its key and the first value that is not NULL."""
    if key in {"state", "status", "verdict"}:
        return "state"
    each = (v for value in values for v in _both(value))
    found = next((value for value in each if value is not None), None)
    kinds: tuple[tuple[type | tuple[type, ...], Kind], ...] = (
        (bool, "yes"),
        (int, "text" if key == "id" or key.endswith("_id") else "count"),
        ((float, Decimal), "number"),
        (dt.datetime, "when"),
        (dt.date, "day"),
        (dt.timedelta, "duration"),
        (Mapping, "pairs"),
        ((list, tuple, set, frozenset), "list"),
    )
    return next((kind for type_, kind in kinds if isinstance(found, type_)), "text")


def text_of(value: Any, kind: Kind, now: dt.datetime) -> str:
    """Format a value; NULL is empty. A value that its kind does not fit is shown as text."""
    match value:
        case None:
            text = ""
        case Change(before=before, after=after):
            texts = [text_of(each, kind, now) or "none" for each in (before, after)]
            text = " \u2192 ".join(dict.fromkeys(texts))
        case bool():
            text = "yes" if value else "no"
        case int() | float() | Decimal():
            text = _number(value, kind)
        case dt.datetime():
            text = value.date().isoformat() if kind == "day" else relative(value, now)
        case dt.timedelta():
            text = length(value)
        case Mapping():
            text = _some(
                f"{visible_line(str(k))} {text_of(v, 'text', now)}" for k, v in value.items()
            )
        case list() | tuple() | set() | frozenset():
            text = _some(text_of(each, "text", now) for each in value)
        case _:
            text = visible_line(str(value))
    return text


def _both(value: Any) -> tuple[Any, ...]:
    return (value.before, value.after) if isinstance(value, Change) else (value,)


def relative(moment: dt.datetime, now: dt.datetime) -> str:
    """Return how long ago, or in how long, a moment is; beyond a month its date.

    A moment without a zone is UTC.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    distance = moment - now
    if abs(distance) > dt.timedelta(days=31):
        return moment.astimezone(dt.UTC).date().isoformat()
    if abs(distance) < dt.timedelta(seconds=1):
        return "now"
    return f"in {length(distance)}" if distance > dt.timedelta() else f"{length(-distance)} ago"


def length(duration: dt.timedelta) -> str:
    """Return a duration in its largest useful unit: `45 s`, `90 min`, `3 d`."""
    seconds = duration.total_seconds()
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in _UNITS:
        if abs(seconds) >= 2 * size:
            return f"{round(seconds / size):,} {unit}"
    return f"{round(seconds)} s"


def size(count: float) -> str:
    """Return a number of bytes in the unit that keeps it short: `512 B`, `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _number(value: float | Decimal, kind: Kind) -> str:
    if not math.isfinite(value):
        return str(value)
    number = float(value) if isinstance(value, Decimal) else value
    match kind:
        case "bytes":
            text = size(number)
        case "percent":
            text = f"{number:+.2f}"
        case "count":
            text = f"{number:,.0f}"
        case "price" if abs(number) >= 1:
            text = f"{number:,.2f}"
        case _ if isinstance(number, int):
            text = str(number)
        case _ if abs(number) < 1:
            text = f"{number:.4g}"
        case _:
            text = f"{number:,.2f}".rstrip("0").rstrip(".")
    return text


def _some(texts: Iterable[str]) -> str:
    found = list(texts)
    left = len(found) - _MOST_ITEMS
    return ", ".join(found[:_MOST_ITEMS]) + (f", {left:,} more" if left > 0 else "")
