"""The sources of the settings, in the order in which they are asked: fmp, wikipedia, csv."""

from pathlib import Path

from market.providers.fmp import Fmp
from market.providers.http import new_http
from market.settings import MarketSettings
from market.universe.constituents.csv_lists import CsvFolder, CsvUrl
from market.universe.constituents.fmp import FmpLists
from market.universe.constituents.listed import Source
from market.universe.constituents.wikipedia import Wikipedia


def build(settings: MarketSettings) -> list[Source]:
    """Make the sources that are set up. FMP needs its key, csv INDEX_CSV_DIR."""
    http = new_http()
    found: list[Source] = []
    if key := settings.key("fmp"):
        is_paid = settings.market_provider_policy == "paid"
        found.append(FmpLists(Fmp(http, settings.base_url("fmp"), key, is_paid=is_paid)))
    found.append(Wikipedia(http, settings.base_url("wikipedia")))
    if place := settings.index_csv_dir:
        is_url = place.startswith(("http://", "https://"))
        found.append(CsvUrl(http, place) if is_url else CsvFolder(Path(place)))
    return found
