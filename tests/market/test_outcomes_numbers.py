"""Returns, verdicts and profit by hand: the thresholds, the missing sentiment, NULL and never 0."""

import datetime as dt
from typing import Any

import pytest

from sql.database import Database
from tests.support.db import Conn, value
from tests.support.market import (
    HORIZONS,
    insert_prediction,
    outcome,
    process,
    put_bars,
    sessions,
    set_fetched,
)


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """The entry, 2024-03-05, and the sessions after it."""
    return sessions(conn, "2024-03-05", "2024-06-28")


def priced(
    database: Database,
    conn: Conn,
    days: list[dt.date],
    closes: dict[int, float],
    impact: Any = None,
    confidence: float | None = 0.5,
) -> dict[str, Any]:
    """The outcome with these closes: the key is the number of sessions after the entry."""
    put_bars(conn, "ACME", {days[n]: close for n, close in closes.items()})
    set_fetched(conn, "ACME", days[0], days[-1])
    number = insert_prediction(conn, ["ACME"], impact, confidence=confidence)
    process(database, number)
    return outcome(conn, number, "ACME")


def test_returns_and_profit_of_each_horizon(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    row = priced(
        database,
        conn,
        days,
        {0: 200.0, 1: 210.0, 3: 150.0, 7: 200.0, 30: 400.0},
        {"ACME": "bearish"},
        0.75,
    )

    assert row["price_at_prediction"] == 200.0
    assert [row[f"price_t{n}"] for n in HORIZONS] == [210.0, 150.0, 200.0, 400.0]
    assert [row[f"return_t{n}"] for n in HORIZONS] == pytest.approx([5.0, -25.0, 0.0, 100.0])
    # A long position of $1,000, although the prediction was bearish.
    assert [row[f"pnl_t{n}"] for n in HORIZONS] == pytest.approx([50.0, -250.0, 0.0, 1000.0])
    assert [row[f"correct_t{n}"] for n in HORIZONS] == [False, True, False, False]
    assert row["prediction_sentiment"] == "bearish"
    assert row["prediction_confidence"] == 0.75
    assert row["is_complete"] is True
    assert row["outcome_reason"] is None
    assert row["engine_version"] == 1
    assert row["last_price_update"] is not None


def test_returns_are_not_rounded(database: Database, conn: Conn, days: list[dt.date]) -> None:
    row = priced(database, conn, days, {0: 3.0, 1: 10.0, 3: 3.0, 7: 3.0, 30: 3.0})
    assert row["return_t1"] == pytest.approx(700 / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("sentiment", "percent", "correct"),
    [
        ("bullish", 0.5, False),
        ("bullish", 0.5000001, True),
        ("bullish", -3.0, False),
        ("bearish", -0.5, False),
        ("bearish", -0.5000001, True),
        ("bearish", 3.0, False),
        ("neutral", 0.5, True),
        ("neutral", -0.5, True),
        ("neutral", 0.0, True),
        ("neutral", 0.5000001, False),
        ("neutral", -0.5000001, False),
        (None, 3.0, None),
        ("hopeful", 3.0, None),
        ("bullish", None, None),
        ("neutral", None, None),
    ],
)
def test_the_verdict_at_the_thresholds(
    conn: Conn, sentiment: str | None, percent: float | None, correct: bool | None
) -> None:
    assert value(conn, "SELECT outcome_correct(%s, %s::float8)", [sentiment, percent]) is correct


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("200", "201"),
        ("200", "199"),
        ("100", "100.5"),
        ("100", "99.5"),
        ("20.2", "20.301"),
        ("20.2", "20.099"),
        ("64", "64.32"),
        ("64", "63.68"),
    ],
)
def test_the_verdict_at_half_a_percent_is_that_of_the_stored_return(
    database: Database, conn: Conn, days: list[dt.date], before: str, after: str
) -> None:
    """The contract's formula in double precision, nothing rounded: 99.5 / 100 is a hair below -0.5 %."""
    closes = dict.fromkeys((0, 1, 3, 7, 30), float(before)) | {1: float(after)}
    expected = (float(after) / float(before) - 1) * 100
    verdicts = {}
    for sentiment in ("bullish", "bearish", "neutral"):
        row = priced(database, conn, days, closes, {"ACME": sentiment})
        assert row["return_t1"] == expected
        verdicts[sentiment] = row["correct_t1"]
    assert verdicts == {
        "bullish": expected > 0.5,
        "bearish": expected < -0.5,
        "neutral": abs(expected) <= 0.5,
    }


@pytest.mark.parametrize(
    "impact",
    [None, {}, {"OTHER": "bullish"}, {"ACME": "to the moon"}, {"ACME": 1}, ["bullish"], "bullish"],
)
def test_without_a_sentiment_of_its_own_there_is_a_return_and_no_verdict(
    database: Database, conn: Conn, days: list[dt.date], impact: Any
) -> None:
    row = priced(database, conn, days, dict.fromkeys((0, 1, 3, 7, 30), 100.0), impact)
    assert row["prediction_sentiment"] is None
    assert [row[f"correct_t{n}"] for n in HORIZONS] == [None] * 4
    assert [row[f"return_t{n}"] for n in HORIZONS] == [0.0] * 4
    assert row["is_complete"] is True


def test_each_symbol_has_its_own_sentiment(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    for symbol in ("ACME", "BETA", "GAMMA"):
        put_bars(conn, symbol, {days[n]: 100.0 + n for n in (0, 1, 3, 7, 30)})
        set_fetched(conn, symbol, days[0], days[30])
    number = insert_prediction(
        conn, ["acme", "Beta", "GAMMA"], {"ACME": "BULLISH", "beta": "Bearish"}, confidence=None
    )
    process(database, number)

    rows = [outcome(conn, number, symbol) for symbol in ("ACME", "BETA", "GAMMA")]
    assert [row["prediction_sentiment"] for row in rows] == ["bullish", "bearish", None]
    assert [row["correct_t30"] for row in rows] == [True, False, None]
    assert [row["prediction_confidence"] for row in rows] == [None] * 3


@pytest.mark.parametrize("missing", [0, 1, 3, 7, 30])
def test_what_is_not_known_is_null(
    database: Database, conn: Conn, days: list[dt.date], missing: int
) -> None:
    closes = {n: 100.0 + n for n in (0, 1, 2, 3, 4, 6, 7, 8, 29, 30, 31) if n != missing}
    row = priced(database, conn, days, closes, {"ACME": "neutral"})

    assert row["price_at_prediction"] == (None if missing == 0 else 100.0)
    for n in HORIZONS:
        assert row[f"price_t{n}"] == (None if n == missing else 100.0 + n)
        known = missing not in {0, n}
        for name in ("return", "correct", "pnl"):
            assert (row[f"{name}_t{n}"] is not None) is known, (name, n)
    assert row["is_complete"] is False
