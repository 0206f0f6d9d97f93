"""The form of Yahoo's chart endpoint: from a status and a body to an answer. No network.

An error's text, not only its status, tells an unknown symbol from an empty range.
"""

import contextlib
import datetime as dt
import json
import re
import zoneinfo
from typing import Any

from market.providers.base import Action, Answer, Bar, Kind, Request
from market.providers.bounds import MOST_ROWS, ExcessError, check_size, retry_after, whole

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
    request: Request, status: int, body: bytes, header: str | None = None
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


def _parse(request: Request, result: dict[str, Any]) -> Answer:
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
    if "timestamp" not in result:
        return Answer(Kind.EMPTY, message="no bars in the range")
    if len(result["timestamp"]) > MOST_ROWS:
        raise ExcessError(f"more than {MOST_ROWS} bars")
    zone = _zone(meta)
    actions = _actions(result, zone)
    splits = {action.date for action in actions if action.kind == "split"}
    dividends = {action.date for action in actions if action.kind == "dividend"}
    quotes = result["indicators"]["quote"][0]
    adjusted = result["indicators"].get("adjclose", [{}])[0].get("adjclose")
    columns = {name: quotes[name] for name in ("open", "high", "low", "close", "volume")}
    columns["adjusted_close"] = adjusted or [None] * len(result["timestamp"])
    bars = []
    for timestamp, *values in zip(result["timestamp"], *columns.values(), strict=True):
        date = dt.datetime.fromtimestamp(timestamp, zone).date()
        if date < request.start:
            continue  # the extra day before the range
        numbers = {
            name: None if value is None else float(value)
            for name, value in zip(columns, values, strict=True)
        }
        volume = whole(numbers.pop("volume"))
        bars.append(
            Bar(
                date,
                **numbers,
                volume=volume,
                has_split=date in splits,
                has_dividend=date in dividends,
            )
        )
    # Later bars are kept: validation decides whether their session is over.
    return Answer(
        Kind.OK if any(bar.date <= request.end for bar in bars) else Kind.EMPTY,
        bars,
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


def _actions(result: dict[str, Any], zone: dt.tzinfo) -> list[Action]:
    """Read the chart's splits and dividends; dividends come adjusted for later splits."""
    events = result.get("events") or {}
    found = []
    for event in (events.get("splits") or {}).values():
        date = dt.datetime.fromtimestamp(event["date"], zone).date()
        found.append(Action(date, "split", float(event["numerator"]) / float(event["denominator"])))
    for event in (events.get("dividends") or {}).values():
        date = dt.datetime.fromtimestamp(event["date"], zone).date()
        found.append(Action(date, "dividend", float(event["amount"])))
    return sorted(found)
