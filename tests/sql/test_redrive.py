"""UPDATE outbox SET status = 'pending': on one row or thousands, from any state, as new."""

import pytest

from tests.support.backends import backends, until_waiting
from tests.support.clock import move_clock
from tests.support.db import Conn, value
from tests.support.queue import add, claim, claim_one, enqueue, fail, finish, is_fresh, live, lock

# How an event comes to each state, with traces of everything that went wrong before.
STATES = {
    "failed": "status = 'failed', available_at = now() + interval '1 hour'",
    "dead": "status = 'dead', available_at = now() - interval '1 hour'",
    "processing": "status = 'processing', lease = nextval('outbox_lease'), leased_by = 'w',"
    " leased_until = now() + interval '1 minute', available_at = now() - interval '1 hour'",
    "delayed": "available_at = now() + interval '1 day'",
}


@pytest.mark.parametrize("count", [1, 10_000])
@pytest.mark.parametrize("state", STATES)
def test_a_plain_update_to_pending_makes_events_as_new(conn: Conn, state: str, count: int) -> None:
    with conn.transaction():
        conn.execute(
            "INSERT INTO outbox (topic, key, attempts, crashes, last_error, priority, payload)"
            " SELECT 'prediction', n, 5, 2, 'boom', 3, '{\"a\": 1}' FROM generate_series(1, %s) n",
            [count],
        )
        conn.execute(f"UPDATE outbox SET {STATES[state]}".encode())  # noqa: S608

    updated = conn.execute("UPDATE outbox SET status = 'pending' WHERE last_error = 'boom'")

    assert updated.rowcount == count
    rows = conn.execute("SELECT *, available_at <= reckoner_now() AS ready FROM outbox").fetchall()
    assert len(rows) == count
    assert all(is_fresh(row) and row["ready"] for row in rows)
    assert {(row["priority"], str(row["payload"])) for row in rows} == {(3, "{'a': 1}")}
    assert len(claim(conn, limit=500)) == min(count, 500)


def test_a_plain_update_takes_the_event_from_its_worker(conn: Conn) -> None:
    add(conn)
    row = claim_one(conn, worker="slow")
    conn.execute("UPDATE outbox SET status = 'pending'")
    assert (lock(conn, row), finish(conn, row), fail(conn, row)) == ([], [], None)
    assert claim_one(conn, worker="other")["lease"] > row["lease"]


def test_a_plain_update_may_say_when(conn: Conn) -> None:
    number = add(conn, status="dead", attempts=8)
    conn.execute("UPDATE outbox SET status = 'pending', available_at = now() + interval '1 hour'")
    assert is_fresh(live(conn, number))
    assert claim(conn) == []
    move_clock(conn, "61 minutes")
    assert claim_one(conn)["id"] == number


def test_redriving_everything_never_collides(conn: Conn) -> None:
    # A symbol in processing, with a twin that waits, and one that is parked.
    enqueue(conn, "AAPL", "TSLA", "MSFT")
    claim(conn, "ticker")
    enqueue(conn, "AAPL", "TSLA")
    conn.execute("UPDATE outbox SET status = 'dead' WHERE key = 'TSLA' AND status = 'pending'")
    conn.execute("UPDATE outbox SET status = 'pending'")
    rows = conn.execute("SELECT key, status FROM outbox ORDER BY key, id").fetchall()
    assert [(row["key"], row["status"]) for row in rows] == [
        ("AAPL", "processing"),
        ("AAPL", "pending"),
        ("MSFT", "pending"),
        ("TSLA", "processing"),
        ("TSLA", "pending"),
    ]


@pytest.mark.parametrize(("end", "status"), [("COMMIT", "processing"), ("ROLLBACK", "pending")])
def test_redriving_waits_for_a_twin_that_is_just_written(
    url: str, conn: Conn, end: str, status: str
) -> None:
    enqueue(conn, "AAPL")
    held = claim(conn, "ticker")[0]["id"]
    with backends(url, 2) as (writer, operator):
        enqueue(writer.conn, "AAPL")
        done = operator.start(
            lambda at: at.execute("UPDATE outbox SET status = 'pending' WHERE id = %s", [held])
        )
        until_waiting(conn, operator, writer)
        writer.end(end)
        assert done.result(30).rowcount == (1 if status == "pending" else 0)
    assert value(conn, "SELECT status FROM outbox WHERE id = %s", [held]) == status
    assert value(conn, "SELECT count(*) FROM outbox WHERE status = 'pending'") == 1
    assert value(conn, "SELECT count(*) FROM outbox_history") == 0
