"""Alpha Vantage: every answer is HTTP 200, and errors are sentences that echo the key.

Its free daily series is as traded, and every close of a provider is adjusted for splits. So this
module also fetches the splits (`SPLITS`); where they are missing, or do not explain a step in the
prices, it gives no bars. The rows of a paid key include split and dividend. A free key gives no
dividends: they would take a third request (`DIVIDENDS`) of 25 a day.
"""

import datetime as dt
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from pydantic import AliasChoices, BaseModel, Field

from market.providers import items
from market.providers.base import US, Action, Answer, Bar, Capabilities, Kind, Payload, Request
from market.providers.http import Client, Reply, answered
from market.providers.spelling import Spelling, pair

_SPELLING = Spelling(share_class="{0}-{1}", pair="{0}")
# Rows of a free answer: the last hundred sessions; coins have a year.
_ROWS = 100
# Just below the smallest usual split, 3:2.
_STEP = 1.45


@dataclass(frozen=True)
class _Row:
    date: dt.date
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    adjusted: float | None
    volume: float | None
    dividend: float | None  # NaN: unreadable; 0 and None: none was paid
    split: float | None  # so, and 1


class _Daily(BaseModel):
    rows: dict[str, Any] = Field(
        validation_alias=AliasChoices(
            "Time Series (Daily)", "Time Series (Digital Currency Daily)"
        ),
        min_length=1,
    )


class _Splits(BaseModel):
    symbol: str
    data: list[Any] | None


class AlphaVantage:
    """Daily bars with a key; 25 requests a day are free. pause: seconds between two requests."""

    name = "alpha_vantage"
    canary = "SPY"

    def __init__(
        self, http: httpx.Client, base_url: str, key: str, *, is_paid: bool, pause: float = 1.2
    ) -> None:
        self._client = Client(http, base_url, key, param="apikey")
        self._is_paid = is_paid
        self._pause = pause
        self.capabilities = Capabilities(
            asset_types=frozenset({"stock", "crypto"}),
            calendars=US,
            history_days=None if is_paid else 135,
            credits=1 if is_paid else 2,
            plan="paid" if is_paid else "free: 100 sessions",
        )

    def fetch(self, request: Request) -> Answer:
        """Fetch the newest rows of one symbol, and its splits."""
        symbol = _SPELLING(request.symbol)
        if coin := pair(request.symbol):
            query = {"function": "DIGITAL_CURRENCY_DAILY", "symbol": symbol, "market": coin[1]}
            return self._request(query, lambda reply: _read(request, reply, {}))
        if self._is_paid:
            query = {"function": "TIME_SERIES_DAILY_ADJUSTED", "outputsize": "full"}
            return self._request(
                {**query, "symbol": symbol}, lambda reply: _read(request, reply, None)
            )
        splits: dict[dt.date, float] = {}
        answer = self._request(
            {"function": "SPLITS", "symbol": symbol},
            lambda reply: _read_splits(splits, symbol, reply),
        )
        if answer.kind is not Kind.OK:
            return answer
        time.sleep(self._pause)  # the limit is one request a second, and this ticker takes two
        bars = self._request(
            {"function": "TIME_SERIES_DAILY", "symbol": symbol, "outputsize": "compact"},
            lambda reply: _read(request, reply, splits),
        )
        return _with_both(bars, answer.payload)

    def _request(self, params: Mapping[str, str], read: Callable[[Reply], Answer]) -> Answer:
        return self._client.fetch("/query", params, _refused, read)


def _refused(reply: Reply) -> Answer | None:
    error, notice = reply.field("Error Message"), reply.field("Information", "Note")
    if error:
        is_key = "apikey" in error.lower() or "api key" in error.lower()
        return Answer(Kind.PLAN if is_key else Kind.UNKNOWN, message=error)
    # Order matters: each of these sentences also advertises the premium plans.
    if "per second" in notice or "per minute" in notice:
        return Answer(Kind.THROTTLED, message=notice, exhausted="minute")
    if "per day" in notice or "rate limit" in notice:
        return Answer(Kind.THROTTLED, message=notice, exhausted="day")
    if "premium" in notice:
        return Answer(Kind.PLAN, message=notice)
    return Answer(Kind.BAD_ANSWER, message=notice) if notice else None


def _read_splits(splits: dict[dt.date, float], symbol: str, reply: Reply) -> Answer:
    document = _Splits.model_validate_json(reply.body)
    if document.symbol != symbol:
        return Answer(Kind.BAD_ANSWER, message=f"asked for {symbol}, got {document.symbol}")
    # One that cannot be read shows as a step in the prices.
    found, _ = items.read(document.data or [], _split)
    splits.update(found)
    return Answer(Kind.OK)


def _split(row: Mapping[str, Any]) -> tuple[dt.date, float]:
    factor = items.number(row["split_factor"])
    if not _is_factor(factor):
        raise ValueError(f"a split of {factor}")
    return items.date(row["effective_date"]), factor or 1.0


def _is_factor(split: float | None) -> bool:
    return split is not None and 0 < split < math.inf


def _read(request: Request, reply: Reply, splits: Mapping[dt.date, float] | None) -> Answer:
    """Adjust the rows before each split. splits: None where the rows have them."""
    given = _Daily.model_validate_json(reply.body).rows
    found, rejected = items.read(given.items(), _row)
    rows = {row.date: row for row in found}
    if splits is not None and len(rows) >= _ROWS and min(rows) > request.start:
        words = f"the rows begin on {min(rows)}, asked for {request.start}"
        return Answer(Kind.PLAN, message=words, abstains=True)
    told = {date: row.split for date, row in rows.items() if _is_factor(row.split)}
    known = {date: split or 1.0 for date, split in told.items()} if splits is None else splits
    bars, actions = _adjusted(rows, known)
    if splits is not None and pair(request.symbol) is None:
        good = [bar for bar in bars if bar.close is not None and 0 < bar.close < math.inf]
        for before, after in itertools.pairwise(good):
            step = (after.close or 0.0) / (before.close or math.inf)
            if not 1 / _STEP < step < _STEP:
                words = f"a step by the factor {step:.2f} on {after.date} that no split explains"
                return Answer(Kind.BAD_ANSWER, message=words)
    return answered(request, bars, actions=actions, rejected=rejected)


def _row(item: tuple[str, Any]) -> _Row:
    day, fields = item

    def field(name: str) -> Any:
        """Find a field by its name; the numbers before the names differ."""
        return next((value for key, value in fields.items() if key.endswith(f". {name}")), None)

    if field("close") is None:
        raise KeyError("close")
    return _Row(
        items.date(day),
        items.number(field("open")),
        items.number(field("high")),
        items.number(field("low")),
        items.number(field("close")),
        items.number(field("adjusted close")),
        items.number(field("volume")),
        items.number(field("dividend amount")),
        items.number(field("split coefficient")),
    )


def _adjusted(
    rows: Mapping[dt.date, _Row], splits: Mapping[dt.date, float]
) -> tuple[list[Bar], list[Action]]:
    """Adjust to the basis of the newest row; a later split changes nothing."""
    bars: list[Bar] = []
    actions: list[Action] = []
    newest, before = max(rows), min(rows) - dt.timedelta(days=1)
    for date in sorted(rows):
        row = rows[date]
        shares = math.prod(factor for day, factor in splits.items() if date < day <= newest)
        split = math.prod(factor for day, factor in splits.items() if before < day <= date)
        if split != 1:
            actions.append(Action(date, "split", split))
        if row.split is not None and not _is_factor(row.split):
            actions.append(Action(date, "split", row.split))  # validation says so
        if row.dividend:
            actions.append(Action(date, "dividend", row.dividend / shares))
        bars.append(
            Bar(
                date,
                _over(row.open, shares),
                _over(row.high, shares),
                _over(row.low, shares),
                _over(row.close, shares),
                row.adjusted,
                items.shares(_over(row.volume, 1 / shares)),
                has_split=split != 1,
                has_dividend=(row.dividend or 0) > 0,
            )
        )
        before = date
    return bars, actions


def _over(amount: float | None, shares: float) -> float | None:
    return None if amount is None else amount / shares


def _with_both(answer: Answer, splits: Payload | None) -> Answer:
    """Join the payloads that the bars were read from: the rows, then the splits."""
    if answer.payload is None or splits is None:
        return answer
    url = f"{answer.payload.url} {splits.url}"
    body = answer.payload.body + b"\n" + splits.body
    return replace(answer, payload=Payload(url, answer.payload.status, body))
