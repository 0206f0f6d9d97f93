"""The operator's functions: requeue from anywhere, park, cancel, and what they refuse."""

import psycopg
import pytest

from tests.support.clock import move_clock
from tests.support.db import Conn, value
from tests.support.market import insert_prediction
from tests.support.queue import (
    add,
    claim,
    claim_crashed,
    claim_one,
    enqueue,
    expire,
    fail,
    find,
    finish,
    finished,
    is_fresh,
    live,
    lock,
)


def test_requeue_of_a_live_event_is_the_plain_update(conn: Conn) -> None:
    number = add(conn, status="dead", attempts=8, crashes=1, last_error="boom")
    assert value(conn, "SELECT outbox_requeue(%s)", [number]) == number
    assert is_fresh(live(conn, number))
    row = claim_one(conn)
    assert value(conn, "SELECT outbox_requeue(%s)", [number]) == number
    assert lock(conn, row) == []


def test_requeue_from_history_is_a_new_event(conn: Conn) -> None:
    number = add(conn, key="7", payload='{"a": 1}', priority=-5)
    finish(conn, claim_one(conn))
    again = value(conn, "SELECT outbox_requeue(%s)", [number])
    row = live(conn, again)
    assert again != number
    assert is_fresh(row)
    assert (row["topic"], row["key"], row["payload"]) == ("prediction", "7", {"a": 1})
    assert finished(conn, number)["verdict"] == "done"


def test_requeue_of_a_finished_ticker_joins_the_one_that_waits(conn: Conn) -> None:
    enqueue(conn, "AAPL")
    row = claim_one(conn, "ticker")
    enqueue(conn, "AAPL")
    finish(conn, row)
    waiting = value(conn, "SELECT id FROM outbox")
    assert value(conn, "SELECT outbox_requeue(%s)", [row["id"]]) == waiting
    assert is_fresh(live(conn, waiting))
    finish(conn, claim_one(conn, "ticker"))
    again = value(conn, "SELECT outbox_requeue(%s)", [row["id"]])
    assert (live(conn, again)["key"], again > waiting) == ("AAPL", True)


def test_requeue_of_a_prediction_whatever_its_history(conn: Conn) -> None:
    number = insert_prediction(conn, ["A"])
    requeue = "SELECT outbox_requeue_prediction(%s)"
    first = value(conn, "SELECT id FROM outbox")
    conn.execute("UPDATE outbox SET status = 'dead', attempts = 8, last_error = 'boom'")
    assert value(conn, requeue, [number]) == first  # parked
    assert is_fresh(live(conn, first))
    row = claim_one(conn)
    second = value(conn, requeue, [number])  # processing: once more after that
    assert second != first
    assert lock(conn, row) == [first]
    finish(conn, row)
    finish(conn, claim_one(conn))
    third = value(conn, requeue, [number])  # finished
    assert live(conn, third)["key"] == str(number)
    assert third not in (first, second)
    conn.execute("SELECT outbox_cancel(%s, 'no')", [third])
    assert value(conn, requeue, [number])  # cancelled
    assert claim_one(conn)["key"] == str(number)


def test_requeue_of_a_prediction_that_has_several_waiting_events(conn: Conn) -> None:
    number = insert_prediction(conn, ["A"])
    conn.execute("UPDATE predictions SET assets = '[\"B\"]'")
    conn.execute("UPDATE outbox SET status = 'dead', attempts = 8")
    assert value(conn, "SELECT count(*) FROM outbox") == 2
    again = value(conn, "SELECT outbox_requeue_prediction(%s)", [number])
    assert is_fresh(live(conn, again))
    assert len(claim(conn)) >= 1


def test_requeue_of_a_ticker_whatever_its_history(conn: Conn) -> None:
    requeue = "SELECT outbox_requeue_ticker(%s)"
    first = value(conn, requeue, [" aapl "])
    row = live(conn, first)
    assert (row["topic"], row["key"], row["payload"]) == ("ticker", "AAPL", {"refetch": True})
    assert value(conn, requeue, ["AAPL"]) == first
    assert fail(conn, claim_one(conn, "ticker"), most=1) == "dead"
    assert value(conn, requeue, ["AAPL"]) == first
    assert is_fresh(live(conn, first))
    row = claim_one(conn, "ticker")
    second = value(conn, requeue, ["AAPL"])
    assert second != first
    assert lock(conn, row) == [first]
    finish(conn, row)
    assert claim_one(conn, "ticker")["id"] == second


DEAD = {
    "outbox_requeue_dead()": {"1", "2", "AAPL", "TSLA"},
    "outbox_requeue_dead('ticker')": {"AAPL", "TSLA"},
    "outbox_requeue_dead(topic => 'prediction')": {"1", "2"},
    "outbox_requeue_dead(error_like => '%timeout%')": {"1", "TSLA"},
    "outbox_requeue_dead('ticker', '%timeout%')": {"TSLA"},
    "outbox_requeue_dead('ticker', 'nothing')": set(),
}


@pytest.mark.parametrize("call", DEAD)
def test_requeue_of_the_parked(conn: Conn, call: str) -> None:
    parked = [
        add(conn, topic, key, status="dead", attempts=8, crashes=1, last_error=error)
        for topic, key, error in [
            ("prediction", "1", "a timeout of 5 s"),
            ("prediction", "2", None),
            ("ticker", "AAPL", "bad data"),
            ("ticker", "TSLA", "timeout"),
        ]
    ]
    others = [add(conn, key="3", status="failed", attempts=1, last_error="timeout")]
    before = live(conn, others[0])
    assert value(conn, f"SELECT {call}") == len(DEAD[call])
    rows = [live(conn, number) for number in parked]
    assert {row["key"] for row in rows if row["status"] == "pending"} == DEAD[call]
    assert all(is_fresh(row) for row in rows if row["status"] == "pending")
    assert live(conn, others[0]) == before


def test_park_sets_aside_what_waits_and_what_is_processed(conn: Conn) -> None:
    waiting, taken = add(conn, key="1", priority=-1), add(conn, key="2")
    row = claim(conn, limit=1)[0]
    for number in (waiting, taken):
        assert value(conn, "SELECT outbox_park(%s, %s)", [number, "ask\nAnn"]) == "dead"
        parked = live(conn, number)
        assert (parked["status"], parked["last_error"]) == ("dead", "parked: ask Ann")
    assert (lock(conn, row), finish(conn, row), claim(conn)) == ([], [], [])
    move_clock(conn, "1 year")
    assert (expire(conn), claim_crashed(conn)) == ([], [])
    assert value(conn, "SELECT outbox_requeue_dead()") == 2
    assert len(claim(conn)) == 2


@pytest.mark.parametrize("state", ["pending", "processing", "dead"])
def test_cancel_ends_an_event_without_doing_it(conn: Conn, state: str) -> None:
    number = add(conn, status="dead" if state == "dead" else "pending", attempts=2)
    row = claim_one(conn, worker="me") if state == "processing" else None
    assert value(conn, "SELECT outbox_cancel(%s, 'not\nneeded')", [number]) == "cancelled"
    assert find(conn, number) is None
    gone = finished(conn, number)
    assert (gone["verdict"], gone["result"], gone["attempts"]) == (
        "cancelled",
        {"reason": "not needed"},
        2,
    )
    if row is not None:
        assert (lock(conn, row), finish(conn, row), gone["worker"]) == ([], [], "me")


UNKNOWN = [
    "outbox_requeue(404)",
    "outbox_park(404, 'x')",
    "outbox_cancel(404, 'x')",
    "outbox_requeue_prediction(404)",
]


@pytest.mark.parametrize("call", UNKNOWN)
def test_what_does_not_exist_is_an_error(conn: Conn, call: str) -> None:
    with pytest.raises(psycopg.errors.NoDataFound, match="404") as caught:
        conn.execute(f"SELECT {call}".encode())
    assert caught.value.sqlstate == "P0002"


@pytest.mark.parametrize("call", ["outbox_park(%s, 'x')", "outbox_cancel(%s, 'x')"])
def test_a_finished_event_can_be_neither_parked_nor_cancelled(conn: Conn, call: str) -> None:
    number = add(conn)
    finish(conn, claim_one(conn))
    before = finished(conn, number)
    with pytest.raises(psycopg.errors.NoDataFound):
        conn.execute(f"SELECT {call}".encode(), [number])
    assert finished(conn, number) == before


@pytest.mark.parametrize("text", ["", "not a symbol", "A" * 21, "ÄÖ"])
def test_what_is_no_symbol_is_an_error(conn: Conn, text: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        conn.execute("SELECT outbox_requeue_ticker(%s)", [text])
    assert value(conn, "SELECT count(*) FROM outbox") == 0
