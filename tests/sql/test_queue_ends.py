"""Failing, delaying, crashing: each has its cost, its bound and its reason; twins merge."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.clock import move_clock, stop_clock
from tests.support.db import Conn, value
from tests.support.queue import (
    Row,
    add,
    claim,
    claim_crashed,
    claim_one,
    delay,
    enqueue,
    expire,
    fail,
    find,
    finish,
    finished,
    live,
    release,
)

# Before the second try 5 s, then three times as long each, at most an hour; up to a
# quarter less.
PAUSES = [5, 15, 45, 135, 405, 1215, 3600]


@pytest.fixture(autouse=True)
def still(conn: Conn) -> None:
    """What takes seconds in these tests takes them by `move_clock` alone."""
    stop_clock(conn)


def test_the_backoff_grows_from_seconds_to_an_hour_with_jitter(conn: Conn) -> None:
    rows = conn.execute(
        "SELECT n, min(s) AS low, max(s) AS high, count(DISTINCT s) AS kinds FROM (SELECT n,"
        " extract(epoch FROM outbox_backoff(n))::float8 AS s"
        " FROM generate_series(0, 2000) n, generate_series(1, 20)) b GROUP BY n ORDER BY n"
    ).fetchall()
    for row in rows:
        base = PAUSES[min(max(row["n"], 1), len(PAUSES)) - 1]
        assert base * 0.75 <= row["low"] < row["high"] <= base
        assert row["kinds"] > 10


def test_a_failing_event_is_retried_later_and_later_and_then_parked(conn: Conn) -> None:
    number = add(conn)
    passed = 0.0
    for attempt in range(1, 9):
        row = claim_one(conn)
        status = fail(conn, row, f"boom  {attempt}\n at line 3", 8)
        left = live(conn, number)
        assert status == left["status"] == ("dead" if attempt == 8 else "failed")
        assert (left["attempts"], left["crashes"], left["lease"]) == (attempt, 0, None)
        if status == "dead":
            break
        assert left["last_error"] == f"boom {attempt} at line 3"
        assert claim(conn) == []
        pause = value(
            conn, "SELECT extract(epoch FROM available_at - reckoner_now())::float8 FROM outbox"
        )
        assert PAUSES[attempt - 1] * 0.75 <= pause <= PAUSES[attempt - 1]
        passed += pause + 1
        move_clock(conn, f"{passed} seconds")
    assert left["last_error"] == "after 8 attempts: boom 8 at line 3"
    move_clock(conn, "10 years")
    assert claim(conn) == []
    assert claim_crashed(conn) == []


def test_a_failure_that_is_overcome_ends_in_history_with_its_count(conn: Conn) -> None:
    number = add(conn)
    fail(conn, claim_one(conn))
    move_clock(conn, "1 hour")
    finish(conn, claim_one(conn))
    assert (finished(conn, number)["verdict"], finished(conn, number)["attempts"]) == ("done", 1)


def test_crashes_are_counted_apart_and_have_their_own_bound(conn: Conn) -> None:
    number = add(conn)
    fail(conn, claim_one(conn))
    move_clock(conn, "1 hour")
    claim_one(conn, worker="w1")
    for crash in range(1, 4):
        assert expire(conn) == []
        move_clock(conn, f"{crash + 1} hours")
        gone = expire(conn)
        status = "dead" if crash == 3 else "pending"
        assert [(g["id"], g["topic"], g["key"], g["worker"], g["status"]) for g in gone] == [
            (number, "prediction", "1", f"w{crash}", status)
        ]
        left = live(conn, number)
        assert (left["status"], left["attempts"], left["crashes"]) == (status, 1, crash)
        assert f"w{crash}" in left["last_error"]
        if crash < 3:
            assert len(claim_crashed(conn, f"w{crash + 1}")) == 1
    assert "died 3 times" in live(conn, number)["last_error"]
    move_clock(conn, "10 years")
    assert (claim_crashed(conn), expire(conn)) == ([], [])


def test_only_ended_leases_expire(conn: Conn) -> None:
    add(conn, key="1")
    short = claim(conn, worker="short", seconds=10)[0]
    add(conn, key="2")
    long = claim(conn, worker="long", seconds=1000)[0]
    move_clock(conn, "11 seconds")
    assert [row["id"] for row in expire(conn)] == [short["id"]]
    assert live(conn, long["id"])["lease"] == long["lease"]


def test_delays_cost_nothing_however_many(conn: Conn) -> None:
    number = add(conn)
    fail(conn, claim_one(conn))
    for hour in range(1, 31):
        move_clock(conn, f"{hour} hours 1 minute")
        row = claim_one(conn)
        assert delay(conn, row, "50 minutes", "yahoo is\npaused") == "pending"
        left = live(conn, number)
        assert (left["status"], left["attempts"], left["crashes"]) == ("pending", 1, 0)
        assert left["last_error"] == "yahoo is paused"
        assert claim(conn) == []


def test_one_waiting_event_per_symbol(conn: Conn) -> None:
    assert enqueue(conn, "AAPL", "TSLA", "AAPL") == 2
    assert enqueue(conn, "AAPL", "MSFT") == 1
    assert enqueue(conn, "AAPL", priority=5) == 0
    rows = conn.execute("SELECT key, priority, status FROM outbox ORDER BY key").fetchall()
    assert [(r["key"], r["priority"]) for r in rows] == [("AAPL", 5), ("MSFT", 0), ("TSLA", 0)]
    assert enqueue(conn, "AAPL", priority=-5) == 0
    assert value(conn, "SELECT priority FROM outbox WHERE key = 'AAPL'") == 5


def test_asking_again_leaves_a_backoff_as_it_is(conn: Conn) -> None:
    enqueue(conn, "AAPL")
    row = claim_one(conn, "ticker")
    fail(conn, row)
    before = live(conn, row["id"])
    assert enqueue(conn, "AAPL", named=True) == 0
    assert live(conn, row["id"]) == before


def test_a_parked_symbol_is_woken_by_a_name_and_not_by_the_sweep(conn: Conn) -> None:
    enqueue(conn, "AAPL")
    row = claim_one(conn, "ticker")
    assert fail(conn, row, most=1) == "dead"
    assert enqueue(conn, "AAPL", named=False) == 0
    assert live(conn, row["id"])["status"] == "dead"
    assert enqueue(conn, "AAPL", named=True) == 1
    assert claim_one(conn, "ticker")["attempts"] == 0


def twins(conn: Conn) -> tuple[Row, int]:
    """A ticker event in processing that failed twice before, and the one that came after it."""
    enqueue(conn, "AAPL", priority=3)
    conn.execute("UPDATE outbox SET attempts = 2")
    first = claim_one(conn, "ticker")
    enqueue(conn, "AAPL")
    return first, int(value(conn, "SELECT id FROM outbox WHERE status = 'pending'"))


# How the first of two ends -> status, attempts, crashes of the other, and its error.
MERGES = {
    "fail": ("failed", 3, 0, "boom"),
    "park by failing": ("dead", 3, 0, "after 3 attempts: boom"),
    "delay": ("pending", 2, 0, "paused"),
    "release": ("pending", 2, 0, None),
    "crash": ("pending", 2, 1, "worker w ended without a verdict"),
}


@pytest.mark.parametrize("end", MERGES)
def test_an_event_that_comes_back_to_a_waiting_twin_merges_into_it(conn: Conn, end: str) -> None:
    first, twin = twins(conn)
    if end == "fail":
        assert fail(conn, first) == "merged"
    elif end == "park by failing":
        assert fail(conn, first, most=3) == "merged"
    elif end == "delay":
        assert delay(conn, first, "1 hour") == "merged"
    elif end == "release":
        assert release(conn) == [first["id"]]
    else:
        move_clock(conn, "2 minutes")
        assert [row["status"] for row in expire(conn)] == ["merged"]
    assert find(conn, first["id"]) is None
    gone = finished(conn, first["id"])
    assert (gone["verdict"], gone["worker"]) == ("cancelled", "w")
    assert str(twin) in gone["result"]["reason"]
    left = live(conn, twin)
    assert (left["status"], left["attempts"], left["crashes"], left["last_error"]) == MERGES[end]
    assert left["priority"] == 3
    if end in ("fail", "delay"):
        assert claim(conn, "ticker") == []  # the pause holds for the twin as well
        move_clock(conn, "2 hours")
        assert len(claim(conn, "ticker")) == 1


def test_a_parked_twin_stays_parked_whatever_comes_back(conn: Conn) -> None:
    first, twin = twins(conn)
    conn.execute("SELECT outbox_park(%s, 'ask Ann')", [twin])
    assert fail(conn, first) == "merged"
    left = live(conn, twin)
    assert (left["status"], left["attempts"]) == ("dead", 3)


def test_a_finished_event_leaves_its_twin_alone(conn: Conn) -> None:
    first, twin = twins(conn)
    assert finish(conn, first) == [first["id"]]
    assert live(conn, twin)["attempts"] == 0
    assert [row["id"] for row in claim(conn, "ticker")] == [twin]


def test_twins_that_fail_for_ever_are_parked_in_the_end(conn: Conn) -> None:
    # Each failure meets a new twin; the count must pass from one to the next.
    enqueue(conn, "AAPL")
    for hour in itertools.count(1):
        row = claim_one(conn, "ticker")
        enqueue(conn, "AAPL")
        assert fail(conn, row) == "merged"
        move_clock(conn, f"{hour * 2} hours")
        if hour == 8:
            break
    rows = conn.execute("SELECT status, attempts FROM outbox").fetchall()
    assert rows == [{"status": "dead", "attempts": 8}]


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(error=st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=2000))
def test_any_error_becomes_one_line(conn: Conn, error: str) -> None:
    conn.execute("TRUNCATE outbox")
    number = add(conn)
    fail(conn, claim_one(conn), error)
    line = live(conn, number)["last_error"]
    assert len(line) <= 500
    assert not set(line) & set("\n\r\v\f\u2028\u2029")
