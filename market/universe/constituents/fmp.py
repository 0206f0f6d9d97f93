"""Financial Modeling Prep: `stable/sp500-constituent` and its like, as JSON, with a paid key."""

from collections.abc import Mapping
from typing import Any

from market.providers import items
from market.providers.base import Answer
from market.providers.fmp import Fmp
from market.universe.constituents.asking import Take, ask, reading
from market.universe.constituents.columns import text, tickers
from market.universe.constituents.listed import Index, Listed, Member, Wait
from sql.database import Database


class FmpLists:
    """The lists of the provider `fmp`; requests count in its quota."""

    name = "fmp"

    def __init__(self, provider: Fmp) -> None:
        self._provider = provider

    def has(self, index: Index) -> bool:
        """Whether the index has a path there."""
        return index.fmp is not None

    def fetch(self, database: Database, index: Index, wait: Wait) -> Listed:
        """Fetch the members of an index."""

        def fetch(take: Take) -> Answer:
            return self._provider.listing(
                index.fmp or "", lambda rows: reading(lambda: _members(rows), take)
            )

        return ask(database, self._provider, index, wait, fetch)


def _members(rows: list[Any]) -> list[Member]:
    found, _ = items.read(rows, _member)
    return tickers(found, "the field 'symbol'")


def _member(row: Mapping[str, Any]) -> Member:
    symbol = text(row["symbol"])
    if symbol is None:
        raise ValueError("symbol is not a text")
    return Member(
        symbol, text(row.get("name")), text(row.get("sector")), text(row.get("subSector"))
    )
