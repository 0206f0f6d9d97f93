"""Ticks when clocks change: both Sundays in four zones, 29 February, and sessions that end early.

What is expected comes from Python's zone data, minute by minute, and for the daily line as written numbers.
"""

import datetime as dt
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest

from sql.database import Database
from tests.support.clock import use_clock, use_everywhere, utc, write_clock
from tests.support.db import Conn, value
from worker.jobs.ticks import Ticks
from worker.metrics import Metrics

_MINUTE = dt.timedelta(minutes=1)
# As many runs at once as a day has ticks, and none of them too late.
_ALL = """{"misfire": "all", "misfire_grace_s": 604800,
           "safety": {"singleflight": false, "max_concurrency": 100}}"""

# Zone, the Sunday, and when `30 1 * * *` is due on it.
SUNDAYS = [
    ("America/New_York", "2026-03-08", "2026-03-08 06:30"),
    ("America/New_York", "2026-11-01", "2026-11-01 05:30"),  # it comes twice: the first time
    ("Europe/Berlin", "2026-03-29", "2026-03-29 00:30"),
    ("Europe/Berlin", "2026-10-25", "2026-10-24 23:30"),
    ("Europe/London", "2026-03-29", "2026-03-29 01:00"),  # skipped: at the skip
    ("Europe/London", "2026-10-25", "2026-10-25 00:30"),  # it comes twice
    ("Australia/Lord_Howe", "2026-10-04", "2026-10-03 15:00"),  # half an hour
    ("Australia/Lord_Howe", "2026-04-05", "2026-04-04 14:30"),  # it comes twice
]


def go_to(conn: Conn, moment: dt.datetime) -> None:
    """Let it be another moment, for all connections made from now on too."""
    use_everywhere(conn, write_clock(conn, "here", stopped_at=moment))
    use_clock(conn, "here")


def minutes(begin: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
    while begin < end:
        yield begin
        begin += _MINUTE


@pytest.mark.parametrize(("zone", "sunday", "daily"), SUNDAYS)
def test_both_sundays_have_each_tick_once(conn: Conn, zone: str, sunday: str, daily: str) -> None:
    there = ZoneInfo(zone)
    day = dt.datetime.fromisoformat(sunday)
    begin = day.replace(tzinfo=there).astimezone(dt.UTC)
    end = (day + dt.timedelta(days=1)).replace(tzinfo=there).astimezone(dt.UTC)
    conn.execute("DELETE FROM schedules")
    go_to(conn, begin - _MINUTE)
    for name, line in (("daily", "30 1 * * *"), ("hourly", "0 * * * *")):
        query = "SELECT schedule_create(%s, 'monitor_coverage', %s, %s, %s::jsonb)"
        conn.execute(query, [name, line, zone, _ALL])
    assert conn.execute("SELECT * FROM schedules_tick()").fetchall() == []

    go_to(conn, end - _MINUTE)
    conn.execute("SELECT * FROM schedules_tick()")

    rows = conn.execute(
        "SELECT schedule, tick_at FROM schedule_ticks WHERE verdict = 'queued' ORDER BY tick_at"
    ).fetchall()
    assert [row["tick_at"] for row in rows if row["schedule"] == "daily"] == [utc(daily)]
    hourly = [at for at in minutes(begin, end) if at.astimezone(there).minute == 0]
    assert [row["tick_at"] for row in rows if row["schedule"] == "hourly"] == hourly
    assert value(conn, "SELECT count(*) FROM schedule_ticks") == 1 + len(hourly)
    assert value(conn, "SELECT count(*) FROM job_run") == 1 + len(hourly)


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("0 12 29 2 *", "2026-03-01 00:00", "2028-02-29 12:00"),
        ("0 12 29 2 *", "2096-03-01 00:00", "2104-02-29 12:00"),  # 2100 has none
        ("0 12 L 2 *", "2027-01-01 00:00", "2027-02-28 12:00"),
        ("0 12 L 2 *", "2028-01-01 00:00", "2028-02-29 12:00"),
        ("XNYS close + 45 minutes", "2026-11-26 12:00", "2026-11-27 18:45"),  # Thanksgiving, half a day
        ("XNYS close + 45 minutes", "2026-12-24 12:00", "2026-12-24 18:45"),  # half a day
        ("XNYS close + 45 minutes", "2026-12-24 18:45", "2026-12-28 21:45"),  # Christmas, a weekend
        ("XNYS open - 1 hour", "2026-07-02 21:00", "2026-07-06 12:30"),  # 3 July is closed
    ],
)  # fmt: skip
def test_rare_days(conn: Conn, line: str, after: str, expected: str) -> None:
    assert value(conn, "SELECT trigger_next(%s, 'UTC', %s)", [line, utc(after)]) == utc(expected)


def moved(conn: Conn) -> tuple[int, dt.datetime]:
    """How many schedules a sweep moves, and the next tick then."""
    count = value(conn, "SELECT sweep_schedules()")
    return count, value(conn, "SELECT next_tick_at FROM schedules")


def test_an_early_close_that_is_announced_moves_the_tick(conn: Conn) -> None:
    conn.execute("DELETE FROM schedules")
    go_to(conn, utc("2026-07-07 12:00"))
    conn.execute("SELECT schedule_create('s', 'daily_sync', 'XNYS close + 45 minutes')")
    conn.execute("SELECT * FROM schedules_tick()")
    go_to(conn, utc("2026-07-07 20:45"))
    conn.execute("SELECT * FROM schedules_tick()")
    assert moved(conn) == (0, utc("2026-07-08 20:45"))
    conn.execute(
        "UPDATE market_sessions SET closes_at = '2026-07-08 17:00Z'"
        " WHERE calendar = 'XNYS' AND session = '2026-07-08'"
    )
    go_to(conn, utc("2026-07-08 17:50"))  # told late: the tick should have been
    assert moved(conn) == (1, utc("2026-07-08 17:45"))
    [row] = conn.execute("SELECT tick_at, verdict, late FROM schedules_tick()").fetchall()
    assert row["tick_at"] == utc("2026-07-08 17:45")
    assert row["late"] == 300
    assert moved(conn) == (0, utc("2026-07-09 20:45"))


def test_a_zone_that_changes_its_rules_moves_the_tick(conn: Conn) -> None:
    """Zone data as it was before: the stored tick is an hour off what today's data say."""
    conn.execute("DELETE FROM schedules")
    go_to(conn, utc("2026-07-07 12:00"))
    conn.execute("SELECT schedule_create('s', 'daily_sync', '0 9 * * *', 'America/Sao_Paulo')")
    conn.execute("SELECT * FROM schedules_tick()")
    go_to(conn, utc("2026-07-08 12:00"))
    conn.execute("SELECT * FROM schedules_tick()")
    conn.execute("UPDATE schedules SET next_tick_at = '2026-07-09 11:00Z'")  # with summer time
    assert moved(conn) == (1, utc("2026-07-09 12:00"))
    assert moved(conn) == (0, utc("2026-07-09 12:00"))


def test_a_calendar_that_is_loaded_later_gives_ticks(conn: Conn) -> None:
    conn.execute("DELETE FROM schedules")
    go_to(conn, utc("2026-07-07 12:00"))
    conn.execute("SELECT schedule_create('s', 'daily_sync', 'XNYS close')")
    conn.execute("DELETE FROM market_sessions WHERE calendar = 'XNYS' AND session > '2026-07-01'")
    conn.execute("SELECT * FROM schedules_tick()")
    assert value(conn, "SELECT state FROM schedule_status") == "waiting"
    assert moved(conn)[0] == 0
    conn.execute(
        "INSERT INTO market_sessions SELECT 'XNYS', '2026-07-07', max(ordinal) + 1, '2026-07-07 13:30Z',"
        " '2026-07-07 20:00Z' FROM market_sessions WHERE calendar = 'XNYS'"
    )
    assert moved(conn) == (1, utc("2026-07-07 20:00"))


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_workers_own_clock_changes_nothing(
    url: str, conn: Conn, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    conn.execute("DELETE FROM schedules")
    go_to(conn, utc("2026-07-07 12:00:10"))
    conn.execute("SELECT schedule_create('s', 'daily_sync', 'every 1 minute')")
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + off)
    with Database(url) as database:
        ticks = Ticks(database, Metrics())
        assert not ticks.write_due()  # its first tick is computed
        assert 49 < ticks.seconds <= 50
        write_clock(conn, "here", stopped_at=utc("2026-07-07 12:01:00"))
        assert ticks.ask() == 0
        assert ticks.write_due()
    assert value(conn, "SELECT tick_at FROM schedule_ticks") == utc("2026-07-07 12:01")
