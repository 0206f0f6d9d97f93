"""The four states of an outcome and the reason each gives, with the clock where the test puts it."""

import datetime as dt

import pytest

from sql.database import Database
from tests.support.clock import day, utc
from tests.support.db import Conn, value
from tests.support.market import (
    HORIZONS,
    fill,
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


def settled(conn: Conn, date: dt.date) -> dt.datetime:
    """The moment from which a session's bar is trusted."""
    found: dt.datetime = value(
        conn,
        "SELECT closes_at + session_settling() FROM market_sessions"
        " WHERE calendar = 'XNYS' AND session = %s",
        [date],
    )
    return found


def known(conn: Conn, number: int) -> list[str]:
    row = outcome(conn, number, "ACME")
    names = ["price_at_prediction", *(f"price_t{n}" for n in HORIZONS)]
    return [name for name in names if row[name] is not None]


def test_an_outcome_matures_session_by_session(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    # All bars are there already: the clock alone says what may be used.
    put_bars(conn, "ACME", {date: 100.0 + n for n, date in enumerate(days)})
    set_fetched(conn, "ACME", days[0], days[-1])
    number = insert_prediction(conn, ["ACME"], {"ACME": "bullish"})
    process(database, number, moment=utc("2024-03-05 15:00"))
    seen = [(known(conn, number), outcome(conn, number, "ACME")["outcome_state"])]

    for n in (0, 1, 2, 3, 7, 29, 30):
        fill(database, "ACME", settled(conn, days[n]) - dt.timedelta(seconds=30))
        before = known(conn, number)
        fill(database, "ACME", settled(conn, days[n]))
        row = outcome(conn, number, "ACME")
        seen.append((known(conn, number), row["outcome_state"]))
        assert (known(conn, number) != before) is (n in {0, 1, 3, 7, 30}), n
        assert row["is_complete"] is (n == 30)

    names = ["price_at_prediction", "price_t1", "price_t3", "price_t7", "price_t30"]
    assert seen == [
        ([], "maturing"),
        (names[:1], "maturing"),
        (names[:2], "maturing"),
        (names[:2], "maturing"),
        (names[:3], "maturing"),
        (names[:4], "maturing"),
        (names[:4], "maturing"),
        (names[:5], "complete"),
    ]
    row = outcome(conn, number, "ACME")
    assert [row[f"price_t{n}"] for n in HORIZONS] == [101.0, 103.0, 107.0, 130.0]


def test_a_maturing_outcome_says_what_it_waits_for(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    put_bars(conn, "ACME", dict.fromkeys(days[:4], 100.0))
    set_fetched(conn, "ACME", days[0], days[3])
    number = insert_prediction(conn, ["ACME"])
    process(database, number, moment=settled(conn, days[3]))

    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "maturing"
    assert row["outcome_reason"] == "next: t7 on 2024-03-14"
    assert row["due_at"] == utc("2024-03-14 20:30")


def test_a_session_that_is_over_without_a_bar_is_awaited(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    number = insert_prediction(conn, ["ACME"])
    batch = process(database, number, moment=settled(conn, days[0]))

    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "awaiting_prices"
    assert "2024-03-05" in row["outcome_reason"]
    assert batch.wanting == ["ACME"]
    assert batch.predictions[number].states == {"awaiting_prices": 1}


@pytest.mark.parametrize("hole", [0, 1, 3, 7])
def test_a_hole_is_given_up_after_ten_sessions_and_not_before(
    database: Database, conn: Conn, days: list[dt.date], hole: int
) -> None:
    put_bars(conn, "ACME", {date: 100.0 for n, date in enumerate(days) if n != hole})
    set_fetched(conn, "ACME", days[0], days[-1])
    number = insert_prediction(conn, ["ACME"])

    process(database, number, moment=settled(conn, days[hole + 9]))
    assert outcome(conn, number, "ACME")["outcome_state"] == "awaiting_prices"

    fill(database, "ACME", settled(conn, days[hole + 10]))
    state = outcome(conn, number, "ACME")["outcome_state"]
    # Without the entry nothing can ever come; other horizons may.
    assert state == ("unresolvable" if hole == 0 else "maturing")

    fill(database, "ACME", settled(conn, days[45]))
    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert row["is_complete"] is False
    assert str(days[hole]) in row["outcome_reason"]
    if hole:
        assert row[f"price_t{hole}"] is None
        assert row["price_t30"] == 100.0
        assert "hole" in row["outcome_reason"]


def test_a_hole_that_nobody_was_asked_about_is_no_verdict(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    put_bars(conn, "ACME", dict.fromkeys(days[5:], 100.0))
    set_fetched(conn, "ACME", days[5], days[-1])
    number = insert_prediction(conn, ["ACME"])
    process(database, number, moment=settled(conn, days[45]))
    assert outcome(conn, number, "ACME")["outcome_state"] == "awaiting_prices"


def test_an_unresolvable_outcome_is_not_revisited(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    set_fetched(conn, "ACME", days[0], days[-1])
    number = insert_prediction(conn, ["ACME"])
    process(database, number, moment=settled(conn, days[45]))
    put_bars(conn, "ACME", dict.fromkeys(days, 100.0))
    assert fill(database, "ACME", settled(conn, days[45])) == 0
    assert outcome(conn, number, "ACME")["outcome_state"] == "unresolvable"

    # Only its own prediction's event does it.
    process(database, number, moment=settled(conn, days[45]))
    assert outcome(conn, number, "ACME")["outcome_state"] == "complete"


@pytest.mark.parametrize("status", ["invalid", "inactive"])
def test_a_lost_ticker_makes_its_open_outcomes_unresolvable(
    database: Database, conn: Conn, days: list[dt.date], status: str
) -> None:
    put_bars(conn, "ACME", dict.fromkeys(days[:2], 100.0))
    set_fetched(conn, "ACME", days[0], days[1])
    number = insert_prediction(conn, ["ACME"])
    process(database, number, moment=settled(conn, days[1]))
    assert outcome(conn, number, "ACME")["outcome_state"] == "maturing"

    conn.execute(
        "UPDATE ticker_registry SET status = %s, status_reason = 'because' WHERE symbol = 'ACME'",
        [status],
    )
    fill(database, "ACME", settled(conn, days[1]))

    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert status in row["outcome_reason"]
    assert "because" in row["outcome_reason"]
    assert row["price_t1"] == 100.0  # what was known stays
    assert row["due_at"] is None


def test_a_delisted_ticker(database: Database, conn: Conn, days: list[dt.date]) -> None:
    put_bars(conn, "ACME", dict.fromkeys(days[:6], 100.0))
    set_fetched(conn, "ACME", days[0], days[-1])
    number = insert_prediction(conn, ["ACME"])
    process(database, number, moment=settled(conn, days[45]))

    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert "delisted" in row["outcome_reason"]
    assert str(days[5]) in row["outcome_reason"]
    assert row["price_t3"] == 100.0
    assert row["price_t7"] is None


@pytest.mark.parametrize("moment", ["1985-07-01 15:00+00", "2199-01-04 15:00+00"])
def test_a_moment_outside_the_calendar(database: Database, conn: Conn, moment: str) -> None:
    number = insert_prediction(conn, ["ACME"], moment=moment)
    process(database, number)

    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert row["entry_session"] is None
    assert "outside the calendar XNYS" in row["outcome_reason"]
    assert row["prediction_date"] == day(moment[:10])
