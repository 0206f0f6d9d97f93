"""Market data providers: one file each, one interface (`base`), shared state (`state`)."""

from market.providers.base import Action, Answer, Bar, Kind, Payload, Provider, Request
from market.providers.csv_files import CsvFiles
from market.providers.sample import Sample
from market.providers.yahoo import Yahoo
from market.settings import MarketSettings

__all__ = ["Action", "Answer", "Bar", "Kind", "Payload", "Provider", "Request", "build"]


def build(settings: MarketSettings) -> list[Provider]:
    """Make the providers that the settings name, in order of preference."""
    made: list[Provider] = []
    for name in settings.market_providers:
        if name == "yahoo":
            made.append(Yahoo())
        elif name == "csv" and settings.market_csv_dir is not None:
            made.append(CsvFiles(settings.market_csv_dir))
        elif name == "sample":
            made.append(Sample())
    return made
