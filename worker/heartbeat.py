"""The heartbeat: says that the worker lives, renews its leases, ends those of the dead.

It beats only as long as the main loop turns. A loop that hangs lets its leases end, so that
another worker takes over, and shows as not alive.
"""

import contextlib
import datetime as dt
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

import psycopg
import structlog

from sql.database import Database, error_line
from worker import sweep
from worker.listening.doorbell import Doorbell
from worker.settings import WorkerSettings

# The longest that one turn of the loop may take: a batch's transaction, or a suspect's fetch.
_STUCK_SECONDS = 300.0

log = structlog.get_logger()


class Pulse:
    """One worker's heartbeat, run in a thread of its own.

    held: the leases to renew, None for all that are this worker's.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        name: str,
        doorbell: Doorbell | None,
        on_crashes: Callable[[int], None],
        held: Callable[[], Sequence[int] | None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._doorbell = doorbell
        self._on_crashes = on_crashes
        self._held = held
        self.quiet = threading.Lock()  # whoever holds it keeps this thread off the database
        self._ticked = time.monotonic()
        self._told = ""  # the mode that worker_status shows; a change is told at once

    def tick(self) -> None:
        """Called by the main loop at every turn."""
        self._ticked = time.monotonic()

    def stuck(self) -> str | None:
        """Why the loop cannot be called alive, or None."""
        seconds = time.monotonic() - self._ticked
        return f"the loop did not turn for {seconds:.0f} s" if seconds > _STUCK_SECONDS else None

    def run(self, stop: threading.Event) -> None:
        """Beat until stopped; a database that is away is waited for."""
        away = stuck = False
        next_beat = 0.0
        while not stop.is_set():
            now = time.monotonic()
            if self._doorbell is not None and self._doorbell.overdue:
                self._doorbell.wake()  # a sleeping main thread must learn that it is deaf
            if self.stuck():
                if not stuck:
                    log.error("main loop is stuck, heartbeat withheld", seconds=_STUCK_SECONDS)
                stuck = True
            elif now >= next_beat or self._mode != self._told:
                stuck = False
                try:
                    with self.quiet:
                        self.beat()
                    away = False
                    next_beat = now + self._settings.beat_seconds
                except psycopg.Error as error:
                    if not away:
                        log.warning("no heartbeat, the database is away", error=error_line(error))
                    away = True
            stop.wait(min(1.0, self._settings.beat_seconds))

    @property
    def _mode(self) -> str:
        return self._doorbell.mode if self._doorbell else "polling"

    def beat(self) -> None:
        """One heartbeat; ends leases that are over and logs whose they were."""
        bell, mode = self._doorbell, self._mode
        lease = self._settings.worker_lease_seconds
        beating = bell.beating() if bell else contextlib.nullcontext()
        with beating, self._database.transaction(seconds=10) as conn:
            ended = conn.execute(
                "SELECT * FROM worker_beat(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    self._name,
                    socket.gethostname(),
                    os.getpid(),
                    mode,
                    bell.heard_seconds_ago if bell else None,
                    lease,
                    bell.channel if bell else None,
                    dt.datetime.now(dt.UTC),
                    bool(self._settings.worker_metrics_port),
                    self._settings.worker_max_crashes,
                    self._held(),
                ],
            ).fetchall()
        self._told = mode
        sweep.tell_ended(ended)
        if ended:
            self._on_crashes(len(ended))
