"""A stage: what a scene puts together for one order, in a few words."""

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

import psycopg

from tests.interleavings.actors import Act, Group, State
from tests.interleavings.scheduler import Scheduler
from tests.interleavings.workers import OurWorker
from tests.interleavings.world import MOMENT, World


def insert(assets: Sequence[str], word: str = "bullish") -> str:
    """A writer's statement for one prediction."""
    return (
        "INSERT INTO predictions (assets, market_impact, confidence, analysis_status, post_timestamp)"  # noqa: S608
        f" VALUES ('{_list(assets)}', '{_impact(assets, word)}', 0.5, 'completed', '{MOMENT}')"
    )


def update(number: int, assets: Sequence[str], word: str = "bearish") -> str:
    """A writer's statement that changes what a prediction names."""
    return (
        f"UPDATE predictions SET assets = '{_list(assets)}', market_impact = '{_impact(assets, word)}'"  # noqa: S608
        f" WHERE id = {number}"
    )


def _list(assets: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{each}"' for each in assets) + "]"


def _impact(assets: Sequence[str], word: str) -> str:
    return "{" + ", ".join(f'"{each}": "{word}"' for each in assets) + "}"


class Stage:
    """One order's cast. rng: of the order's seed, for what differs between orders of a scene.

    without: names that do not take part, to find out who is needed for a failure.
    """

    def __init__(
        self, world: World, scheduler: Scheduler, rng: random.Random, without: Collection[str] = ()
    ) -> None:
        self.world = world
        self.scheduler = scheduler
        self.rng = rng
        self.workers: list[OurWorker] = []
        self.may_sweep_find = False  # a trigger did not run, or a person's SQL went past it
        self._without = without

    def takes_part(self, name: str) -> bool:
        """Whether it was not left out."""
        return name not in self._without

    # The beginning, which is no step.

    def have(self, *statements: str) -> None:
        """Run statements before the order begins."""
        for statement in statements:
            self.world.watch.execute(statement.encode())

    # Ours.

    def worker(self, name: str, **settings: Any) -> OurWorker:
        """A worker; without a body it has no thread yet."""
        worker = OurWorker(self.world, name, **settings)
        worker.listen(self.scheduler.clock)
        self.workers.append(worker)
        return worker

    def run(self, worker: OurWorker) -> None:
        """Its main thread, and the one that fetches tickers."""
        if self.takes_part(worker.group.name):
            worker.take_part(self.scheduler)

    def thread(self, worker: OurWorker, body: Callable[[], object], name: str = "") -> None:
        """A thread of a worker: one of its parts."""
        name = f"{worker.group.name}.{name}" if name else worker.group.name
        if self.takes_part(name):
            self.scheduler.actor(name, worker.group).start(body)

    # Others.

    def plain(
        self, name: str, *statements: str, begun: Sequence[str] = (), is_writer: bool = False
    ) -> None:
        """Another program's statements, on a connection of its own. begun: those before the order."""
        if not self.takes_part(name):
            return
        conn = self.world.conn(name)
        group = Group(name, is_writer=is_writer)
        group.conns[conn.info.backend_pid] = conn
        for statement in begun:
            conn.execute(statement.encode())

        def body() -> None:
            for statement in statements:
                try:
                    conn.execute(statement.encode())
                except psycopg.errors.NoDataFound:
                    # An operator is told that the event is gone.
                    if conn.info.transaction_status:
                        conn.rollback()
                        return

        self.scheduler.actor(name, group).start(body)

    # Acts.

    def act(
        self, name: str, do: Callable[[], object], may: Callable[[], bool] = lambda: True
    ) -> None:
        """Something that happens once, before any step."""
        if self.takes_part(name):
            self.scheduler.acts.append(Act(name, do, may))

    def jump(self, seconds: float = 61.0, name: str = "clock:jump") -> None:
        """Time goes on at once."""

        def do() -> None:
            self.world.jump(seconds)
            self.scheduler.clock.now += seconds

        self.act(name, do)

    def kill(self, worker: OurWorker) -> None:
        """kill -9 of a worker: its connections end, and nothing of it goes on."""
        group = worker.group

        def do() -> None:
            group.is_dead = True
            self._cut(group)
            for each in self._actors(group):
                each.go()

        self.act(f"kill:{group.name}", do, lambda: self._is_between_statements(group))

    def lose(self, worker: OurWorker, when: str) -> None:
        """The connection of a worker's next statement breaks, before or after the server ran it."""
        group = worker.group

        def do() -> None:
            group.cut = when

        self.act(f"cut-{when}:{group.name}", do, lambda: self._is_between_statements(group))

    def _actors(self, group: Group) -> list[Any]:
        return [each for each in self.scheduler.actors if each.group is group]

    def _is_between_statements(self, group: Group) -> bool:
        actors = self._actors(group)
        states = {each.state for each in actors}
        if any(each.is_inside for each in actors):
            return False  # its server process would go on with the statement
        return not group.is_dead and State.READY in states and State.PARKED not in states

    def _cut(self, group: Group) -> None:
        for conn in group.conns.values():
            conn.pgconn.finish()
        for worker in self.workers:
            if worker.group is group:
                worker.cut()
        self.world.gone(group.conns)
