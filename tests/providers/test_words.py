"""Each provider's own words: refusals, silences and forms, over the wire, and their classes."""

import copy
from typing import Any

import httpx
import pytest

from market.prices.validation import validate
from market.providers import Answer, Kind
from tests.providers.vendor import Asked, Said, Vendor
from tests.providers.words import (
    ALL,
    CLOSES,
    DAYS,
    STOOQ,
    alpha_daily,
    finnhub_candles,
    fmp_rows,
    polygon_series,
    request,
    twelve_series,
)

TWELVE_CREDITS = (
    "You have run out of API credits for the current minute. 9 API credits were used, with the"
    " current limit being 8. Wait for the next minute or consider switching to a higher tier plan."
)
ALPHA_DAY = (
    "We have detected your API key as ABC and our standard API rate limit is 25 requests per day."
    " Please subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to"
    " instantly remove all daily rate limits."
)
ALPHA_SECOND = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more"
    " sparingly (1 request per second). You may subscribe to any of the premium plans to lift the"
    " free key rate limit (25 requests per day), raise the per-second burst limit."
)


def asked(
    name: str, http: httpx.Client, vendor: Vendor, said: Said, symbol: str = "AAPL"
) -> Answer:
    vendor.says = said
    return ALL[name].make(http, vendor.url).fetch(request(symbol))


def twelve(code: int, message: str, status: int = 200) -> Said:
    return Said({"code": code, "message": message, "status": "error"}, status)


def polygon_error(status: int, message: str, word: str = "ERROR") -> Said:
    field = "message" if word == "NOT_AUTHORIZED" else "error"
    return Said({"status": word, "request_id": "1", field: message}, status)


@pytest.mark.parametrize(
    ("name", "said", "kind", "facts"),
    [
        ("fmp", Said([]), Kind.EMPTY, {"abstains": True}),
        ("fmp", Said({"Error Message": "Limit Reach . Please upgrade"}, 429), Kind.THROTTLED, {}),
        ("fmp", Said({"Error Message": "Limit Reach . Please upgrade"}), Kind.THROTTLED, {}),
        (
            "fmp",
            Said(
                "Premium Query Parameter: 'Special Endpoint : This value set for 'symbol' is not"
                " available under your current subscription",
                402,
            ),
            Kind.PLAN,
            {"abstains": True},
        ),
        ("fmp", Said("Restricted Endpoint: This endpoint is not available", 402), Kind.PLAN, {}),
        ("fmp", Said({"Error Message": "Invalid API KEY. Feel free to"}, 401), Kind.PLAN, {}),
        ("fmp", Said({"Error Message": "Something new"}), Kind.BAD_ANSWER, {}),
        (
            "twelve_data",
            twelve(404, "**symbol** or **figi** parameter is missing or invalid.", 404),
            Kind.UNKNOWN,
            {},
        ),
        (
            "twelve_data",
            twelve(404, "**symbol** or **figi** parameter is missing or invalid."),
            Kind.UNKNOWN,
            {},
        ),
        (
            "twelve_data",
            twelve(400, "No data is available on the specified dates. Try setting different"),
            Kind.EMPTY,
            {"abstains": False},
        ),
        ("twelve_data", twelve(429, TWELVE_CREDITS), Kind.THROTTLED, {"exhausted": "minute"}),
        ("twelve_data", twelve(429, TWELVE_CREDITS, 429), Kind.THROTTLED, {"exhausted": "minute"}),
        (
            "twelve_data",
            twelve(429, "You have run out of API credits for the day. 801 API credits were used"),
            Kind.THROTTLED,
            {"exhausted": "day"},
        ),
        (
            "twelve_data",
            twelve(404, "This symbol is available starting with Grow or Venture plan", 404),
            Kind.PLAN,
            {"abstains": True},
        ),
        (
            "twelve_data",
            twelve(403, "/time_series is available exclusively with Pro plans", 403),
            Kind.PLAN,
            {"abstains": False},
        ),
        ("twelve_data", twelve(401, "**apikey** parameter is incorrect", 401), Kind.PLAN, {}),
        ("twelve_data", twelve(500, "Internal server error"), Kind.DOWN, {}),
        ("twelve_data", twelve(400, "Something new"), Kind.BAD_ANSWER, {}),
        (
            "polygon",
            Said({"ticker": "AAPL", "resultsCount": 0, "adjusted": True, "status": "OK"}),
            Kind.EMPTY,
            {"abstains": True},
        ),
        (
            "polygon",
            polygon_error(429, "You've exceeded the maximum requests per minute, please wait"),
            Kind.THROTTLED,
            {"exhausted": "minute"},
        ),
        (
            "polygon",
            polygon_error(403, "You are not entitled to this data.", "NOT_AUTHORIZED"),
            Kind.PLAN,
            {"abstains": False},
        ),
        (
            "polygon",
            polygon_error(403, "Your plan doesn't include this data timeframe.", "NOT_AUTHORIZED"),
            Kind.PLAN,
            {"abstains": True},
        ),
        ("polygon", polygon_error(401, "Unknown API Key"), Kind.PLAN, {}),
        ("polygon", polygon_error(200, "Something new"), Kind.BAD_ANSWER, {}),
        ("finnhub", Said({"s": "no_data"}), Kind.EMPTY, {"abstains": True}),
        (
            "finnhub",
            Said({"error": "API limit reached. Please try again later. Remaining Limit: 0"}, 429),
            Kind.THROTTLED,
            {"exhausted": "minute"},
        ),
        (
            "finnhub",
            Said({"error": "You don't have access to this resource."}, 403),
            Kind.PLAN,
            {"abstains": False},
        ),
        ("finnhub", Said({"error": "Invalid API key"}, 401), Kind.PLAN, {}),
        (
            "alpha_vantage",
            Said({"Error Message": "Invalid API call. Please retry or visit the documentation"}),
            Kind.UNKNOWN,
            {},
        ),
        (
            "alpha_vantage",
            Said({"Error Message": "the parameter apikey is invalid or missing."}),
            Kind.PLAN,
            {},
        ),
        ("alpha_vantage", Said({"Information": ALPHA_DAY}), Kind.THROTTLED, {"exhausted": "day"}),
        ("alpha_vantage", Said({"Note": ALPHA_DAY}), Kind.THROTTLED, {"exhausted": "day"}),
        (
            "alpha_vantage",
            Said({"Information": ALPHA_SECOND}),
            Kind.THROTTLED,
            {"exhausted": "minute"},
        ),
        (
            "alpha_vantage",
            Said({"Information": "Thank you for using Alpha Vantage! This is a premium endpoint."}),
            Kind.PLAN,
            {},
        ),
        ("stooq", Said("No data"), Kind.EMPTY, {"abstains": True}),
        ("stooq", Said("Exceeded the daily hits limit"), Kind.THROTTLED, {"exhausted": "day"}),
        ("stooq", Said("Get your apikey:\n1. Open https://stooq.com"), Kind.PLAN, {}),
        (
            "stooq",
            Said("<!DOCTYPE html><html><title>Verifying your browser</title>"),
            Kind.BAD_ANSWER,
            {},
        ),
    ],
)
def test_the_class_of_its_words(
    http: httpx.Client, vendor: Vendor, name: str, said: Said, kind: Kind, facts: dict[str, Any]
) -> None:
    answer = asked(name, http, vendor, said)
    assert answer.kind is kind, answer.message
    assert answer.bars == ()
    assert answer.message
    assert {field: getattr(answer, field) for field in facts} == facts
    assert answer.payload is not None
    assert answer.payload.body == said.bytes


def without(document: Any, *path: Any) -> Any:
    """The document lacking one field."""
    changed = copy.deepcopy(document)
    part = changed
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    return changed


def with_(document: Any, value: Any, *path: Any) -> Any:
    """The document with another value in one place."""
    changed = copy.deepcopy(document)
    part = changed
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("name", "document", "where"),
    [
        ("fmp", [without(row, "close") for row in fmp_rows()], "item 0: no 'close'"),
        ("fmp", [row | {"date": "20 Nov"} for row in fmp_rows()], "item 0: '20 Nov' is not a date"),
        ("fmp", {"historical": fmp_rows()}, "the document"),
        ("twelve_data", without(twelve_series(), "values"), "values: Field required"),
        ("twelve_data", with_(twelve_series(), [{}], "values"), "item 0: no 'datetime'"),
        ("polygon", with_(polygon_series(), [{"t": 0}, 5], "results"), "item 0: no 'c'"),
        ("polygon", with_(polygon_series(), False, "adjusted"), "adjusted"),
        ("polygon", with_(polygon_series(), "https://more", "next_url"), "next_url"),
        ("finnhub", with_(finnhub_candles(), [1], "c"), "arrays of [1, 2] elements"),
        ("finnhub", with_(finnhub_candles(), "new", "s"), "s: "),
        ("finnhub", with_(finnhub_candles(), [10**18] * 2, "t"), ""),
    ],
)
def test_another_form_is_named_where_it_begins(
    http: httpx.Client, vendor: Vendor, name: str, document: Any, where: str
) -> None:
    answer = asked(name, http, vendor, Said(document))
    assert answer.kind is Kind.BAD_ANSWER
    assert where in answer.message


def alpha_rows(**changes: Any) -> Any:
    """The newest row with other fields."""
    return with_(alpha_daily(), alpha_daily()[SERIES][f"{DAYS[1]}"] | changes, SERIES, f"{DAYS[1]}")


SERIES = "Time Series (Daily)"
LINES = STOOQ.splitlines()


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("fmp", without(fmp_rows(), 0, "close")),
        ("fmp", with_(fmp_rows(), "20 Nov", 0, "date")),
        ("fmp", [None, *fmp_rows()[1:]]),
        ("twelve_data", without(twelve_series(), "values", 1, "close")),
        ("twelve_data", with_(twelve_series(), "yesterday", "values", 1, "datetime")),
        ("twelve_data", with_(twelve_series(), "a text", "values", 1)),
        ("polygon", without(polygon_series(), "results", 1, "c")),
        ("polygon", with_(polygon_series(), 10**30, "results", 1, "t")),
        ("polygon", with_(polygon_series(), None, "results", 1)),
        ("finnhub", with_(finnhub_candles(), 10**18, "t", 1)),
        ("finnhub", with_(finnhub_candles(), None, "t", 1)),
        ("alpha_vantage", with_(alpha_daily(), "no row", SERIES, f"{DAYS[1]}")),
        ("alpha_vantage", with_(alpha_daily(), {}, SERIES, f"{DAYS[1]}")),
        ("stooq", "\n".join([*LINES[:2], "Friday,1,1,1,1,1"])),
    ],
)
def test_an_item_that_cannot_be_read_costs_none_of_the_others(
    http: httpx.Client, vendor: Vendor, name: str, document: Any
) -> None:
    vendor.says = _with_splits(name, document)
    answer = ALL[name].make(http, vendor.url).fetch(request())
    assert answer.kind is Kind.OK, answer.message
    assert [(bar.date, bar.close) for bar in answer.bars] == [(DAYS[0], CLOSES[0])]
    assert len(answer.rejected) == 1
    assert answer.rejected[0].startswith("item ")


@pytest.mark.parametrize(
    ("name", "document", "field"),
    [
        ("fmp", with_(fmp_rows(), "n/a", 0, "open"), "open"),
        ("fmp", without(fmp_rows(), 0, "volume"), "volume"),
        ("twelve_data", with_(twelve_series(), "n/a", "values", 1, "high"), "high"),
        ("twelve_data", without(twelve_series(), "values", 1, "volume"), "volume"),
        ("polygon", with_(polygon_series(), {}, "results", 1, "l"), "low"),
        ("polygon", without(polygon_series(), "results", 1, "v"), "volume"),
        ("finnhub", with_(finnhub_candles(), "n/a", "o", 1), "open"),
        ("finnhub", without(finnhub_candles(), "v"), "volume"),
        ("alpha_vantage", alpha_rows(**{"1. open": "None"}), "open"),
        ("alpha_vantage", alpha_rows(**{"2. high": "0.0000"}), "high"),
        ("alpha_vantage", alpha_rows(**{"5. volume": "NaN"}), "volume"),
        ("stooq", "\n".join([*LINES[:2], f"{DAYS[1]},n/a,123,119,{CLOSES[1]},1"]), "open"),
    ],
)
def test_a_field_that_cannot_be_read_costs_no_bar(
    http: httpx.Client, vendor: Vendor, name: str, document: Any, field: str
) -> None:
    vendor.says = _with_splits(name, document)
    answer = ALL[name].make(http, vendor.url).fetch(request())
    assert answer.kind is Kind.OK, answer.message
    found = validate(answer.bars, DAYS, unreadable=answer.rejected)
    assert [bar.close for bar in found.bars] == CLOSES
    assert getattr(found.bars[1], field) is None
    assert found.rejected == []


def test_a_row_of_zeros_costs_its_own_bar(http: httpx.Client, vendor: Vendor) -> None:
    zeros = dict.fromkeys(alpha_daily()[SERIES][f"{DAYS[1]}"], "0.0000")
    vendor.says = _with_splits("alpha_vantage", alpha_rows(**zeros))
    answer = ALL["alpha_vantage"].make(http, vendor.url).fetch(request())
    found = validate(answer.bars, DAYS, unreadable=answer.rejected)
    assert [bar.close for bar in found.bars] == CLOSES[:1]
    assert len(found.rejected) == 1


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("polygon", with_(polygon_series(), None, "results")),
        ("twelve_data", with_(twelve_series(), None, "values")),
    ],
)
def test_null_instead_of_rows_is_empty(
    http: httpx.Client, vendor: Vendor, name: str, document: Any
) -> None:
    assert asked(name, http, vendor, Said(document)).kind is Kind.EMPTY


def _with_splits(name: str, document: Any) -> Any:
    """The document, and for Alpha Vantage also an answer about splits."""
    if name != "alpha_vantage":
        return Said(document)

    def says(asked: Asked) -> Said:
        is_splits = asked.query["function"] == "SPLITS"
        return Said({"symbol": "AAPL", "data": None} if is_splits else document)

    return says


def test_stooqs_other_header_is_named(http: httpx.Client, vendor: Vendor) -> None:
    answer = asked("stooq", http, vendor, Said(STOOQ.replace("Close", "Last")))
    assert answer.kind is Kind.BAD_ANSWER
    assert "column 5 is 'Last', not 'Close'" in answer.message


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("fmp", fmp_rows("AAPX")),
        ("twelve_data", twelve_series("AAPX")),
        ("polygon", polygon_series("AAPX")),
    ],
)
def test_another_symbols_data_is_a_bad_answer(
    http: httpx.Client, vendor: Vendor, name: str, document: Any
) -> None:
    answer = asked(name, http, vendor, Said(document))
    assert answer.kind is Kind.BAD_ANSWER
    assert "asked for AAPL, got AAPX" in answer.message


@pytest.mark.parametrize(
    "meta",
    [
        {"currency": "CAD", "exchange_timezone": "America/Toronto"},
        {"currency": "USD", "exchange_timezone": "Europe/London"},
        {"type": "Digital Currency"},
    ],
)
def test_twelve_datas_other_instrument_of_the_name(
    http: httpx.Client, vendor: Vendor, meta: dict[str, Any]
) -> None:
    answer = asked("twelve_data", http, vendor, Said(twelve_series(**meta)))
    assert answer.kind is Kind.BAD_ANSWER
    assert "another instrument" in answer.message


@pytest.mark.parametrize(
    ("name", "document", "path"),
    [
        ("fmp", fmp_rows(), (0, "close")),
        ("twelve_data", twelve_series(), ("values", 1, "close")),
        ("polygon", polygon_series(), ("results", 1, "c")),
        ("finnhub", finnhub_candles(), ("c", 1)),
    ],
)
def test_a_null_is_a_bar_without_it_for_the_validator(
    http: httpx.Client, vendor: Vendor, name: str, document: Any, path: tuple[Any, ...]
) -> None:
    answer = asked(name, http, vendor, Said(with_(document, None, *path)))
    assert answer.kind is Kind.OK
    assert [bar.close is None for bar in answer.bars] == [False, True]


SPELLED = {
    "fmp": ("BRK-B", "BTCUSD"),
    "twelve_data": ("BRK.B", "BTC/USD"),
    "polygon": ("BRK.B", "X:BTCUSD"),
    "alpha_vantage": ("BRK-B", "BTC"),
    "finnhub": ("BRK.B", "COINBASE:BTC-USD"),
    "stooq": ("brk-b.us", "btcusd"),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("symbols", "place"), [(("BRK-B", "BRK.B"), 0), (("BTC-USD", "BTC/USD"), 1)]
)
def test_how_it_spells(
    http: httpx.Client, vendor: Vendor, name: str, symbols: tuple[str, ...], place: int
) -> None:
    for symbol in symbols:
        asked(name, http, vendor, Said("{}"), symbol)
        one = vendor.log[-1]
        spelled = one.query.get("symbol") or one.query.get("s") or one.path.split("/")[4]
        assert spelled == SPELLED[name][place]


def test_polygons_days_are_new_yorks_and_a_coins_are_utc(
    http: httpx.Client, vendor: Vendor
) -> None:
    # Midnight in New York on both sides of the change of the clocks: 4 and 5 hours after UTC's.
    series = polygon_series(stamps=[1793419200000, 1793595600000])
    vendor.says = Said(series)
    wide = request(days=[DAYS[0].replace(month=10, day=30), DAYS[1]])
    provider = ALL["polygon"].make(http, vendor.url)
    dates = [f"{bar.date}" for bar in provider.fetch(wide).bars]
    assert dates == ["2026-10-31", "2026-11-02"]
    coin = polygon_series("X:BTCUSD", stamps=[1794960000000, 1795046400000])
    vendor.says = Said(coin)
    answer = provider.fetch(request("BTC-USD", [DAYS[0].replace(day=18), DAYS[0]]))
    assert [f"{bar.date}" for bar in answer.bars] == ["2026-11-18", "2026-11-19"]
