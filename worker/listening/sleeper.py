"""Sleeping: arms the doorbell, decides for how long, and polls for events that are due.

Retries and delays become due without a notification, so that a sleep ends when the next one is.
"""

import math
import time
from collections.abc import Callable

from worker.listening.doorbell import Doorbell, State
from worker.listening.idle_suspend import IdleSuspend
from worker.queue import outbox
from worker.queue.claimer import Claimer
from worker.shutdown import Shutdown

# How soon to claim again while a writer commits, or while an event's key is busy.
_BUSY_SECONDS = 0.02
_BUSY_KEY_SECONDS = 0.25
# Well below the time after which the heartbeat takes the loop for stuck.
_LONGEST_SECONDS = 60.0
# The server's clock may jump ahead, as at a failover: the time of the next tick is asked again.
_TICK_SECONDS = 300.0


class Sleeper:
    """The main thread's sleep between two turns."""

    def __init__(
        self,
        doorbell: Doorbell,
        claimer: Claimer,
        idle_suspend: IdleSuspend,
        shutdown: Shutdown,
        poll_seconds: float,
    ) -> None:
        self._doorbell = doorbell
        self._claimer = claimer
        self._idle_suspend = idle_suspend
        self._shutdown = shutdown
        self._poll_seconds = poll_seconds
        self._busy_since: float | None = None
        self._state: State | None = None  # of the last `arm`

    def arm(self, claim: Callable[[], bool]) -> State | None:
        """Arm the doorbell and claim once more; None when that claim found work.

        A row may have been committed between the last claim and the arming. A worker that was armed
        before its last claim needs no second one, and neither does one that was guarded: whoever
        guarded it and woke has claimed what no writer rang for. A busy one claims again anyway.
        A second claim at each turn would owe a full scan each time, and the loop would never rest.
        """
        was_armed, before = self._doorbell.armed, self._state
        state = self._state = self._doorbell.arm()
        is_new = not was_armed if state == "armed" else state == "guarded" and before != "guarded"
        if is_new and claim():
            self._doorbell.disarm()
            self._state = None
            return None
        if state != "busy":
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = time.monotonic()
        return state

    def sleep(self, due: float | None, state: State, tick: float | None = None) -> None:
        """Sleep until there is a reason to claim.

        due: seconds until the next event is due. tick: until the next tick of a schedule. A poll is
        the fallback for a lost notification: one query, whether any event is due.
        """
        tick_at = math.inf if tick is None else time.monotonic() + min(tick, _TICK_SECONDS)
        while True:
            seconds = self._seconds(due, state)
            wake = self._doorbell.sleep(max(0.0, min(seconds, tick_at - time.monotonic())))
            self._claimer.since_wake.woke(wake)
            if wake != "poll" or state != "armed" or self._idle_suspend.is_due:
                return
            if self._shutdown.is_due() or time.monotonic() >= tick_at:
                return
            state = self._doorbell.arm()
            if state != "armed" or self._claimer.seconds_to_full_scan() is not None:
                return
            # No full scan is due, so nothing lies before the cursor: query all waiting events.
            topics = self._claimer.topics
            due = self._doorbell.query(
                lambda conn, topics=topics: outbox.seconds_to_next(  # type: ignore[misc]
                    conn, {topic: {} for topic in topics}
                )
            )
            if due is not None and due <= 0:
                return

    def _seconds(self, due: float | None, state: State) -> float:
        seconds = self._poll_seconds
        if due is not None:
            seconds = min(seconds, max(due, _BUSY_KEY_SECONDS))
        if state == "busy":
            # A writer holds its lock until its transaction ends, and any role can hold one for hours.
            # So the wait grows with the age of the lock; otherwise this loop would spin.
            busy = time.monotonic() - (self._busy_since or time.monotonic())
            seconds = min(seconds, max(_BUSY_SECONDS, busy / 4))
        full_scan = self._claimer.seconds_to_full_scan()
        if full_scan is not None:
            seconds = min(seconds, full_scan)
        return max(0.0, min(seconds, _LONGEST_SECONDS, self._shutdown.seconds_left))
