"""Twelve Data: `time_series`, numbers as texts, adjusted for splits, several symbols at once.

The code of an error is in the document, whatever the HTTP status is. The same ticker exists on many
exchanges, so the answer must describe a US listing or a coin. Splits and dividends cost 20 credits
a symbol, so its answers have none; a split shows as closes that differ from the stored ones.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import httpx
from pydantic import BaseModel

from market.providers import items
from market.providers.base import (
    US,
    Answer,
    Bar,
    Capabilities,
    Intraday,
    IntradayBar,
    IntradayRequest,
    Kind,
    Request,
)
from market.providers.http import Client, Reply, answered, intraday_answered
from market.providers.spelling import Spelling, pair

_SPELLING = Spelling(share_class="{0}.{1}", pair="{0}/{1}")
_MOST_ROWS = 5000
_TYPES = {"ETF": "etf", "Digital Currency": "crypto", "Common Stock": "stock"}


class _Meta(BaseModel):
    symbol: str
    interval: str | None = None
    type: str | None = None
    currency: str | None = None
    exchange_timezone: str | None = None


class _Series(BaseModel):
    meta: _Meta
    values: list[Any] | None
    status: Literal["ok"]


class TwelveData:
    """Daily bars with a key; 8 symbols a minute and 800 a day are free."""

    name = "twelve_data"
    canary = "SPY"

    def __init__(self, http: httpx.Client, base_url: str, key: str, *, is_paid: bool) -> None:
        self._client = Client(http, base_url, key, header=("Authorization", "apikey {}"))
        self.capabilities = Capabilities(
            asset_types=frozenset({"stock", "crypto"}),
            calendars=US,
            history_days=_MOST_ROWS - 100,  # coins have a row for each day
            batch=50 if is_paid else 8,
            plan="paid" if is_paid else "free",
            # A coin has 288 bars a day, and an answer 5,000.
            intraday=Intraday(days=1000, span_days=15),
        )

    def fetch(self, request: Request) -> Answer:
        """Fetch one range of one symbol."""
        return self.fetch_many([request])[0]

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Fetch the five-minute bars of one symbol, with times in UTC."""
        name = _SPELLING(request.symbol)
        params = {
            "symbol": name,
            "interval": "5min",
            "start_date": f"{request.since:%Y-%m-%d %H:%M:%S}",
            "end_date": f"{request.until:%Y-%m-%d %H:%M:%S}",
            "timezone": "UTC",
            "order": "ASC",
            "adjust": "splits",
            "outputsize": f"{_MOST_ROWS}",
        }
        return self._client.fetch(
            "/time_series",
            params,
            lambda reply: _refused_by(reply.document, reply.status),
            lambda reply: _read_intraday(request, name, reply.document),
        )

    def credits_for(self, requests: Sequence[Request]) -> int:
        """Count a credit for each symbol, alone or in a batch."""
        return len(requests)

    def fetch_many(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Fetch the same range of several symbols at once."""
        names = [_SPELLING(request.symbol) for request in requests]
        params = {
            "symbol": ",".join(names),
            "interval": "1day",
            "start_date": f"{requests[0].start}",
            # A day more: the end belongs to the range for some kinds of instruments only.
            "end_date": f"{requests[0].end + dt.timedelta(days=1)}",
            "order": "ASC",
            "adjust": "splits",
            "outputsize": f"{_MOST_ROWS}",
        }
        reply = self._client.get("/time_series", params)
        if isinstance(reply, Answer):
            return [reply] * len(requests)

        def one(request: Request, name: str) -> Answer:
            # Only several symbols come wrapped in an object keyed by symbol.
            def read(reply: Reply) -> Answer:
                whole_document = reply.document
                document = whole_document if len(names) == 1 else whole_document.get(name, {})
                return _refused_by(document, 200) or _read(request, name, document)

            return self._client.conclude(
                reply, lambda reply: _refused_by(reply.document, reply.status), read
            )

        return [one(request, name) for request, name in zip(requests, names, strict=True)]


def _refused_by(document: Mapping[str, Any], status: int) -> Answer | None:  # noqa: PLR0911 - one return per class
    if document.get("status") != "error":
        return None
    text, code = str(document.get("message")), document.get("code", status)
    message = f"HTTP {status}, code {code}: {text}"
    if code == 429:
        per: Literal["day", "minute"] = "day" if "for the day" in text else "minute"
        return Answer(Kind.THROTTLED, message=message, exhausted=per)
    if "available starting with" in text or "available exclusively with" in text:
        return Answer(Kind.PLAN, message=message, abstains="symbol" in text.lower())
    if code in {401, 403}:
        return Answer(Kind.PLAN, message=message)
    if code in {400, 404} and re.search(r"symbol.*(missing or invalid|not found)", text):
        return Answer(Kind.UNKNOWN, message=message)
    if code in {400, 404} and "No data is available" in text:
        return Answer(Kind.EMPTY, message=message)
    return Answer(
        Kind.DOWN if isinstance(code, int) and code >= 500 else Kind.BAD_ANSWER, message=message
    )


def _read(request: Request, name: str, document: Mapping[str, Any]) -> Answer:
    series = _Series.model_validate(document)
    meta = series.meta
    if refused := _other(request.symbol, name, series):
        return refused
    bars, rejected = items.read(series.values or [], _bar)
    answer = answered(request, bars, asset_type=_TYPES.get(meta.type or ""), rejected=rejected)
    return replace(answer, currency=meta.currency)


def _read_intraday(request: IntradayRequest, name: str, document: Mapping[str, Any]) -> Answer:
    series = _Series.model_validate(document)
    if refused := _other(request.symbol, name, series):
        return refused
    if series.meta.interval != "5min":
        return Answer(
            Kind.BAD_ANSWER, message=f"asked for 5min, got {series.meta.interval or 'no interval'}"
        )
    bars, rejected = items.read(series.values or [], _intraday_bar)
    return intraday_answered(bars, asset_type=_TYPES.get(series.meta.type or ""), rejected=rejected)


def _other(symbol: str, name: str, series: _Series) -> Answer | None:
    """Return why a series is not the one that was asked for, or not all of it."""
    meta = series.meta
    if meta.symbol != name:
        return Answer(Kind.BAD_ANSWER, message=f"asked for {name}, got {meta.symbol}")
    is_coin = meta.type == "Digital Currency"
    if (pair(symbol) is not None) != is_coin or (
        not is_coin and (meta.currency, meta.exchange_timezone) != ("USD", "America/New_York")
    ):
        what = f"{meta.type} in {meta.currency}, {meta.exchange_timezone}"
        return Answer(Kind.BAD_ANSWER, message=f"another instrument: {name} is a {what}")
    if len(series.values or []) >= _MOST_ROWS:
        return Answer(Kind.PLAN, message=f"more than {_MOST_ROWS} rows in the range", abstains=True)
    return None


def _bar(row: Mapping[str, Any]) -> Bar:
    return Bar(
        items.date(row["datetime"]),
        items.number(row.get("open")),
        items.number(row.get("high")),
        items.number(row.get("low")),
        items.number(row["close"]),
        volume=items.shares(row.get("volume")),
    )


def _intraday_bar(row: Mapping[str, Any]) -> IntradayBar:
    return IntradayBar(
        items.moment(row["datetime"]).replace(tzinfo=dt.UTC),
        items.number(row.get("open")),
        items.number(row.get("high")),
        items.number(row.get("low")),
        items.number(row["close"]),
        items.shares(row.get("volume")),
    )
