"""Invented bars for any symbol, for a demo or a first try without a network.

Deterministic: a price depends on symbol and date only, so that ranges fetched on different days fit
together. Used only when MARKET_PROVIDERS names it; the source of its bars is 'sample'.
"""

import hashlib
import math

from market.providers.base import Answer, Bar, Capabilities, Kind, Request


class Sample:
    """Invented prices: slow waves with daily noise around a level that depends on the symbol."""

    name = "sample"
    canary = None
    capabilities = Capabilities(plan="invented")

    def fetch(self, request: Request) -> Answer:
        """Return OK with a bar for every requested session."""
        bars = []
        for day in request.sessions:
            close = _price(request.symbol, day.toordinal())
            before = _price(request.symbol, day.toordinal() - 1)
            noise = _uniform(request.symbol, day.toordinal(), "range")
            high, low = (
                max(before, close) * (1 + noise / 100),
                min(before, close) * (1 - noise / 100),
            )
            volume = int(1e6 * (1 + 9 * _uniform(request.symbol, day.toordinal(), "volume")))
            bars.append(Bar(day, before, high, low, close, close, volume))
        return Answer(Kind.OK if bars else Kind.EMPTY, bars, "invented prices")


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
