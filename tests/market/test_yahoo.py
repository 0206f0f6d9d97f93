"""Yahoo's answers told apart by status and body: each in Yahoo's own words, and its class."""

import copy
import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.prices.validation import validate
from market.providers import Kind, Request
from market.providers.yahoo_chart import classify
from tests.market.yahoo_bodies import (
    HTML,
    NO_DATES,
    NOT_FOUND,
    TOO_MANY,
    UNAUTHORIZED,
    UNPROCESSABLE,
    body,
    chart,
    error,
    opening,
)
from tests.support.clock import day

DAYS = [day("2024-03-07"), day("2024-03-08"), day("2024-03-11")]  # the clocks change between
REQUEST = Request("ACME", DAYS[0], DAYS[-1], DAYS)
STAMPS = [opening(date, "America/New_York", 9, 30) for date in DAYS]
GOOD = chart(STAMPS, [100.0, 101.0, 102.0], adjusted=[99.0, 100.0, 102.0])


@pytest.mark.parametrize(
    ("status", "raw", "kind"),
    [
        (200, body(GOOD), Kind.OK),
        (200, body(chart(None)), Kind.EMPTY),
        (400, NO_DATES, Kind.EMPTY),
        (404, NOT_FOUND, Kind.UNKNOWN),
        (404, HTML, Kind.BAD_ANSWER),
        (404, b"", Kind.BAD_ANSWER),
        (404, error("Not Found", "Something else entirely"), Kind.BAD_ANSWER),
        (400, error("Bad Request", "Invalid input - interval"), Kind.BAD_ANSWER),
        (429, TOO_MANY, Kind.THROTTLED),
        (429, NOT_FOUND, Kind.THROTTLED),
        (999, HTML, Kind.THROTTLED),
        (401, UNAUTHORIZED, Kind.PLAN),
        (402, b"", Kind.PLAN),
        (403, HTML, Kind.PLAN),
        (422, UNPROCESSABLE, Kind.BAD_ANSWER),
        (500, b"", Kind.DOWN),
        (502, HTML, Kind.DOWN),
        (503, NOT_FOUND, Kind.DOWN),
        (200, HTML, Kind.BAD_ANSWER),
        (200, b"", Kind.BAD_ANSWER),
        (200, b"null", Kind.BAD_ANSWER),
        (200, b"[]", Kind.BAD_ANSWER),
        (200, body(GOOD)[:-40], Kind.BAD_ANSWER),
        (200, b"\xff\xfe" + body(GOOD), Kind.BAD_ANSWER),
        (200, b'{"chart": null}', Kind.BAD_ANSWER),
        (200, b'{"chart": {"result": null, "error": null}}', Kind.BAD_ANSWER),
        (200, b'{"chart": {"result": [], "error": null}}', Kind.BAD_ANSWER),
        (200, b'{"chart": {"result": [null], "error": null}}', Kind.BAD_ANSWER),
        (200, b'{"chart": {"result": [{}], "error": null}}', Kind.BAD_ANSWER),
        (200, NOT_FOUND, Kind.BAD_ANSWER),  # only a 404 says that a symbol is unknown
        (200, body(chart(STAMPS, [1.0, 1.0, 1.0], symbol="OTHER")), Kind.BAD_ANSWER),
        (302, b"", Kind.BAD_ANSWER),
    ],
)
def test_the_class_of_an_answer(status: int, raw: bytes, kind: Kind) -> None:
    answer = classify(REQUEST, status, raw)
    assert answer.kind is kind
    if kind is not Kind.OK:
        assert answer.bars == ()
        assert answer.message
        assert "\n" not in answer.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (None, None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-5", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert classify(REQUEST, 429, TOO_MANY, header).retry_after == seconds


def test_another_symbols_data_is_named() -> None:
    answer = classify(REQUEST, 200, body(chart(STAMPS, [1.0, 1.0, 1.0], symbol="OTHER")))
    assert "ACME" in answer.message
    assert "OTHER" in answer.message


@pytest.mark.parametrize(
    ("symbol", "currency", "kind"),
    [
        ("ACME", "GBp", Kind.BAD_ANSWER),
        ("BRK-B", "EUR", Kind.BAD_ANSWER),
        ("ACME", None, Kind.OK),
        ("VOD.L", "GBp", Kind.OK),
        ("^N225", "JPY", Kind.OK),
        ("BTC-EUR", "EUR", Kind.OK),
    ],
)
def test_a_us_listing_has_its_price_in_dollars(symbol: str, currency: str, kind: Kind) -> None:
    document = chart(STAMPS[:1], [100.0], symbol=symbol)
    document["chart"]["result"][0]["meta"]["currency"] = currency
    answer = classify(replace(REQUEST, symbol=symbol), 200, body(document))
    assert answer.kind is kind
    assert kind is Kind.OK or f"{symbol} in {currency}" in answer.message


def test_the_numbers_of_a_bar() -> None:
    answer = classify(REQUEST, 200, body(GOOD))
    assert [bar.date for bar in answer.bars] == DAYS
    assert answer.bars[0] == (DAYS[0], 99.5, 101.0, 99.0, 100.0, 99.0, 1000, False, False)
    assert answer.asset_type == "stock"
    assert answer.exchange == "NMS"
    assert answer.currency == "USD"


@pytest.mark.parametrize(
    ("kind", "asset_type"),
    [
        ("ETF", "etf"),
        ("CRYPTOCURRENCY", "crypto"),
        ("INDEX", "index"),
        ("FUTURE", "commodity"),
        ("ALIEN", None),
    ],
)
def test_what_the_symbol_is(kind: str, asset_type: str | None) -> None:
    answer = classify(REQUEST, 200, body(chart(STAMPS, [1.5, 1.5, 1.5], kind=kind)))
    assert answer.asset_type == asset_type


def test_null_rows_are_no_bars_and_cost_no_others() -> None:
    answer = classify(REQUEST, 200, body(chart(STAMPS, [100.0, None, 102.0])))
    found = validate(answer.bars, DAYS)
    assert [bar.date for bar in found.bars] == [DAYS[0], DAYS[2]]
    assert len(found.rejected) == 1


def edited(*path: Any, to: Any) -> dict[str, Any]:
    """A good chart with events, and another value in one place."""
    events = {
        "splits": {"a": {"date": STAMPS[1], "numerator": 4, "denominator": 1}},
        "dividends": {"b": {"date": STAMPS[2], "amount": 0.24}},
    }
    document = chart(STAMPS, [100.0, 101.0, 102.0], events=events)
    place: Any = document["chart"]["result"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return document


QUOTE = ("indicators", "quote", 0)


@pytest.mark.parametrize(
    "document",
    [
        edited("events", "splits", "a", "denominator", to=0),
        edited("events", "splits", "a", to=None),
        edited("events", "splits", to=[]),
        edited("events", "dividends", "b", "amount", to=None),
        edited("events", "dividends", "b", "amount", to="0,24"),
        edited("events", "dividends", "b", "date", to=10**30),
        edited("events", to=5),
        edited("indicators", "adjclose", to=[]),
        edited("indicators", "adjclose", to=[{}]),
        edited("indicators", "adjclose", to=[{"adjclose": []}]),
        edited("indicators", "adjclose", 0, "adjclose", 1, to=-3.0),
        edited(*QUOTE, "open", 1, to="n/a"),
        edited(*QUOTE, "high", to=[]),
        edited(*QUOTE, "volume", to=None),
        edited(*QUOTE, "volume", 1, to=float("nan")),
    ],
)
def test_an_item_that_cannot_be_read_costs_no_bar(document: dict[str, Any]) -> None:
    answer = classify(REQUEST, 200, body(document))
    assert answer.kind is Kind.OK, answer.message
    found = validate(answer.bars, DAYS, actions=answer.actions, unreadable=answer.rejected)
    assert [bar.close for bar in found.bars] == [100.0, 101.0, 102.0]
    assert found.score == 1.0
    assert all(action.value > 0 for action in found.actions)


@pytest.mark.parametrize("text", ["a text", [], {}, True])
def test_a_close_that_cannot_be_read_costs_its_own_bar(text: Any) -> None:
    answer = classify(REQUEST, 200, body(edited(*QUOTE, "close", 1, to=text)))
    found = validate(answer.bars, DAYS, unreadable=answer.rejected)
    assert [bar.close for bar in found.bars] == [100.0, 102.0]
    assert len(found.rejected) == 1


def test_a_timestamp_that_cannot_be_read_costs_its_own_bar() -> None:
    answer = classify(REQUEST, 200, body(edited("timestamp", 1, to=None)))
    assert [bar.close for bar in answer.bars] == [100.0, 102.0]
    assert len(answer.rejected) == 1


def test_of_a_duplicated_last_timestamp_the_later_is_right() -> None:
    stamps = [*STAMPS, STAMPS[-1] + 23400]
    answer = classify(REQUEST, 200, body(chart(stamps, [100.0, 101.0, 102.0, 102.5])))
    assert [bar.close for bar in validate(answer.bars, DAYS).bars] == [100.0, 101.0, 102.5]


def test_splits_and_dividends_are_flags_of_their_day() -> None:
    events = {
        "splits": {str(STAMPS[1]): {"date": STAMPS[1], "numerator": 4, "denominator": 1}},
        "dividends": {str(STAMPS[2]): {"date": STAMPS[2], "amount": 0.24}},
    }
    answer = classify(REQUEST, 200, body(chart(STAMPS, [100.0, 101.0, 102.0], events=events)))
    assert [bar.has_split for bar in answer.bars] == [False, True, False]
    assert [bar.has_dividend for bar in answer.bars] == [False, False, True]
    # The endpoint adjusted the prices already.
    assert [bar.close for bar in answer.bars] == [100.0, 101.0, 102.0]


def test_without_adjclose_it_is_unknown() -> None:
    answer = classify(REQUEST, 200, body(chart(STAMPS, [100.0, 101.0, 102.0], adjusted=None)))
    assert answer.kind is Kind.OK
    assert [bar.adjusted_close for bar in answer.bars] == [None, None, None]


def test_crypto_has_days_of_utc() -> None:
    days = [day("2024-03-09"), day("2024-03-10")]
    stamps = [opening(date, "UTC", 0) for date in days]
    request = Request("BTC-USD", days[0], days[1], days)
    document = chart(stamps, [60000.0, 61000.0], symbol="BTC-USD", zone="UTC")
    assert [bar.date for bar in classify(request, 200, body(document)).bars] == days


def test_asia_opens_the_day_before_in_utc() -> None:
    days = [day("2024-03-07"), day("2024-03-08")]
    # Sydney opens at 10:00, which is 23:00 UTC of the day before.
    stamps = [opening(date, "Australia/Sydney", 10) for date in days]
    assert dt.datetime.fromtimestamp(stamps[0], dt.UTC).date() == day("2024-03-06")
    request = Request("BHP.AX", days[0], days[1], days)
    document = chart(stamps, [40.0, 41.0], symbol="BHP.AX", zone="Australia/Sydney")
    assert [bar.date for bar in classify(request, 200, body(document)).bars] == days


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", None, "America", "../etc"])
def test_an_unknown_zone_falls_back_to_the_offset(zone: str | None) -> None:
    document = copy.deepcopy(GOOD)
    document["chart"]["result"][0]["meta"]["exchangeTimezoneName"] = zone
    answer = classify(REQUEST, 200, body(document))
    assert answer.kind in {Kind.OK, Kind.BAD_ANSWER}
    if answer.kind is Kind.OK:
        assert [bar.date for bar in answer.bars] == DAYS


def test_bars_before_the_range_are_left_out_and_later_ones_are_the_validators() -> None:
    request = Request("ACME", DAYS[1], DAYS[1], [DAYS[1]])
    answer = classify(request, 200, body(GOOD))
    assert [bar.date for bar in answer.bars] == DAYS[1:]
    assert [bar.date for bar in validate(answer.bars, request.sessions).bars] == [DAYS[1]]


def paths(node: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [prefix] if prefix else []
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, child in items:
        found += paths(child, (*prefix, key))
    return found


RUBBISH: list[Any] = [
    None,
    True,
    -1,
    0,
    1e999,
    1e30,
    "",
    "rubbish",
    [],
    {},
    [None],
    float("nan"),
    2**70,
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    where=st.sampled_from(paths(GOOD)),
    what=st.sampled_from(RUBBISH),
    cut=st.one_of(st.none(), st.integers(0, 300)),
)
def test_whatever_stands_in_a_chart_the_answer_is_an_answer(
    where: tuple[Any, ...], what: Any, cut: int | None
) -> None:
    document: Any = copy.deepcopy(GOOD)
    place = document
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = what
    answer = classify(REQUEST, 200, json.dumps(document).encode()[:cut])
    assert answer.kind in {Kind.OK, Kind.EMPTY, Kind.BAD_ANSWER}
    for bar in validate(answer.bars, DAYS).bars:
        assert bar.close is not None
        assert bar.close > 0
