"""What our Yahoo knows of a symbol, and the chart that it makes of it.

Owns the numbers: a listing holds prices as they were traded, with its splits and dividends,
and `rows` says what the endpoint would show at a moment, so that history rewrites itself
when the clock passes a split. The content faults change such rows; nothing here knows of
HTTP.
"""

import datetime as dt
import math
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Traded(NamedTuple):
    """A day as it was traded, adjusted for nothing."""

    open: float
    high: float
    low: float
    close: float
    volume: int


@dataclass
class Listing:
    """A symbol: its days, what happened to it, and when its exchange is open.

    splits: new shares for an old one (4.0 for 4:1), on the first day at the new price.
    dividends: as paid, on the ex-day. delisted: nothing comes after the last bar.
    """

    bars: dict[dt.date, Traded]
    splits: dict[dt.date, float] = field(default_factory=dict)
    dividends: dict[dt.date, float] = field(default_factory=dict)
    kind: str = "EQUITY"
    exchange: str = "NMS"
    zone: str = "America/New_York"
    opens: dt.time = dt.time(9, 30)
    length: dt.timedelta = dt.timedelta(hours=6, minutes=30)
    delisted: bool = False

    def opening(self, date: dt.date) -> dt.datetime:
        """The moment that a day's bar bears."""
        return dt.datetime.combine(date, self.opens, zoneinfo.ZoneInfo(self.zone))


class Row(NamedTuple):
    """One line of a chart; None where Yahoo says null."""

    stamp: int
    date: dt.date
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    adjusted: float | None
    volume: float | None


_PRICES = ("open", "high", "low", "close", "adjusted")


def steady(
    days: Sequence[dt.date],
    *,
    start: float = 100.0,
    splits: Mapping[dt.date, float] | None = None,
    **facts: Any,
) -> Listing:
    """A listing whose closes, adjusted for all its splits, are `start`, `start` + 0.5, …

    Binary fractions, so that what a test expects is to the bit what is stored.
    """
    bars = {}
    for number, date in enumerate(days):
        ratio = math.prod(r for split, r in (splits or {}).items() if date < split)
        close = start + number / 2
        opening, high, low = ((close + off) * ratio for off in (-0.25, 1.0, -1.0))
        bars[date] = Traded(opening, high, low, close * ratio, round(4000 / ratio))
    return Listing(bars, dict(splits or {}), **facts)


def rows(listing: Listing, now: dt.datetime) -> list[Row]:
    """Every day up to `now`: adjusted for the splits (`adjusted` for dividends too) so far."""
    begun = [date for date in sorted(listing.bars) if listing.opening(date) <= now]
    shares = paid = 1.0
    found = []
    for date, before in zip(reversed(begun), [*reversed(begun[:-1]), None], strict=True):
        opening, traded = listing.opening(date), listing.bars[date]
        stamp = int(opening.timestamp())
        if now < opening + listing.length:  # the session goes on: what there is of its bar
            stamp = int(now.timestamp())
            close = (traded.open + traded.close) / 2
            traded = traded._replace(close=close, volume=traded.volume // 2)
        start, high, low, close = (price / shares for price in traded[:4])
        volume = round(traded.volume * shares)
        found.append(Row(stamp, date, start, high, low, close, close * paid, volume))
        if date in listing.dividends and before is not None:
            paid *= 1 - listing.dividends[date] / listing.bars[before].close
        shares *= listing.splits.get(date, 1.0)
    return found[::-1]


def events(listing: Listing, first: dt.date, last: dt.date) -> dict[str, Any]:
    """Splits and dividends of the days of a chart, as its `events`."""
    found: dict[str, Any] = {}
    for date, ratio in listing.splits.items():
        if first <= date <= last:
            stamp = int(listing.opening(date).timestamp())
            said = {"date": stamp, "numerator": ratio, "denominator": 1.0}
            found.setdefault("splits", {})[str(stamp)] = said
    for date, amount in listing.dividends.items():
        if first <= date <= last:
            stamp = int(listing.opening(date).timestamp())
            found.setdefault("dividends", {})[str(stamp)] = {"date": stamp, "amount": amount}
    return found


def chart(symbol: str, listing: Listing, shown: Sequence[Row], now: dt.datetime) -> dict[str, Any]:
    """The document for these rows; without any, Yahoo leaves the timestamps out."""
    result: dict[str, Any] = {
        "meta": {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": listing.exchange,
            "instrumentType": listing.kind,
            "firstTradeDate": int(listing.opening(min(listing.bars)).timestamp()),
            "regularMarketTime": int(now.timestamp()),
            "gmtoffset": int(
                (now.astimezone(zoneinfo.ZoneInfo(listing.zone)).utcoffset() or dt.timedelta())
                / dt.timedelta(seconds=1)
            ),
            "exchangeTimezoneName": listing.zone,
            "dataGranularity": "1d",
            "range": "",
        },
        "indicators": {"quote": [{}], "adjclose": [{}]},
    }
    if shown:
        columns = {name: [getattr(row, name) for row in shown] for name in (*_PRICES, "volume")}
        result["timestamp"] = [row.stamp for row in shown]
        result["indicators"]["adjclose"] = [{"adjclose": columns.pop("adjusted")}]
        result["indicators"]["quote"] = [columns]
        dates = [row.date for row in shown]
        result["events"] = events(listing, min(dates), max(dates))
    return {"chart": {"result": [result], "error": None}}


def scaled(row: Row, factor: float) -> Row:
    """The row with all its prices times `factor`."""
    prices: dict[str, Any] = {name: (getattr(row, name) or 0.0) * factor for name in _PRICES}
    return row._replace(**prices)


_NULLS: dict[str, Any] = dict.fromkeys((*_PRICES, "volume"))

# Content faults of a single row: the one of the fault's day, or the last one.
ONE_ROW: dict[str, Callable[[Row, float], Row]] = {
    "null_row": lambda row, _: row._replace(**_NULLS),
    "null_close": lambda row, _: row._replace(close=None),
    "nan_literal": lambda row, _: row._replace(close=float("nan")),
    "neg_price": lambda row, _: scaled(row, -1.0),
    "zero_price": lambda row, _: scaled(row, 0.0),
    "high_lt_low": lambda row, _: row._replace(high=row.low, low=row.high),
    "spike": scaled,
    "revised": scaled,
    "zero_volume": lambda row, _: row._replace(volume=0),
    "restated": lambda row, factor: row._replace(volume=(row.volume or 0) * factor),
}


def _doubled(shown: list[Row], _listing: Listing) -> list[Row]:
    return [*shown[:-1], scaled(shown[-1], 0.98), shown[-1]]


def _of_tomorrow(shown: list[Row], listing: Listing) -> list[Row]:
    date = shown[-1].date + dt.timedelta(days=1)
    stamp = int(listing.opening(date).timestamp())
    return [*shown, scaled(shown[-1], 3.0)._replace(date=date, stamp=stamp)]


def _of_a_saturday(shown: list[Row], listing: Listing) -> list[Row]:
    fridays = [number for number, row in enumerate(shown) if row.date.weekday() == 4]
    middle = fridays[len(fridays) // 2]
    date = shown[middle].date + dt.timedelta(days=1)
    stamp = int(listing.opening(date).timestamp())
    extra = scaled(shown[middle], 1.1)._replace(date=date, stamp=stamp)
    return [*shown[: middle + 1], extra, *shown[middle + 1 :]]


def _unsplit(shown: list[Row], listing: Listing, late: int = 0) -> list[Row]:
    """The split is told, and not in the prices before it, nor in those of `late` days from it."""
    ((date, ratio),) = listing.splits.items()
    step = date + dt.timedelta(days=late)
    return [scaled(row, ratio) if row.date < step else row for row in shown]


# Content faults of a whole chart.
ALL_ROWS: dict[str, Callable[[list[Row], Listing], list[Row]]] = {
    "dup_last": _doubled,
    "split_missed": _unsplit,
    "split_told_early": lambda shown, listing: _unsplit(shown, listing, 1),
    "split_told_late": lambda shown, listing: _unsplit(shown, listing, -1),
    "unsorted": lambda shown, _: shown[1::2] + shown[::2],
    "future_bar": _of_tomorrow,
    "saturday_bar": _of_a_saturday,
    "empty_range": lambda _shown, _: [],
    "halved": lambda shown, _: [scaled(row, 0.5) for row in shown],
    "no_adjclose": lambda shown, _: [row._replace(adjusted=None) for row in shown],
}
