"""What an operator looks at: outbox_status, outbox_stuck with its reasons, worker_status."""

import datetime as dt

import pytest

from tests.support.clock import move_clock, stop_clock
from tests.support.db import Conn, value
from tests.support.queue import add, claim, claim_one, delay, enqueue, fail, finish


@pytest.fixture(autouse=True)
def still(conn: Conn) -> None:
    """What takes seconds in these tests takes them by `move_clock` alone."""
    stop_clock(conn)


def beat(conn: Conn, name: str, heard_ago: float | None = 1.5) -> None:
    mode = "polling" if heard_ago is None else "notify"
    conn.execute(
        "SELECT worker_heartbeat(%s, 'host', 42, %s, %s, 60, NULL)", [name, mode, heard_ago]
    )


def stuck(conn: Conn) -> dict[str, str]:
    """Key and reason of each event that is late."""
    return {
        row["key"]: row["reason"] for row in conn.execute("SELECT key, reason FROM outbox_stuck")
    }


def test_status_counts_each_topic_and_state(conn: Conn) -> None:
    for key in range(3):
        add(conn, key=str(key))
    add(conn, key="9", status="dead", created_at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    add(conn, key="8", status="dead")
    enqueue(conn, "AAPL")
    claim(conn, limit=1)
    rows = conn.execute("SELECT topic, status, count, oldest_age FROM outbox_status").fetchall()
    assert [(row["topic"], row["status"], row["count"]) for row in rows] == [
        ("prediction", "dead", 2),
        ("prediction", "pending", 2),
        ("prediction", "processing", 1),
        ("ticker", "pending", 1),
    ]
    assert rows[0]["oldest_age"] > dt.timedelta(days=365)
    assert dt.timedelta(0) <= rows[1]["oldest_age"] < dt.timedelta(minutes=1)


def test_status_knows_the_last_hours_pace(conn: Conn) -> None:
    assert conn.execute("SELECT * FROM outbox_status").fetchall() == []
    long_ago = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    for key in range(12):
        add(conn, key=str(key), created_at=long_ago)
    assert value(conn, "SELECT eta FROM outbox_status") is None
    finish(conn, *claim(conn, limit=6))
    row = conn.execute("SELECT * FROM outbox_status").fetchall()[0]
    assert (row["count"], row["done_last_hour"], row["eta"]) == (6, 6, dt.timedelta(hours=1))
    for key in range(3):  # arrivals count against it
        add(conn, key=str(100 + key))
    row = conn.execute("SELECT * FROM outbox_status").fetchall()[0]
    assert (row["count"], row["eta"]) == (9, dt.timedelta(hours=3))
    for key in range(3):
        add(conn, key=str(200 + key))
    assert value(conn, "SELECT eta FROM outbox_status") is None  # it does not get shorter
    finish(conn, *claim(conn))
    row = conn.execute("SELECT * FROM outbox_status").fetchall()[0]
    assert (row["topic"], row["count"], row["done_last_hour"]) == ("prediction", 0, 18)
    move_clock(conn, "61 minutes")
    assert conn.execute("SELECT * FROM outbox_status").fetchall() == []


def test_nothing_is_stuck_in_a_queue_that_moves(conn: Conn) -> None:
    beat(conn, "w")
    add(conn, key="1")
    claim_one(conn)
    add(conn, key="2")
    assert stuck(conn) == {}


def test_stuck_says_why_in_words(conn: Conn) -> None:
    assert stuck(conn) == {}
    add(conn, key="ready")
    assert "no worker alive" in stuck(conn)["ready"]
    beat(conn, "w")
    assert stuck(conn) == {}

    claimed = {key: (add(conn, key=key), claim(conn, limit=9)[-1])[1] for key in ("retry", "later")}
    fail(conn, claimed["retry"], "it broke")
    delay(conn, claimed["later"], "1 hour", "yahoo is paused")
    parked = add(conn, key="parked")
    conn.execute("SELECT outbox_park(%s, 'ask Ann')", [parked])
    add(conn, key="dead", status="dead", attempts=8, crashes=1, last_error="boom")
    reasons = stuck(conn)
    assert set(reasons) == {"retry", "later", "parked", "dead"}

    assert "retry 2" in reasons["retry"]
    assert "it broke" in reasons["retry"]
    at = value(conn, "SELECT available_at::text FROM outbox WHERE key = 'later'")
    assert at in reasons["later"]
    assert "yahoo is paused" in reasons["later"]
    assert "ask Ann" in reasons["parked"]
    assert f"outbox_requeue({parked})" in reasons["parked"]
    assert "parked after 8 attempts and 1 crashes: boom" in reasons["dead"]

    rows = conn.execute(
        "SELECT s.key, s.why, s.is_late, s.next_at = o.available_at AS waits"
        " FROM outbox_stuck s JOIN outbox o USING (id)"
    )
    assert {tuple(row.values()) for row in rows} == {
        ("retry", "it broke", False, True),
        ("later", "yahoo is paused", False, True),
        ("parked", "parked: ask Ann", False, None),
        ("dead", "boom", False, None),
    }


def test_stuck_names_the_worker_of_an_old_lease(conn: Conn) -> None:
    beat(conn, "known")
    add(conn, key="1")
    claim_one(conn, worker="known")
    add(conn, key="2")
    claim_one(conn, worker="vanished")
    assert stuck(conn) == {}
    move_clock(conn, "10 minutes")
    reasons = stuck(conn)
    assert "known" in reasons["1"]
    assert "last seen" in reasons["1"]
    assert "vanished" in reasons["2"]
    assert "gone" in reasons["2"]
    rows = conn.execute(
        "SELECT s.key, s.why, s.is_late, s.next_at = o.leased_until AS until"
        " FROM outbox_stuck s JOIN outbox o USING (id)"
    )
    assert {tuple(row.values()) for row in rows} == {
        ("1", "worker known has it", True, True),
        ("2", "worker vanished is gone", True, True),
    }


def test_stuck_shows_what_is_ready_and_not_taken(conn: Conn) -> None:
    add(conn, key="1")
    move_clock(conn, "5 minutes")
    beat(conn, "busy")
    assert "1 workers alive" in stuck(conn)["1"]
    why = "SELECT why, is_late, next_at FROM outbox_stuck"
    assert conn.execute(why).fetchall() == [
        {"why": "ready, and no worker has taken it yet", "is_late": True, "next_at": None}
    ]
    # A worker that was not seen for a while is none.
    move_clock(conn, "10 minutes")
    assert "no worker alive" in stuck(conn)["1"]


def test_stuck_lists_the_oldest_first_with_its_age(conn: Conn) -> None:
    for key, year in [("new", 2025), ("old", 2023), ("middle", 2024)]:
        add(conn, key=key, status="dead", created_at=dt.datetime(year, 1, 1, tzinfo=dt.UTC))
    rows = conn.execute("SELECT * FROM outbox_stuck").fetchall()
    assert [row["key"] for row in rows] == ["old", "middle", "new"]
    assert rows[0]["age"] > rows[1]["age"] > dt.timedelta(days=300)
    assert {(row["topic"], row["status"]) for row in rows} == {("prediction", "dead")}


def test_worker_status_shows_who_hears_and_who_polls(conn: Conn) -> None:
    add(conn, key="1")
    claim_one(conn, worker="hears")
    beat(conn, "hears", 2.0)
    beat(conn, "deaf", None)
    rows = {row["name"]: row for row in conn.execute("SELECT * FROM worker_status")}
    hears, deaf = rows["hears"], rows["deaf"]
    assert (hears["host"], hears["pid"], hears["mode"], hears["in_flight"]) == (
        "host",
        42,
        "notify",
        1,
    )
    assert hears["last_seen_at"] - hears["last_heard_at"] == dt.timedelta(seconds=2)
    assert (deaf["mode"], deaf["last_heard_at"], deaf["in_flight"]) == ("polling", None, 0)
    assert hears["started_at"] == hears["last_seen_at"]
    move_clock(conn, "50 seconds")
    beat(conn, "hears", None)  # it hears nothing any more: the last time stays known
    row = conn.execute("SELECT * FROM worker_status WHERE name = 'hears'").fetchall()[0]
    assert row["last_heard_at"] == hears["last_heard_at"]
    assert row["started_at"] < row["last_seen_at"]
    move_clock(conn, "100 seconds")
    alive = conn.execute("SELECT name FROM worker_status WHERE alive").fetchall()
    assert alive == [{"name": "hears"}]
    conn.execute("SELECT worker_leave('hears')")
    assert value(conn, "SELECT count(*) FROM worker_status") == 1


def test_a_beat_prolongs_this_workers_leases(conn: Conn) -> None:
    add(conn, key="1")
    claim_one(conn)
    move_clock(conn, "55 seconds")
    beat(conn, "w")
    move_clock(conn, "110 seconds")
    assert value(conn, "SELECT count(*) FROM outbox_expire(3)") == 0
    move_clock(conn, "120 seconds")
    assert value(conn, "SELECT count(*) FROM outbox_expire(3)") == 1
