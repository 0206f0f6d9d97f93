"""Settings with which commands ask the tests' vendor."""

from typing import Any

from tests.providers.vendor import Vendor
from tests.providers.words import KEY

NAMES = ("FMP", "TWELVE_DATA", "POLYGON", "ALPHA_VANTAGE", "FINNHUB", "STOOQ")


def wired(vendor: Vendor, providers: str, **settings: str) -> dict[str, Any]:
    """Settings with which these providers are asked at the vendor's address."""
    keys = {f"{name}_API_KEY": KEY for name in NAMES}
    urls = {f"{name}_BASE_URL": vendor.url for name in NAMES}
    return {**keys, **urls, "MARKET_PROVIDERS": providers, **settings}
