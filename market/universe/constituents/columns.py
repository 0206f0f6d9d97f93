"""The members in a table: its columns are known by their headers, and symbols by their form.

A column of company names is never taken for symbols: its header is another one, and names are not
written in capitals alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from market.universe.constituents.listed import Index, Member

Grid = Sequence[Sequence[str]]

# Headers by letters alone: `GICS Sub-Industry[1]` is `gicssubindustry`.
_SYMBOL = {"symbol", "ticker", "tickersymbol", "stocksymbol", "epic"}
_OTHERS = {
    "name": {"company", "companyname", "security", "securityname", "name", "constituent"},
    "sector": {"sector", "gicssector", "icbindustry", "icbsector"},
    "industry": {"industry", "subindustry", "subsector", "gicssubindustry", "icbsubsector"},
}
_TICKER = re.compile(r"[A-Z0-9.^=/-]{1,12}")
_EXCHANGE = re.compile(r"[A-Za-z ]{2,12}:\s*")  # NYSE: MMM
_HEADER_ROWS = 3
# A note below a table is a row as well. More odd cells mean another column.
_FEW = 2
_MOST_TEXT = 200


class NoMembersError(ValueError):
    """A table has no members in it; the message says what was looked for and what is there."""


def read(grid: Grid, *, any_case: bool = False) -> list[Member]:
    """Read the members of a table; raises NoMembersError where it has none.

    any_case: symbols may be in lower case.
    """
    for number, header in enumerate(grid[:_HEADER_ROWS]):
        names = [letters(cell) for cell in header]
        places = [place for place, name in enumerate(names) if name in _SYMBOL]
        if len(places) > 1:
            raise NoMembersError(f"{len(places)} columns of symbols: {shown(header)}")
        if places:
            found = _members(grid[number + 1 :], places[0], _others(names), header[places[0]])
            if any_case:
                found = [replace(each, symbol=each.symbol.upper()) for each in found]
            return tickers(found, f"the column {header[places[0]][:30]!r}")
    raise NoMembersError(f"no column of symbols: {shown(grid[0]) if grid else 'no rows'}")


def tickers(members: Sequence[Member], where: str) -> list[Member]:
    """Return the members whose symbols have the form of one; raises where more than a few have not."""
    good = [each for each in members if _TICKER.fullmatch(each.symbol)]
    odd = next((each.symbol for each in members if not _TICKER.fullmatch(each.symbol)), "")
    if len(members) - len(good) > max(_FEW, len(members) // 50):
        raise NoMembersError(
            f"{where} has {len(members) - len(good)} texts that are no symbols, such as {odd[:40]!r}"
        )
    return good


def fits(index: Index, members: Sequence[Member]) -> bool:
    """Whether there are as many different symbols as the index has."""
    return index.least <= len({each.symbol for each in members}) <= index.most


def letters(header: str) -> str:
    """Reduce a header to its letters, without footnotes."""
    return "".join(re.findall(r"[a-z]+", re.sub(r"\[[^\]]*\]", "", header.lower())))


def shown(header: Sequence[str]) -> str:
    """Name the columns of a table, for a message."""
    return ", ".join(cell[:30] or "-" for cell in header[:8])[:120]


def text(value: object) -> str | None:
    """Return a text of a source in one line and of a sane length; None for anything else."""
    if not isinstance(value, str):
        return None
    # NUL is the one character that PostgreSQL cannot store.
    return " ".join(value.replace("\0", " ").split())[:_MOST_TEXT] or None


def _others(names: Sequence[str]) -> dict[str, int]:
    return {
        field: next(place for place, name in enumerate(names) if name in known)
        for field, known in _OTHERS.items()
        if known & set(names)
    }


def _members(rows: Grid, place: int, others: Mapping[str, int], header: str) -> list[Member]:
    found = []
    for row in rows:
        cell = row[place] if place < len(row) else ""
        symbol = _EXCHANGE.sub("", text(cell) or "")
        if not symbol or letters(symbol) == letters(header):
            continue  # an empty row, or the header once more
        rest = {field: text(row[where]) for field, where in others.items() if where < len(row)}
        found.append(Member(symbol, **rest))
    return found
