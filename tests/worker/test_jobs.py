"""Runs of tasks: begun, told to end, tried again, taken over; and the ticks of a real worker."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql as psql

from market.providers.csv_files import CsvFiles
from sql.database import Database
from tests.support.clock import move_clock, stop_clock
from tests.support.context import context_of
from tests.support.db import Conn, connect, value
from tests.support.process import SHORT, Start
from tests.support.waiting import until
from worker.jobs import runs, tasks
from worker.jobs.work import Work
from worker.queue import outbox


def test_the_registry_in_code_is_the_one_in_sql(conn: Conn) -> None:
    rows = conn.execute("SELECT task, summary FROM job_tasks()").fetchall()
    assert {row["task"] for row in rows} == set(tasks.TASKS)
    for row in rows:
        assert tasks.TASKS[row["task"]].__doc__ == row["summary"]


def queue(conn: Conn, task: str = "daily_sync", **limits: Any) -> int:
    """A run that waits. limits: columns of job_run."""
    run = int(value(conn, "SELECT run_task(%s)", [task]))
    for name, limit in limits.items():
        statement = psql.SQL("UPDATE job_run SET {} = %s").format(psql.Identifier(name))
        conn.execute(statement, [limit])
    return run


def step(database: Database, task: Callable[[Work], None]) -> int:
    """Claim what is ready and run it, with this code for every task; returns how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TASKS", dict.fromkeys(tasks.TASKS, task))
        claims = outbox.claim(database, "job", "w", 10, 60)
        for claim in claims:
            runs.handle(context_of(database), [claim])
    return len(claims)


def state(conn: Conn, run: int) -> tuple[str, str | None]:
    row = conn.execute("SELECT status, error FROM job_run WHERE id = %s", [run]).fetchone()
    assert row is not None
    return row["status"], row["error"]


def test_a_run_ends_with_its_counters_and_its_event(database: Database, conn: Conn) -> None:
    run = queue(conn)

    def task(work: Work) -> None:
        work.progress(done=1, total=2)
        assert value(conn, "SELECT counters -> 'done' FROM job_run") == 1  # seen while it runs
        work.progress(done=2)

    assert step(database, task) == 1
    assert state(conn, run) == ("ok", None)
    assert value(conn, "SELECT counters FROM job_run") == {"done": 2, "total": 2}
    assert value(conn, "SELECT verdict FROM outbox_history WHERE topic = 'job'") == "done"
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_every_task_ends_well_where_nothing_is_tracked(database: Database, conn: Conn) -> None:
    for task in tasks.TASKS:
        run = queue(conn, task)
        if task == "update_tracked":
            conn.execute("INSERT INTO holdings (symbol, quantity) VALUES ('HELD', 1)")
        [claim] = outbox.claim(database, "job", "w", 1, 60)
        runs.handle(context_of(database), [claim])
        assert state(conn, run) == ("ok", None), task
    assert value(conn, "SELECT counters FROM job_run ORDER BY id DESC") == {"registered": 1}


def test_a_night_without_any_five_minute_bar_is_an_error(
    database: Database, conn: Conn, tmp_path: Path
) -> None:
    """A provider that is away is no good run: nobody would look."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('AAPL'), ('MSFT')")
    symbols = '{"symbols": ["AAPL", "MSFT"]}'
    run = int(value(conn, "SELECT run_task('backfill_5m', %s::jsonb)", [symbols]))
    [claim] = outbox.claim(database, "job", "w", 1, 60)
    runs.handle(context_of(database, [CsvFiles(tmp_path / "gone")]), [claim])
    status, error = state(conn, run)
    assert status == "error"
    assert error is not None
    assert "no symbol of 2 has an answer; AAPL: csv" in error


def test_an_error_is_the_run_s_and_is_tried_again_after_a_pause(
    database: Database, conn: Conn
) -> None:
    stop_clock(conn)
    run = queue(conn, retries=2, backoff_s=30)
    began = []

    def task(work: Work) -> None:
        began.append(work.attempt)
        raise ValueError("no disk")

    with Database(database.url) as there:  # lives by the stopped clock
        assert step(there, task) == 1
        assert state(conn, run) == ("queued", "ValueError: no disk")
        assert step(there, task) == 0
        move_clock(conn, "31 seconds")
        conn.execute("UPDATE reckoner_clock SET clock_offset = '31 seconds'")
        assert step(there, task) == 1
        conn.execute("UPDATE reckoner_clock SET clock_offset = '80 seconds'")
        assert step(there, task) == 0  # the pause is twice as long
        conn.execute("UPDATE reckoner_clock SET clock_offset = '92 seconds'")
        assert step(there, task) == 1
    assert state(conn, run) == ("error", "ValueError: no disk")
    assert began == [1, 2, 3]
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_a_database_that_was_away_is_not_the_run_s_failure(database: Database, conn: Conn) -> None:
    run = queue(conn)

    def lose(_: Work) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    for _ in range(3):
        assert step(database, lose) == 1
        status, error = state(conn, run)
        assert status == "queued"
        assert error is not None
        assert error.startswith("OperationalError: server closed")
        assert value(conn, "SELECT failures FROM job_run") == 0
        assert value(conn, "SELECT available_at > reckoner_now() FROM outbox") is True
        conn.execute("UPDATE outbox SET available_at = '-infinity'")
    step(database, lose)  # three times is enough, as of crashes
    assert state(conn, run) == (
        "error",
        "the database was away or its worker died 3 times while it ran, last w",
    )
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_a_running_run_is_cancelled_at_its_next_look(database: Database, conn: Conn) -> None:
    run = queue(conn, retries=5)

    def task(work: Work) -> None:
        conn.execute("SELECT run_cancel(%s, 'wrong day', 'ann')", [run])
        work.progress()
        raise AssertionError("it went on")

    step(database, task)
    assert state(conn, run) == ("cancelled", "cancelled: wrong day (ann)")


def test_a_run_over_its_time_is_told_to_end(database: Database, conn: Conn) -> None:
    run = queue(conn, timeout_s=5)

    def task(work: Work) -> None:
        conn.execute("UPDATE job_run SET started_at = started_at - interval '6 seconds'")
        work.progress()
        raise AssertionError("it went on")

    step(database, task)
    assert state(conn, run) == ("error", "timed out after 5 s")


def test_what_a_zombie_says_changes_nothing(database: Database, conn: Conn) -> None:
    run = queue(conn)

    def task(work: Work) -> None:
        # Its lease ended, and another worker begins the run.
        conn.execute("UPDATE outbox SET leased_until = '-infinity'")
        conn.execute("SELECT outbox_expire(3)")
        conn.execute("UPDATE outbox SET available_at = '-infinity'")
        conn.execute("SELECT outbox_claim('job', 'other', 1, 60)")
        conn.execute("SELECT run_begin(%s, 'other')", [run])
        work.counters["done"] = 99

    step(database, task)
    row = conn.execute("SELECT status, worker, attempt, counters FROM job_run").fetchone()
    assert row == {"status": "running", "worker": "other", "attempt": 2, "counters": {}}
    assert value(conn, "SELECT leased_by FROM outbox") == "other"


def test_a_run_that_three_workers_died_with_is_an_error(database: Database, conn: Conn) -> None:
    run = queue(conn)
    for _ in range(3):
        [claim] = outbox.claim(database, "job", "w", 1, 60)
        conn.execute("SELECT run_begin(%s, 'w')", [run])
        conn.execute("UPDATE outbox SET leased_until = '-infinity'")
        assert value(conn, "SELECT status FROM outbox_expire(3)") == "pending"
        assert value(conn, "SELECT available_at > reckoner_now() FROM outbox") is True
        conn.execute("UPDATE outbox SET available_at = '-infinity'")
    step(database, lambda _: None)
    assert state(conn, run) == ("error", "its worker died 3 times while it ran, last w")
    assert claim.crashes == 0  # so that no worker runs it alone
    assert value(conn, "SELECT count(*) FROM outbox") == 0


@contextlib.contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Lock a table as long as the body runs."""
    with connect(url) as conn, conn.transaction():
        conn.execute(f"LOCK TABLE {table}".encode())
        yield


def test_a_worker_ticks_in_time_and_a_killed_one_s_run_goes_on(
    url: str, conn: Conn, start_worker: Start
) -> None:
    conn.execute("DELETE FROM schedules")
    first = start_worker(**SHORT, WORKER_SCHEDULES="true").ready()
    with locked(url, "market_syncs"):
        # The worker sleeps, and hears of the schedule at once.
        conn.execute("SELECT schedule_create('s', 'daily_sync', 'every 1 second')")
        running = "SELECT count(*) FROM job_run WHERE status = 'running'"
        until("a run of it waits for the lock", lambda: value(conn, running) == 1)
        until(
            "single flight skips the ticks behind it",
            lambda: value(conn, "SELECT count(*) FROM schedule_ticks WHERE verdict = 'skipped'"),
        )
        first.kill()
        conn.execute("SELECT schedule_pause('s', 'one is enough')")
        run = value(conn, "SELECT min(id) FROM job_run")
        second = start_worker(**SHORT, WORKER_SCHEDULES="true").ready()
        until(
            "its lease ended",
            lambda: value(
                conn,
                "SELECT lease IS NULL FROM outbox WHERE topic = 'job' AND key = %s",
                [str(run)],
            ),
        )
        conn.execute("UPDATE outbox SET available_at = reckoner_now() WHERE topic = 'job'")
        conn.execute("UPDATE outbox SET status = 'pending' WHERE topic = 'job' AND lease IS NULL")
    until("it ran again", lambda: state(conn, run)[0] == "ok")
    assert value(conn, "SELECT attempt FROM job_run WHERE id = %s", [run]) == 2
    [late] = conn.execute(
        "SELECT max(decided_at - tick_at) AS late FROM schedule_ticks WHERE verdict = 'queued'"
    ).fetchall()
    assert late["late"].total_seconds() >= 0
    assert second.stop() == 0
