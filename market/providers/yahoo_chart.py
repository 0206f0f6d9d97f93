"""The form of Yahoo's chart endpoint: from a status and a body to an answer. No network.

An error's text, not only its status, tells an unknown symbol from an empty range.
"""

import contextlib
import datetime as dt
import json
import math
import re
import zoneinfo
from typing import Any

from market.providers import items
from market.providers.base import (
    Action,
    Answer,
    AnyRequest,
    Bar,
    IntradayBar,
    IntradayRequest,
    Kind,
    Request,
)
from market.providers.bounds import MOST_ROWS, ExcessError, check_size, retry_after

# Without an exchange's suffix: a US listing, with prices in dollars.
_US_SHARE = re.compile(r"[A-Z]+(-[A-Z])?")
# Errors of a document of another form; `limits.guarded_fetch` catches all others.
_OTHER_FORM = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    OSError,
)
_ASSET_TYPES = {
    "EQUITY": "stock",
    "ETF": "etf",
    "MUTUALFUND": "etf",
    "CRYPTOCURRENCY": "crypto",
    "INDEX": "index",
    "FUTURE": "commodity",
    "CURRENCY": "currency",
}


def is_stale_crumb(status: int, body: bytes) -> bool:
    """Whether Yahoo refuses the cookie or the crumb, which it does for minutes, and not the request."""
    return (
        status == 401
        and re.search(rb"invalid (crumb|cookie)", body[:2000], re.IGNORECASE) is not None
    )


def classify(  # noqa: PLR0911 - one return per class of answer is the clearest form
    request: AnyRequest, status: int, body: bytes, header: str | None = None
) -> Answer:
    """Turn one HTTP answer of the chart endpoint into an `Answer`. header: its Retry-After."""
    if status in {429, 999}:
        seconds, rest = retry_after(header)
        return Answer(Kind.THROTTLED, message=f"HTTP {status}{rest}", retry_after=seconds)
    if is_stale_crumb(status, body):
        return Answer(Kind.DOWN, message=f"HTTP {status}: its cookie or crumb is not accepted")
    if status in {401, 402, 403}:
        return Answer(Kind.PLAN, message=f"HTTP {status}")
    if status >= 500:
        return Answer(Kind.DOWN, message=f"HTTP {status}")
    try:
        check_size(body)
    except ValueError as excess:
        return Answer(Kind.BAD_ANSWER, message=f"HTTP {status}: {excess}")
    try:
        chart = json.loads(body)["chart"]
        error = chart.get("error") or {}
        description = str(error.get("description") or "")
        result = chart["result"][0] if chart.get("result") else None
    except _OTHER_FORM:
        start = body[:60].decode(errors="replace")
        return Answer(Kind.BAD_ANSWER, message=f"HTTP {status}, no chart in it: {start!r}")
    if status == 404 and description.startswith("No data found"):
        return Answer(Kind.UNKNOWN, message=f"HTTP 404: {description}")
    if status == 400 and description.startswith("Data doesn't exist"):
        return Answer(Kind.EMPTY, message=f"HTTP 400: {description}")
    if status != 200 or result is None:
        return Answer(
            Kind.BAD_ANSWER, message=f"HTTP {status}: {description or 'a chart without result'}"
        )
    try:
        return _parse(request, result)
    except _OTHER_FORM as problem:
        return Answer(
            Kind.BAD_ANSWER, message=f"a chart of another form: {type(problem).__name__} {problem}"
        )


def _parse(request: AnyRequest, result: dict[str, Any]) -> Answer:
    meta = result["meta"]
    if str(meta.get("symbol", "")).upper() != request.symbol.upper():
        return Answer(
            Kind.BAD_ANSWER, message=f"asked for {request.symbol}, got {meta.get('symbol')}"
        )
    currency = meta.get("currency")
    if _US_SHARE.fullmatch(request.symbol) and currency not in {None, "USD"}:
        return Answer(
            Kind.BAD_ANSWER, message=f"another instrument: {request.symbol} in {currency}"
        )
    if not result.get("timestamp"):
        return Answer(Kind.EMPTY, message="no bars in the range")
    if len(result["timestamp"]) > MOST_ROWS:
        raise ExcessError(f"more than {MOST_ROWS} bars")
    if isinstance(request, IntradayRequest):
        return _intraday(result)
    return _daily(request, result)


def _intraday(result: dict[str, Any]) -> Answer:
    meta = result["meta"]
    if meta.get("dataGranularity") not in {None, "5m"}:
        return Answer(Kind.BAD_ANSWER, message=f"asked for 5m, got {meta['dataGranularity']}")
    bars, rejected = items.read(_rows(result), _intraday_bar)
    return Answer(
        Kind.OK if bars else Kind.EMPTY,
        (),
        "",
        rejected,
        asset_type=_ASSET_TYPES.get(str(meta.get("instrumentType"))),
        currency=meta.get("currency"),
        timezone=meta.get("exchangeTimezoneName"),
        intraday=bars,
    )


def _intraday_bar(row: tuple[Any, ...]) -> IntradayBar:
    timestamp, opens, high, low, close, _, volume = row
    return IntradayBar(
        dt.datetime.fromtimestamp(timestamp, dt.UTC),
        items.number(opens),
        items.number(high),
        items.number(low),
        items.number(close),
        items.shares(volume),
    )


def _daily(request: Request, result: dict[str, Any]) -> Answer:
    meta = result["meta"]
    zone = _zone(meta)
    actions, undated = _actions(result, zone)
    splits = {action.date for action in actions if action.kind == "split"}
    dividends = {action.date for action in actions if action.kind == "dividend"}

    def one(row: tuple[Any, ...]) -> Bar:
        timestamp, opens, high, low, close, adjusted, volume = row
        date = dt.datetime.fromtimestamp(timestamp, zone).date()
        return Bar(
            date,
            items.number(opens),
            items.number(high),
            items.number(low),
            items.number(close),
            items.number(adjusted),
            items.shares(volume),
            has_split=date in splits,
            has_dividend=date in dividends,
        )

    found, rejected = items.read(_rows(result), one)
    # Without the extra day before the range.
    bars = [bar for bar in found if bar.date >= request.start]
    # Later bars are kept: validation decides whether their session is over.
    return Answer(
        Kind.OK if any(bar.date <= request.end for bar in bars) else Kind.EMPTY,
        bars,
        f"{undated} events without a date" if undated else "",
        rejected,
        asset_type=_ASSET_TYPES.get(str(meta.get("instrumentType"))),
        exchange=meta.get("exchangeName"),
        currency=meta.get("currency"),
        timezone=meta.get("exchangeTimezoneName"),
        actions=[action for action in actions if request.start <= action.date <= request.end],
    )


def _zone(meta: dict[str, Any]) -> dt.tzinfo:
    with contextlib.suppress(KeyError, ValueError, OSError):
        return zoneinfo.ZoneInfo(meta["exchangeTimezoneName"])
    return dt.timezone(dt.timedelta(seconds=meta["gmtoffset"]))


def _rows(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the timestamps with their prices; a column that is not whole is unknown."""
    times = result["timestamp"]
    quotes = result["indicators"]["quote"][0]
    adjusted = result["indicators"].get("adjclose") or [{}]
    columns = {"adjclose": (adjusted[0] or {}).get("adjclose"), **quotes}
    closes = columns["close"]
    if len(closes) != len(times):
        raise ValueError(f"{len(times)} timestamps and {len(closes)} closes")
    names = ("open", "high", "low", "close", "adjclose", "volume")
    whole = {
        name: column
        for name, column in columns.items()
        if isinstance(column, list) and len(column) == len(times)
    }
    empty = [None] * len(times)
    return list(zip(times, *(whole.get(name, empty) for name in names), strict=True))


def _actions(result: dict[str, Any], zone: dt.tzinfo) -> tuple[list[Action], int]:
    """Read the chart's splits and dividends; dividends come adjusted for later splits.

    The value of one that cannot be read is NaN, and validation says so. Returns also how many have
    no date.
    """
    found: list[Action] = []
    undated = 0
    events = result.get("events") or {}
    for event in _events(events, "splits"):
        date = _date(event, zone)
        value = math.nan
        with contextlib.suppress(ZeroDivisionError, TypeError):
            value = items.number(event.get("numerator")) / items.number(event.get("denominator"))  # type: ignore[operator]
        undated += date is None
        if date:
            found.append(Action(date, "split", value))
    for event in _events(events, "dividends"):
        date, amount = _date(event, zone), items.number(event.get("amount"))
        undated += date is None
        if date:
            found.append(Action(date, "dividend", math.nan if amount is None else amount))
    return sorted(found), undated


def _events(events: Any, kind: str) -> list[dict[str, Any]]:
    given = events.get(kind) if isinstance(events, dict) else None
    rows = given.values() if isinstance(given, dict) else []
    return [row if isinstance(row, dict) else {} for row in rows]


def _date(event: dict[str, Any], zone: dt.tzinfo) -> dt.date | None:
    with contextlib.suppress(*_OTHER_FORM):
        return dt.datetime.fromtimestamp(event["date"], zone).date()
    return None
