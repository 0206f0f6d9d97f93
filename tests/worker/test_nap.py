"""WORKER_IDLE=sleepy: an idle worker lets its database sleep, and says until when."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from sql.database import Database
from tests.support.cli import command
from tests.support.clock import move_clock, use_clock
from tests.support.db import Conn, value
from tests.support.market import MOMENT, completed, insert_prediction, make_known
from tests.support.process import BRISK, Start, WorkerProcess
from tests.support.queue import history
from tests.support.waiting import until
from tests.worker.gate import Gate
from worker.listening.doorbell import Doorbell
from worker.listening.idle_suspend import IdleSuspend
from worker.settings import WorkerSettings

_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'reckoner worker'"
)
# Who holds the bell's lock: a worker that sleeps with its LISTEN connection open.
_BELL = (
    "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.classid = 1380271947 AND l.objid = 1"
    " AND a.datname = current_database()"
)
_NAPPING = "idle, letting the database sleep"


def sleepy(seconds: float, after: float) -> dict[str, str]:
    """Settings of a worker that naps, and whose threads would be busy all the time if it did not."""
    return {
        **BRISK,
        "WORKER_HEARTBEAT_SECONDS": "0.2",
        "WORKER_SWEEP_SECONDS": "0.2",
        "WORKER_IDLE": "sleepy",
        "WORKER_SLEEPY_SECONDS": str(seconds),
        "WORKER_SLEEPY_AFTER_SECONDS": str(after),
    }


def naps(worker: WorkerProcess) -> list[dict[str, Any]]:
    """The naps that the worker has logged."""
    return [entry for entry in worker.events if entry.get("event") == _NAPPING]


def until_napping(conn: Conn, worker: WorkerProcess) -> dt.datetime:
    """Wait for the worker's nap and the end of its connections; returns until when it sleeps."""
    worker.wait_for(_NAPPING)
    # In one statement: a nap may be over between two.
    asleep = f"SELECT asleep_until FROM worker_status WHERE ({_CONNECTIONS}) = 0"  # noqa: S608 - a constant
    row = until(
        "it has no connection",
        lambda: conn.execute(f"{asleep} AND asleep_until > reckoner_now()".encode()).fetchone(),
    )
    asleep_until = row["asleep_until"]
    assert isinstance(asleep_until, dt.datetime)
    return asleep_until


def test_while_it_naps_it_has_no_connection_and_looks_alive(
    url: str, conn: Conn, start_worker: Start
) -> None:
    worker = start_worker(**sleepy(1000, 1)).ready()
    asleep_until = until_napping(conn, worker)
    left = value(conn, "SELECT extract(epoch FROM %s - reckoner_now())", [asleep_until])
    assert 980 < left <= 1000

    number = insert_prediction(conn, ["GOOD"], moment=MOMENT)
    row = conn.execute("SELECT status, reason FROM outbox_stuck WHERE topic = 'prediction'")
    [stuck] = row.fetchall()
    assert stuck["status"] == "pending"
    assert "every worker lets the database sleep (WORKER_IDLE=sleepy)" in stuck["reason"]
    assert str(value(conn, "SELECT asleep_until::text FROM worker_status")) in stuck["reason"]
    done = command(url, "worker", "health", "--json")
    assert done.returncode == 0, done.stdout
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert (checks["workers"]["state"], checks["listening"]["state"]) == ("ok", "ok")
    # Long after its last sign of life it still counts as alive, and a minute after its nap no more.
    for minutes, alive in ((0, True), (10, True), (17, True), (18, False)):
        move_clock(conn, f"{minutes} minutes")
        assert value(conn, "SELECT alive FROM worker_status") is alive, minutes
    use_clock(conn, "")

    assert value(conn, _CONNECTIONS) == 0
    assert len(naps(worker)) == 1
    assert worker.stop() == 0  # long before the nap would have ended
    assert value(conn, "SELECT count(*) FROM worker_status") == 0
    assert value(conn, "SELECT key FROM outbox WHERE status = 'pending'") == str(number)


def test_a_prediction_that_comes_during_a_nap_is_answered_after_it(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker(**sleepy(5, 4))
    make_known(conn, tmp_path / "bars")  # while it starts, so that it has no nap before
    before = completed(conn)
    asleep_until = until_napping(conn, worker)
    insert_prediction(conn, ["GOOD"], moment=MOMENT)

    def woke() -> bool:
        done, connections = completed(conn), value(conn, _CONNECTIONS)
        # The clock is read last: what was seen before it was seen during the nap.
        if value(conn, "SELECT reckoner_now() < %s", [asleep_until]):
            # Neither its heartbeat nor its sweep keeps the database awake.
            assert (done, connections) == (before, 0)
            return False
        return True

    until("the nap is over", woke)
    until("it has its outcome", lambda: completed(conn) == before + 1)
    # It hears again, and what comes now wakes it at once.
    until("it listens again", lambda: len(heard(worker)) == 2)
    until("it says so", lambda: value(conn, "SELECT mode FROM worker_status") == "notify")
    assert value(conn, "SELECT asleep_until FROM worker_status") is None
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    until("it has its outcome too", lambda: completed(conn) == before + 2)
    assert len(naps(worker)) == 1
    assert not worker.saw("notifications do not arrive")


def heard(worker: WorkerProcess) -> list[dict[str, Any]]:
    """Each time that the worker began to hear itself."""
    return [entry for entry in worker.events if entry.get("event") == "listening"]


def test_no_nap_begins_while_a_sweep_may_write_events(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    # Its first sweep does not end before the test lets it; a lock would only be waited for for
    # ten seconds.
    conn.execute(
        "CREATE TABLE held AS SELECT 1; CREATE OR REPLACE FUNCTION sweep_forgotten(p_span integer)"
        " RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        " WHILE EXISTS (SELECT FROM public.held) LOOP PERFORM pg_sleep(0.01); END LOOP;"
        " RETURN 0; END $$"
    )
    worker = start_worker(**sleepy(1000, 1.5))
    sweeping = f"{_CONNECTIONS} AND query LIKE '%sweep_forgotten%' AND state = 'active'"
    until("a sweep is under way", lambda: value(conn, sweeping), 60)
    make_known(conn, tmp_path / "bars")
    # Idle for longer than it takes to be tempted; a worker that naps has no heartbeat.
    since = value(conn, "SELECT reckoner_now() + interval '3 seconds'")
    beats = "SELECT last_seen_at > %s FROM worker_status"
    until("it goes on beating", lambda: value(conn, beats, [since]))
    assert naps(worker) == []
    conn.execute("DELETE FROM held")
    until_napping(conn, worker)


def test_a_retry_that_is_due_shortens_the_nap(conn: Conn, start_worker: Start) -> None:
    # There before the worker is, and due when it has had the time to start and to be idle.
    due = value(
        conn,
        "INSERT INTO outbox (topic, key, status, attempts, available_at)"
        " VALUES ('ticker', 'GOOD', 'failed', 1, reckoner_now() + interval '12 seconds')"
        " RETURNING available_at",
    )
    worker = start_worker(**sleepy(1000, 1))

    asleep_until = until_napping(conn, worker)

    assert -0.5 < (asleep_until - due).total_seconds() < 10
    assert 1 < naps(worker)[0]["seconds"] < 12
    until("it is done", lambda: history(conn, "GOOD"), 60)
    finished = value(conn, "SELECT finished_at FROM outbox_history WHERE key = 'GOOD'")
    assert 0 <= (finished - due).total_seconds() < 60
    assert value(conn, "SELECT attempts FROM outbox_history WHERE key = 'GOOD'") == 1


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        (None, 300),
        (1000, 300),
        (300, 300),
        (299, 299),
        (181, 181),
        (180, None),
        (1, None),
        (0, None),
        (-5, None),
    ],
)
def test_how_long_a_nap_is(database: Database, due: float | None, expected: float | None) -> None:
    settings = WorkerSettings(worker_idle="sleepy")
    idle_suspend = IdleSuspend(database, settings, "a worker", Doorbell(database, database.url), [])
    assert idle_suspend.seconds(due) == expected


def test_a_database_that_is_away_after_the_nap_is_waited_for(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    with Gate(url) as gate:
        worker = start_worker(**sleepy(4, 1), DATABASE_URL=gate.url)
        make_known(conn, tmp_path / "bars")
        before = completed(conn)
        until_napping(conn, worker)
        gate.shut.set()
        insert_prediction(conn, ["GOOD"], moment=MOMENT)
        until("it was turned away, and again", lambda: gate.refused >= 2, 60)
        assert worker.process.poll() is None
        gate.shut.clear()

        until("it has its outcome", lambda: completed(conn) == before + 1, 60)
        until("it listens again", lambda: len(heard(worker)) >= 2, 60)
        assert worker.stop() == 0


def test_a_worker_that_is_not_told_to_be_sleepy_stays(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker(**{**sleepy(1000, 0.2), "WORKER_IDLE": "Awake"}).ready()
    make_known(conn, tmp_path / "bars")
    row = until("it sleeps by its bell", lambda: conn.execute(_BELL.encode()).fetchone())
    since = value(conn, "SELECT reckoner_now() + interval '2 seconds'")
    heartbeats = "SELECT last_heard_at > %s FROM worker_status"

    until("it hears itself all the while", lambda: value(conn, heartbeats, [since]))

    assert conn.execute(_BELL.encode()).fetchone() == row
    assert naps(worker) == []
    assert value(conn, "SELECT mode FROM worker_status") == "notify"
