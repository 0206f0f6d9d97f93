"""Market data providers: one file each, one interface (`base`), shared limits (`limits`).

A vendor's spelling, format and words for no are in its own file and nowhere else, so that another
vendor is another file.
"""

from market.providers.base import (
    Action,
    Answer,
    Bar,
    Capabilities,
    Kind,
    Payload,
    Provider,
    Request,
)
from market.providers.csv_files import CsvFiles
from market.providers.sample import Sample
from market.providers.yahoo import Yahoo
from market.settings import MarketSettings

__all__ = [
    "Action",
    "Answer",
    "Bar",
    "Capabilities",
    "Kind",
    "Payload",
    "Provider",
    "Request",
    "build",
]


def build(settings: MarketSettings) -> list[Provider]:
    """Make the providers of MARKET_PROVIDERS or of the policy, in order of preference."""
    names = settings.provider_names
    made: dict[str, Provider] = {"yahoo": Yahoo(), "sample": Sample()}
    if settings.market_csv_dir is not None:
        made["csv"] = CsvFiles(settings.market_csv_dir)
    if not made.keys() >= set(names):
        from market.providers import keyed  # noqa: PLC0415 - brings httpx

        made |= keyed.make(settings, names)
    return [made[name] for name in names]
