"""What the providers say, in their own words: one good answer each, and how each is made here."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from market.providers import Provider, Request
from market.providers.alpha_vantage import AlphaVantage
from market.providers.finnhub import Finnhub
from market.providers.fmp import Fmp
from market.providers.polygon import Polygon
from market.providers.stooq import Stooq
from market.providers.twelve_data import TwelveData
from tests.providers.vendor import Asked, Said

# Like no word of theirs, with a character that a URL has to quote.
KEY = "K3Y+s3cr3t/value="

# A Thursday and a Friday, on both sides of nothing; and those with a change of the clocks between.
DAYS = [dt.date(2026, 11, 19), dt.date(2026, 11, 20)]
CLOSES = [121.42, 121.79]


def request(symbol: str = "AAPL", days: list[dt.date] = DAYS) -> Request:
    """What the market asks for."""
    return Request(symbol, days[0], days[-1], days)


def new_york(date: dt.date) -> int:
    """Midnight in New York, in milliseconds; in November five hours after UTC's."""
    return int(dt.datetime.combine(date, dt.time(5), dt.UTC).timestamp() * 1000)


def fmp_rows(symbol: str = "AAPL") -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "date": f"{day}",
            "open": 120.89,
            "high": 123.35,
            "low": 119.48,
            "close": close,
            "volume": 114364809,
            "change": 0.9,
            "changePercent": 0.7445,
            "vwap": 121.3775,
        }
        for day, close in zip(reversed(DAYS), reversed(CLOSES), strict=True)
    ]


def twelve_series(symbol: str = "AAPL", **meta: Any) -> dict[str, Any]:
    return {
        "meta": {
            "symbol": symbol,
            "interval": "1day",
            "currency": "USD",
            "exchange_timezone": "America/New_York",
            "exchange": "NASDAQ",
            "mic_code": "XNGS",
            "type": "Common Stock",
            **meta,
        },
        "values": [
            {
                "datetime": f"{day}",
                "open": "120.89000",
                "high": "123.35000",
                "low": "119.48000",
                "close": f"{close:.5f}",
                "volume": "31694100",
            }
            for day, close in zip(DAYS, CLOSES, strict=True)
        ],
        "status": "ok",
    }


def polygon_series(symbol: str = "AAPL", stamps: list[int] | None = None) -> dict[str, Any]:
    return {
        "ticker": symbol,
        "queryCount": 2,
        "resultsCount": 2,
        "adjusted": True,
        "results": [
            {"v": 198022391.5, "vw": 122.0, "o": 122.58, "c": close, "h": 122.86, "l": 121.4}
            | {"t": stamp, "n": 1000}
            for stamp, close in zip(stamps or map(new_york, DAYS), CLOSES, strict=True)
        ],
        "status": "OK",
        "request_id": "6a7e466379af0a71039d60cc78e72282",
        "count": 2,
    }


def finnhub_candles() -> dict[str, Any]:
    stamps = [int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) for day in DAYS]
    two = [120.89, 120.89]
    return {"c": CLOSES, "h": [123.35] * 2, "l": [119.48] * 2, "o": two, "s": "ok"} | {
        "t": stamps,
        "v": [1000, 2000],
    }


def alpha_daily(closes: dict[dt.date, float] | None = None) -> dict[str, Any]:
    closes = closes or dict(zip(DAYS, CLOSES, strict=True))
    return {
        "Meta Data": {"1. Information": "Daily Prices", "2. Symbol": "AAPL"},
        "Time Series (Daily)": {
            f"{day}": {
                "1. open": f"{close:.4f}",
                "2. high": f"{close * 1.02:.4f}",
                "3. low": f"{close * 0.98:.4f}",
                "4. close": f"{close:.4f}",
                "5. volume": "114364809",
            }
            for day, close in sorted(closes.items(), reverse=True)
        },
    }


def alpha_splits(**splits: str) -> dict[str, Any]:
    """Dates written as d2024_06_10."""
    return {
        "symbol": "AAPL",
        "data": [
            {"effective_date": day[1:].replace("_", "-"), "split_factor": factor}
            for day, factor in splits.items()
        ],
    }


def alpha(asked: Asked) -> Said:
    return Said(alpha_splits() if asked.query["function"] == "SPLITS" else alpha_daily())


STOOQ = "Date,Open,High,Low,Close,Volume\r\n" + "".join(
    f"{day},120.89,123.35,119.48,{close},\r\n" for day, close in zip(DAYS, CLOSES, strict=True)
)


@dataclass(frozen=True)
class Made:
    """How a test makes a provider, and what it says when all is well."""

    make: Callable[[httpx.Client, str], Provider]
    good: Said | Callable[[Asked], Said]


ALL = {
    "fmp": Made(lambda http, url: Fmp(http, url, KEY, is_paid=False), Said(fmp_rows())),
    "twelve_data": Made(
        lambda http, url: TwelveData(http, url, KEY, is_paid=False), Said(twelve_series())
    ),
    "polygon": Made(
        lambda http, url: Polygon(http, url, KEY, is_paid=False), Said(polygon_series())
    ),
    "alpha_vantage": Made(
        lambda http, url: AlphaVantage(http, url, KEY, is_paid=False, pause=0), alpha
    ),
    "finnhub": Made(
        lambda http, url: Finnhub(http, url, KEY, is_paid=True), Said(finnhub_candles())
    ),
    "stooq": Made(lambda http, url: Stooq(http, url, KEY), Said(STOOQ)),
}
