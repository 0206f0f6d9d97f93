"""The entry session and the horizons, by hand: each price names the day it must come from."""

import datetime as dt

import pytest

from sql.database import Database
from tests.support.clock import day, utc
from tests.support.db import Conn
from tests.support.market import (
    insert_prediction,
    outcome,
    process,
    put_bars,
    sessions,
    set_fetched,
)


def dated_prices(conn: Conn, symbol: str, calendar: str = "XNYS") -> None:
    """Closes that are their date's ordinal, so that a price tells which day it is of."""
    days = sessions(conn, "2023-10-01", "2024-12-31", calendar)
    put_bars(conn, symbol, {date: float(date.toordinal()) for date in days})
    set_fetched(conn, symbol, days[0], days[-1])


def date_of(price: float | None) -> str:
    assert price is not None
    return dt.date.fromordinal(int(price)).isoformat()


@pytest.mark.parametrize(
    ("moment", "entry"),
    [
        ("2024-03-05 10:00:00", "2024-03-05"),  # before the open
        ("2024-03-05 14:30:00", "2024-03-05"),  # at the open
        ("2024-03-05 16:00:00", "2024-03-05"),  # in session
        ("2024-03-05 20:59:59.999999", "2024-03-05"),
        ("2024-03-05 21:00:00", "2024-03-05"),  # at the close: it can still be had
        ("2024-03-05 21:00:00.000001", "2024-03-06"),  # after the close
        ("2024-03-06 00:30:00", "2024-03-06"),  # the evening before, New York
        ("2024-03-09 12:00:00", "2024-03-11"),  # a Saturday
        ("2024-03-11 20:00:00", "2024-03-11"),  # at the close of the first summer-time day
        ("2024-03-11 20:00:00.000001", "2024-03-12"),
        ("2024-03-29 15:00:00", "2024-04-01"),  # Good Friday
        ("2024-07-03 17:00:00", "2024-07-03"),  # at an early close
        ("2024-07-03 17:00:00.000001", "2024-07-05"),  # after it, before Independence Day
        ("2023-11-24 18:30:00", "2023-11-27"),  # after an early close, before a week-end
    ],
)
def test_the_entry_is_the_first_session_that_closes_at_or_after_the_moment(
    database: Database, conn: Conn, moment: str, entry: str
) -> None:
    dated_prices(conn, "ACME")
    number = insert_prediction(conn, ["ACME"], moment=utc(moment))

    process(database, number)

    row = outcome(conn, number, "ACME")
    assert row["entry_session"] == day(entry)
    assert date_of(row["price_at_prediction"]) == entry
    assert row["prediction_date"] == utc(moment).date()
    assert row["is_complete"] is True
    assert row["outcome_state"] == "complete"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # Good Friday lies before T+30.
        ("2024-03-05 16:00", ["2024-03-06", "2024-03-08", "2024-03-14", "2024-04-17"]),
        # Good Friday lies before T+3.
        ("2024-03-27 16:00", ["2024-03-28", "2024-04-02", "2024-04-08", "2024-05-09"]),
        # Juneteenth, then an early close, then Independence Day.
        ("2024-06-18 16:00", ["2024-06-20", "2024-06-24", "2024-06-28", "2024-08-01"]),
        # Thanksgiving and the half day after it count as none and one.
        ("2023-11-22 16:00", ["2023-11-24", "2023-11-28", "2023-12-04", "2024-01-08"]),
    ],
)
def test_the_horizons_are_sessions_not_days(
    database: Database, conn: Conn, moment: str, expected: list[str]
) -> None:
    dated_prices(conn, "ACME")
    number = insert_prediction(conn, ["ACME"], moment=utc(moment))

    process(database, number)

    row = outcome(conn, number, "ACME")
    assert [date_of(row[f"price_t{n}"]) for n in (1, 3, 7, 30)] == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (
            "2024-03-09 12:00",
            ["2024-03-09", "2024-03-10", "2024-03-12", "2024-03-16", "2024-04-08"],
        ),
        # A session of 24/7 closes at midnight, and its close can still be had then.
        (
            "2024-03-10 00:00",
            ["2024-03-09", "2024-03-10", "2024-03-12", "2024-03-16", "2024-04-08"],
        ),
        (
            "2024-03-10 00:00:00.000001",
            ["2024-03-10", "2024-03-11", "2024-03-13", "2024-03-17", "2024-04-09"],
        ),
    ],
)
def test_crypto_counts_every_day(
    database: Database, conn: Conn, moment: str, expected: list[str]
) -> None:
    dated_prices(conn, "BTC-USD", "24/7")
    number = insert_prediction(conn, ["BTC-USD"], moment=utc(moment))

    process(database, number)

    row = outcome(conn, number, "BTC-USD")
    prices = ["price_at_prediction", *(f"price_t{n}" for n in (1, 3, 7, 30))]
    assert [date_of(row[name]) for name in prices] == expected


def test_one_prediction_of_two_calendars_gets_an_entry_of_each(
    database: Database, conn: Conn
) -> None:
    dated_prices(conn, "ACME")
    dated_prices(conn, "BTC-USD", "24/7")
    number = insert_prediction(conn, ["ACME", "BTC-USD"], moment="2024-03-09 12:00+00")

    process(database, number)

    assert outcome(conn, number, "ACME")["entry_session"] == day("2024-03-11")
    assert outcome(conn, number, "BTC-USD")["entry_session"] == day("2024-03-09")


def test_a_moment_in_the_evening_of_new_york_has_the_utc_date(
    database: Database, conn: Conn
) -> None:
    dated_prices(conn, "ACME")
    number = insert_prediction(conn, ["ACME"], moment="2024-03-05 22:00-05")

    process(database, number)

    row = outcome(conn, number, "ACME")
    assert row["prediction_date"] == day("2024-03-06")
    assert row["entry_session"] == day("2024-03-06")
