"""Retry until available: the one loop that waits for a database or a descriptor.

Events in flight stay there meanwhile. Afterwards their leases decide which of them the worker still
owns.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
import structlog

from sql.database import error_line, is_away, is_external
from worker.shutdown import Shutdown, ShutdownRequested

log = structlog.get_logger()
T = TypeVar("T")

# Tries of an action after a shutdown was requested.
_TRIES_WHILE_ENDING = 3


def until_available(
    shutdown: Shutdown, doing: str, action: Callable[[], T], *, any_error: bool = False
) -> T:
    """Run an action until the database is available; returns its result.

    Also retries while the system has no descriptor or thread left. doing: the action's name in the
    log. any_error: retry after every error of the database, because none of them can be an event's
    fault. Raises ShutdownRequested when the worker ends before the action succeeds, and every other
    error of the action.
    """
    tries, said = 0, ""
    while True:
        try:
            return action()
        except Exception as error:
            if not (is_away(error) or (any_error and is_external(error))):
                raise
            said = _give_up_or_log(shutdown, doing, error, tries, said)
            tries += 1
            pause(shutdown, tries)


def _give_up_or_log(shutdown: Shutdown, doing: str, error: Exception, tries: int, said: str) -> str:
    """Raise ShutdownRequested, or log an error that differs from the one said last; returns it."""
    line = error_line(error)
    ending = shutdown.requested.is_set() and tries > _TRIES_WHILE_ENDING
    if shutdown.forced.is_set() or ending or shutdown.seconds_left <= 0:
        raise ShutdownRequested from error
    if not is_away(error):
        log.error("the queue returned an error, trying again", doing=doing, error=line)
    elif line != said:
        log.warning(_reason(error), doing=doing, error=line)
    return line


def _reason(error: Exception) -> str:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "another program has locked a row, trying again"
    if isinstance(error, psycopg.Error):
        return "the database is away, waiting for it"
    return "the system has no descriptor left, waiting for one"


def pause(shutdown: Shutdown, tries: int) -> None:
    """Wait before trying the database again: 0.1 s doubling to 5 s, with jitter."""
    seconds = min(5.0, 0.1 * 2 ** min(tries, 10)) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
    end = time.monotonic() + min(seconds, max(0.0, shutdown.seconds_left))
    while not shutdown.requested.is_set() and time.monotonic() < end:
        shutdown.tick()
        shutdown.requested.wait(max(0.0, min(0.5, end - time.monotonic())))
