"""One empty answer for a ticker that has bars: it decides nothing, and delays nothing else."""

import datetime as dt

import pytest

from tests.market.desk import Desk
from tests.market.silence import (
    DAY,
    FLAT,
    MINUTE,
    NOTHING,
    NOW,
    OLD,
    RECENT,
    Changing,
    ended,
    state,
)
from tests.support.clock import day, utc
from tests.support.db import Conn
from tests.support.market import outcome, ticker
from tests.support.providers import serving


@pytest.fixture
def slipping() -> Changing:
    """A provider that has every bar, until the test says otherwise."""
    return Changing("remote", FLAT)


def test_one_empty_slip_of_a_known_ticker_decides_nothing(
    url: str, conn: Conn, slipping: Changing
) -> None:
    desk = Desk(url, slipping)
    number = desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    slipping.answer = NOTHING
    later = utc("2024-05-17 22:00")
    assert desk.sweep(later) == 1
    desk.turn(later)
    row = outcome(conn, number, "HUSH")
    assert (row["outcome_state"], row["price_t1"], row["price_t3"]) == (
        "awaiting_prices",
        100.0,
        None,
    )
    assert ticker(conn, "HUSH")["status"] == "active"
    slipping.answer = FLAT
    desk.sweep(later + DAY)
    desk.turn(later + DAY)
    row = outcome(conn, number, "HUSH")
    assert (row["outcome_state"], row["price_t3"]) == ("maturing", 100.0)


@pytest.mark.parametrize(
    "later",
    [
        utc("2024-07-08 22:00"),  # T+30 is over for six sessions
        utc("2024-07-22 22:00"),  # every horizon is ten sessions old
    ],
)
def test_one_empty_slip_after_a_long_absence_decides_nothing(
    url: str, conn: Conn, slipping: Changing, later: dt.datetime
) -> None:
    """No worker for weeks: what is asked for then is older than ten sessions."""
    desk = Desk(url, slipping)
    number = desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    slipping.answer = NOTHING
    desk.sweep(later)
    desk.turn(later)
    assert state(conn, number) == "awaiting_prices"
    slipping.answer = FLAT
    for days in range(1, 8):
        desk.sweep(later + days * DAY)
        desk.turn(later + days * DAY)
    row = outcome(conn, number, "HUSH")
    assert [row[f"price_t{n}"] for n in (1, 3, 7, 30)] == [100.0] * 4
    assert row["outcome_state"] == "complete"


def test_a_hole_does_not_delay_the_horizons_behind_it(
    url: str, conn: Conn, slipping: Changing
) -> None:
    """The missing session is asked for at growing pauses, the next horizon on its day."""
    slipping.answer = serving(lambda date: None if date == day("2024-05-17") else 100.0)
    desk = Desk(url, slipping)
    number = desk.predict(NOW, "HUSH", RECENT)  # T+3 is the 17th, T+7 the 23rd
    desk.turn(NOW)
    for date in ("2024-05-17", "2024-05-20", "2024-05-21", "2024-05-22", "2024-05-23"):
        now = utc(f"{date} 20:31")
        desk.sweep(now)
        desk.turn(now)
    row = outcome(conn, number, "HUSH")
    assert (row["price_t1"], row["price_t3"], row["price_t7"]) == (100.0, None, 100.0)


def test_one_empty_slip_at_the_first_fetch_costs_an_attempt_only(
    url: str, conn: Conn, slipping: Changing
) -> None:
    desk = Desk(url, slipping)
    old = desk.predict(NOW, "HUSH", OLD)
    slipping.answer = NOTHING
    desk.turn(NOW)
    slipping.answer = FLAT
    desk.turn(NOW + MINUTE)
    assert state(conn, old) == "complete"
    assert ended(conn) == [("done", 1)]
