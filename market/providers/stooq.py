"""Stooq: CSV, once without a key, since 2026 behind a browser's check (HTTP 200, a web page).

Its closes of shares are also adjusted for dividends, in an undocumented way. So it is used for
coins and indices only: a wrong price must not become an outcome.
"""

import csv
import itertools
from collections.abc import Mapping

import httpx

from market.providers import items
from market.providers.base import Answer, Bar, Capabilities, Kind, Request
from market.providers.bounds import MOST_ROWS, ExcessError
from market.providers.http import Client, Reply, answered, nothing
from market.providers.spelling import Spelling

_SPELLING = Spelling(share_class="{0}-{1}.us", pair="{0}{1}", other="{0}.us")
_INDICES = {"^GSPC": "^spx", "^DJI": "^dji", "^IXIC": "^ndq"}
_HEADER = ["Date", "Open", "High", "Low", "Close"]


class Stooq:
    """Daily bars of coins and indices, where the browser's check lets programs in."""

    name = "stooq"
    canary = "^GSPC"

    def __init__(self, http: httpx.Client, base_url: str, key: str) -> None:
        self._client = Client(http, base_url, key, param="apikey")
        self.capabilities = Capabilities(
            asset_types=frozenset({"crypto", "index"}),
            calendars=frozenset({"XNYS", "24/7"}),
            plan="closed to programs since 2026",
        )

    def fetch(self, request: Request) -> Answer:
        """Fetch one range of one symbol."""
        symbol = _INDICES.get(request.symbol, _SPELLING(request.symbol).lower())
        span = {"d1": f"{request.start:%Y%m%d}", "d2": f"{request.end:%Y%m%d}"}
        return self._client.fetch(
            "/q/d/l/",
            {"s": symbol, "i": "d", **span},
            _refused,
            lambda reply: _read(request, reply),
        )


def _refused(reply: Reply) -> Answer | None:
    text = reply.start
    if reply.status == 200 and text.startswith("<"):
        return Answer(Kind.BAD_ANSWER, message=f"HTTP {reply.status}, a web page for browsers")
    if "hits limit" in text:
        return Answer(Kind.THROTTLED, message=text, exhausted="day")
    if "apikey" in text.lower():
        return Answer(Kind.PLAN, message=text)
    if text.startswith("No data"):
        return nothing("No data: an unknown symbol, or an empty range")
    return None


def _read(request: Request, reply: Reply) -> Answer:
    lines = csv.DictReader(reply.body.decode("utf-8-sig").splitlines())
    header = list(lines.fieldnames or [])
    for number, (name, came) in enumerate(zip(_HEADER, [*header, *[""] * 5], strict=False), 1):
        if name != came:
            return Answer(
                Kind.BAD_ANSWER, message=f"another form: column {number} is {came!r}, not {name!r}"
            )
    found = list(itertools.islice(lines, MOST_ROWS + 1))
    if len(found) > MOST_ROWS:
        raise ExcessError(f"more than {MOST_ROWS} rows")
    bars, rejected = items.read(found, _bar)
    return answered(request, bars, rejected=rejected)


def _bar(row: Mapping[str, str]) -> Bar:
    return Bar(
        items.date(row["Date"]),
        items.number(row["Open"]),
        items.number(row["High"]),
        items.number(row["Low"]),
        items.number(row["Close"]),
        volume=items.shares(row.get("Volume")),
    )
