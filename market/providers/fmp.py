"""Financial Modeling Prep: `stable/historical-price-eod/full`, newest first, adjusted for splits.

Five-minute bars come from `stable/historical-chart/5min`, with the wall time of New York and no zone.

The older `api/v3` refuses newer keys. A free key has five years of US large caps. Splits and
dividends would take two more requests of 250 a day, so its answers have none; a split shows as
closes that differ from the stored ones.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from pydantic import TypeAdapter

from market.providers import items
from market.providers.base import (
    US,
    Answer,
    Bar,
    Capabilities,
    Intraday,
    IntradayBar,
    IntradayRequest,
    Kind,
    Request,
)
from market.providers.http import Client, Reply, answered, intraday_answered, nothing
from market.providers.spelling import Spelling

_PATH = "/stable/historical-price-eod/full"
_INTRADAY_PATH = "/stable/historical-chart/5min"
_NEW_YORK = ZoneInfo("America/New_York")
_SPELLING = Spelling(share_class="{0}-{1}", pair="{0}{1}")


_ROWS = TypeAdapter(list[Any])


class Fmp:
    """Daily bars with a key; 250 requests a day are free."""

    name = "fmp"
    canary = "AAPL"

    def __init__(self, http: httpx.Client, base_url: str, key: str, *, is_paid: bool) -> None:
        self._client = Client(http, base_url, key, param="apikey")
        self.capabilities = Capabilities(
            asset_types=frozenset({"stock", "crypto", "index"}),
            calendars=US,
            history_days=None if is_paid else 1820,
            plan="paid" if is_paid else "free: US large caps, 5 years",
            intraday=Intraday(days=1820, span_days=7),
        )

    def fetch(self, request: Request) -> Answer:
        """Fetch one range of one symbol."""
        symbol = _SPELLING(request.symbol)
        params = {"symbol": symbol, "from": f"{request.start}", "to": f"{request.end}"}
        return self._client.fetch(
            _PATH, params, _refused, lambda reply: _read(request, symbol, reply)
        )

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Fetch the five-minute bars of one symbol."""
        symbol = _SPELLING(request.symbol)
        days = [each.astimezone(_NEW_YORK).date() for each in (request.since, request.until)]
        params = {"symbol": symbol, "from": f"{days[0]}", "to": f"{days[1]}"}
        return self._client.fetch(_INTRADAY_PATH, params, _refused, _read_intraday)

    def listing(self, path: str, read: Callable[[list[Any]], Answer]) -> Answer:
        """Fetch a list of the stable API that is not about one symbol; `read` reads its rows."""
        return self._client.fetch(
            f"/stable/{path}",
            {},
            _refused_listing,
            lambda reply: read(_ROWS.validate_json(reply.body)),
        )


def _refused_listing(reply: Reply) -> Answer | None:
    """Refuse by the plan for this list alone: daily bars go on, other than with a wrong key (401)."""
    if reply.status not in {402, 403}:
        return _refused(reply)
    text = reply.field("Error Message") or reply.start
    return Answer(Kind.PLAN, message=f"HTTP {reply.status}: {text}", abstains=True)


def _refused(reply: Reply) -> Answer | None:
    text = reply.field("Error Message") or (reply.start if reply.status == 402 else "")
    message = f"HTTP {reply.status}: {text}"
    if "Limit Reach" in text:
        return Answer(Kind.THROTTLED, message=message, retry_after=reply.retry_after)
    if reply.status == 402 and ("Special Endpoint" in text or "'symbol'" in text):
        return Answer(Kind.PLAN, message=message, abstains=True)
    if "API KEY" in text.upper():
        return Answer(Kind.PLAN, message=message)
    if text and reply.status == 200:
        return Answer(Kind.BAD_ANSWER, message=message)
    return None


def _read(request: Request, symbol: str, reply: Reply) -> Answer:
    rows = _ROWS.validate_json(reply.body)
    if not rows:
        return nothing("no rows: an unknown symbol, or an empty range")
    names = [row.get("symbol", symbol) for row in rows if isinstance(row, dict)]
    other = next((name for name in names if name != symbol), None)
    if other:
        return Answer(Kind.BAD_ANSWER, message=f"asked for {symbol}, got {other}")
    bars, rejected = items.read(reversed(rows), _bar)
    return answered(request, bars, rejected=rejected)


def _bar(row: Mapping[str, Any]) -> Bar:
    return Bar(
        items.date(row["date"]),
        items.number(row.get("open")),
        items.number(row.get("high")),
        items.number(row.get("low")),
        items.number(row["close"]),
        volume=items.shares(row.get("volume")),
    )


def _read_intraday(reply: Reply) -> Answer:
    rows = _ROWS.validate_json(reply.body)
    if not rows:
        return nothing("no rows: an unknown symbol, or an empty range")
    found, rejected = items.read(rows, _wall_bar)
    found.reverse()
    bars, not_read = _in_utc(found)
    return intraday_answered(bars, rejected=[*rejected, *not_read])


def _wall_bar(row: Mapping[str, Any]) -> IntradayBar:
    """Read a row; its time has no zone yet."""
    return IntradayBar(
        items.moment(row["date"]),
        items.number(row.get("open")),
        items.number(row.get("high")),
        items.number(row.get("low")),
        items.number(row["close"]),
        items.shares(row.get("volume")),
    )


def _in_utc(bars: Sequence[IntradayBar]) -> tuple[list[IntradayBar], list[str]]:
    """Read New York's wall times, ascending; returns the bars in UTC and why others have no time.

    On the Sunday in November an hour comes twice. Its times are read by their order where the answer
    has both, and not at all where it has one: that may be an hour off. On the Sunday in March an hour
    does not exist.
    """
    counts = Counter(bar.ts for bar in bars)
    seen: Counter[dt.datetime] = Counter()
    found, rejected = [], []
    for bar in bars:
        first, second = (
            bar.ts.replace(tzinfo=_NEW_YORK, fold=fold).astimezone(dt.UTC) for fold in (0, 1)
        )
        if first.astimezone(_NEW_YORK).replace(tzinfo=None) != bar.ts:
            rejected.append(f"{bar.ts}: New York has no such time")
        elif first != second and counts[bar.ts] != 2:
            rejected.append(
                f"{bar.ts}: New York has this time twice, and the answer {counts[bar.ts]}"
            )
        else:
            is_second = first != second and seen[bar.ts] > 0
            found.append(bar._replace(ts=second if is_second else first))
        seen[bar.ts] += 1
    return found, rejected
