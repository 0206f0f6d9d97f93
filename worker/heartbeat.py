"""The heartbeat: shows that the worker is alive, renews its leases, ends those of dead workers.

It is sent only while the main loop turns. When the loop hangs, its leases end, another worker
claims the events, and `worker_status` shows the worker as not alive.
"""

import contextlib
import datetime as dt
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from sql.database import Database
from worker import sweep
from worker.faults import Faults
from worker.listening.doorbell import Doorbell
from worker.queue.in_flight import InFlight
from worker.retry import until_no_error
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown, ShutdownRequested

# The longest that one turn of the loop may take: a batch's transaction, or a crashed event alone.
_STUCK_SECONDS = 300.0

log = structlog.get_logger()


class Heartbeat:
    """One worker's heartbeat, run in a thread of its own.

    topics: those that the worker claims. on_crashes: called with the number of crashed events
    found.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        name: str,
        doorbell: Doorbell | None,
        topics: Sequence[str],
        shutdown: Shutdown,
        on_crashes: Callable[[int], None],
        in_flight: InFlight,
        faults: Faults,
    ) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._doorbell = doorbell
        self._topics = list(topics)
        self._shutdown = shutdown
        self._on_crashes = on_crashes
        self._in_flight = in_flight
        self._faults = faults
        self._shown_fault: str | None = None
        self.quiet = threading.Lock()  # while it is locked, this thread sends no query
        self._ticked = time.monotonic()
        self._shown_mode = ""  # in worker_status; a change is shown at once

    def tick(self) -> None:
        """Record a turn of the main loop; the loop calls it."""
        self._ticked = time.monotonic()

    def stuck(self) -> str | None:
        """Return why the loop is not alive, or None."""
        seconds = time.monotonic() - self._ticked
        return f"the loop did not turn for {seconds:.0f} s" if seconds > _STUCK_SECONDS else None

    def run(self) -> None:
        """Send heartbeats until the shutdown is forced; retries while the database is away."""
        was_stuck = False
        next_at = 0.0
        while not self._shutdown.forced.is_set():
            if self._doorbell is not None and self._doorbell.echo_overdue:
                self._doorbell.wake()  # otherwise the main thread would sleep on without notifications
            if self.stuck():
                if not was_stuck:
                    log.error("main loop is stuck, heartbeat withheld", seconds=_STUCK_SECONDS)
                was_stuck = True
            elif (
                time.monotonic() >= next_at
                or self._mode != self._shown_mode
                or self._faults.text != self._shown_fault
            ):
                was_stuck = False
                next_at = time.monotonic() + self._settings.heartbeat_seconds
                with contextlib.suppress(
                    ShutdownRequested
                ):  # heartbeats end only when the shutdown is forced
                    until_no_error(
                        self._shutdown,
                        "sending a heartbeat",
                        self._send_unless_quiet,
                        self._faults.note,
                    )
            self._shutdown.forced.wait(min(1.0, self._settings.heartbeat_seconds))

    @property
    def _mode(self) -> str:
        return self._doorbell.mode if self._doorbell else "polling"

    def _send_unless_quiet(self) -> None:
        with self.quiet:
            if not self.stuck():
                self.send()

    def _leases_to_renew(self) -> list[int] | None:
        """Return the leases in flight; None renews all of this worker's.

        None while a claim is unconfirmed, and during shutdown: the lanes' unstarted events are
        handed back and must not expire before.
        """
        if self._shutdown.requested.is_set() or not self._in_flight.is_certain:
            return None
        return self._in_flight.leases

    def send(self) -> None:
        """Send one heartbeat; ends leases whose time is over, and logs their events."""
        bell, mode = self._doorbell, self._mode
        expected = bell.echo_expected() if bell else contextlib.nullcontext()
        with expected, self._database.transaction(seconds=10) as conn:
            ended = conn.execute(
                "SELECT * FROM worker_heartbeat(p_name => %s, p_host => %s, p_pid => %s,"
                " p_mode => %s, p_heard_ago => %s, p_lease_seconds => %s, p_channel => %s,"
                " p_clock => %s, p_exports => %s, p_max_crashes => %s, p_leases => %s, p_topics => %s)",
                [
                    self._name,
                    socket.gethostname(),
                    os.getpid(),
                    mode,
                    bell.echo_seconds_ago if bell else None,
                    self._settings.worker_lease_seconds,
                    bell.channel if bell else None,
                    dt.datetime.now(dt.UTC),
                    bool(self._settings.worker_metrics_port),
                    self._settings.worker_max_crashes,
                    self._leases_to_renew(),
                    self._topics,
                ],
            ).fetchall()
        self._shown_mode = mode
        sweep.log_crashed(ended)
        if ended:
            self._on_crashes(len(ended))
        self._show_fault()

    def _show_fault(self) -> None:
        """Write what the worker cannot do into its row, when that changed."""
        fault = self._faults.text
        if fault != self._shown_fault:
            with self._database.transaction(seconds=10) as conn:
                conn.execute("SELECT worker_fault(%s, %s)", [self._name, fault])
            self._shown_fault = fault
