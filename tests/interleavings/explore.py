"""Running orders of a scene, and telling of one that fails in its shortest form."""

import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.interleavings import ledger, orders, workers
from tests.interleavings.inside import Gates, put_in
from tests.interleavings.invariants import Invariants
from tests.interleavings.scenes import SCENES
from tests.interleavings.scheduler import Choose, Scheduler, Step, Violation
from tests.interleavings.stage import Stage
from tests.interleavings.statements import gated
from tests.interleavings.workers import drain, quiet, stand_ins
from tests.interleavings.world import World


@dataclass
class Ran:
    """One order that was run. seed: of what differs between orders of the scene."""

    scene: str
    seed: str
    order: list[str]
    steps: list[Step] = field(default_factory=list)
    violation: Violation | None = None
    without: tuple[str, ...] = ()
    options: str = ""  # of the command

    def __str__(self) -> str:
        lines = [f"{self.scene}, seed {self.seed}: {self.violation or 'all holds'}"]
        for number, step in enumerate(self.steps, 1):
            parked = f"   (parked: {', '.join(step.parked)})" if step.parked else ""
            lines.append(f"{number:4}  {step.name:14} {step.label}{parked}")
        lines.append(self.command())
        return "\n".join(lines)

    def command(self) -> str:
        """The command that runs it again."""
        left_out = "".join(f" --left-out {name}" for name in self.without)
        return (
            f"./dev explore --pair {self.scene} --seed {self.seed}"
            f' --order "{orders.written(self.order)}"{left_out}{self.options}'
        )


class Explorer:
    """Orders on one world, one after the other. inside: with gates within SQL functions too.

    without: the safeguard that the caller took out; for the command that is printed.
    """

    def __init__(self, world: World, *, inside: bool = False, without: str | None = None) -> None:
        self._world = world
        self._options = " --inside" * inside + (f" --without {without}" if without else "")
        self._gates = Gates(world.watch) if inside else None
        if inside:
            put_in(world.watch)
        self._invariants = Invariants(world)
        self.count = 0

    def random_order(self, scene: str, seed: str) -> Ran:
        """One random order; the same for the same seed."""
        return self.run(scene, seed, orders.any_kind(f"order {seed}"))

    def all_orders(self, scene: str) -> Iterator[Ran]:
        """All orders that there are of a scene."""
        every = orders.All()
        yield self.run(scene, "all", every.choose)
        while every.next():
            yield self.run(scene, "all", every.choose)

    def given_order(
        self, scene: str, seed: str, order: Sequence[str], without: Collection[str] = ()
    ) -> Ran:
        """An order that is given, as far as it is possible."""
        return self.run(scene, seed, orders.given(order), without)

    def shortest(self, failed: Ran, seconds: float = 60.0) -> Ran:
        """The shortest order that fails in the same way, with as few who take part as it needs."""
        assert failed.violation is not None
        kind = failed.violation.kind
        best, until = failed, time.monotonic() + seconds

        def fails(order: Sequence[str], without: Collection[str]) -> bool:
            nonlocal best
            if time.monotonic() > until:
                return False
            ran = self.given_order(failed.scene, failed.seed, order, without)
            if ran.violation is None or ran.violation.kind != kind:
                return False
            best = ran
            return True

        without: tuple[str, ...] = ()
        for name in sorted(set(failed.order), reverse=True):
            fewer = [each for each in failed.order if each != name and each not in without]
            if fails(fewer, (*without, name)):
                without = (*without, name)
        order = [each for each in failed.order if each not in without]
        short = orders.shortest(order, lambda tried: fails(tried, without))
        fails(short, without)
        best.order = short
        return best

    def run(self, scene: str, seed: str, choose: Choose, without: Collection[str] = ()) -> Ran:
        """Run one order, then let a clean worker drain, and check everything."""
        self.count += 1
        world = self._world
        world.reset()
        scheduler = Scheduler(world.watch, choose, self._gates)
        ran = Ran(
            scene,
            seed,
            scheduler.order,
            scheduler.steps,
            without=tuple(without),
            options=self._options,
        )
        with _scene_put_up(scheduler):
            rng = random.Random(seed)  # noqa: S311 - reproducible, no secret
            scheduler.clock.tick = rng.choice([0.0, 0.0, 0.002])
            stage = Stage(world, scheduler, rng, without)
            try:
                SCENES[scene](stage)
                scheduler.run()
                self._invariants.nobody_sleeps_over_work(
                    [each for each in stage.workers if not each.group.is_dead]
                )
                scheduler.finish()
                self._end(stage)
                self._check(stage)
            except Violation as violation:
                ran.violation = violation
                scheduler.abort()
            finally:
                self._clear(stage)
        return ran

    def _end(self, stage: Stage) -> None:
        """What people set aside in the order they take back."""
        self._world.watch.execute("SELECT outbox_requeue_dead()")
        assert stage.world is self._world

    def _check(self, stage: Stage) -> None:
        if clean := drain(self._world):
            stage.workers.append(clean)
        self._world.refill()
        names = {each.name: each.group.name for each in stage.workers}
        ledger.check(self._world.watch, names)
        self._invariants.events()
        self._invariants.drained()
        self._invariants.outcomes(self._cancelled())
        self._invariants.sweep_finds_nothing()

    def _cancelled(self) -> set[str]:
        rows = self._world.rows(
            "SELECT key FROM outbox_history WHERE topic = 'prediction' AND verdict = 'cancelled'"
            " AND result ->> 'reason' = 'wrong'"
        )
        return {row["key"] for row in rows}

    def _clear(self, stage: Stage) -> None:
        """Close what an order leaves: cut connections are made anew, and transactions end."""
        cut = {each.group.name for each in stage.scheduler.actors if each.group.is_dead}
        cut |= {
            each.group.name
            for each in stage.scheduler.actors
            if any(conn.closed for conn in each.group.conns.values())
        }
        self._world.spoiled(cut)
        for worker in stage.workers:
            worker.close()


@contextmanager
def _scene_put_up(scheduler: Scheduler) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(stand_ins(scheduler.clock))
        stack.enter_context(gated())
        stack.enter_context(quiet())
        yield


__all__ = ["Explorer", "Ran", "workers"]
