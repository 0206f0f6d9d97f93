"""Isolation: finds the events that make a batch fail, so that all others pass.

A batch that fails is split in halves until an event that fails is alone. Whatever passes is
committed on the way. Then the failures are recorded, each with an excuse where it may not be the
event's own fault:

- Another session holds a row that the event needs. Its process is named.
- The rehearsal, which does the same for no event, fails alike: a column, a function or a right is
  missing.
- Other events fail alike and none passes. The SQL function asks the history whether another
  worker saw one pass, because a fault of every event must not use up the attempts of all.

A failure with an excuse costs no attempt; the event is delayed, and tried alone again.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import psycopg
import structlog

from sql.away import is_locked
from sql.database import error_line
from worker.context import LOCK_SECONDS, Context
from worker.queue import outbox
from worker.queue.in_flight import InFlight
from worker.queue.outbox import Claim, Excuse
from worker.shutdown import ShutdownRequested

log = structlog.get_logger()
T = TypeVar("T")

Handle = Callable[[Context, Sequence[Claim]], None]

# A part of a batch that failed waits so long for another session's lock: each wait is the others' too.
_PART_LOCK_SECONDS = 0.1
# After so long the untried events of a batch are handed back, behind those that wait.
_SPLIT_SECONDS = 5.0
# When so many fail and none passes, every event is probably at fault: no more halves.
_ALL_FAIL = 3
_NO_EXCUSE: Excuse | None = None
# The most keys that are remembered as failing.
_REMEMBERED = 1_000


class Isolation:
    """Works on batches of one lane. handle: raises when it cannot process the events."""

    def __init__(self, topic: str, handle: Handle, context: Context, in_flight: InFlight) -> None:
        self._topic = topic
        self._handle = handle
        self._context = context
        self._in_flight = in_flight
        self._lock = threading.Lock()
        self._failing: dict[str, str] = {}  # the kind of error of each key since one passed

    def work(self, claims: Sequence[Claim]) -> None:
        """Process a batch; after an error split it, and record each event's failure."""
        error = self._try(self._context, claims)
        if error is None:
            self._passed()
        elif len(claims) == 1:
            self._conclude([(claims[0], error)], passed=False)
        else:
            log.warning(
                "a batch failed, trying its events alone",
                topic=self._topic,
                events=len(claims),
                error=error_line(error),
            )
            self._split(claims)

    def _try(self, context: Context, claims: Sequence[Claim]) -> BaseException | None:
        """Run the handler; returns its error."""
        try:
            self._handle(context, claims)
        except (ShutdownRequested, KeyboardInterrupt, SystemExit):
            raise
        # Not only Exception: otherwise a panic in an extension would end the lane.
        except BaseException as error:  # noqa: BLE001 - any fault of one event must not lose the others
            return error
        return None

    def _split(self, claims: Sequence[Claim]) -> None:
        """Process a batch in ever smaller parts: at most two transactions for each event."""
        alone = replace(self._context, tries=1, names_blockers=True)
        several = replace(alone, lock_seconds=_PART_LOCK_SECONDS, names_blockers=False)
        end = time.monotonic() + _SPLIT_SECONDS
        failures: list[tuple[Claim, BaseException]] = []
        passed = False
        parts = _pieces(claims, 2)
        while parts:
            self._context.shutdown.tick()
            if self._context.shutdown.requested.is_set():
                raise ShutdownRequested  # what is left is handed back at the shutdown
            if time.monotonic() > end and (passed or failures):
                self._hand_back([claim for part in parts for claim in part])
                break
            part = parts.pop(0)
            error = self._try(several if len(part) > 1 else alone, part)
            if error is None:
                passed = True
                self._passed()
            elif len(part) > 1:
                all_fail = not passed and len(failures) >= _ALL_FAIL
                parts[:0] = _pieces(part, len(part) if all_fail else 2)
            else:
                failures.append((part[0], error))
        self._conclude(failures, passed=passed)

    def _hand_back(self, claims: Sequence[Claim]) -> None:
        """Make untried events ready again, behind those that wait."""

        def hand_back() -> int:
            with self._context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
                return outbox.hand_back(conn, claims, [], 0)

        self._recorded("handing events back", hand_back, claims)

    def _passed(self) -> None:
        if self._failing:
            with self._lock:
                self._failing.clear()
        self._context.faults.note(f"{self._topic} events", None)

    # Failures.

    def _conclude(self, failures: Sequence[tuple[Claim, BaseException]], *, passed: bool) -> None:
        """Record failures of events that were alone. passed: another of their batch passed."""
        rehearsed: Exception | None = None
        if not passed and any(isinstance(error, psycopg.Error) for _, error in failures):
            rehearsed = self._context.rehearse()
        with self._lock:
            if not passed and len(self._failing) < _REMEMBERED:
                self._failing.update({claim.key: _kind(error) for claim, error in failures})
            failing = dict(self._failing)
        for claim, error in failures:
            kind, line, excuse = _kind(error), error_line(error), _NO_EXCUSE
            if is_locked(error):
                notes = getattr(error, "__notes__", [])  # who holds it
                self._fail(claim, "; ".join([*notes[:1], line]), "locked")
                continue
            if rehearsed is not None and kind == _kind(rehearsed):
                excuse = "common"
            elif any(key != claim.key and other == kind for key, other in failing.items()):
                excuse = "alike"
            if self._fail(claim, line, excuse) == "delayed":
                reason = f"the last {len(failing)} events failed, and none passed: {line}"
                self._context.faults.note(f"{self._topic} events", reason)

    def _fail(self, claim: Claim, line: str, excuse: Excuse | None) -> str | None:
        """Record a failure; returns the event's new status, None where it is not known."""

        def fail() -> str | None:
            with self._context.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
                return outbox.fail(conn, claim, line, self._context.max_attempts, excuse)

        recorded, status = self._recorded("recording a failure", fail, [claim])
        if not recorded:
            return None
        self._context.metrics.count_end(claim.topic, status or "lost")
        log.warning(
            "event failed" if status != "delayed" else "event delayed",
            id=claim.id,
            topic=claim.topic,
            key=claim.key,
            now=status or "lease lost",
            excuse=excuse,
            error=line,
        )
        return status

    def _recorded(
        self, doing: str, action: Callable[[], T], claims: Sequence[Claim]
    ) -> tuple[bool, T | None]:
        """Run an action that ends claims; one that fails leaves them to be handed back."""
        try:
            return True, self._context.retry(doing, action)
        except psycopg.Error as error:
            log.error("failed", doing=doing, ids=[c.id for c in claims], error=error_line(error))
            self._in_flight.remove(claims)
            self._in_flight.unconfirmed()  # the loop hands them back
            return False, None


def _pieces(claims: Sequence[Claim], count: int) -> list[Sequence[Claim]]:
    size = -(-len(claims) // count)
    return [claims[first : first + size] for first in range(0, len(claims), size)]


def _kind(error: BaseException) -> str:
    """What errors that are alike have in common: the SQLSTATE, or the class."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return error.sqlstate
    return type(error).__name__
