"""Finnhub: candles as parallel arrays, adjusted for splits. Free keys have none (`plan`).

Splits and dividends belong to other plans, so its answers have none.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

import httpx
from pydantic import BaseModel

from market.providers import items
from market.providers.base import US, Answer, Bar, Capabilities, Kind, Request
from market.providers.http import Client, Reply, answered, nothing, utc_seconds
from market.providers.spelling import Spelling, pair

# A coin's price belongs to an exchange; Coinbase quotes in dollars.
_SPELLING = Spelling(share_class="{0}.{1}", pair="COINBASE:{0}-{1}")


class _Candles(BaseModel):
    s: Literal["ok", "no_data"]
    t: list[Any] | None = None  # seconds since 1970, midnight UTC
    o: list[Any] | None = None
    h: list[Any] | None = None
    l: list[Any] | None = None  # noqa: E741 - its name
    c: list[Any] | None = None
    v: list[Any] | None = None


class Finnhub:
    """Daily bars with a paid key."""

    name = "finnhub"
    canary = "SPY"

    def __init__(self, http: httpx.Client, base_url: str, key: str, *, is_paid: bool) -> None:
        self._client = Client(http, base_url, key, header=("X-Finnhub-Token", "{}"))
        self.capabilities = Capabilities(
            asset_types=frozenset({"stock", "crypto"}),
            calendars=US,
            plan="paid" if is_paid else "free: no daily bars",
        )

    def fetch(self, request: Request) -> Answer:
        """Fetch one range of one symbol."""
        params = {
            "symbol": _SPELLING(request.symbol),
            "resolution": "D",
            "from": f"{utc_seconds(request.start)}",
            "to": f"{utc_seconds(request.end + dt.timedelta(days=1)) - 1}",
        }
        path = "/api/v1/crypto/candle" if pair(request.symbol) else "/api/v1/stock/candle"
        return self._client.fetch(path, params, _refused, lambda reply: _read(request, reply))


def _refused(reply: Reply) -> Answer | None:
    text = reply.field("error")
    message = f"HTTP {reply.status}: {text}"
    if "limit reached" in text.lower():
        return Answer(
            Kind.THROTTLED, message=message, exhausted="minute", retry_after=reply.retry_after
        )
    if "access" in text.lower() or "api key" in text.lower():
        return Answer(Kind.PLAN, message=message)
    if text and reply.status == 200:
        return Answer(Kind.BAD_ANSWER, message=message)
    return None


def _read(request: Request, reply: Reply) -> Answer:
    candles = _Candles.model_validate_json(reply.body)
    if candles.s == "no_data":
        return nothing("no_data: an unknown symbol, or an empty range")
    times = candles.t or []
    # A column that is left out is unknown for each day.
    columns = [
        column or [None] * len(times) for column in (candles.o, candles.h, candles.l, candles.v)
    ]
    columns.append(candles.c or [])
    lengths = {len(column) for column in columns}
    if lengths != {len(times)}:
        return Answer(Kind.BAD_ANSWER, message=f"arrays of {sorted(lengths)} elements")
    bars, rejected = items.read(list(zip(times, *columns, strict=True)), _bar)
    return answered(request, bars, rejected=rejected)


def _bar(row: Sequence[Any]) -> Bar:
    time, opens, high, low, volume, close = row
    return Bar(
        dt.datetime.fromtimestamp(time, dt.UTC).date(),
        items.number(opens),
        items.number(high),
        items.number(low),
        items.number(close),
        volume=items.shares(volume),
    )
