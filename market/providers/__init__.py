"""Market data providers: one file each, one interface (`base`), shared state (`state`)."""

from market.providers.alpha_vantage import AlphaVantage
from market.providers.base import Answer, Bar, Capabilities, Kind, Payload, Provider, Request
from market.providers.csv_files import CsvFiles
from market.providers.finnhub import Finnhub
from market.providers.fmp import Fmp
from market.providers.http import new_http
from market.providers.polygon import Polygon
from market.providers.sample import Sample
from market.providers.stooq import Stooq
from market.providers.twelve_data import TwelveData
from market.providers.yahoo import Yahoo
from market.settings import MarketSettings

__all__ = ["Answer", "Bar", "Capabilities", "Kind", "Payload", "Provider", "Request", "build"]

_BY_KEY: dict[str, type[Fmp | TwelveData | Polygon | AlphaVantage | Finnhub]] = {
    "fmp": Fmp,
    "twelve_data": TwelveData,
    "polygon": Polygon,
    "alpha_vantage": AlphaVantage,
    "finnhub": Finnhub,
}


def build(settings: MarketSettings) -> list[Provider]:
    """Make the providers that the settings name or their policy chooses, in order of preference."""
    http = new_http()
    is_paid = settings.market_provider_policy == "paid"
    made: list[Provider] = []
    for name in settings.provider_names:
        if name == "yahoo":
            made.append(Yahoo())
        elif name == "csv" and settings.market_csv_dir is not None:
            made.append(CsvFiles(settings.market_csv_dir))
        elif name == "sample":
            made.append(Sample())
        elif name == "stooq":
            made.append(Stooq(http, settings.base_url(name), settings.key(name)))
        elif name in _BY_KEY:
            kind = _BY_KEY[name]
            made.append(kind(http, settings.base_url(name), settings.key(name), is_paid=is_paid))
    return made
