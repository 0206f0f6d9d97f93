"""Calendars against what really happened, and the days of currencies and futures against New York's clock."""

import datetime as dt
from functools import cache
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.universe import calendars
from market.universe.calendars import Session
from tests.support.clock import day, utc

UNTIL = dt.date(2027, 11, 30)
NEW_YORK = ZoneInfo("America/New_York")


@cache
def sessions(name: str) -> dict[dt.date, Session]:
    return {session[0]: session for session in calendars.compute(name, UNTIL).sessions}


def hours(name: str, date: str) -> str | None:
    """When it opens and closes, UTC; None: no session."""
    session = sessions(name).get(day(date))
    return session and f"{session[1]:%H:%M}-{session[2]:%H:%M}"


# Saturdays and Sundays on which there was trading.
SPECIAL = [
    ("XBOM", "2024-01-20", "03:45-10:00"),
    ("XBOM", "2025-02-01", "03:45-10:00"),
    ("XKRX", "1997-03-08", "00:30-06:00"),
    ("XMOS", "2009-01-11", "07:00-15:45"),  # a Sunday
    ("XMOS", "2024-04-27", "07:00-15:45"),
    ("XMOS", "2024-12-28", "07:00-15:45"),
    ("XTAE", "2025-06-15", "06:59-12:40"),  # Sundays until 2026
    ("XTAE", "2026-01-09", "07:59-11:50"),  # Fridays from then on
]
EARLY = [
    ("XNYS", "2024-07-03", "13:30-17:00"),
    ("XNYS", "2024-11-29", "14:30-18:00"),
    ("XTSE", "2024-12-24", "14:30-18:00"),
    ("XLON", "2024-12-24", "08:00-12:30"),
    ("XETR", "2024-12-30", "08:00-13:00"),
    ("XPAR", "2024-12-24", "08:00-13:05"),
    ("XAMS", "2024-12-24", "08:00-13:05"),
    ("XMAD", "2024-12-24", "08:00-13:00"),
    ("XWBO", "2024-12-30", "08:00-13:15"),
    ("XSTO", "2024-05-08", "07:00-11:00"),
    ("XOSL", "2024-03-27", "08:00-12:00"),
    ("XIST", "2024-04-09", "07:00-09:30"),
    ("XTAE", "2024-10-20", "06:59-11:15"),
    ("XHKG", "2024-12-24", "01:30-04:00"),
    ("XASX", "2024-12-24", "23:00-03:10"),
    ("XNZE", "2024-12-24", "21:00-23:45"),
    ("BVMF", "2024-02-14", "16:00-21:00"),  # Ash Wednesday begins late
]
CLOSED = [
    ("XNYS", "2012-10-29"), ("XNYS", "2012-10-30"), ("XNYS", "2018-12-05"), ("XNYS", "2025-01-09"),
    ("XLON", "2011-04-29"), ("XLON", "2020-05-08"), ("XLON", "2022-09-19"), ("XLON", "2023-05-08"),
    ("XETR", "2017-10-31"), ("XCSE", "2024-05-10"), ("XHEL", "2024-12-24"), ("XSWX", "2024-12-24"),
    ("XMIL", "2024-08-15"), ("XWAR", "2018-11-12"), ("XPRA", "2024-05-08"), ("XBUD", "2024-12-27"),
    ("XIST", "2023-02-08"),  # the earthquake
    ("ASEX", "2015-07-01"),  # capital controls
    ("ASEX", "2024-05-03"), ("ASEX", "2024-05-06"), ("XBSE", "2024-05-06"), ("XBEL", "2024-05-03"),
    ("XCYS", "2024-05-06"),  # Orthodox Easter
    ("XTAE", "2022-11-01"), ("XTAE", "2024-10-12"), ("XSAU", "2024-09-23"),
    ("XTKS", "2019-05-01"), ("XTKS", "2020-07-24"), ("XTKS", "2021-07-23"),
    ("XHKG", "2017-08-23"), ("XHKG", "2024-09-06"),  # typhoons
    ("XSHG", "2015-09-03"), ("XSHG", "2020-01-31"),
    ("XTAI", "2024-07-24"), ("XTAI", "2024-10-02"),  # typhoons
    ("XKRX", "2017-10-02"), ("XKRX", "2020-08-17"), ("XSES", "2015-08-07"), ("XASX", "2022-09-22"),
    ("XNZE", "2022-09-26"), ("XKLS", "2018-05-10"), ("XIDX", "2019-04-17"), ("XIDX", "2024-02-14"),
    ("XBOM", "2024-01-22"), ("BVMF", "2024-12-24"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "date", "expected"), [*SPECIAL, *EARLY])
def test_known_sessions_have_their_hours(name: str, date: str, expected: str) -> None:
    assert hours(name, date) == expected


@pytest.mark.parametrize(("name", "date"), CLOSED)
def test_known_closures_are_no_sessions(name: str, date: str) -> None:
    assert hours(name, date) is None


def test_seoul_traded_on_saturdays_until_1998() -> None:
    saturdays = [date for date in sessions("XKRX") if date.weekday() == 5]
    assert sum(date.year == 1997 for date in saturdays) == 49
    assert max(saturdays) == day("1998-12-05")


@pytest.mark.parametrize("name", exchange_calendars.get_calendar_names(include_aliases=False))
def test_every_calendar_of_the_library_can_be_computed(name: str) -> None:
    found = list(sessions(name).values())
    assert len(found) > 1000
    assert all(opens < closes for _, opens, closes in found)
    dates, closes = [each[0] for each in found], [each[2] for each in found]
    assert dates == sorted(set(dates))
    assert closes == sorted(set(closes))


@pytest.mark.parametrize("name", ["XNYS", "XLON", "XTKS", "BVMF"])
def test_where_the_week_never_changes_it_is_the_librarys_calendar(name: str) -> None:
    start = min(sessions(name)).isoformat()
    theirs = exchange_calendars.get_calendar(name, start=start, end=UNTIL.isoformat()).schedule
    assert list(sessions(name).values()) == [
        (date.date(), opens.to_pydatetime(), closes.to_pydatetime())
        for date, opens, closes in zip(theirs.index, theirs["open"], theirs["close"], strict=True)
    ]


def test_names_that_the_library_knows_as_aliases() -> None:
    assert calendars.compute("CME", UNTIL).sessions == list(sessions("CMES").values())
    assert calendars.compute("NASDAQ", UNTIL).sessions == list(sessions("XNYS").values())
    with pytest.raises(calendars.UnknownCalendarError):
        calendars.compute("NO SUCH EXCHANGE", UNTIL)


@pytest.mark.parametrize("name", ["XBOM", "XSHG", "XSES"])
def test_a_calendar_that_the_library_ends(name: str) -> None:
    found = calendars.compute(name, UNTIL)
    assert found.ends
    assert found.sessions[-1][0] == day("2026-12-31")
    assert not calendars.compute("XNYS", UNTIL).ends


# Own calendars.

moments = st.integers(0, 36 * 365 * 86_400).map(
    lambda seconds: utc("1991-01-01") + dt.timedelta(seconds=seconds)
)


def entry(name: str, moment: dt.datetime) -> dt.date:
    """The first session that closes at or after the moment."""
    return next(date for date, _, closes in sessions(name).values() if closes >= moment)


@given(moments)
def test_the_day_of_currencies_ends_at_five_in_new_york(moment: dt.datetime) -> None:
    local = moment.astimezone(NEW_YORK)
    date = local.date()
    if local.time() > dt.time(17):
        date += dt.timedelta(days=1)
    while date.weekday() > 4:
        date += dt.timedelta(days=1)
    assert entry("24/5", moment) == date


@given(moments)
def test_the_day_of_futures_is_new_yorks_and_ends_at_five(moment: dt.datetime) -> None:
    found = entry("CMES", moment)
    assert found in sessions("XNYS")
    local = moment.astimezone(NEW_YORK)
    shares = sessions("XNYS").get(local.date())
    if shares is not None and shares[2].astimezone(NEW_YORK).hour == 16:
        later = local.time() > dt.time(17)
        assert (found > local.date()) is later
        assert found >= local.date()


@pytest.mark.parametrize(
    ("name", "date", "expected"),
    [
        ("24/5", "2025-07-14", ("2025-07-13 21:00", "2025-07-14 21:00")),  # Sunday evening on
        ("24/5", "2025-12-25", ("2025-12-24 22:00", "2025-12-25 22:00")),
        ("24/5", "2025-11-03", ("2025-11-02 22:00", "2025-11-03 22:00")),  # the clocks changed
        ("CMES", "2025-07-14", ("2025-07-13 22:00", "2025-07-14 21:00")),
        ("CMES", "2025-11-26", ("2025-11-25 23:00", "2025-11-26 22:00")),
        ("CMES", "2025-11-28", ("2025-11-27 23:00", "2025-11-28 18:15")),
        ("CMES", "2025-01-09", None),
        ("CMES", "2025-11-27", None),
        ("24/5", "2025-07-12", None),
        ("24/5", "2025-07-13", None),
    ],
)
def test_days_of_currencies_and_futures(
    name: str, date: str, expected: tuple[str, str] | None
) -> None:
    found = sessions(name).get(day(date))
    assert found == (expected and (day(date), utc(expected[0]), utc(expected[1])))
