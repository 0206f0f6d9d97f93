"""The providers over HTTP, made from the settings, on one shared client.

Imported only where one of them is in use, because importing httpx takes a third of a second.
"""

from collections.abc import Sequence

from market.providers.alpha_vantage import AlphaVantage
from market.providers.base import Provider
from market.providers.finnhub import Finnhub
from market.providers.fmp import Fmp
from market.providers.http import new_http
from market.providers.polygon import Polygon
from market.providers.stooq import Stooq
from market.providers.twelve_data import TwelveData
from market.settings import MarketSettings

_BY_NAME: dict[str, type[Fmp | TwelveData | Polygon | AlphaVantage | Finnhub]] = {
    "fmp": Fmp,
    "twelve_data": TwelveData,
    "polygon": Polygon,
    "alpha_vantage": AlphaVantage,
    "finnhub": Finnhub,
}


def make(settings: MarketSettings, names: Sequence[str]) -> dict[str, Provider]:
    """Make the HTTP providers among these names."""
    http = new_http()
    is_paid = settings.market_provider_policy == "paid"
    made: dict[str, Provider] = {}
    for name in names:
        if name == "stooq":
            made[name] = Stooq(http, settings.base_url(name), settings.key(name))
        elif name in _BY_NAME:
            url, key = settings.base_url(name), settings.key(name)
            made[name] = _BY_NAME[name](http, url, key, is_paid=is_paid)
    return made
