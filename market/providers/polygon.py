"""Polygon, now Massive: aggregates adjusted for splits, and the whole US market of a day at once.

A bar's time is midnight in New York, or UTC for coins. Unknown symbols and empty ranges give the
same answer without results. Splits and dividends would take more of the five requests a minute, so
its answers have none; a split shows as closes that differ from the stored ones.
"""

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from zoneinfo import ZoneInfo

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
from market.providers.bounds import path_segment
from market.providers.http import Client, Reply, answered, intraday_answered, nothing
from market.providers.spelling import Spelling, pair

_SPELLING = Spelling(share_class="{0}.{1}", pair="X:{0}{1}")
_NEW_YORK = ZoneInfo("America/New_York")


class _Aggregates(BaseModel):
    ticker: str
    status: Literal["OK", "DELAYED"]
    adjusted: Literal[True]
    results: list[Any] | None = None
    next_url: None = None  # 50,000 days fit into one answer


class _Market(BaseModel):
    status: Literal["OK", "DELAYED"]
    adjusted: Literal[True]
    results: list[Any] | None = None


class Polygon:
    """Daily bars with a key; 5 requests a minute and two years are free."""

    name = "polygon"
    canary = "SPY"

    def __init__(self, http: httpx.Client, base_url: str, key: str, *, is_paid: bool) -> None:
        self._client = Client(http, base_url, key, header=("Authorization", "Bearer {}"))
        self.capabilities = Capabilities(
            asset_types=frozenset({"stock", "crypto"}),
            calendars=US,
            history_days=None if is_paid else 725,
            batch=100_000,
            plan="paid" if is_paid else "free: 2 years, end of day",
            # A limit of 50,000 counts minutes, of which a month with extended hours has 20,000.
            intraday=Intraday(None if is_paid else 725, 60 if is_paid else 900, span_days=30),
        )

    def fetch(self, request: Request) -> Answer:
        """Fetch one range of one symbol."""
        symbol = _SPELLING(request.symbol)
        try:
            segment = path_segment(symbol, safe=":")
        except ValueError as error:
            return Answer(Kind.BAD_ANSWER, message=str(error))
        span = f"{request.start}/{request.end}"
        return self._client.fetch(
            f"/v2/aggs/ticker/{segment}/range/1/day/{span}",
            {"adjusted": "true", "sort": "asc", "limit": "50000"},
            _refused,
            lambda reply: _read(request, symbol, reply),
        )

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Fetch the five-minute bars of one symbol, those outside of its sessions too."""
        symbol = _SPELLING(request.symbol)
        try:
            segment = path_segment(symbol, safe=":")
        except ValueError as error:
            return Answer(Kind.BAD_ANSWER, message=str(error))
        first, last = (int(each.timestamp() * 1000) for each in (request.since, request.until))
        return self._client.fetch(
            f"/v2/aggs/ticker/{segment}/range/5/minute/{first}/{last - 1}",
            {"adjusted": "true", "sort": "asc", "limit": "50000"},
            _refused,
            lambda reply: _read_intraday(symbol, reply),
        )

    def credits_for(self, requests: Sequence[Request]) -> int:
        """Count a request for each session."""
        return len(requests[0].sessions)

    def fetch_many(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Fetch the whole US market, a request for each session; shares only.

        The payload of each answer is that of the last session.
        """
        found: dict[str, list[Bar]] = {}
        last = nothing("no session in the range")
        for session in requests[0].sessions:
            rows: list[tuple[str, Bar]] = []
            last = self._client.fetch(
                f"/v2/aggs/grouped/locale/us/market/stocks/{session}",
                {"adjusted": "true"},
                _refused,
                functools.partial(_read_market, rows),
            )
            if last.kind is not Kind.OK:
                return [last] * len(requests)
            for name, bar in rows:
                found.setdefault(name, []).append(bar)
        answers = []
        for request in requests:
            bars = found.get(_SPELLING(request.symbol), [])
            answer = answered(request, bars) if bars else nothing("not in the market's day")
            answers.append(replace(answer, payload=last.payload))
        return answers


def _refused(reply: Reply) -> Answer | None:
    if reply.status == 200 and reply.document.get("results"):
        return None  # whatever it says beside its data
    text = reply.field("error", "message")
    message = f"HTTP {reply.status}: {text}"
    if "maximum requests" in text:
        return Answer(Kind.THROTTLED, message=message, exhausted="minute")
    if reply.status == 403 and "timeframe" in text:
        return Answer(Kind.PLAN, message=message, abstains=True)
    if reply.field("status") == "NOT_AUTHORIZED":
        return Answer(Kind.PLAN, message=message)
    if reply.status == 200 and reply.field("status") == "ERROR":
        return Answer(Kind.BAD_ANSWER, message=message)
    return None


def _read(request: Request, symbol: str, reply: Reply) -> Answer:
    series = _Aggregates.model_validate_json(reply.body)
    if series.ticker != symbol:
        return Answer(Kind.BAD_ANSWER, message=f"asked for {symbol}, got {series.ticker}")
    if not series.results:
        return nothing("no results: an unknown symbol, or an empty range")
    zone = dt.UTC if pair(request.symbol) else _NEW_YORK
    bars, rejected = items.read(series.results, lambda row: _bar(row, zone))
    return answered(request, bars, rejected=rejected)


def _read_intraday(symbol: str, reply: Reply) -> Answer:
    series = _Aggregates.model_validate_json(reply.body)
    if series.ticker != symbol:
        return Answer(Kind.BAD_ANSWER, message=f"asked for {symbol}, got {series.ticker}")
    if not series.results:
        return nothing("no results: an unknown symbol, or an empty range")
    bars, rejected = items.read(series.results, _intraday_bar)
    return intraday_answered(bars, rejected=rejected)


def _read_market(rows: list[tuple[str, Bar]], reply: Reply) -> Answer:
    market = _Market.model_validate_json(reply.body).results or []
    # An unreadable row is missing in its own symbol's answer, which is then asked for alone.
    rows += items.read(market, lambda row: (str(row["T"]), _bar(row, _NEW_YORK)))[0]
    return Answer(Kind.OK) if rows else nothing("no market on that day")


def _bar(row: Mapping[str, Any], zone: dt.tzinfo) -> Bar:
    return Bar(
        dt.datetime.fromtimestamp(row["t"] / 1000, zone).date(),
        items.number(row.get("o")),
        items.number(row.get("h")),
        items.number(row.get("l")),
        items.number(row["c"]),
        volume=items.shares(row.get("v")),
    )


def _intraday_bar(row: Mapping[str, Any]) -> IntradayBar:
    return IntradayBar(
        dt.datetime.fromtimestamp(row["t"] / 1000, dt.UTC),
        items.number(row.get("o")),
        items.number(row.get("h")),
        items.number(row.get("l")),
        items.number(row["c"]),
        items.shares(row.get("v")),
    )
