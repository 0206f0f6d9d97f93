"""Under load: a migration, a SIGTERM, a worker whose clock is off, workers killed all the time."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.world import TICKERS, World, tell
from tests.support.cli import command
from tests.support.db import value
from tests.support.hanging import HangingTicker
from tests.support.market import bars, insert_prediction
from tests.support.process import LASTING, ROOT, WorkerProcess
from tests.support.queue import until_processing
from tests.support.waiting import until

_DRAIN_SECONDS = 3.0
_LEASE_SECONDS = 10.0
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def test_migrating_under_load_loses_nothing_and_blocks_nobody_for_long(world: World) -> None:
    # Their sweep looks at the schema; these sweep once, before the migration.
    workers = [start_swept(world) for _ in range(2)]
    writer = world.writer()
    with writer.working():
        for _ in range(3):
            writer.until_more(20)
            # As if every function had changed, and one trigger were gone.
            world.conn.execute("DELETE FROM reckoner_schema WHERE name LIKE 'functions/%'")
            world.conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_updated")
            result = command(world.url, "worker", "migrate", "--json")
            assert (result.returncode, result.stderr) == (0, ""), result
            assert "functions/31_outbox_claim.sql" in result.stdout
        writer.until_more(20)
    assert [worker.process.poll() for worker in workers] == [None, None]
    # Changes of predictions that no trigger told of, because it was away on purpose.
    missed = world.conn.execute("SELECT id FROM predictions WHERE analysis_status = 'completed'")
    for row in missed.fetchall():
        world.conn.execute("SELECT outbox_requeue_prediction(%s)", [row["id"]])
    assert world.ask(_DEADLOCKS) == 0
    assert writer.interrupted == 0
    world.check(writer)


def start_swept(world: World) -> WorkerProcess:
    """A worker whose only sweep is over; it says so because there was something to find."""
    world.conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    insert_prediction(world.conn, [TICKERS[0]])
    world.conn.execute("ALTER TABLE predictions ENABLE TRIGGER predictions_inserted")
    worker = world.start(WORKER_SWEEP_SECONDS="86400")
    worker.wait_for("swept", 60, forgotten=1)
    return worker.ready()


def test_sigterm_under_load_hands_everything_back_in_time(world: World, tmp_path: Path) -> None:
    slow = HangingTicker(world.bars)
    # No lease ends in time: what is not handed back would be missed below.
    [worker] = world.start_ready(1, **LASTING, WORKER_DRAIN_SECONDS=str(_DRAIN_SECONDS))
    writer = world.writer(operator=False)
    with writer.working():
        insert_prediction(world.conn, ["SLOW"], {"SLOW": "bullish"})
        until_processing(world.conn, "SLOW")
        slow.until_asked()
        writer.until_more(20)
        began = time.monotonic()
        assert worker.stop() == 0
        seconds = time.monotonic() - began
        tell(f"SIGTERM: gone after {seconds:.1f} s of {_DRAIN_SECONDS:.0f}")
        assert seconds < _DRAIN_SECONDS + 12  # handing back, the interpreter's own end
        assert world.ask("SELECT count(*) FROM outbox WHERE status = 'processing'") == 0
        assert world.ask("SELECT count(*) FROM reckoner_workers") == 0
        writer.until_more(10)
    assert worker.wait_for("worker stopped")["handed_back"] >= 1
    slow.replace(bars(world.conn, tmp_path, "SLOW"))
    world.start_ready(2, **LASTING)
    world.check(writer)
    assert value(world.conn, "SELECT max(crashes) FROM outbox_history") == 0


_SHIFT = """
import datetime, time
_off, _time, _real = {seconds}, time.time, datetime.datetime

class _Kind(type):
    def __instancecheck__(cls, thing):
        return isinstance(thing, _real)

class _Shifted(_real, metaclass=_Kind):
    @classmethod
    def now(cls, tz=None):
        return _real.now(tz) + datetime.timedelta(seconds=_off)

time.time = lambda: _time() + _off
datetime.datetime = _Shifted
"""


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_worker_whose_clock_is_an_hour_off_changes_nothing(
    world: World, tmp_path: Path, seconds: int
) -> None:
    # Python imports one module of this name: ours, and the tests' other one with it.
    hooks = (ROOT / "tests" / "hooks" / "sitecustomize.py").read_text()
    (tmp_path / "sitecustomize.py").write_text(_SHIFT.format(seconds=seconds) + hooks)
    # Long enough for a worker that stands still for a few seconds, under the other one's eyes.
    lease = {"WORKER_LEASE_SECONDS": str(_LEASE_SECONDS)}
    wrong = world.start(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", **lease).ready()
    slow = HangingTicker(world.bars)
    insert_prediction(world.conn, ["SLOW"], {"SLOW": "bullish"})
    held = until_processing(world.conn, "SLOW")
    slow.until_asked()
    slow.replace(bars(world.conn, tmp_path, "SLOW"))
    [right] = world.start_ready(1, **lease)
    # No operator beside it: he may re-drive the very event that is held here.
    writer = world.writer(operator=False)
    with writer.working():
        writer.until_more(60)
        # What it holds stays its own, renewed by the database's clock.
        renewed = (
            "SELECT extract(epoch FROM leased_until - now())::float8 FROM outbox WHERE id = %s"
        )
        until(
            "a lease is over",
            lambda: value(world.conn, "SELECT now() > %s", [held["leased_until"]]),
            60,
        )
        assert 0 < value(world.conn, renewed, [held["id"]]) <= _LEASE_SECONDS
    assert right.saw("lease ended without a verdict") is None
    slow.answer((world.bars / "SLOW.csv").read_text())
    world.settle()
    state, message = world.check_health()["clocks"]
    assert state == "warn"
    assert "only its log shows it" in message
    skew = value(
        world.conn,
        "SELECT clock_skew FROM reckoner_workers WHERE pid = %s",
        [wrong.process.pid],
    )
    assert skew == pytest.approx(seconds, abs=5)
    world.check(writer)
    assert value(world.conn, "SELECT max(crashes) FROM outbox_history") == 0


def test_workers_that_are_killed_all_the_time_lose_nothing(world: World) -> None:
    # Small batches, so that a kill finds events in hand.
    settings = {"WORKER_BATCH_SIZE": "10", "WORKER_MAX_CRASHES": "50"}
    workers = world.start_ready(2, **settings)
    writer = world.writer()
    rounds, with_work = 6, 0
    with writer.working():
        for _ in range(rounds):
            victim = until(
                "a worker holds events",
                lambda: next((w for w in workers if _stopped_with_work(world, w)), None),
                60,
            )
            victim.kill()
            with_work += bool(_holds(world, victim.process.pid))
            workers.remove(victim)
            workers.append(world.start(**settings))
    tell(f"{with_work} of {rounds} kills found events in hand")
    assert with_work >= rounds // 3, "the kills hit workers with nothing in hand"
    world.check(writer)
    done = world.conn.execute("SELECT DISTINCT key FROM outbox_history WHERE topic = 'ticker'")
    assert {row["key"] for row in done} >= set(TICKERS)


def _stopped_with_work(world: World, worker: WorkerProcess) -> bool:
    """Whether a worker holds events; then it is stopped, so that it still does when it is killed."""
    if not _holds(world, worker.process.pid):
        return False
    worker.signal(signal.SIGSTOP)
    if _holds(world, worker.process.pid):
        return True
    worker.signal(signal.SIGCONT)
    return False


def _holds(world: World, pid: int) -> int:
    query = "SELECT count(*) FROM outbox WHERE split_part(leased_by, ':', 2) = %s"
    return int(value(world.conn, query, [str(pid)]))
