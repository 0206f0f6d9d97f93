"""Sessions against exchange_calendars on the hard dates, and the entry's edges."""

import datetime as dt
from collections.abc import Iterator

import exchange_calendars
import pytest

from tests.support.clock import day, utc
from tests.support.db import Conn, shared_database, value


@pytest.fixture(scope="module")
def conn(server_url: str, template: str) -> Iterator[Conn]:
    """One database for this file: these tests only look."""
    with shared_database(server_url, template) as conn:
        yield conn


def session(
    conn: Conn, date: str, calendar: str = "XNYS"
) -> tuple[dt.datetime, dt.datetime] | None:
    row = conn.execute(
        "SELECT opens_at, closes_at FROM market_sessions WHERE calendar = %s AND session = %s",
        [calendar, date],
    ).fetchone()
    return (row["opens_at"], row["closes_at"]) if row else None


@pytest.mark.parametrize(
    "date",
    [
        "2025-01-09",  # mourning for Carter
        "2018-12-05",  # mourning for Bush
        "2012-10-29",  # Sandy
        "2012-10-30",
        "2001-09-11",
        "2001-09-12",
        "2001-09-13",
        "2001-09-14",
        "2022-06-20",  # Juneteenth, observed on Monday
        "2024-03-29",  # Good Friday
        "2024-07-04",
        "2024-03-09",  # a Saturday
    ],
)
def test_closed_days_are_no_sessions(conn: Conn, date: str) -> None:
    assert session(conn, date) is None


@pytest.mark.parametrize(
    ("date", "opens", "closes"),
    [
        ("2024-03-05", "14:30", "21:00"),  # winter
        ("2024-03-11", "13:30", "20:00"),  # the first day of summer time
        ("2024-07-03", "13:30", "17:00"),  # early close
        ("2026-11-27", "14:30", "18:00"),  # early close
        ("2023-11-24", "14:30", "18:00"),
        ("2001-09-17", "13:30", "20:00"),
        ("2021-06-18", "13:30", "20:00"),  # Juneteenth was no holiday yet
        ("1990-01-02", "14:30", "21:00"),
    ],
)
def test_opening_hours_in_utc(conn: Conn, date: str, opens: str, closes: str) -> None:
    assert session(conn, date) == (utc(f"{date} {opens}"), utc(f"{date} {closes}"))


def test_every_session_is_that_of_exchange_calendars(conn: Conn) -> None:
    calendar = exchange_calendars.get_calendar("XNYS", start="1990-01-01", end="2026-12-31")
    expected = [
        (date.date(), opens.to_pydatetime(), closes.to_pydatetime())
        for date, opens, closes in zip(
            calendar.schedule.index,
            calendar.schedule["open"],
            calendar.schedule["close"],
            strict=True,
        )
    ]
    rows = conn.execute(
        "SELECT session, opens_at, closes_at FROM market_sessions"
        " WHERE calendar = 'XNYS' AND session <= '2026-12-31' ORDER BY session"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == expected


@pytest.mark.parametrize(("calendar", "first"), [("XNYS", "1990-01-02"), ("24/7", "1990-01-01")])
def test_from_1990_to_a_year_ahead_without_a_gap_in_the_ordinals(
    conn: Conn, calendar: str, first: str
) -> None:
    row = conn.execute(
        "SELECT min(session) AS first, max(session) AS last, count(*) AS n, min(ordinal) AS low,"
        " max(ordinal) AS high, count(DISTINCT ordinal) AS different,"
        " count(*) FILTER (WHERE closes_at <= opens_at) AS absurd,"
        " bool_and(ordinal = place) AS in_order FROM (SELECT *, row_number() OVER (ORDER BY session)"
        " AS place FROM market_sessions WHERE calendar = %s) s",
        [calendar],
    ).fetchone()
    assert row is not None
    assert row["first"] == day(first)
    assert row["last"] >= value(conn, "SELECT current_date + 365")
    assert (row["low"], row["high"], row["different"]) == (1, row["n"], row["n"])
    assert row["absurd"] == 0
    assert row["in_order"] is True


def test_around_the_clock_every_utc_day_is_a_session(conn: Conn) -> None:
    assert session(conn, "2024-02-29", "24/7") == (utc("2024-02-29"), utc("2024-03-01"))
    row = conn.execute(
        "SELECT max(session) - min(session) + 1 = count(*) AS whole FROM market_sessions"
        " WHERE calendar = '24/7'"
    ).fetchone()
    assert row == {"whole": True}


@pytest.mark.parametrize(
    ("calendar", "moment", "entry"),
    [
        ("XNYS", "2024-03-05 21:00:00", "2024-03-05"),
        ("XNYS", "2024-03-05 21:00:00.000001", "2024-03-06"),
        ("XNYS", "2026-11-27 18:00:00", "2026-11-27"),
        ("XNYS", "2026-11-27 18:00:00.000001", "2026-11-30"),
        ("XNYS", "2001-09-10 20:00:00.000001", "2001-09-17"),
        ("XNYS", "2012-10-26 21:00:00", "2012-10-31"),
        ("24/7", "2024-03-05 00:00:00", "2024-03-04"),
        ("24/7", "2024-03-05 00:00:00.000001", "2024-03-05"),
        ("XNYS", "1990-01-02 14:30:00", "1990-01-02"),
        ("XNYS", "1989-12-29 15:00:00", None),
        ("XNYS", "1929-10-29 15:00:00", None),
        ("XNYS", "2299-01-05 15:00:00", None),
        ("XXXX", "2024-03-05 21:00:00", None),
    ],
)
def test_the_entry(conn: Conn, calendar: str, moment: str, entry: str | None) -> None:
    found = value(conn, "SELECT session_entry(%s, %s)", [calendar, utc(moment)])
    assert found == (entry and day(entry))


def test_the_end_of_the_calendar_is_the_last_close(conn: Conn) -> None:
    last = conn.execute(
        "SELECT session, closes_at FROM market_sessions WHERE calendar = 'XNYS'"
        " ORDER BY session DESC LIMIT 1"
    ).fetchone()
    assert last is not None
    at_close, after = last["closes_at"], last["closes_at"] + dt.timedelta(microseconds=1)
    assert value(conn, "SELECT session_entry('XNYS', %s)", [at_close]) == last["session"]
    assert value(conn, "SELECT session_entry('XNYS', %s)", [after]) is None
