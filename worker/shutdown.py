"""How a worker ends: asked to (requested), told to at once (forced), or because its time is up.

A signal sets `requested`: nothing more is claimed, and what is in flight is finished. A second one,
or the end of WORKER_DRAIN_SECONDS, sets `forced`: nothing is waited for any more.
"""

import math
import threading
import time
from collections.abc import Callable


class ShutdownRequested(Exception):
    """The worker is to end: what is not finished goes back to the outbox."""


class Shutdown:
    """The state of ending, shared by all threads of a worker.

    tick: called while a thread waits; reports that the worker is alive and looks for signals.
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
        """Look for signals, and return whether the worker is to end now."""
        self.tick()
        return self.requested.is_set() or self.seconds_left <= 0

    def wait(self, seconds: float) -> None:
        """Sleep; raises ShutdownRequested when the worker is to end meanwhile."""
        if self.requested.wait(seconds):
            raise ShutdownRequested
