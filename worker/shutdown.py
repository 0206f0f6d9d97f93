"""How the process ends, and how it waits: patiently, but never past its end.

`stop` means no new claims, `abandon` no more waiting. A database that is away is waited for
with everything in hand; the leases tell afterwards what is still ours.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
import structlog

from sql.database import error_line, is_away

log = structlog.get_logger()
T = TypeVar("T")


class StoppingError(Exception):
    """The worker stops: what is not finished goes back to the outbox."""


class Patience:
    """What all threads of a worker share about waiting and stopping.

    tick: called while waiting for the database: the worker is alive, and may be told to stop.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        self.stop = threading.Event()
        self.abandon = threading.Event()
        self.tick = tick

    def wait(self, seconds: float) -> None:
        """Sleep; raises StoppingError when the worker stops meanwhile."""
        if self.stop.wait(seconds):
            raise StoppingError

    def pause(self, tries: int) -> None:
        """Sleep before trying the database again: 0.1 s doubling to 5 s, with jitter."""
        seconds = min(5.0, 0.1 * 2 ** min(tries, 10)) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        end = time.monotonic() + seconds
        while not self.stop.is_set() and time.monotonic() < end:
            self.tick()
            self.stop.wait(max(0.0, min(0.5, end - time.monotonic())))

    def insist(self, doing: str, action: Callable[[], T]) -> T:
        """Do something as often as it takes while the database is away.

        Raises StoppingError when the worker stops and gives up waiting; every other error of
        `action` as it is.
        """
        tries = 0
        while True:
            try:
                return action()
            except psycopg.Error as error:
                if not is_away(error):
                    raise
                if self.abandon.is_set() or (self.stop.is_set() and tries > 3):
                    raise StoppingError from error
                if tries == 0:
                    log.warning(
                        "another program holds a row, trying again"
                        if isinstance(error, psycopg.errors.LockNotAvailable)
                        else "the database is away, waiting for it",
                        doing=doing,
                        error=error_line(error),
                    )
                tries += 1
                self.pause(tries)
