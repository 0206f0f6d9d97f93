"""Quotas: what all workers together may ask for, by the provider's own minutes, days and months."""

import datetime as dt
import subprocess
import sys

import pytest

from market.providers import Answer, Capabilities, Kind, Request
from market.providers.limits import Paused, attempt
from sql.database import Database
from tests.market.desk import Desk
from tests.support.clock import at, stopped_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.providers import FakeProvider, plain_bars
from tests.support.waiting import never

NOON = utc("2026-03-10 16:00")
DAYS = [dt.date(2024, 3, 5), dt.date(2024, 3, 6)]
REQUEST = Request("ACME", DAYS[0], DAYS[-1], DAYS)
OK = Answer(Kind.OK, plain_bars(DAYS))

# One process of several: waits for its turn to begin, then asks; prints what it was given.
ASKER = """
import sys, psycopg
url, zone, asks, cost = sys.argv[1:]
with psycopg.connect(url, autocommit=True) as conn:
    conn.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    print("ready", flush=True)
    sys.stdin.readline()
    given = [
        conn.execute("SELECT until IS NULL FROM quota_reserve('remote', %s::int)", [cost]).fetchone()[0]
        for _ in range(int(asks))
    ]
print(sum(given))
"""


def limit(conn: Conn, zone: str = "UTC", name: str = "remote", **limits: int) -> None:
    conn.execute(
        "INSERT INTO provider_quotas (name, per_minute, per_day, per_month, time_zone)"
        " VALUES (%s, %s, %s, %s, %s)",
        [name, limits.get("minute"), limits.get("day"), limits.get("month"), zone],
    )


@pytest.mark.parametrize(("cost", "admitted"), [(1, 200), (3, 66)])
def test_several_processes_are_given_exactly_the_limit(
    url: str, conn: Conn, cost: int, admitted: int
) -> None:
    with stopped_clock(url, NOON):
        limit(conn, "America/New_York", day=200)
    zones = ("UTC", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER, url, zone, "100", str(cost)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for zone in zones
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    given = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(given) == admitted
    assert (
        value(conn, "SELECT day_used FROM provider_quotas WHERE name = 'remote'") == admitted * cost
    )


@pytest.mark.parametrize(
    ("zone", "per", "now", "reset"),
    [
        ("UTC", "day", "2026-03-10 16:00", "2026-03-11 00:00"),
        ("America/New_York", "day", "2026-03-10 03:00", "2026-03-10 04:00"),
        ("America/New_York", "day", "2026-03-10 05:00", "2026-03-11 04:00"),
        # The day on which the clocks change has 23 hours.
        ("America/New_York", "day", "2026-03-08 06:00", "2026-03-09 04:00"),
        ("America/New_York", "month", "2026-03-31 23:00", "2026-04-01 04:00"),
        ("Asia/Kolkata", "minute", "2026-03-10 16:00:20", "2026-03-10 16:01"),
    ],
)
def test_a_window_ends_when_the_providers_does(
    database: Database, conn: Conn, zone: str, per: str, now: str, reset: str
) -> None:
    limit(conn, zone, **{per: 1})  # type: ignore[arg-type]
    with at(database, utc(now)) as inside:
        inside.execute("SET LOCAL TimeZone = 'Pacific/Kiritimati'")
        reserve = "SELECT * FROM quota_reserve('remote', 1)"
        assert inside.execute(reserve).fetchone() == {"until": None, "reason": None}
        refused = inside.execute(reserve).fetchone()
    assert refused is not None
    assert refused["until"] == utc(reset)
    assert refused["reason"] == f"1 of 1 requests of the {per} are used"
    with at(database, utc(reset)) as inside:
        assert inside.execute(reserve).fetchone() == {"until": None, "reason": None}


def test_the_narrowest_window_decides_and_a_refusal_uses_nothing(
    database: Database, conn: Conn
) -> None:
    limit(conn, minute=8, day=10)
    with at(database, utc("2026-03-10 16:00:05")) as inside:
        assert value(inside, "SELECT until IS NULL FROM quota_reserve('remote', 8)")
        minute = value(inside, "SELECT until FROM quota_reserve('remote', 2)")
    assert minute == utc("2026-03-10 16:01")
    with at(database, utc("2026-03-10 16:01")) as inside:
        assert value(inside, "SELECT until IS NULL FROM quota_reserve('remote', 2)")
        day = value(inside, "SELECT until FROM quota_reserve('remote', 1)")
        status = inside.execute(
            "SELECT per, used, remaining FROM provider_quota_status WHERE name = 'remote' ORDER BY per"
        ).fetchall()
    assert day == utc("2026-03-11 00:00")
    assert [tuple(row.values()) for row in status] == [("day", 10, 0), ("minute", 2, 6)]


def test_a_clock_that_goes_back_gives_nothing_twice(database: Database, conn: Conn) -> None:
    limit(conn, minute=1)
    reserve = "SELECT until IS NULL FROM quota_reserve('remote', 1)"
    with at(database, utc("2026-03-10 16:01")) as inside:
        assert value(inside, reserve)
    with at(database, utc("2026-03-10 16:00:59")) as inside:
        assert not value(inside, reserve)


def test_a_zone_that_does_not_exist_is_refused(conn: Conn) -> None:
    with pytest.raises(Exception, match="time zone"):
        limit(conn, "America/Gotham", day=1)


def test_the_free_tiers_are_there(conn: Conn) -> None:
    rows = conn.execute("SELECT name, per_minute, per_day FROM provider_quotas").fetchall()
    assert {row["name"]: (row["per_minute"], row["per_day"]) for row in rows} == {
        "fmp": (None, 250),
        "twelve_data": (8, 800),
        "polygon": (5, None),
        "alpha_vantage": (None, 25),
        "finnhub": (60, None),
        "stooq": (None, None),
    }


def test_who_has_no_quota_left_is_not_asked_until_the_reset(url: str, conn: Conn) -> None:
    limit(conn, day=4)
    provider = FakeProvider("remote", OK, capabilities=Capabilities(credits=2))
    with stopped_clock(url, NOON) as database:
        for _ in range(2):
            assert attempt(database, provider, REQUEST, never) == OK
        verdict = attempt(database, provider, REQUEST, never)
        assert isinstance(verdict, Paused)
        assert "4 of 4 requests of the day are used" in verdict.reason
        assert verdict.until == utc("2026-03-11 00:00")
        assert len(provider.asked) == 2

        conn.execute("UPDATE provider_quotas SET per_day = 6 WHERE name = 'remote'")
        assert attempt(database, provider, REQUEST, never) == OK


@pytest.mark.parametrize(
    ("per", "reset"), [("minute", "2026-03-10 16:01"), ("day", "2026-03-11 00:00")]
)
def test_a_window_that_the_provider_says_is_used_up_ends_when_it_ends(
    url: str, conn: Conn, per: str, reset: str
) -> None:
    limit(conn, minute=8, day=800)
    said = Answer(Kind.THROTTLED, message="out of credits", exhausted=per)  # type: ignore[arg-type]
    with stopped_clock(url, NOON) as database:
        verdict = attempt(database, FakeProvider("remote", said), REQUEST, never)
        with at(database) as inside:
            row = inside.execute(
                "SELECT remaining, resets_at FROM provider_quota_status WHERE name = 'remote' AND per = %s",
                [per],
            ).fetchone()
    assert isinstance(verdict, Paused)
    assert verdict.until == utc(reset)
    assert row == {"remaining": 0, "resets_at": utc(reset)}


def test_an_exhausted_quota_delays_events_to_the_reset_and_costs_no_attempt(
    url: str, conn: Conn
) -> None:
    limit(conn, "America/New_York", day=1)
    now = utc("2024-05-17 22:00")
    answer = Answer(Kind.EMPTY)
    provider = FakeProvider("remote", answer)
    desk = Desk(url, provider)
    for symbol in ("ACME", "BETA", "GAMA"):
        desk.predict(now, symbol, utc("2024-05-16 15:00"))
    desk.turn(now)
    rows = conn.execute(
        "SELECT status, attempts, available_at, last_error FROM outbox WHERE topic = 'ticker'"
        " AND last_error LIKE '%are used%'"
    ).fetchall()
    assert len(rows) == 2
    assert {(row["status"], row["attempts"]) for row in rows} == {("pending", 0)}
    for row in rows:
        # With a few seconds' spread, so that they do not all come at once.
        late = (row["available_at"] - utc("2024-05-18 04:00")).total_seconds()
        assert -1 <= late <= 120
    assert len(provider.asked) == 1


def test_a_provider_without_a_row_has_no_limit(url: str) -> None:
    with connect(url) as conn:
        for _ in range(3):
            assert value(conn, "SELECT until IS NULL FROM quota_reserve('nobody', 1000)")
