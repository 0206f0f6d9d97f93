"""Idle suspend: closes every connection while there is nothing to do (WORKER_IDLE=sleepy).

A database that scales to zero stays awake, and costs money, while any client sends queries. After a
few idle minutes the worker records until when it is away, closes every connection, and claims again
after WORKER_SLEEPY_SECONDS or when the next waiting event is due. No notification arrives
meanwhile, because the LISTEN connection is closed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from sql.database import Database
from worker.listening.doorbell import Doorbell
from worker.settings import WorkerSettings

log = structlog.get_logger()


class IdleSuspend:
    """One worker's idle suspends.

    quiet: locks taken during a suspend, so that no thread sends a query.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        name: str,
        doorbell: Doorbell,
        quiet: Sequence[threading.Lock],
    ) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._doorbell = doorbell
        self._quiet = quiet
        self._idle_since = time.monotonic()
        self.active = False  # then no thread may send a query

    def postpone(self) -> None:
        """Count the idle minutes from now; called when there was work."""
        self._idle_since = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the worker was idle for WORKER_SLEEPY_AFTER_SECONDS."""
        idle = time.monotonic() - self._idle_since
        return (
            self._settings.worker_idle == "sleepy"
            and idle >= self._settings.worker_sleepy_after_seconds
        )

    def seconds(self, due: float | None) -> float | None:
        """Return how many seconds to suspend, or None.

        due: seconds until the next event; None without one.
        """
        wanted = self._settings.worker_sleepy_seconds
        if due is None or due >= wanted:
            return wanted
        return due if due > self._settings.worker_sleepy_after_seconds else None

    def take(
        self,
        seconds: float,
        tick: Callable[[], bool],
        due: Callable[[], float | None],
    ) -> bool:
        """Close all connections and wait; False without a suspend.

        tick: called at least once a second; True ends the suspend. due: seconds until the next
        event, called again once no thread can write one.
        """
        with contextlib.ExitStack() as stack:
            for lock in self._quiet:
                if not lock.acquire(timeout=1):
                    return False  # a running sweep may write events
                stack.callback(lock.release)
            if (next_in := due()) is not None:
                if next_in <= 0:
                    return False
                seconds = min(seconds, next_in)
            with self._database.transaction(seconds=10) as conn:
                conn.execute("SELECT worker_suspend(%s, %s)", [self._name, seconds])
            log.info("idle, letting the database sleep", seconds=round(seconds, 1))
            self._doorbell.suspend()
            self._database.let_go()
            self.active = True
            try:
                end = time.monotonic() + seconds
                while not tick() and time.monotonic() < end:
                    self._doorbell.sleep(end - time.monotonic())
            finally:
                self.active = False
        log.info("idle suspend ended")
        return True
