"""The bell rings when somebody sleeps, once a statement, and never in vain or too late."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.clock import move_clock
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction
from tests.support.queue import Rings, add, arm, claim_one, disarm, ear, enqueue
from tests.support.waiting import until


@pytest.fixture
def rings(url: str) -> Iterator[Rings]:
    """Counts the rings since its last call."""
    with ear(url) as rings:
        yield rings


@pytest.fixture
def sleeper(url: str) -> Iterator[Conn]:
    """A worker's LISTEN connection, not yet lying."""
    with connect(url) as sleeper:
        yield sleeper


def insert_many(conn: Conn, count: int, assets: str = '["A"]') -> None:
    conn.execute(
        "INSERT INTO predictions (assets) SELECT %s::jsonb FROM generate_series(1, %s)",
        [assets, count],
    )


def test_nobody_is_rung_for_while_nobody_sleeps(conn: Conn, rings: Rings, sleeper: Conn) -> None:
    insert_many(conn, 1000)
    assert rings() == 0
    assert arm(sleeper) == "armed"
    assert disarm(sleeper)
    insert_many(conn, 1000)
    conn.execute("UPDATE outbox SET status = 'pending'")
    assert rings() == 0


def test_a_statement_of_a_thousand_rows_rings_once(conn: Conn, rings: Rings, sleeper: Conn) -> None:
    assert arm(sleeper) == "armed"
    insert_many(conn, 1000)
    assert rings() == 1
    conn.execute("UPDATE predictions SET assets = '[\"B\"]'")
    assert rings() == 1
    insert_many(conn, 1)
    insert_many(conn, 1)
    assert rings() == 2
    assert value(conn, "SELECT count(*) FROM outbox") == 2002


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO predictions (assets) VALUES ('[]'), (NULL), ('null')",
        "INSERT INTO predictions (assets, analysis_status) VALUES ('[\"A\"]', 'pending')",
        "INSERT INTO predictions (assets) SELECT '[\"A\"]' WHERE false",
        "UPDATE predictions SET confidence = 1",
        "UPDATE predictions SET assets = '[\"B\"]' WHERE false",
    ],
)
def test_what_writes_no_event_does_not_ring(
    conn: Conn, rings: Rings, sleeper: Conn, statement: str
) -> None:
    insert_many(conn, 1)
    assert arm(sleeper) == "armed"
    conn.execute(statement.encode())
    assert rings() == 0


def test_a_rolled_back_insert_does_not_ring(conn: Conn, rings: Rings, sleeper: Conn) -> None:
    assert arm(sleeper) == "armed"
    conn.execute("BEGIN")
    insert_many(conn, 10)
    conn.execute("ROLLBACK")
    assert rings() == 0


def test_a_second_sleeper_is_guarded_and_takes_over(url: str, conn: Conn, sleeper: Conn) -> None:
    with connect(url) as second:
        assert arm(sleeper) == "armed"
        assert arm(second) == "guarded"
        assert not disarm(second)  # it held nothing (a warning of the server, no error)
        assert disarm(sleeper)
        assert arm(second) == "armed"
    # A sleeper that dies leaves no lock.
    until("the dead sleeper's lock is gone", lambda: arm(conn) == "armed")


def test_sleepers_of_other_databases_are_no_business_of_ours(
    empty_url: str, sleeper: Conn, rings: Rings, conn: Conn
) -> None:
    with connect(empty_url) as elsewhere:
        assert value(elsewhere, "SELECT pg_try_advisory_lock(1380271947, 1)")
        insert_many(conn, 1)
        assert rings() == 0
        assert arm(sleeper) == "armed"


def test_a_writer_between_insert_and_commit_keeps_everyone_up(
    url: str, conn: Conn, sleeper: Conn
) -> None:
    with connect(url) as writer:
        writer.execute("BEGIN")
        insert_many(writer, 1)
        assert arm(sleeper) == "busy"
        assert arm(conn) == "busy"
        writer.execute("ROLLBACK")
    assert arm(sleeper) == "armed"


def test_a_sleeper_that_got_the_lock_sees_what_was_committed_before(
    url: str, sleeper: Conn, rings: Rings
) -> None:
    # The race itself: while a writer commits, lie down as often as it takes; once down,
    # the row must be visible, because nobody rang for it.
    with connect(url) as writer:
        for n in range(1, 151):
            writer.execute("BEGIN")
            insert_many(writer, 1)
            assert arm(sleeper) == "busy"
            committing = threading.Thread(target=writer.commit)
            committing.start()
            while arm(sleeper) != "armed":
                pass
            seen = value(sleeper, "SELECT count(*) FROM outbox")
            committing.join()
            assert seen == n
            assert disarm(sleeper)
    assert rings() == 0


REDRIVES = [
    "UPDATE outbox SET status = 'pending' WHERE id = {dead}",
    "SELECT outbox_requeue({dead})",
    "SELECT outbox_requeue({waiting})",
    "SELECT outbox_requeue({done})",
    "SELECT outbox_requeue({ticker})",
    "SELECT outbox_requeue_prediction({prediction})",
    "SELECT outbox_requeue_ticker('aapl')",
    "SELECT outbox_requeue_ticker('NEWONE')",
    "SELECT outbox_requeue_dead()",
    "SELECT ticker_enqueue('{{OTHER}}', 0, true)",
    "SELECT ticker_enqueue('{{AAPL}}', 0, true)",
    "INSERT INTO ticker_registry (symbol) VALUES ('OTHER')",
    "SELECT sweep_forgotten(100)",
    "SELECT enqueue_predictions(0, 100, NULL, false)",
]


@pytest.mark.parametrize("statement", REDRIVES)
def test_what_makes_an_event_ready_rings_once(
    conn: Conn, rings: Rings, sleeper: Conn, statement: str
) -> None:
    prediction = insert_prediction(conn, ["A"])
    conn.execute("DELETE FROM outbox")
    done = add(conn, key="7")
    conn.execute("SELECT outbox_cancel(%s, 'no')", [done])
    names = {
        "prediction": prediction,
        "done": done,
        "dead": add(conn, key="8", status="dead"),
        "waiting": add(conn, key="9", status="failed", available_at="infinity"),
        "ticker": add(conn, "ticker", "AAPL", status="dead"),
    }
    assert arm(sleeper) == "armed"
    rings()
    conn.execute(statement.format(**names).encode())
    assert rings() == 1


@pytest.mark.parametrize("verb", ["outbox_park", "outbox_cancel"])
def test_park_and_cancel_ring_for_the_event_that_they_make_way_for(
    conn: Conn, rings: Rings, sleeper: Conn, verb: str
) -> None:
    add(conn, key="5")
    stuck = claim_one(conn)
    add(conn, key="5")  # waits for the first
    assert arm(sleeper) == "armed"
    rings()
    conn.execute(f"SELECT {verb}(%s, 'stuck')".encode(), [stuck["id"]])
    assert claim_one(conn)["key"] == "5"
    assert rings() == 1


def test_ended_leases_and_handed_back_events_ring(conn: Conn, rings: Rings, sleeper: Conn) -> None:
    assert arm(sleeper) == "armed"
    enqueue(conn, "AAPL")
    add(conn, key="1")
    rings()
    claim_one(conn, worker="gone")
    assert rings() == 0
    assert value(conn, "SELECT count(*) FROM outbox_expire(3)") == 0
    assert rings() == 0
    move_clock(conn, "1 hour")
    assert value(conn, "SELECT count(*) FROM outbox_expire(3)") == 1
    assert rings() == 1
    claim_one(conn, "ticker", worker="leaving")
    assert value(conn, "SELECT count(*) FROM outbox_release('leaving')") == 1
    assert rings() == 1
