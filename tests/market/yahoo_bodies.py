"""The chart endpoint's answers in Yahoo's own words, recorded and then made smaller."""

import datetime as dt
import json
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any

HTML = (
    b"<!DOCTYPE html><html><head><title>Yahoo</title></head><body>Will be right back</body></html>"
)
TOO_MANY = b"Too Many Requests\r\n"


def error(code: str, description: str) -> bytes:
    """An error as the endpoint says it."""
    return json.dumps(
        {"chart": {"result": None, "error": {"code": code, "description": description}}}
    ).encode()


NOT_FOUND = error("Not Found", "No data found, symbol may be delisted")
NO_DATES = error(
    "Bad Request", "Data doesn't exist for startDate = 1704067200, endDate = 1706745600"
)
UNPROCESSABLE = error("Unprocessable Entity", "1d data not available for the range")
UNAUTHORIZED = json.dumps(
    {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}
).encode()


def opening(date: dt.date, zone: str, hour: int, minute: int = 0) -> int:
    """The timestamp that a bar of this day bears: the opening, in the exchange's zone."""
    moment = dt.datetime.combine(date, dt.time(hour, minute), zoneinfo.ZoneInfo(zone))
    return int(moment.timestamp())


def chart(
    timestamps: Sequence[int] | None,
    closes: Sequence[float | None] = (),
    *,
    symbol: str = "ACME",
    zone: str = "America/New_York",
    kind: str = "EQUITY",
    exchange: str = "NMS",
    adjusted: Sequence[float | None] | None = (),
    events: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A chart as a document to change or to dump; `adjusted` None leaves adjclose out."""
    result: dict[str, Any] = {
        "meta": {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": exchange,
            "instrumentType": kind,
            "gmtoffset": -18000,
            "timezone": "EST",
            "exchangeTimezoneName": zone,
            "dataGranularity": "1d",
        },
        "indicators": {"quote": [{}]},
    }
    if timestamps is not None:
        result["timestamp"] = list(timestamps)
        result["indicators"]["quote"] = [
            {
                "open": [close and close - 0.5 for close in closes],
                "high": [close and close + 1 for close in closes],
                "low": [close and close - 1 for close in closes],
                "close": list(closes),
                "volume": [close and 1000 for close in closes],
            }
        ]
        if adjusted is not None:
            result["indicators"]["adjclose"] = [{"adjclose": list(adjusted or closes)}]
    if events is not None:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def body(document: Any) -> bytes:
    """The document as it comes over the wire."""
    return json.dumps(document).encode()
