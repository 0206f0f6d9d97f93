"""Hearing: what wakes a worker that only the bell can wake, and what happens when it is deaf."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sql.database import Database
from tests.support.db import Conn, connect, value
from tests.support.hanging import HangingTicker
from tests.support.market import (
    MOMENT,
    bars,
    completed,
    insert_prediction,
    make_known,
    until_complete,
)
from tests.support.process import (
    BELL_ONLY,
    BRISK,
    Start,
    WorkerProcess,
    recovered,
    until_asleep,
)
from tests.support.proxy import DeafProxy
from tests.support.queue import until_done, until_processing
from tests.support.waiting import until
from worker.listening.doorbell import Doorbell


@pytest.fixture
def proxy(url: str) -> Iterator[DeafProxy]:
    with DeafProxy(url) as proxy:
        yield proxy


def until_finished(conn: Conn, events: int) -> None:
    """Wait until this many events are in history."""
    query = "SELECT count(*) FROM outbox_history"
    until(f"{events} events are finished", lambda: value(conn, query) == events)


def test_a_worker_says_that_it_hears_itself(conn: Conn, start_worker: Start) -> None:
    worker = start_worker(**BELL_ONLY, WORKER_HEARTBEAT_SECONDS="0.5").ready()

    row = until(
        "worker_status says so",
        lambda: conn.execute(
            "SELECT * FROM worker_status WHERE mode = 'notify' AND last_heard_at IS NOT NULL"
        ).fetchone(),
    )
    assert row["pid"] == worker.process.pid
    assert row["alive"]
    heard = row["last_heard_at"]
    until(
        "it hears itself again",
        lambda: value(conn, "SELECT last_heard_at FROM worker_status") > heard,
    )
    assert not worker.saw("notifications do not arrive")


def test_what_operators_do_wakes_a_sleeping_worker(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    start_worker(**BELL_ONLY).ready()
    number = make_known(conn, tmp_path / "bars")
    parked = value(
        conn,
        "INSERT INTO outbox (topic, key, status) VALUES ('prediction', %s, 'dead') RETURNING id",
        [number],
    )
    statements = [
        ("UPDATE outbox SET status = 'pending' WHERE id = %s", [parked]),
        ("SELECT outbox_requeue(%s)", [parked]),
        ("SELECT outbox_requeue_prediction(%s)", [number]),
        ("SELECT outbox_requeue_ticker(%s)", ["GOOD"]),
    ]
    for expected, (statement, parameters) in enumerate(statements, start=1):
        until_asleep(conn)
        conn.execute(statement.encode(), parameters)
        until_finished(conn, 2 + expected)
    for topic, key in (("prediction", str(number)), ("ticker", "GOOD")):
        conn.execute(
            "INSERT INTO outbox (topic, key, status) VALUES (%s, %s, 'dead')", [topic, key]
        )
    until_asleep(conn)
    assert value(conn, "SELECT outbox_requeue_dead()") == 2
    until_finished(conn, 2 + len(statements) + 2)


def test_a_registered_ticker_wakes_a_sleeping_worker(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    bars(conn, tmp_path / "bars", "HAND")
    start_worker(**BELL_ONLY, BACKFILL_DAYS="3650").ready()
    until_asleep(conn)

    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('HAND')")

    until_done(conn, "HAND")
    assert value(conn, "SELECT count(*) FROM market_prices WHERE symbol = 'HAND'") > 100
    assert value(conn, "SELECT backfill_status FROM ticker_registry") == "completed"


def test_a_killed_listen_connection_heals(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    worker = start_worker(**BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")

    cut = 0
    for number in range(1, 3):
        cut = until_asleep(conn, cut)
        conn.execute("SELECT pg_terminate_backend(%s)", [cut])
        until_recovered(worker, number)
    assert worker.saw("notifications do not arrive", mode="polling")

    until_asleep(conn)
    done = completed(conn)
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    until_complete(conn, done + 1)


def until_recovered(worker: WorkerProcess, times: int) -> None:
    """Wait until the worker has got its hearing back this many times, or more."""
    until("it hears again", lambda: len(recovered(worker)) >= times)


def test_a_deaf_worker_polls_says_so_and_heals(
    conn: Conn, start_worker: Start, tmp_path: Path, proxy: DeafProxy
) -> None:
    settings = {**BELL_ONLY, "WORKER_HEARTBEAT_SECONDS": "0.5", "WORKER_POLL_SECONDS": "5"}
    worker = start_worker(**settings, LISTEN_DATABASE_URL=proxy.url).ready()
    make_known(conn, tmp_path / "bars")

    proxy.swallow.set()
    worker.wait_for("notifications do not arrive", mode="polling", reason="echo overdue")
    assert proxy.swallowed > 0
    mode = "SELECT mode FROM worker_status"
    until("worker_status says so", lambda: value(conn, mode) == "polling")
    for _ in range(2):
        done = completed(conn)
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        until_complete(conn, done + 1)
    assert not recovered(worker)

    proxy.swallow.clear()
    worker.wait_for("listening", mode="notify", recovered=True)
    until("worker_status says so", lambda: value(conn, mode) == "notify")
    until_asleep(conn)
    done = completed(conn)
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    until_complete(conn, done + 1)


def test_deafness_is_noticed_by_a_worker_that_sleeps_for_long(
    conn: Conn, start_worker: Start, proxy: DeafProxy
) -> None:
    settings = {**BELL_ONLY, "WORKER_HEARTBEAT_SECONDS": "0.5"}
    worker = start_worker(**settings, LISTEN_DATABASE_URL=proxy.url).ready()
    until_asleep(conn)

    proxy.swallow.set()

    worker.wait_for("notifications do not arrive", mode="polling", seconds=30)


def test_a_heartbeat_that_waits_for_a_lock_is_not_deafness(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    HangingTicker(tmp_path / "bars")
    worker = start_worker(**BRISK).ready()
    insert_prediction(conn, ["SLOW"])
    until_processing(conn, "SLOW")
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE '%worker_heartbeat%'"
        " AND clock_timestamp() - query_start > interval '4 seconds'"
    )
    with connect(url) as other, other.transaction():
        other.execute("SELECT FROM reckoner_workers FOR UPDATE")
        until("a heartbeat waits for longer than an echo may take", lambda: value(conn, waits))
    seen = "SELECT last_heard_at FROM reckoner_workers"
    before = value(conn, seen)
    until("the next one is heard", lambda: value(conn, seen) > before)
    assert not worker.saw("notifications do not arrive")


def test_a_listen_url_that_leads_nowhere_only_makes_it_poll(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker(
        **BRISK, LISTEN_DATABASE_URL="postgresql://someone:hidden-word@127.0.0.1:1/nowhere"
    )
    worker.wait_for("notifications do not arrive", mode="polling")

    make_known(conn, tmp_path / "bars")

    assert value(conn, "SELECT mode FROM worker_status") == "polling"
    assert "hidden-word" not in str(worker.events)


def idle(conn: Conn, turns: int) -> None:
    """Let a few tenths of a millisecond pass."""
    for _ in range(turns):
        conn.execute("SELECT 1")


@pytest.mark.parametrize(
    "level", [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ]
)
def test_no_wake_up_is_lost_while_falling_asleep(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path, level: psycopg.IsolationLevel
) -> None:
    worker = start_worker(**BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")
    total = completed(conn)
    with connect(url) as writer:
        writer.autocommit = False
        writer.isolation_level = level
        for burst in range(100):
            # The last burst was done this instant, so the worker lies down in the next few
            # milliseconds: each burst inserts a bit later into them, and commits later still.
            idle(conn, burst % 20)
            insert_prediction(writer, ["GOOD"], moment=MOMENT)
            idle(conn, burst // 10)
            insert_prediction(writer, ["GOOD"], moment=MOMENT)
            writer.commit()
            total += 2
            deadline = time.monotonic() + 30  # it would look by itself after sixty
            while completed(conn) != total:  # without until's pauses, to see it at once
                assert time.monotonic() < deadline, f"burst {burst} woke nobody"
    assert not worker.saw("notifications do not arrive")


def test_a_ring_that_comes_before_arming_again_is_heard(url: str, conn: Conn) -> None:
    # A worker that wakes by itself claims, finds nothing, and arms again: it holds the lock
    # all the while and so does not claim a second time. A writer that rings in between must wake it.
    with Database(url, name="test", size=2) as database:
        bell = Doorbell(database, url)
        bell.probe()
        until("it is armed", lambda: bell.arm() == "armed" and bell.armed)
        while bell.sleep(0.2) != "poll":
            pass
        conn.execute("LISTEN reckoner")
        conn.execute("NOTIFY reckoner")
        # Its connection has the ring by now: this one's has it, and it was sent to both.
        until("the ring is there", lambda: list(conn.notifies(timeout=1, stop_after=1)))
        assert bell.arm() == "armed"
        assert bell.sleep(5) == "ring"
        bell.close()
