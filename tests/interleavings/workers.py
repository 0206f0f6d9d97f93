"""Workers of the project under the scheduler: `worker.process.Worker` as it wires itself.

What is the project's: the loop, claims, lanes, handlers, heartbeats, sweeps, quarantine, the doorbell
with its LISTEN connection, retries. What stands in for something: the sleep (a gate that a ring opens),
the lanes' queue (a gate that a batch opens), the pause between retries, and Python's monotonic clock.
"""

import logging
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest.mock import patch

import psycopg
import structlog

from market.settings import MarketSettings
from sql.descriptors import readable
from tests.interleavings.actors import Group, Killed, current
from tests.interleavings.scheduler import Clock, Scheduler
from tests.interleavings.world import World
from worker import process, retry, sweep, topics
from worker.listening import doorbell, idle_suspend, sleeper
from worker.listening.doorbell import Doorbell, Wake
from worker.queue import claimer
from worker.queue.claim_cursor import ClaimCursor
from worker.queue.claimer import Claimer
from worker.queue.lanes import Lane, LaneRunner
from worker.queue.outbox import Claim
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown

# Nothing but a ring or an event that is due ends a sleep of this length.
POLL_SECONDS = 50.0
LEASE_SECONDS = 60.0
_SETTINGS = WorkerSettings(
    worker_poll_seconds=POLL_SECONDS,
    worker_lease_seconds=LEASE_SECONDS,
    worker_prediction_concurrency=1,
    worker_ticker_concurrency=1,
    worker_daily_sync=False,
    worker_schedules=False,
)
_every_lane = topics.lanes


def _lanes(settings: WorkerSettings) -> tuple[Lane, ...]:
    """The lanes that scenes are about: each other one is a claim more in every turn."""
    return tuple(lane for lane in _every_lane(settings) if lane.topic in {"prediction", "ticker"})


_LIVE = "SELECT count(*) FROM outbox WHERE status <> 'dead'"
_MARKET = MarketSettings(backfill_days=5, raw_retention_days=0)


class GatedDoorbell(Doorbell):
    """The doorbell; its sleep is a gate that opens for a ring, a call, or when the time is over."""

    clock: Clock
    sleeps = 0.0  # seconds, while it sleeps

    def rung(self) -> bool:
        """Read what the server has sent. The round trip brings all that was committed before it."""
        if self._rung or self._conn is None:
            return self._rung
        try:
            self._conn.execute("SELECT 1")
        except psycopg.Error:
            return True  # it will find that out itself
        self._rung = self._read()
        return self._rung

    def sleep(self, seconds: float) -> Wake:
        """Wait for a reason to go on, then read it as the product does."""
        actor = current()
        if actor is None or actor.is_free:
            return super().sleep(seconds if actor is None else 0)
        woken = readable([self._wake_read], 0)
        until = self.clock.now + seconds
        self.sleeps = seconds
        actor.gate(
            f"sleeps {seconds:.3g} s",
            lambda: bool(
                woken or self.clock.now >= until or self.rung() or readable([self._wake_read], 0)
            ),
            timed=seconds if seconds < POLL_SECONDS else None,
        )
        self.sleeps = 0.0
        return super().sleep(0)

    def close_pipe(self) -> None:
        """Close what a process's end closes by itself."""
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)


class GatedQueue(queue.SimpleQueue[Sequence[Claim]]):
    """A lane's queue; taking a batch is a gate that opens when there is one."""

    def get(self, *args: Any, **kwargs: Any) -> Sequence[Claim]:
        actor = current()
        if actor is not None:
            actor.gate("waits for a batch", lambda: not self.empty())
        if (claims := super().get(*args, **kwargs)) == ():
            raise Killed  # the order is over
        return claims


class GatedLane(LaneRunner):
    """A lane whose threads wait at a gate."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batches = GatedQueue()

    def end(self) -> None:
        """Let its thread end."""
        self._batches.put(())


def _pause(_shutdown: Shutdown | None, tries: int) -> None:
    if actor := current():
        actor.gate("pauses before a retry", lambda: False, timed=0.1 * 2**tries)


def _each_until_done(count: int, action: Callable[[], object]) -> None:
    """So often, and each again after an error of the database, as the threads do between whose turns time goes."""
    for _ in range(count):
        for tries in range(5):
            try:
                action()
                break
            except psycopg.Error:
                _pause(None, tries)


@contextmanager
def stand_ins(clock: Clock) -> Iterator[None]:
    """Put the gates in while the body runs, and let Python's clock be this one."""
    with ExitStack() as stack:
        for module in (doorbell, sleeper, claimer, idle_suspend):
            stack.enter_context(patch.object(module, "time", clock))
        stack.enter_context(patch.object(retry, "pause", _pause))
        stack.enter_context(
            patch.object(claimer, "ClaimCursor", lambda: ClaimCursor(clock.monotonic))
        )
        stack.enter_context(patch.object(process, "Doorbell", GatedDoorbell))
        stack.enter_context(patch.object(process, "LaneRunner", GatedLane))
        stack.enter_context(patch.object(topics, "lanes", _lanes))
        yield


class GatedWorker(process.Worker):
    """The worker with its parts within reach of an order."""

    def __init__(
        self, world: World, group: Group, settings: WorkerSettings, *, listens: bool
    ) -> None:
        database = world.database(group.name)
        self.shutdown = Shutdown()
        url = database.url if listens else None
        super().__init__(database, settings, _MARKET, [world.provider], url, self.shutdown)
        self.claimer = Claimer(
            database,
            self.name,
            settings.worker_lease_seconds,
            self._lanes,
            self._in_flight,
            self._metrics,
        )
        self.loop = self._loop
        self.heartbeat = self._heartbeat
        self.doorbell = cast("GatedDoorbell", self._doorbell)
        self.lanes = {runner.lane.topic: cast("GatedLane", runner) for runner in self._lanes}


class OurWorker:
    """One process of ours. listens: it sleeps with LISTEN; otherwise it drains and ends."""

    def __init__(self, world: World, name: str, *, listens: bool = False) -> None:
        self.group = Group(name, is_ours=True)
        self.listens = listens
        self._database = world.database(name)
        self._worker = GatedWorker(world, self.group, _SETTINGS, listens=listens)
        self.name = self._worker.name
        self.group.ends.append(self._end)

    def _end(self) -> None:
        self._worker.shutdown.requested.set()
        self._worker.shutdown.forced.set()
        for lane in self._worker.lanes.values():
            lane.end()

    def listen(self, clock: Clock) -> None:
        """Hear itself over LISTEN, before the order begins."""
        self._worker.doorbell.clock = clock
        if self.listens:
            self._worker.doorbell.probe()

    @property
    def sleeps_for_a_ring(self) -> bool:
        """Whether it sleeps until somebody rings: no poll comes before."""
        bell = self._worker.doorbell
        return self.listens and bell.sleeps >= POLL_SECONDS and bell.mode == "notify"

    def cut(self) -> None:
        """End its LISTEN connection, as its process's end does."""
        self._worker.doorbell.close()

    def close(self) -> None:
        """Give its descriptors back, after its threads have ended."""
        self.cut()
        self._worker.doorbell.close_pipe()

    # What its threads do.

    def take_part(self, scheduler: Scheduler) -> None:
        """The main thread, and the one that fetches tickers."""
        scheduler.actor(self.group.name, self.group).start(self._worker.loop.run)
        ticker = scheduler.actor(f"{self.group.name}.ticker", self.group)
        ticker.start(self._worker.lanes["ticker"].run)

    def heartbeats(self, count: int) -> Callable[[], None]:
        """The heartbeat's thread, for so many."""
        return lambda: _each_until_done(count, self._worker.heartbeat.send)

    def sweeps(self, count: int) -> Callable[[], None]:
        """The sweep's thread, for so many."""
        return lambda: _each_until_done(count, lambda: sweep.once(self._database, _SETTINGS))

    # Parts of the loop alone, for scenes with fewer steps.

    def takeover(self) -> None:
        """A heartbeat, which ends leases that are over, and the events that crashed, one by one."""
        self._worker.heartbeat.send()
        while claim := self._worker.claimer.claim_crashed(list(self._worker.lanes)):
            self._work(claim.topic, [claim])

    def turn(self, topic: str, limit: int = 10) -> None:
        """Claim events of a topic and work on them in this thread, as the loop does for an inline lane."""
        self._work(topic, self._worker.claimer.claim(topic, limit))

    def claimed(self, topic: str, limit: int = 10) -> Callable[[], None]:
        """The same, with the claim made now, before the order begins."""
        claims = self._worker.claimer.claim(topic, limit)
        return lambda: self._work(topic, claims)

    def _work(self, topic: str, claims: Sequence[Claim]) -> None:
        runner = self._worker.lanes[topic]
        for first in range(0, len(claims), runner.lane.batch_size):
            runner.work_here(claims[first : first + runner.lane.batch_size])


@contextmanager
def quiet() -> Iterator[None]:
    """No log while the body runs."""
    before = structlog.get_config()
    pools = logging.getLogger("psycopg.pool")
    structlog.configure(processors=[_drop])
    pools.disabled = True  # it warns of each connection that a kill cut
    try:
        yield
    finally:
        pools.disabled = False
        structlog.configure(**before)


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


def drain(world: World, name: str = "clean") -> OurWorker | None:
    """Let a clean worker work until nothing is left but what is dead; None where nothing was."""
    if not world.count(_LIVE):
        return None
    worker = OurWorker(world, name)
    for _ in range(6):
        worker.takeover()
        before = -1
        while before != (before := world.count(_LIVE)):
            worker.turn("prediction")
            worker.turn("ticker")
        if not before:
            break
        world.jump(3600)
    return worker
