"""The scheduler: one statement at a time, and whose it is.

It gives one actor the turn and waits until everybody is at rest again: at a gate, at the end, or
parked, because the server says that its statement waits for a lock (pg_blocking_pids). What a step
lets go on is at its next gate before the next choice. So the order is the list of choices.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.interleavings.actors import ALWAYS, Act, Actor, Group, State
from tests.interleavings.inside import Gates
from tests.support.db import Conn

_LONGEST = 1000  # steps; an order that has more does not end
_HANGS_SECONDS = 30.0
# After this time without an answer, the server is asked whether a statement waits for a lock.
_LOOK_SECONDS = 0.004
# Times that everybody sleeps and time alone goes on, before the order is over.
_LULLS = 8

Choose = Callable[[Sequence[str], "str | None"], str]


class Violation(Exception):
    """Something that must hold does not. kind: what, in a word or two."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(frozen=True)
class Step:
    """One choice and what came of it."""

    name: str
    label: str
    parked: tuple[str, ...]


class Clock:
    """The time of the project's Python code; the database's is a row of reckoner_clock.

    tick: how far each look at it moves it. With 0 a claim takes no time, and so each is a full scan; with
    more the claim cursor is used.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick = 0.0

    def monotonic(self) -> float:
        """Seconds; stands for time.monotonic()."""
        self.now += self.tick
        return self.now


class Scheduler:
    """Runs one order. choose: who of those that may go on has the turn."""

    def __init__(self, watch: Conn, choose: Choose, gates: Gates | None = None) -> None:
        self._watch = watch
        self._gates = gates
        self._choose = choose
        self._arrivals = threading.Semaphore(0)
        self.clock = Clock()
        self.actors: list[Actor] = []
        self.acts: list[Act] = []
        self.steps: list[Step] = []
        self.order: list[str] = []
        self._lulls = 0

    def actor(self, name: str, group: Group) -> Actor:
        """A new actor; `start` it with its body."""
        actor = Actor(name, group, self._arrivals.release)
        self.actors.append(actor)
        return actor

    def run(self) -> None:
        """Take turns until nobody has a reason to go on; raises Violation."""
        self._settle()
        last: str | None = None
        while True:
            self._look_for_violations()
            able = [each for each in self.actors if each.state is State.READY and each.may()]
            if not able and not (able := self._lull()):
                if not any(each.state is State.PARKED for each in self.actors):
                    return
                self._await_timeout()
                continue
            acts = [act for act in self.acts if not act.is_done and act.may()]
            last = self._choose([each.name for each in able] + [act.name for act in acts], last)
            if len(self.order) >= _LONGEST:
                raise Violation("endless", f"no end after {_LONGEST} steps")
            self.order.append(last)
            by_name: dict[str, Actor | Act] = {each.name: each for each in able}
            by_name.update({act.name: act for act in acts})
            self._step(by_name[last])

    def _step(self, chosen: Actor | Act) -> None:
        if isinstance(chosen, Act):
            chosen.is_done = True
            text = chosen.name
            chosen.do()
        else:
            text = chosen.label
            self._go(chosen)
        self._settle()
        parked = tuple(each.name for each in self.actors if each.state is State.PARKED)
        self.steps.append(Step(chosen.name, text, parked))

    def _go(self, actor: Actor) -> None:
        if self._gates is None:
            actor.go()
        elif actor.is_inside:
            actor.is_inside = False
            actor.turn(State.READY, State.RUNNING)
            self._gates.pass_one(actor.pid)
        else:
            self._gates.hold(actor.pid)
            actor.go()

    def _lull(self) -> list[Actor]:
        """Everybody sleeps: let time go on for the one that sleeps the shortest."""
        timed = [
            (each.timed, n)
            for n, each in enumerate(self.actors)
            if each.state is State.READY and each.timed is not None
        ]
        if not timed or self._lulls >= _LULLS:
            return []
        self._lulls += 1
        seconds, number = min(timed)
        assert seconds is not None
        self.clock.now += seconds
        return [self.actors[number]]

    def _settle(self) -> None:
        """Wait until everybody is at rest."""
        deadline, patience = time.monotonic() + _HANGS_SECONDS, _LOOK_SECONDS
        while True:
            running = [each for each in self.actors if each.state is State.RUNNING]
            if running:
                if not self._arrivals.acquire(timeout=patience):
                    patience = min(2 * patience, 8 * _LOOK_SECONDS)
                    blockers = self._blockers(running)
                    for each in running:
                        if by := blockers.get(each.pid):
                            self._stop(each, by, State.RUNNING)
                    if time.monotonic() > deadline:
                        names = [f"{each.name} after {each.label}" for each in running]
                        raise RuntimeError(f"hangs outside of the database: {names}")
                continue
            parked = [each for each in self.actors if each.state is State.PARKED]
            if not parked:
                return
            blockers = self._blockers(parked)
            woken = False
            for each in parked:
                if by := blockers.get(each.pid):
                    self._stop(each, by, State.PARKED)
                else:
                    woken = True
                    each.turn(State.PARKED, State.RUNNING)
            if not woken:
                return

    def _stop(self, actor: Actor, blockers: list[int], before: State) -> None:
        """The server makes it wait: for a lock, or at a gate inside of a function."""
        if self._gates is not None and self._gates.pid in blockers:
            if actor.turn(before, State.READY):
                actor.is_inside, actor.may, actor.timed = True, ALWAYS, None
                actor.label = self._gates.label(actor.pid)
            return
        actor.blockers = blockers
        actor.turn(before, State.PARKED)

    def _blockers(self, actors: Sequence[Actor]) -> dict[int, list[int]]:
        rows = self._watch.execute(
            "SELECT pid, pg_blocking_pids(pid) AS by FROM unnest(%s::integer[]) AS pid",
            [[each.pid for each in actors]],
        )
        return {row["pid"]: row["by"] for row in rows}

    def _await_timeout(self) -> None:
        """All that could go on wait for locks: one of them gives up, or the server ends a deadlock."""
        deadline = time.monotonic() + _HANGS_SECONDS
        while all(each.state is not State.READY or not each.may() for each in self.actors):
            if not self._arrivals.acquire(timeout=0.05):
                self._settle()
                if not any(each.state is State.PARKED for each in self.actors):
                    return
            if time.monotonic() > deadline:
                raise RuntimeError("parked for ever")
        self._settle()

    def _look_for_violations(self) -> None:
        """Whoever failed, and who waits for whom."""
        users = {pid: user for each in self.actors for pid, user in each.group.users.items()}
        waits: dict[str, set[str]] = {}
        for each in self.actors:
            if each.error is not None:
                error, each.error = each.error, None
                kind = "writer failed" if each.group.is_writer else "actor failed"
                raise Violation(kind, f"{each.name} at {each.label}: {error!r}") from error
            if each.state is not State.PARKED:
                continue
            for other in (users[pid] for pid in each.blockers if pid in users):
                if each.group.is_writer and other.group.is_ours:
                    raise Violation("writer waits", f"{each.name} at {each.label} for {other.name}")
                # Its own, where a connection that was cut has not ended yet.
                if each.group.is_ours and other.group.is_ours and other is not each:
                    waits.setdefault(each.name, set()).add(other.name)
        for name in waits:
            if _reaches(waits, name, name):
                raise Violation("lock order", f"workers wait for each other: {waits}")

    def finish(self) -> None:
        """End every thread: at rest, they run on without gates."""
        if self._gates is not None:
            self._gates.open()
        for group in {each.group for each in self.actors}:
            for end in group.ends:
                end()
        for each in self.actors:
            each.free()
        self._join()

    def abort(self) -> None:
        """End every thread wherever it is, after a violation."""
        if self._gates is not None:
            self._gates.open()
        for each in self.actors:
            each.group.is_dead = True
        pids = [pid for each in self.actors for pid in each.group.conns]
        self._watch.execute(
            "SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) AS pid", [pids]
        )
        for each in self.actors:
            for end in each.group.ends:
                end()
            each.free()
        self._join()

    def _join(self) -> None:
        for each in self.actors:
            if each.thread is not None:
                each.thread.join(_HANGS_SECONDS)
                if each.thread.is_alive():
                    raise RuntimeError(f"{each.name} does not end, after {each.label}")


def _reaches(edges: dict[str, set[str]], start: str, end: str) -> bool:
    """Whether a walk along the edges leads from start to end."""
    seen: set[str] = set()
    front = set(edges.get(start, ()))
    while front:
        if end in front:
            return True
        seen |= front
        front = {to for each in front for to in edges.get(each, ())} - seen
    return False
