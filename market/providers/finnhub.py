"""Finnhub: candles as parallel arrays, adjusted for splits. Free keys have none (`plan`).

Splits and dividends belong to other plans, so its answers have none.
"""

import datetime as dt
from typing import Annotated, Literal

import httpx
from pydantic import BaseModel, FailFast

from market.providers.base import US, Answer, Bar, Capabilities, Kind, Request
from market.providers.bounds import whole
from market.providers.http import Client, Reply, answered, nothing, utc_seconds
from market.providers.spelling import Spelling, pair

# A coin's price belongs to an exchange; Coinbase quotes in dollars.
_SPELLING = Spelling(share_class="{0}.{1}", pair="COINBASE:{0}-{1}")


# FailFast: the first of half a million wrong elements is enough.
_Column = Annotated[list[float | None], FailFast()]


class _Candles(BaseModel):
    s: Literal["ok", "no_data"]
    t: Annotated[list[int], FailFast()] = []  # seconds since 1970, midnight UTC
    o: _Column = []
    h: _Column = []
    l: _Column = []  # noqa: E741 - its name
    c: _Column = []
    v: _Column = []


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
    if reply.status == 200 and reply.document.get("c"):
        return None  # whatever it says beside its data
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
    columns = (candles.t, candles.o, candles.h, candles.l, candles.c, candles.v)
    lengths = {len(column) for column in columns}
    if lengths != {len(candles.t)}:
        return Answer(Kind.BAD_ANSWER, message=f"arrays of {sorted(lengths)} elements")
    bars = [
        Bar(dt.datetime.fromtimestamp(t, dt.UTC).date(), o, h, low, c, volume=whole(v))
        for t, o, h, low, c, v in zip(*columns, strict=True)
    ]
    return answered(request, bars)
