"""Five-minute bars in the providers' own words: their times, their extra bars, their refusals."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from market.prices.intraday.validation import validate
from market.prices.report import Report
from market.providers import Answer, Kind, Request
from market.providers.base import Intradaily, IntradayRequest, Session
from market.providers.csv_files import CsvFiles
from market.providers.fmp import Fmp
from market.providers.polygon import Polygon
from market.providers.sample import Sample
from market.providers.twelve_data import TwelveData
from market.providers.yahoo_chart import classify
from tests.providers.vendor import Said, Vendor
from tests.providers.words import KEY
from tests.support.clock import utc
from tests.support.intraday import FIVE, starts

NEW_YORK = ZoneInfo("America/New_York")
HALF = Session(dt.date(2026, 11, 27), utc("2026-11-27 14:30"), utc("2026-11-27 18:00"))
FULL = Session(dt.date(2026, 11, 25), utc("2026-11-25 14:30"), utc("2026-11-25 21:00"))
# The Fridays before both Sundays on which clocks change, the Mondays after them, and the Sundays.
MARCH = [
    Session(dt.date(2026, 3, 6), utc("2026-03-06 14:30"), utc("2026-03-06 21:00")),
    Session(dt.date(2026, 3, 9), utc("2026-03-09 13:30"), utc("2026-03-09 20:00")),
]
NOVEMBER = [
    Session(dt.date(2026, 10, 30), utc("2026-10-30 13:30"), utc("2026-10-30 20:00")),
    Session(dt.date(2026, 11, 2), utc("2026-11-02 14:30"), utc("2026-11-02 21:00")),
]
SUNDAYS = [
    Session(dt.date(2026, 3, 8), utc("2026-03-08"), utc("2026-03-09")),
    Session(dt.date(2026, 11, 1), utc("2026-11-01"), utc("2026-11-02")),
]
LATER = utc("2026-11-30")

Says = Callable[[Sequence[dt.datetime], str], Any]


def request(*sessions: Session, symbol: str = "AAPL", now: dt.datetime = LATER) -> IntradayRequest:
    return IntradayRequest(symbol, sessions, sessions[0].opens_at, now)


def price(ts: dt.datetime) -> float:
    return 100 + (ts.hour * 60 + ts.minute) / 1000


def fmp_says(times: Sequence[dt.datetime], _symbol: str) -> Any:
    return [
        {
            "date": f"{ts.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}",
            "open": price(ts),
            "low": price(ts) - 0.1,
            "high": price(ts) + 0.1,
            "close": price(ts),
            "volume": 1000,
        }
        for ts in reversed(times)
    ]


def twelve_says(times: Sequence[dt.datetime], symbol: str) -> Any:
    is_coin = "/" in symbol
    meta = {
        "symbol": symbol,
        "interval": "5min",
        "type": "Digital Currency" if is_coin else "Common Stock",
        "currency": None if is_coin else "USD",
        "exchange_timezone": None if is_coin else "America/New_York",
    }
    rows = [
        {
            "datetime": f"{ts:%Y-%m-%d %H:%M:%S}",
            "open": f"{price(ts):.5f}",
            "high": f"{price(ts) + 0.1:.5f}",
            "low": f"{price(ts) - 0.1:.5f}",
            "close": f"{price(ts):.5f}",
            "volume": "1000",
        }
        for ts in times
    ]
    return {"meta": meta, "values": rows, "status": "ok"}


def polygon_says(times: Sequence[dt.datetime], symbol: str) -> Any:
    rows = [
        {
            "t": int(ts.timestamp() * 1000),
            "o": price(ts),
            "h": price(ts) + 0.1,
            "l": price(ts) - 0.1,
            "c": price(ts),
            "v": 1000.5,
            "n": 3,
        }
        for ts in times
    ]
    return {
        "ticker": symbol,
        "status": "OK",
        "adjusted": True,
        "resultsCount": len(rows),
        "results": rows,
    }


def yahoo_says(times: Sequence[dt.datetime], symbol: str, **meta: Any) -> dict[str, Any]:
    quote = {
        "open": [price(ts) for ts in times],
        "high": [price(ts) + 0.1 for ts in times],
        "low": [price(ts) - 0.1 for ts in times],
        "close": [price(ts) for ts in times],
        "volume": [1000 for _ in times],
    }
    about = {
        "symbol": symbol,
        "currency": "USD",
        "instrumentType": "EQUITY",
        "dataGranularity": "5m",
    }
    result = {
        "meta": {**about, "exchangeTimezoneName": "America/New_York", **meta},
        "timestamp": [int(ts.timestamp()) for ts in times],
        "indicators": {"quote": [quote]},
    }
    return {"chart": {"result": [result], "error": None}}


MAKE: dict[str, tuple[Callable[[httpx.Client, str], Any], Says, dict[str, str]]] = {
    "fmp": (lambda http, url: Fmp(http, url, KEY, is_paid=True), fmp_says, {}),
    "twelve_data": (
        lambda http, url: TwelveData(http, url, KEY, is_paid=True),
        twelve_says,
        {"BTC-USD": "BTC/USD"},
    ),
    "polygon": (
        lambda http, url: Polygon(http, url, KEY, is_paid=True),
        polygon_says,
        {"BTC-USD": "X:BTCUSD"},
    ),
}


def graded(answer: Answer, asked: IntradayRequest) -> Report:
    assert answer.kind is Kind.OK, answer
    return validate(answer.intraday, asked, 60, unreadable=answer.rejected)


def extended(session: Session) -> list[dt.datetime]:
    """The session with the hours before and after it, and the bar at the close."""
    first = session.opens_at - dt.timedelta(hours=5)
    return [first + n * FIVE for n in range((session.closes_at - session.opens_at) // FIVE + 108)]


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    "sessions", [[FULL], [HALF], MARCH, NOVEMBER], ids=["full", "half", "march", "november"]
)
def test_all_bars_of_the_sessions_in_utc_and_no_other(
    vendor: Vendor, http: httpx.Client, name: str, sessions: list[Session]
) -> None:
    make, says, _ = MAKE[name]
    vendor.says = Said(says([ts for each in sessions for ts in extended(each)], "AAPL"))
    provider: Intradaily = make(http, vendor.url)
    answer = provider.fetch_intraday(request(*sessions))
    report = graded(answer, request(*sessions))
    times = [ts for each in sessions for ts in starts(each)]
    assert [bar.ts for bar in report.intraday] == times
    assert [bar.close for bar in report.intraday] == pytest.approx([price(ts) for ts in times])
    assert (report.missing, report.grade) == (0, "accepted")
    assert answer.payload is not None
    assert len(answer.payload.sha256) == 64
    assert KEY not in answer.payload.url


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("sunday", SUNDAYS, ids=["march", "november"])
def test_a_coin_has_288_bars_on_both_sundays(
    vendor: Vendor, http: httpx.Client, name: str, sunday: Session
) -> None:
    make, says, spelled = MAKE[name]
    asked = request(sunday, symbol="BTC-USD")
    vendor.says = Said(says(starts(sunday), spelled.get("BTC-USD", "BTCUSD")))
    provider: Intradaily = make(http, vendor.url)
    report = graded(provider.fetch_intraday(asked), asked)
    assert [bar.ts for bar in report.intraday] == starts(sunday)
    assert [bar.close for bar in report.intraday] == pytest.approx(
        [price(ts) for ts in starts(sunday)]
    )


def test_an_hour_that_new_york_has_twice_and_fmp_once_has_no_time(
    vendor: Vendor, http: httpx.Client
) -> None:
    """It may be either; stored at the wrong one it would be an hour off."""
    november = SUNDAYS[1]
    times = [ts for ts in starts(november) if ts.hour != 6]
    vendor.says = Said(fmp_says(times, "BTCUSD"))
    answer = Fmp(http, vendor.url, KEY, is_paid=True).fetch_intraday(
        request(november, symbol="BTC-USD")
    )
    assert [bar.ts for bar in answer.intraday] == [ts for ts in times if ts.hour != 5]
    assert len(answer.rejected) == 12
    assert (
        answer.rejected[0] == "2026-11-01 01:00:00: New York has this time twice, and the answer 1"
    )


def test_an_hour_that_new_york_does_not_have_is_rejected(
    vendor: Vendor, http: httpx.Client
) -> None:
    rows = fmp_says(starts(SUNDAYS[0]), "BTCUSD")
    rows.insert(0, rows[0] | {"date": "2026-03-08 02:30:00"})
    vendor.says = Said(rows)
    answer = Fmp(http, vendor.url, KEY, is_paid=True).fetch_intraday(
        request(SUNDAYS[0], symbol="BTC-USD")
    )
    assert len(answer.intraday) == 288
    assert list(answer.rejected) == ["2026-03-08 02:30:00: New York has no such time"]


def test_what_each_is_asked_for(vendor: Vendor, http: httpx.Client) -> None:
    asked = request(*NOVEMBER)
    for name, (make, says, _) in MAKE.items():
        vendor.says = Said(says(starts(FULL), "AAPL"))
        make(http, vendor.url).fetch_intraday(asked)
        [one], vendor.log = vendor.log, []
        query = {key: text for key, text in one.query.items() if text != KEY}
        match name:
            case "fmp":
                assert one.path == "/stable/historical-chart/5min"
                assert query == {"symbol": "AAPL", "from": "2026-10-30", "to": "2026-11-02"}
            case "twelve_data":
                assert one.path == "/time_series"
                assert query["timezone"] == "UTC"
                assert query["interval"] == "5min"
                assert (query["start_date"], query["end_date"]) == (
                    "2026-10-30 13:30:00",
                    "2026-11-02 21:00:00",
                )
            case _:
                first, last = (int(each.timestamp() * 1000) for each in (asked.since, asked.until))
                assert one.path == f"/v2/aggs/ticker/AAPL/range/5/minute/{first}/{last - 1}"
                assert query == {"adjusted": "true", "sort": "asc", "limit": "50000"}


REFUSALS = [
    ("fmp", Said({"Error Message": "Limit Reach . Please upgrade your plan"}), Kind.THROTTLED),
    ("fmp", Said({"Error Message": "Something is wrong"}), Kind.BAD_ANSWER),
    ("fmp", Said("Restricted Endpoint: not available under your plan", 402), Kind.PLAN),
    ("fmp", Said([]), Kind.EMPTY),
    ("fmp", Said("<html>"), Kind.BAD_ANSWER),
    ("fmp", Said([{"date": "2026-11-25", "close": 1}]), Kind.BAD_ANSWER),
    (
        "twelve_data",
        Said({"code": 429, "message": "You have run out of API credits for the current minute.", "status": "error"}),
        Kind.THROTTLED,
    ),
    (
        "twelve_data",
        Said({"code": 400, "message": "No data is available on the specified dates.", "status": "error"}),
        Kind.EMPTY,
    ),
    (
        "twelve_data",
        Said({"code": 404, "message": "**symbol** or **figi** parameter is missing or invalid.", "status": "error"}),
        Kind.UNKNOWN,
    ),
    ("twelve_data", Said({"code": 500, "message": "oops", "status": "error"}), Kind.DOWN),
    ("polygon", Said({"status": "ERROR", "error": "You've exceeded the maximum requests per minute"}), Kind.THROTTLED),
    ("polygon", Said({"status": "NOT_AUTHORIZED", "message": "not in your plan: this timeframe"}, 403), Kind.PLAN),
    ("polygon", Said({"ticker": "AAPL", "status": "OK", "adjusted": True, "resultsCount": 0}), Kind.EMPTY),
    (
        "polygon",
        Said({"ticker": "MSFT", "status": "OK", "adjusted": True, "results": [{"t": 1, "c": 1}]}),
        Kind.BAD_ANSWER,
    ),
    ("polygon", Said({"status": "ERROR", "error": "something else"}), Kind.BAD_ANSWER),
]  # fmt: skip


@pytest.mark.parametrize(("name", "said", "kind"), REFUSALS)
def test_a_refusal_with_any_status_is_its_class(
    vendor: Vendor, http: httpx.Client, name: str, said: Said, kind: Kind
) -> None:
    vendor.says = said
    answer = MAKE[name][0](http, vendor.url).fetch_intraday(request(FULL))
    assert answer.kind is kind, answer.message
    assert not answer.intraday


def test_another_interval_is_no_answer(vendor: Vendor, http: httpx.Client) -> None:
    document = twelve_says(starts(FULL), "AAPL")
    document["meta"]["interval"] = "1h"
    vendor.says = Said(document)
    answer = TwelveData(http, vendor.url, KEY, is_paid=False).fetch_intraday(request(FULL))
    assert (answer.kind, answer.message) == (Kind.BAD_ANSWER, "asked for 5min, got 1h")
    said = classify(
        request(FULL),
        200,
        json.dumps(yahoo_says([utc("2026-11-25")], "AAPL", dataGranularity="1d")).encode(),
    )
    assert (said.kind, said.message) == (Kind.BAD_ANSWER, "asked for 5m, got 1d")


def test_yahoos_bar_at_the_close_and_its_running_one_are_dropped() -> None:
    times = [*starts(HALF), HALF.closes_at]
    answer = classify(request(HALF), 200, json.dumps(yahoo_says(times, "AAPL")).encode())
    report = graded(answer, request(HALF))
    assert [bar.ts for bar in report.intraday] == starts(HALF)
    assert report.grade == "accepted"
    # Under way, the last row has the time of the last trade.
    now = HALF.opens_at + dt.timedelta(minutes=17, seconds=23)
    times = [*starts(HALF)[:3], now - dt.timedelta(seconds=3)]
    live = request(HALF, now=now)
    report = graded(classify(live, 200, json.dumps(yahoo_says(times, "AAPL")).encode()), live)
    assert [bar.ts for bar in report.intraday] == starts(HALF)[:3]
    assert (report.rejected, report.missing) == ([], 0)


def test_yahoos_rows_without_prices_are_holes() -> None:
    document = yahoo_says(starts(FULL), "AAPL")
    quote = document["chart"]["result"][0]["indicators"]["quote"][0]
    for column in quote.values():
        column[10] = None
    report = graded(classify(request(FULL), 200, json.dumps(document).encode()), request(FULL))
    assert (len(report.intraday), report.missing, report.rejected) == (77, 1, [])


def test_a_file_of_five_minute_bars(tmp_path: Path) -> None:
    lines = [
        f"{ts:%Y-%m-%dT%H:%M:%SZ},{price(ts)},{price(ts) + 0.1},{price(ts) - 0.1},{price(ts)},1000"
        for ts in starts(FULL)
    ]
    lines[3] = lines[3].replace("Z,", ",", 1)  # a time without a zone is UTC
    there = starts(FULL)[4].astimezone(NEW_YORK)
    lines[4] = f"{there.isoformat(sep=' ')},1,1,1,{price(there)},"
    lines[5] = "yesterday,1,1,1,1,1"
    lines[6] = lines[6].rsplit(",", 2)[0] + ",free,1"
    (tmp_path / "AAPL.5m.csv").write_text("\n".join(["ts,open,high,low,close,volume", *lines]))
    (tmp_path / "BAD.5m.csv").write_text("one,two\n1,2\n")
    csv = CsvFiles(tmp_path)
    answer = csv.fetch_intraday(request(FULL))
    assert answer.kind is Kind.OK
    assert [bar.ts for bar in answer.intraday] == [
        ts for n, ts in enumerate(starts(FULL)) if n not in {5, 6}
    ]
    assert len(answer.rejected) == 2
    assert csv.fetch_intraday(request(HALF)).kind is Kind.EMPTY
    assert csv.fetch_intraday(request(FULL, symbol="NONE")).kind is Kind.UNKNOWN
    assert csv.fetch_intraday(request(FULL, symbol="BAD")).kind is Kind.BAD_ANSWER


def test_invented_bars_make_up_the_invented_day() -> None:
    sample = Sample()
    for session, count in ((FULL, 78), (HALF, 42), (SUNDAYS[0], 288)):
        [day] = sample.fetch(_daily(session)).bars
        report = graded(sample.fetch_intraday(request(session)), request(session))
        assert (len(report.intraday), report.grade) == (count, "accepted")
        opens, closes = report.intraday[0].open, report.intraday[-1].close
        high = max(bar.high or 0 for bar in report.intraday)
        low = min(bar.low or 1e9 for bar in report.intraday)
        assert (opens, high, low, closes) == (day.open, day.high, day.low, day.close)


def _daily(session: Session) -> Request:
    return Request("AAPL", session.date, session.date, [session.date])
