"""The spelling of symbols at each provider, as data.

A request has the registry's `provider_symbol`: BRK-B, BTC-USD, ^GSPC.
"""

import re
from dataclasses import dataclass

_PAIR = re.compile(r"([A-Z0-9]+)[-/](USD|USDT|USDC|EUR|GBP|JPY|BTC|ETH)")
_SHARE_CLASS = re.compile(r"([A-Z]+)[-./]([A-Z])")


@dataclass(frozen=True)
class Spelling:
    """Templates of one provider: {0} and {1} are BRK and B, BTC and USD; `other` has {0} only."""

    share_class: str
    pair: str
    other: str = "{0}"

    def __call__(self, symbol: str) -> str:
        """Spell a symbol as the provider does."""
        if coin := pair(symbol):
            return self.pair.format(*coin)
        if found := _SHARE_CLASS.fullmatch(symbol):
            return self.share_class.format(*found.groups())
        return self.other.format(symbol)


def pair(symbol: str) -> tuple[str, str] | None:
    """Split a pair into coin and currency; None where the symbol is not a pair."""
    found = _PAIR.fullmatch(symbol)
    return (found[1], found[2]) if found else None
