"""Wikipedia: the table of an index's page, chosen by its columns and the number of its symbols.

Tables move, and a page has several. The one whose single column of symbols has as many of them as
the index is the one; where two with different symbols fit, neither is believed. A request without a
User-Agent is refused with 403, so ours says who asks.
"""

from urllib.parse import quote

import httpx

from market.providers.base import Answer
from market.providers.http import Client
from market.universe.constituents import columns
from market.universe.constituents.asking import Take, Website, ask, reading, refused
from market.universe.constituents.columns import NoMembersError
from market.universe.constituents.listed import Index, Listed, Member, Wait
from market.universe.constituents.pages import grids
from sql.database import Database

# Wikimedia asks for a name and a way to reach whoever runs it.
_AGENT = "Reckoner/0.1 (index constituents, a few pages a week; https://pypi.org/project/reckoner)"


class Wikipedia:
    """The pages of a wiki below `/wiki/`."""

    name = "wikipedia"

    def __init__(self, http: httpx.Client, base_url: str) -> None:
        self._client = Client(http, base_url, "", headers={"User-Agent": _AGENT})
        self._provider = Website("wikipedia")

    def has(self, index: Index) -> bool:
        """Whether the index has a page."""
        return index.wikipedia is not None

    def fetch(self, database: Database, index: Index, wait: Wait) -> Listed:
        """Fetch the members of an index."""
        path = f"/wiki/{quote(index.wikipedia or '', safe='')}"

        def fetch(take: Take) -> Answer:
            return self._client.fetch(
                path,
                {},
                lambda reply: refused(reply, "no such page"),
                lambda reply: reading(lambda: members(reply.body, index), take),
            )

        return ask(database, self._provider, index, wait, fetch)


def members(body: bytes, index: Index) -> list[Member]:
    """Return the members in the one table that fits; raises NoMembersError, ValueError."""
    found: list[list[Member]] = []
    others: list[str] = []
    for grid in grids(body):
        try:
            listed = columns.read(grid)
        except NoMembersError as error:
            if len(grid) >= index.least:
                others.append(f"{len(grid)} rows with {error}")
            continue
        if columns.fits(index, listed):
            found.append(listed)
        else:
            others.append(f"{len({each.symbol for each in listed})} symbols")
    if not found:
        seen = f"; there are: {'; '.join(others[:4])}" if others else ""
        raise NoMembersError(f"no table with a column of {index.expected} symbols{seen}")
    if len({frozenset(each.symbol for each in listed) for listed in found}) > 1:
        raise NoMembersError(f"{len(found)} tables with {index.expected} symbols that differ")
    return found[0]
