"""Shutdown: requested by a signal, forced by a second one, or due at a deadline.

`requested`: the worker claims nothing more and finishes what is in flight. `forced`, also set at
the end of WORKER_DRAIN_SECONDS: it waits for nothing any more.
"""

import math
import threading
import time
from collections.abc import Callable


class ShutdownRequested(Exception):
    """A shutdown was requested: events that are not finished go back to the outbox."""


class Shutdown:
    """The state of the shutdown, shared by all threads of a worker.

    tick: called while a thread waits; shows that the worker is alive, and checks for signals.
    deadline: a moment of time.monotonic() at which the worker ends by itself.
    """

    def __init__(self, tick: Callable[[], None] = lambda: None, deadline: float = math.inf) -> None:
        self.requested = threading.Event()
        self.forced = threading.Event()
        self.tick = tick
        self.deadline = deadline

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return self.deadline - time.monotonic()

    def is_due(self) -> bool:
        """Check for signals; True when the worker has to end now."""
        self.tick()
        return self.requested.is_set() or self.seconds_left <= 0

    def wait(self, seconds: float) -> None:
        """Sleep; raises ShutdownRequested when a shutdown is requested meanwhile."""
        if self.requested.wait(seconds):
            raise ShutdownRequested
