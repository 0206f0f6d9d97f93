"""Retries: waiting for a database that is away, and for nothing else.

Events in flight stay there meanwhile. Afterwards their leases decide which of them the worker still
owns. An action of events is retried without end only while a statement of our own fails too: else
the error belongs to the events, and whatever waits behind them would wait for ever.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from sql.away import is_away, is_lost, may_be_away, may_pass
from sql.database import Database, error_line, is_external
from sql.descriptors import is_short
from worker.shutdown import Shutdown, ShutdownRequested

log = structlog.get_logger()
T = TypeVar("T")

# How often an action may fail although the database answers, or answers again.
TRIES = 3
# Tries of an action after a shutdown was requested.
_TRIES_WHILE_ENDING = 3

# Why it has to be waited before an action is tried again; None where that is not the reason.
Reason = Callable[[Exception], str | None]

AWAY = "the database is away, waiting for it"
_SHORT = "the system has no descriptor left, waiting for one"


def away(database: Database) -> Reason:
    """Return the reason to wait that every action has: the database is away."""
    return lambda error: AWAY if is_away(database, error) else None


def until_available(
    shutdown: Shutdown, doing: str, action: Callable[[], T], reason: Reason, *, tries: int = TRIES
) -> T:
    """Run an action until the database is available; returns its result.

    Also retries while the system has no descriptor or thread left. doing: the action's name in the
    log. reason: asked after an error, and while it gives one, again after each pause. tries: how
    often the action may fail although there is no reason to wait, by an error that may pass at
    once, and how often it may fail again after each wait: an event that ends the server's process
    would else be tried for ever. Raises ShutdownRequested when the worker ends before the action
    succeeds, and every other error of the action.
    """
    failures = outages = pauses = 0
    said = ""
    while True:
        try:
            return action()
        except Exception as error:
            if is_short(error):
                said = _give_up_or_log(shutdown, doing, error, _SHORT, pauses, said)
                pauses += 1
                pause(shutdown, pauses)
                continue
            why = reason(error)
            if why is None:
                failures += 1
                if failures >= tries or not may_pass(error):
                    raise
                if is_lost(error):  # and back already: the probe waited for a new connection
                    said = _give_up_or_log(shutdown, doing, error, AWAY, pauses, said)
                    pauses += 1
                pause(shutdown, failures)
                continue
            outages += 1
            if outages > tries:
                raise
            while why is not None:
                said = _give_up_or_log(shutdown, doing, error, why, pauses, said)
                pauses += 1
                pause(shutdown, pauses)
                why = reason(error)


def until_no_error(
    shutdown: Shutdown,
    doing: str,
    action: Callable[[], T],
    note: Callable[[str, str | None], None],
) -> T:
    """Run an action until the database raises no error at all; returns its result.

    For what serves every event and none in particular, as a claim does: no event can be at fault.
    note: called with `doing` and the error in words, or None after a success.
    """
    pauses = 0
    said = ""
    while True:
        try:
            result = action()
        except Exception as error:
            if not is_external(error):
                raise
            why = _SHORT if is_short(error) else AWAY if may_be_away(error) else None
            said = _give_up_or_log(shutdown, doing, error, why, pauses, said)
            note(doing, error_line(error))
            pauses += 1
            pause(shutdown, pauses)
        else:
            note(doing, None)
            return result


def _give_up_or_log(
    shutdown: Shutdown, doing: str, error: Exception, why: str | None, pauses: int, said: str = ""
) -> str:
    """Raise ShutdownRequested, or log an error that differs from the one said last; returns it."""
    line = error_line(error)
    ending = shutdown.requested.is_set() and pauses > _TRIES_WHILE_ENDING
    if shutdown.forced.is_set() or ending or shutdown.seconds_left <= 0:
        raise ShutdownRequested from error
    if why is None:
        log.error("the queue returned an error, trying again", doing=doing, error=line)
    elif pauses == 0 or line != said:
        log.warning(why, doing=doing, error=line)
    return line


def pause(shutdown: Shutdown, tries: int) -> None:
    """Wait before trying the database again: 0.1 s doubling to 5 s, with jitter."""
    seconds = min(5.0, 0.1 * 2 ** min(tries, 10)) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
    end = time.monotonic() + min(seconds, max(0.0, shutdown.seconds_left))
    while not shutdown.requested.is_set() and time.monotonic() < end:
        shutdown.tick()
        shutdown.requested.wait(max(0.0, min(0.5, end - time.monotonic())))
