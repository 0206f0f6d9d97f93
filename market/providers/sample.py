"""Invented bars for any symbol, for a demo or a first try without a network.

Deterministic: a price depends on symbol and date only, so that ranges fetched on different days fit
together. Used only when MARKET_PROVIDERS names it; the source of its bars is 'sample'.
"""

import datetime as dt
import hashlib
import math

from market.providers.base import (
    Answer,
    Bar,
    Capabilities,
    Intraday,
    IntradayBar,
    IntradayRequest,
    Kind,
    Request,
    Session,
)

_FIVE_MINUTES = dt.timedelta(minutes=5)


class Sample:
    """Invented prices: slow waves with daily noise around a level that depends on the symbol."""

    name = "sample"
    canary = None
    capabilities = Capabilities(
        plan="invented", intraday=Intraday(settle_seconds=0, span_days=36_500)
    )

    def fetch(self, request: Request) -> Answer:
        """Return OK with a bar for every requested session."""
        bars = [_bar(request.symbol, day) for day in request.sessions]
        return Answer(Kind.OK if bars else Kind.EMPTY, bars, "invented prices")

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Return OK with all five-minute bars, which fit the session's daily bar."""
        bars = [bar for each in request.sessions for bar in _intraday(request.symbol, each)]
        return Answer(Kind.OK, (), "invented prices", intraday=bars)


def _bar(symbol: str, day: dt.date) -> Bar:
    close = _price(symbol, day.toordinal())
    before = _price(symbol, day.toordinal() - 1)
    noise = _uniform(symbol, day.toordinal(), "range")
    high, low = (
        max(before, close) * (1 + noise / 100),
        min(before, close) * (1 - noise / 100),
    )
    volume = int(1e6 * (1 + 9 * _uniform(symbol, day.toordinal(), "volume")))
    return Bar(day, before, high, low, close, close, volume)


def _intraday(symbol: str, session: Session) -> list[IntradayBar]:
    """Invent a way from the open to the close that touches high and low once."""
    daily = _bar(symbol, session.date)
    opens, high, low, close = (price or 0.0 for price in daily[1:5])
    count = int((session.closes_at - session.opens_at) / _FIVE_MINUTES)
    day = session.date.toordinal()
    steps = [opens]
    for n in range(1, count):
        way = opens + (close - opens) * n / count
        way += (high - low) * (_uniform(symbol, day, n) - 0.5) / 4
        steps.append(round(min(high, max(low, way)), 4))
    steps.append(close)
    peak, bottom = (int(count * _uniform(symbol, day, word)) for word in ("peak", "bottom"))
    return [
        IntradayBar(
            session.opens_at + n * _FIVE_MINUTES,
            steps[n],
            high if n == peak else max(steps[n : n + 2]),
            low if n == bottom else min(steps[n : n + 2]),
            steps[n + 1],
            (daily.volume or 0) // count,
        )
        for n in range(count)
    ]


def _uniform(*key: object) -> float:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _price(symbol: str, day: int) -> float:
    level = 20 * 25 ** _uniform(symbol)
    waves = sum(
        size * math.sin(2 * math.pi * (day / days + _uniform(symbol, days)))
        for size, days in ((0.25, 900), (0.10, 170), (0.05, 37))
    )
    noise = 0.03 * (_uniform(symbol, day) - 0.5)
    return round(level * math.exp(waves + noise), 4)
