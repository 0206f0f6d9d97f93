"""Schedules under kills: each due tick has one row, each queued tick one run, and no run stays running."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.chaos.safeguards import BOTH, promised, take_out
from tests.chaos.server import ENDS
from tests.chaos.world import World, tell
from tests.support.db import connect
from tests.support.locks import locked
from tests.support.waiting import until

_EVERY = 3  # seconds
_SCHEDULES = 50
_TICKS_OF_ALL = (
    "SELECT count(*) FROM (SELECT FROM schedule_ticks GROUP BY schedule HAVING count(*) >= {}) s"
)
_LIVE = "SELECT count(*) FROM job_run WHERE status IN ('queued', 'running')"
# Ticks that should be there and are not: they are multiples of the interval.
_MISSING = """
SELECT count(*) FROM (
    SELECT t.schedule, generate_series(min(t.tick_at), max(t.tick_at), interval '{} seconds') AS at
    FROM schedule_ticks t GROUP BY t.schedule) due
WHERE NOT EXISTS (SELECT FROM schedule_ticks t WHERE t.schedule = due.schedule AND t.tick_at = due.at)
"""
# Ticks and runs that do not belong to just one of the other.
_UNPAIRED = """
SELECT t.schedule, t.tick_at, t.verdict, t.reason, t.run_id, r.id FROM schedule_ticks t
FULL JOIN job_run r ON r.schedule = t.schedule AND r.tick_at = t.tick_at
WHERE (t.verdict = 'queued') IS NOT TRUE AND r.id IS NOT NULL
   OR (t.verdict = 'queued' AND r.id IS DISTINCT FROM t.run_id)
   OR (t.verdict = 'skipped' AND t.reason IS NULL)
"""


def make_schedules(world: World, count: int, trigger: str) -> None:
    """Only these; their first ticks are not computed yet."""
    world.conn.execute("DELETE FROM schedules")
    query = "SELECT schedule_create('s' || n, 'daily_sync', %s) FROM generate_series(1, %s) n"
    world.conn.execute(query, [trigger, count])


def check_ticks(world: World) -> None:
    """Compare ticks with what was due, and runs with ticks."""
    assert world.ask(_MISSING.format(_EVERY)) == 0
    assert world.conn.execute(_UNPAIRED).fetchall() == []


@contextmanager
def a_run_is_running(world: World) -> Iterator[set[str]]:
    """The names of workers that are in the middle of a run, as long as the body runs."""
    with locked(world.url, "market_syncs"):

        def busy() -> set[str]:
            rows = world.conn.execute("SELECT worker FROM job_run WHERE status = 'running'")
            return {row["worker"] for row in rows}

        yield until("a run waits for the lock", busy)


def test_kills_and_a_restart_lose_and_repeat_no_tick(world: World) -> None:
    make_schedules(world, _SCHEDULES, f"every {_EVERY} seconds")
    for worker in world.start_ready(3, WORKER_SCHEDULES="true"):
        assert worker.process.poll() is None
    until_all_ticked(world, 1)
    with a_run_is_running(world) as names:
        pids = {row["pid"] for row in workers(world, names)}
        for worker in world.workers:
            if worker.process.pid in pids:
                worker.kill()
                break
        world.start(WORKER_SCHEDULES="true")
    world.server.end(ENDS["immediate"])
    world.server.until_back()
    world.workers[-1].kill()  # the newest, whatever it does
    seen = world.ask("SELECT count(*) FROM schedule_ticks")
    until(
        "all ticked again",
        lambda: world.ask("SELECT count(*) FROM schedule_ticks") >= seen + _SCHEDULES,
    )

    world.conn.execute("UPDATE schedules SET enabled = false")

    def settled() -> bool:
        # A crashed run waits for a minute, which is too long for a test.
        world.conn.execute(
            "UPDATE outbox SET available_at = reckoner_now() WHERE topic = 'job' AND lease IS NULL"
        )
        return bool(world.ask(_LIVE) == 0)

    until("no run stays", settled)
    check_ticks(world)
    failed = world.conn.execute(
        "SELECT worker, attempt, error FROM job_run WHERE status <> 'ok'"
    ).fetchall()
    assert failed == []
    assert world.ask("SELECT count(*) FROM job_run WHERE attempt > 1") > 0  # a killed one's
    assert world.ask("SELECT count(*) FROM outbox WHERE topic = 'job'") == 0
    assert (
        world.ask(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM outbox_history WHERE topic = 'job' GROUP BY key) h"
        )
        == 1
    )
    ticks = world.ask("SELECT count(*) FROM schedule_ticks")
    runs = world.ask("SELECT count(*) FROM job_run")
    tell(f"{ticks=} {runs=}")


def until_all_ticked(world: World, ticks: int) -> None:
    until("all ticked", lambda: world.ask(_TICKS_OF_ALL.format(ticks)) == _SCHEDULES)


def workers(world: World, names: set[str]) -> list[dict[str, Any]]:
    query = "SELECT pid FROM reckoner_workers WHERE name = ANY (%s)"
    return world.conn.execute(query, [sorted(names)]).fetchall()


@BOTH
def test_two_looks_at_once_write_a_tick_and_its_run_once(world: World, kept: bool) -> None:
    if not kept:
        take_out(world.conn, "ticks")
    make_schedules(world, 5, "every 1 day")
    world.conn.execute("SELECT * FROM schedules_tick()")
    world.conn.execute("UPDATE schedules SET next_tick_at = reckoner_now()")
    look = "SELECT count(*) FROM schedules_tick()"
    with connect(world.url) as one, connect(world.url) as two:
        with one.transaction():
            one.execute(look)
            other = threading.Thread(target=two.execute, args=[look])
            other.start()
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {}"
            until(
                "the other look is over, or waits for this one",
                lambda: not other.is_alive() or world.ask(blocked.format(two.info.backend_pid)) > 0,
            )
        other.join()
    with promised(kept):
        assert world.conn.execute(_UNPAIRED).fetchall() == []
    assert world.ask("SELECT count(*) FROM schedule_ticks") == 5
    assert world.ask("SELECT count(*) FROM job_run") == (5 if kept else 6)
