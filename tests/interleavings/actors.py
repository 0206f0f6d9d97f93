"""Actors: threads that take their turns from the scheduler, and acts that it does itself.

An actor stops at gates. It goes on when the scheduler gives it the turn, and runs until the next gate,
its end, or a lock for which the server makes it wait.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import psycopg

ALWAYS: Callable[[], bool] = lambda: True  # noqa: E731 - a constant

_local = threading.local()


class State(Enum):
    """What the scheduler knows of an actor."""

    RUNNING = auto()
    READY = auto()  # at a gate
    PARKED = auto()  # its statement waits for a lock
    ENDED = auto()


class Killed(BaseException):
    """The actor's process was killed: nothing of it goes on."""


@dataclass(eq=False)
class Group:
    """The actors of one process, and its connections; it dies as a whole.

    is_ours: the project's own code. is_writer: no statement of it may fail or wait for ours.
    cut: the next statement's connection breaks, `before` or `after` the server ran it.
    """

    name: str
    is_ours: bool = False
    is_writer: bool = False
    cut: str | None = None
    is_dead: bool = False
    conns: dict[int, psycopg.Connection[Any]] = field(default_factory=dict)
    users: dict[int, "Actor"] = field(default_factory=dict)  # of its connections, the last ones
    only_reads: dict[int, bool] = field(default_factory=dict)  # of a connection's transaction
    ends: list[Callable[[], None]] = field(default_factory=list)  # what wakes it at the order's end


class Actor:
    """One thread, stopped at its gates. arrived: tells the scheduler of each."""

    def __init__(self, name: str, group: Group, arrived: Callable[[], None]) -> None:
        self.name = name
        self.group = group
        self.state = State.RUNNING
        self.label = "begin"  # of the gate at which it stands
        self.may: Callable[[], bool] = ALWAYS
        self.timed: float | None = None  # the seconds after which it goes on by itself
        self.pid = 0  # of the backend that runs its statement
        self.blockers: list[int] = []
        self.error: BaseException | None = None
        self.is_inside = False  # at a gate within a function of the server
        self.is_free = False  # gates no longer stop it
        self.thread: threading.Thread | None = None
        self._arrived = arrived
        self._go = threading.Semaphore(0)
        self._lock = threading.Lock()  # of `state`, which its thread and the scheduler write

    def start(self, body: Callable[[], object]) -> None:
        """Run the body in a thread, up to its first gate."""

        def run() -> None:
            _local.actor = self
            try:
                body()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - reported as the actor's
                self.error = error
            self._rest(State.ENDED)

        self.thread = threading.Thread(target=run, name=self.name, daemon=True)
        self.thread.start()

    def gate(
        self, label: str, may: Callable[[], bool] = ALWAYS, timed: float | None = None
    ) -> None:
        """Wait for the turn. may: whether there is a reason to go on. timed: goes on after these seconds."""
        if self.group.is_dead:
            raise Killed
        if self.is_free:
            return
        self.label, self.may, self.timed = label, may, timed
        self._rest(State.READY)
        self._go.acquire()
        if self.group.is_dead:
            raise Killed

    def _rest(self, state: State) -> None:
        with self._lock:
            self.state = state
        self._arrived()

    def turn(self, before: State, after: State) -> bool:
        """Change its state, if it is still the one before."""
        with self._lock:
            if self.state is not before:
                return False
            self.state = after
            return True

    def go(self) -> None:
        """Give it the turn."""
        if self.turn(State.READY, State.RUNNING):
            self._go.release()

    def free(self) -> None:
        """Let it run to its end without gates."""
        self.is_free = True
        self.go()


@dataclass(eq=False)
class Act:
    """A step that the scheduler does itself: a kill, a jump of the clock. It comes once.

    may: whether it could come now.
    """

    name: str
    do: Callable[[], object]
    may: Callable[[], bool] = ALWAYS
    is_done: bool = False


def current() -> Actor | None:
    """The actor of this thread."""
    return getattr(_local, "actor", None)
