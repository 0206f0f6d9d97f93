"""A ticker that another program filled before us, on another basis: none of it is a price of ours."""

import datetime as dt

import pytest

from tests.market.desk import Desk
from tests.market.revision.remote import AT_T3, ENTRY, LATER, T7, Remote, refresh, traded
from tests.support.clock import at, clock, day, utc
from tests.support.db import Conn, connect, value
from tests.support.market import outcome, ticker


def theirs(conn: Conn, closes: dict[dt.date, float], symbol: str = "ACME") -> None:
    """Bars as another program stores them, check-then-insert."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close, volume,"
            " source, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, 5, 'yfinance', now(), now())",
            [(symbol, date, *[close] * 5) for date, close in closes.items()],
        )


def auto_adjusted(conn: Conn, start: str, end: str) -> dict[dt.date, float]:
    """Closes adjusted for dividends that were still to come: some percent lower, ever less."""
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = 'XNYS' AND session BETWEEN %s AND %s",
        [start, end],
    ).fetchall()
    last = day(end)
    return {
        row["session"]: traded(row["session"]) * (0.99 - (last - row["session"]).days / 50_000)
        for row in rows
    }


@pytest.fixture
def filled(conn: Conn) -> dict[dt.date, float]:
    """ACME, registered and filled by another program since January of the year before last."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, price_data_start, price_data_end, created_at,"
        " updated_at) VALUES ('ACME', 'active', '2022-01-03', '2024-05-10', now(), now())"
    )
    conn.execute("DELETE FROM outbox")
    closes = auto_adjusted(conn, "2022-01-03", "2024-05-10")
    theirs(conn, closes)
    return closes


def test_it_is_fetched_anew_from_its_earliest_stored_bar(
    desk: Desk, conn: Conn, remote: Remote, filled: dict[dt.date, float]
) -> None:
    number = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    # Until then nothing of theirs is a price of ours.
    assert outcome(conn, number, "ACME")["price_at_prediction"] is None
    (told,) = desk.turn(AT_T3)
    assert told["rebased"]
    assert remote.asked[0].start == day("2022-01-03")
    assert len(remote.asked) == 1
    rows = conn.execute("SELECT date, close, source FROM market_prices ORDER BY date").fetchall()
    assert {row["source"] for row in rows} == {"remote"}
    assert all(row["close"] == traded(row["date"]) for row in rows)
    assert rows[0]["date"] == min(filled)
    row = outcome(conn, number, "ACME")
    assert row["return_t30"] == pytest.approx(
        (traded(day("2024-04-17")) / traded(day("2024-03-05")) - 1) * 100
    )
    assert (row["is_complete"], row["revision"]) == (True, None)
    assert ticker(conn, "ACME")["covered_from"] == day("2022-01-03")


@pytest.mark.usefixtures("filled")
def test_a_bar_of_theirs_that_our_provider_lacks_goes_away(
    desk: Desk, conn: Conn, remote: Remote
) -> None:
    remote.holes = {day("2023-07-11"), day("2024-03-05"), day("2024-03-06")}
    number = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    desk.turn(AT_T3)
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == ["remote"]
    row = outcome(conn, number, "ACME")
    assert (row["price_at_prediction"], row["price_t1"]) == (None, None)
    assert row["outcome_state"] == "unresolvable"


@pytest.mark.usefixtures("filled")
def test_when_our_provider_has_nothing_theirs_are_no_prices_of_ours(
    desk: Desk, conn: Conn, remote: Remote
) -> None:
    """Asked often enough, it is settled that we have no bar; theirs are on another basis."""
    remote.holes = {ENTRY + dt.timedelta(days=n) for n in range(-900, 30)}
    number = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    for minutes in (0, 2, 4):
        desk.turn(AT_T3 + dt.timedelta(minutes=minutes))
    assert outcome(conn, number, "ACME")["price_at_prediction"] is None


def today_of_theirs(conn: Conn, date: dt.date) -> None:
    """The other program stores what is there of a day that is not over."""
    theirs(conn, {date: 1.0})


def test_the_bar_of_an_unfinished_day_never_reaches_an_outcome(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    noon, evening = utc("2024-05-22 16:00"), utc("2024-05-22 20:31")
    with clock(desk.url, noon), connect(desk.url) as theirs_conn:
        today_of_theirs(theirs_conn, T7)
    for now in (noon, utc("2024-05-22 20:15"), evening):
        with clock(desk.url, now) as database, at(database) as inside:
            inside.execute("SELECT outcomes_fill_symbol('ACME', true)")
        row = outcome(conn, prediction, "ACME")
        assert row["price_t7"] is None
        # A prediction of the day finds no entry in it either.
        number = desk.predict(now, "ACME", "2024-05-22 15:00+00")
        assert outcome(conn, number, "ACME")["price_at_prediction"] is None
    desk.turn(evening)
    assert outcome(conn, prediction, "ACME")["price_t7"] == remote.close(T7)
    assert outcome(conn, number, "ACME")["price_at_prediction"] == remote.close(T7)
    assert value(conn, "SELECT count(*) FROM market_prices WHERE source = 'yfinance'") == 0
    assert outcome(conn, prediction, "ACME")["revision"] is None


@pytest.mark.parametrize("spoil", ["no bar", "a bar that is refused"])
def test_the_bar_of_an_unfinished_day_is_none_because_ours_is_late(
    desk: Desk, conn: Conn, prediction: int, remote: Remote, spoil: str
) -> None:
    """The provider answers for the day and has no close of it yet; theirs of noon stands there."""
    today_of_theirs(conn, T7)
    if spoil == "no bar":
        remote.holes = {T7}
    else:
        remote.revised[T7] = -1.0
    refresh(desk, utc("2024-05-22 20:31"))
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t7"], row["outcome_state"]) == (None, "awaiting_prices")
    remote.holes, remote.revised = set(), {}
    refresh(desk, LATER)
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t7"], row["revision"]) == (remote.close(T7), None)


def test_what_they_stored_beyond_our_range_is_no_price_when_the_range_grows(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    """Finished days on their basis, of which our provider lacks those that count."""
    theirs(conn, auto_adjusted(conn, "2024-05-17", "2024-05-22"))
    remote.holes = {day("2024-05-21"), T7}
    refresh(desk, LATER)
    assert outcome(conn, prediction, "ACME")["price_t7"] is None
