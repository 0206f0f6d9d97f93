"""What a symbol is, what follows from its spelling, and what a prediction names."""

import re
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.db import Conn, shared_database, value
from tests.support.market import insert_prediction

ALLOWED = string.ascii_uppercase + string.digits + ".^=-:/"
per_example = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def conn(server_url: str, template: str) -> Iterator[Conn]:
    """One database for this file: nothing but predictions are added."""
    with shared_database(server_url, template) as conn:
        yield conn


def oracle(text: str) -> str | None:
    """The contract's words in Python."""
    symbol = "".join(
        char.upper() if char in string.ascii_lowercase else char
        for char in text.strip(string.whitespace)
    )
    if not 1 <= len(symbol) <= 20 or not all(char in ALLOWED for char in symbol):
        return None
    # What is a way through folders is not a symbol.
    is_way = not symbol.strip(".") or {"", ".", ".."} & set(symbol.split("/"))
    return None if is_way else symbol


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("AAPL", "AAPL"),
        (" aapl\n", "AAPL"),
        ("\t\r\n\v\fvz\v", "VZ"),
        ("btc-usd", "BTC-USD"),
        ("^gspc", "^GSPC"),
        ("CL=F", "CL=F"),
        ("brk.b", "BRK.B"),
        ("X:BTCUSD", "X:BTCUSD"),
        ("BTC/USD", "BTC/USD"),
        ("0700.HK", "0700.HK"),
        ("A" * 20, "A" * 20),
        (" " + "a" * 20 + " ", "A" * 20),
        ("A" * 21, None),
        (".", None),
        ("..", None),
        ("...", None),
        ("../../../X", None),
        ("/X", None),
        ("X/", None),
        ("A//B", None),
        ("A/./B", None),
        ("A/..", None),
        ("A/.B", "A/.B"),
        ("A/...", "A/..."),
        ("A..B", "A..B"),
        ("", None),
        ("   ", None),
        ("A B", None),
        ("A\nB", None),
        ("AAPL\nB", None),
        ("$AAPL", None),
        ("AAPL,TSLA", None),
        ("A_B", None),
        ("ß", None),
        (
            "\N{LATIN SMALL LETTER DOTLESS I}",
            None,
        ),  # the dotless i, which some locales upper-case to I
        ("é", None),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", None),
        ("\N{CYRILLIC CAPITAL LETTER A}APL", None),
        ("\N{NO-BREAK SPACE}A", None),
        (None, None),
    ],
)
def test_examples(conn: Conn, text: str | None, symbol: str | None) -> None:
    assert value(conn, "SELECT normalize_symbol(%s)", [text]) == symbol


@per_example
@given(
    text=st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=25),
        st.text(ALLOWED + string.ascii_lowercase + string.whitespace, max_size=25),
    )
)
@example(text="v")
@example(text="\x1c")
def test_symbols_are_what_python_says_too(conn: Conn, text: str) -> None:
    symbol = value(conn, "SELECT normalize_symbol(%s)", [text])
    assert symbol == oracle(text)
    # A symbol is its own symbol.
    assert value(conn, "SELECT normalize_symbol(%s)", [symbol]) == symbol


@pytest.mark.parametrize(
    ("symbol", "asset_type", "calendar"),
    [
        ("AAPL", "stock", "XNYS"),
        ("BRK-B", "stock", "XNYS"),
        ("BRK.B", "stock", "XNYS"),
        ("BTC-USD", "crypto", "24/7"),
        ("ETH-USD", "crypto", "24/7"),
        ("BTC/USD", "crypto", "24/7"),
        ("ETH-BTC", "crypto", "24/7"),
        ("^GSPC", "index", "XNYS"),
        ("CL=F", "commodity", "CMES"),
        ("USD", "stock", "XNYS"),
        ("-USD", "stock", "?-USD"),
    ],
)
def test_what_follows_from_the_spelling(
    conn: Conn, symbol: str, asset_type: str, calendar: str
) -> None:
    assert value(conn, "SELECT symbol_asset_type(%s)", [symbol]) == asset_type
    assert value(conn, "SELECT symbol_calendar(%s)", [symbol]) == calendar


def elements(conn: Conn, assets: Any, impact: Any = None) -> list[tuple[Any, Any]]:
    number = insert_prediction(conn, assets, impact)
    rows = conn.execute(
        "SELECT symbol, sentiment FROM prediction_elements(ARRAY[%s::integer])", [number]
    )
    return [(row["symbol"], row["sentiment"]) for row in rows]


@pytest.mark.parametrize(
    ("impact", "sentiment"),
    [
        ({"AAPL": "bullish"}, "bullish"),
        ({"aapl": "bearish"}, "bearish"),
        ({" Aapl ": "neutral"}, "neutral"),
        ({"AAPL": "BULLISH"}, "bullish"),
        ({"AAPL": " Bullish "}, "bullish"),
        ({"aapl": "bearish", "AAPL": "bullish"}, "bullish"),  # the exact key first
        ({"AAPL": "bullish", "aapl": "bearish"}, "bullish"),
        ({"AAPL": "positive"}, None),
        ({"AAPL": "bullishly"}, None),
        ({"AAPL": ""}, None),
        ({"AAPL": None}, None),
        ({"AAPL": 1}, None),
        ({"AAPL": ["bullish"]}, None),
        ({"AAPL": {"sentiment": "bullish"}}, None),
        ({"TSLA": "bullish"}, None),  # nobody else's
        ({"AAPL.X": "bullish", "AAP": "bearish"}, None),
        ({"": "bullish"}, None),
        ({}, None),
        (None, None),
        (["bullish"], None),
        ("bullish", None),
    ],
)
def test_the_sentiment_is_the_symbols_own(conn: Conn, impact: Any, sentiment: str | None) -> None:
    assert elements(conn, ["AAPL"], impact) == [("AAPL", sentiment)]
    assert elements(conn, ["aapl"], impact) == [("AAPL", sentiment)]


@pytest.mark.parametrize(
    ("assets", "symbols"),
    [
        (["AAPL", "tsla"], ["AAPL", "TSLA"]),
        ("AAPL", ["AAPL"]),
        (["AAPL", "aapl", " AAPL"], ["AAPL"] * 3),
        (["AAPL", 5, None, True, {"a": 1}, ["TSLA"], 1.5], ["AAPL", *[None] * 6]),
        (["US stocks", "the $dollar"], [None, None]),
        ({"AAPL": 1}, [None]),
        (7, [None]),
        ([], []),
        (None, []),
        ("", []),
    ],
)
def test_what_a_prediction_names(conn: Conn, assets: Any, symbols: list[str | None]) -> None:
    assert [symbol for symbol, _ in elements(conn, assets, {"AAPL": "bullish"})] == symbols


@per_example
@given(
    assets=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text("AaBb^-=. \n$", max_size=22)),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text("Aa", max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    impact=st.one_of(
        st.none(),
        st.text("ab", max_size=3),
        st.dictionaries(
            st.text("AaBb ", max_size=3),
            st.sampled_from(["bullish", "Bearish", "x", None, 3]),
            max_size=4,
        ),
    ),
)
def test_any_shape_of_json_is_read(conn: Conn, assets: Any, impact: Any) -> None:
    found = elements(conn, assets, impact)
    listed = assets if isinstance(assets, list) else [assets]
    expected = [oracle(element) if isinstance(element, str) else None for element in listed]
    if found:
        assert [symbol for symbol, _ in found] == expected
    else:
        assert not any(expected)
    words = impact if isinstance(impact, dict) else {}
    for symbol, sentiment in found:
        own = {
            str(word).lower() for key, word in words.items() if symbol and oracle(key) == symbol
        } & {"bullish", "bearish", "neutral"}
        assert (sentiment in own) if own else sentiment is None


def test_a_string_of_assets_that_is_no_list_is_one_element(conn: Conn) -> None:
    assert re.fullmatch(r"[A-Z,]+", "AAPL,TSLA")
    assert elements(conn, "AAPL,TSLA") == [(None, None)]
