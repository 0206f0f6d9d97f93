"""A pooler in transaction mode between the worker and its database (pgbouncer).

There LISTEN answers OK and hears nothing, and what a session keeps (prepared statements,
temporary tables, session locks) is left to whoever gets the server connection next.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sql.database import Database
from tests.support.cli import command
from tests.support.db import Conn, connect, value
from tests.support.market import (
    MOMENT,
    bars,
    completed,
    insert_prediction,
    make_known,
    until_complete,
)
from tests.support.pooler import PROGRAM, Pooler
from tests.support.process import BELL_ONLY, BRISK, Start
from tests.support.waiting import until
from worker.listening.doorbell import Doorbell

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs pgbouncer")

_REMEDY = "LISTEN_DATABASE_URL must be a direct connection, not a transaction pooler"
_DEAF = "notifications do not arrive"

# Every advisory lock of ours, whatever transaction or session holds it.
_LOCKS = (
    "SELECT l.objid, l.mode, a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.classid = 1380271947 AND a.datname = current_database()"
)

Pooling = Callable[..., Pooler]


@pytest.fixture
def pooling() -> Iterator[Pooling]:
    """Put a pooler in front of a database."""
    with contextlib.ExitStack() as stack:
        yield lambda url, size=2: stack.enter_context(Pooler(url, size))


@pytest.fixture
def pooler(url: str, pooling: Pooling) -> Pooler:
    return pooling(url)


@contextlib.contextmanager
def writing_through(pooler: Pooler) -> Iterator[Conn]:
    """A connection of the owner's through the pooler, who knows not to prepare statements."""
    with connect(pooler.url) as conn:
        conn.prepare_threshold = None
        yield conn


def until_unlocked(conn: Conn) -> None:
    """Wait until no lock of ours is held: a backend whose client is gone ends a moment later."""
    until("no lock of ours is held", lambda: not conn.execute(_LOCKS.encode()).fetchall())


def mode(conn: Conn) -> str:
    """How the only worker learns of work."""
    return str(value(conn, "SELECT mode FROM worker_status"))


def checks(url: str, *, code: int = 0) -> dict[str, dict[str, Any]]:
    """What `worker health` says, by check."""
    done = command(url, "worker", "health", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {check["check"]: check for check in json.loads(done.stdout)["checks"]}


def document(url: str, *arguments: str) -> Any:
    """What a command prints with --json."""
    done = command(url, "worker", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def burst(conn: Conn, folder: Path, number: int) -> None:
    """Insert fifty predictions on three tickers, two of which nobody has named before."""
    symbols = [f"NEW{number}A", f"NEW{number}B"]
    for symbol in symbols:
        bars(conn, folder, symbol, start=100.0 + number)
    for n in range(50):
        insert_prediction(conn, ["GOOD", symbols[n % 2]], {"GOOD": "bullish"}, moment=MOMENT)


def test_a_worker_behind_a_pooler_says_that_it_is_deaf_and_works_by_polling(
    conn: Conn, start_worker: Start, tmp_path: Path, pooler: Pooler
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    worker = start_worker(**BRISK, DATABASE_URL=pooler.url)

    deaf = worker.wait_for(_DEAF)
    assert (deaf["mode"], deaf["remedy"]) == ("polling", _REMEDY)
    until("the worker is in its table", lambda: value(conn, "SELECT count(*) FROM worker_status"))
    assert mode(conn) == "polling"
    found = checks(pooler.url)
    assert found["listening"]["state"] == "warn"
    assert "LISTEN_DATABASE_URL" in found["listening"]["message"]
    assert found["workers"]["state"] == "ok"

    # Inserted directly and through the pooler, so that server connections change hands.
    with writing_through(pooler) as pooled:
        for number in range(4):
            burst(pooled if number % 2 else conn, tmp_path / "bars", number)
            until_complete(conn, 100 * (number + 1))
    until("the outbox is empty", lambda: value(conn, "SELECT count(*) FROM outbox") == 0)
    entries = conn.execute(
        "SELECT symbol, count(*), min(price_at_prediction), max(price_at_prediction)"
        " FROM prediction_outcomes GROUP BY 1"
    ).fetchall()
    assert {row["symbol"]: row["count"] for row in entries} == {
        "GOOD": 200,
        **{f"NEW{number}{letter}": 25 for number in range(4) for letter in "AB"},
    }
    # Every ticker's closes are its own: no staged bars of another one.
    first = {row["symbol"]: row["min"] for row in entries}
    assert {first[f"NEW{n}A"] - first["GOOD"] for n in range(4)} == {0.0, 1.0, 2.0, 3.0}
    assert all(row["min"] == row["max"] for row in entries)
    done = conn.execute(
        "SELECT DISTINCT verdict, attempts, crashes FROM outbox_history WHERE topic = 'prediction'"
    )
    assert [tuple(row.values()) for row in done] == [("done", 0, 0)]
    told = [e for e in worker.events if e["level"] in {"warning", "error", "critical"}]
    assert [e["event"] for e in told] == [_DEAF]
    assert mode(conn) == "polling"
    assert not worker.saw("listening")


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_no_lock_stays_on_a_shared_connection(
    conn: Conn, start_worker: Start, tmp_path: Path, pooler: Pooler, end: str
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    worker = start_worker(**BRISK, DATABASE_URL=pooler.url)
    worker.wait_for(_DEAF)
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    until_complete(conn, 1)

    if end == "stopped":
        assert worker.stop() == 0
    else:
        worker.kill()

    # The pooler keeps its server connections, and whatever they would hold.
    shared = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reckoner worker'"
    assert value(conn, shared) > 0
    until_unlocked(conn)


def test_a_direct_connection_for_listen_makes_it_hear_at_once(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path, pooler: Pooler
) -> None:
    settings = {**BELL_ONLY, "WORKER_HEARTBEAT_SECONDS": "0.5"}
    worker = start_worker(**settings, DATABASE_URL=pooler.url, LISTEN_DATABASE_URL=url).ready()
    until("worker_status says so", lambda: mode(conn) == "notify")
    assert checks(pooler.url)["listening"]["state"] == "ok"
    make_known(conn, tmp_path / "bars")
    done = completed(conn)

    with writing_through(pooler) as pooled:
        for writer in (conn, pooled, conn, pooled):
            until("the worker sleeps", lambda: conn.execute(_LOCKS.encode()).fetchone())
            insert_prediction(writer, ["GOOD"], moment=MOMENT)
            done += 1
            until_complete(conn, done, 30)  # it would look by itself after sixty: the bell woke it

    assert not worker.saw(_DEAF)
    assert worker.stop() == 0
    until_unlocked(conn)


@pytest.mark.parametrize("also", ["listening", "everything"])
def test_a_pool_of_one_connection_is_not_taken_for_hearing(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path, pooling: Pooling, also: str
) -> None:
    # The one server connection did LISTEN, and its notifications go to whoever has it then.
    pooled = pooling(url, 1).url
    main = pooled if also == "everything" else url
    worker = start_worker(
        **{**BRISK, "WORKER_HEARTBEAT_SECONDS": "0.1"},
        DATABASE_URL=main,
        LISTEN_DATABASE_URL=pooled,
    )

    worker.wait_for(_DEAF, mode="polling")

    make_known(conn, tmp_path / "bars")
    for _ in range(3):
        before = completed(conn)
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        until_complete(conn, before + 1)
    assert mode(conn) == "polling"
    assert not worker.saw("listening")
    assert worker.stop() == 0
    until_unlocked(conn)


def test_a_heartbeat_that_comes_while_it_listens_again_is_no_hearing(
    url: str, conn: Conn, database: Database, pooling: Pooling
) -> None:
    # For as long as a LISTEN takes, the server connection that listened before is ours.
    stop = threading.Event()
    bell = Doorbell(database, pooling(url, 1).url)

    def beat() -> None:
        with connect(url) as other:
            while not stop.is_set():
                other.execute("SELECT pg_notify(%s, 'heartbeat')", [bell.channel])

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        for attempt in range(100):
            assert bell.arm() == "polling"
            assert bell.arm() == "polling", f"deaf, and yet it heard something at {attempt}"
            bell.suspend()
    finally:
        stop.set()
        beating.join()
        bell.close()
    until_unlocked(conn)


def test_commands_work_through_a_pooler(empty_url: str, tmp_path: Path, pooling: Pooling) -> None:
    pooled = pooling(empty_url).url
    folder = str(tmp_path)

    def run(*arguments: str) -> str:
        settings = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": folder}
        done = command(pooled, "worker", *arguments, cwd=None, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert document(pooled, "migrate")
    assert document(pooled, "migrate", "--check") == []
    with connect(empty_url) as conn:
        conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
        for _ in range(3):
            insert_prediction(conn, ["GOOD"], moment=MOMENT)
        [row] = document(pooled, "sweep")
        assert row["forgotten"] == 3
        assert document(pooled, "status")["totals"]["waiting"] == 3
        conn.execute("DELETE FROM outbox")
        assert json.loads(run("enqueue", "--all", "--json"))[0]["enqueued"] == 3
        bars(conn, tmp_path, "GOOD")
        run("run", "--drain")
        assert completed(conn) == 3
        until_unlocked(conn)
