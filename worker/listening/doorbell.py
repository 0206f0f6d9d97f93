"""The doorbell: LISTEN on a connection of its own, and whether notifications arrive there.

`sql/functions/20_doorbell.sql` argues why no wake-up is lost. This is the worker's side: arm
(take the armed lock), claim once more, wait; disarm when there is work.

LISTEN may deliver nothing without an error (a transaction pooler, a half-open connection). So the
mode is `polling` until the echo of the worker's own heartbeat, which another connection sends, has
arrived. It is `polling` again when an echo is overdue.

Only the main thread uses this class, except `wake`, `echo_expected` and the properties.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import psycopg
import structlog

from sql.database import Connection, Database, error_line
from sql.descriptors import readable

Mode = Literal["notify", "polling"]
Wake = Literal["ring", "call", "poll"]
State = Literal["armed", "guarded", "busy", "polling"]

RING = "reckoner"
# An echo that does not arrive within this time is overdue.
_ECHO_SECONDS = 2.0
# How often a polling worker claims, and how often it tries to listen again.
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 10.0

log = structlog.get_logger()


class Doorbell:
    """One worker's LISTEN connection. url: a direct one, not through a transaction pooler."""

    def __init__(self, database: Database, url: str) -> None:
        self.channel = f"{RING}_{secrets.token_hex(6)}"
        self._database = database
        self._url = url
        self._conn: Connection | None = None
        self._token = ""  # of the last attempt to listen
        self._armed = False
        self._rung = False  # a notification arrived and the loop has not claimed since
        self._mode: Mode = "polling"
        self._was_polling = False
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._sent_at: float | None = None  # the oldest heartbeat without an echo
        self._echo_at: float | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    @property
    def mode(self) -> Mode:
        """`notify` while this worker's echoes arrive, else `polling`."""
        return self._mode

    @property
    def echo_seconds_ago(self) -> float | None:
        """Seconds since the last echo arrived; None before the first."""
        return None if self._echo_at is None else time.monotonic() - self._echo_at

    @property
    def wake_fd(self) -> int:
        """A non-blocking descriptor; a byte written to it wakes the sleeper (for signals)."""
        return self._wake_write

    @property
    def armed(self) -> bool:
        """Whether this worker holds the lock that makes writers ring."""
        return self._armed

    @property
    def echo_overdue(self) -> bool:
        """Whether an expected echo did not arrive in time."""
        with self._lock:
            return self._sent_at is not None and time.monotonic() - self._sent_at > _ECHO_SECONDS

    def wake(self) -> None:
        """Wake the sleeping main thread from another thread."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    @contextmanager
    def echo_expected(self) -> Iterator[None]:
        """Expect an echo of the heartbeat that the body sends to `channel` and commits.

        The echo may arrive before the commit returns. The time counts from the end of the body: a
        heartbeat that waits for a connection or a lock is not an overdue echo.
        """
        with self._lock:
            echo_before = self._echo_at
        yield
        with self._lock:
            if self._sent_at is None and self._echo_at == echo_before:
                self._sent_at = time.monotonic()

    def probe(self) -> None:
        """Wait at the start until an echo arrives, or until it is overdue."""
        self._check_echo()
        while self._conn is not None and self._mode == "polling":
            self.sleep(0.1)
            self._check_echo()

    def arm(self) -> State:
        """Prepare to sleep; unless `polling`, claim once more before `sleep`."""
        self._check_echo()
        if self._conn is None or self._mode == "polling":
            return "polling"
        if self._armed:
            return "armed"
        try:
            with self._database.deadline(self._conn, 10):
                row = self._conn.execute("SELECT public.doorbell_arm() AS state").fetchone()
        except psycopg.Error as error:
            self._lose(error)
            return "polling"
        state: State = row["state"] if row else "busy"
        self._armed = state == "armed"
        return state

    def query(self, read: Callable[[Connection], float | None]) -> float | None:
        """Run one query on the LISTEN connection, without a transaction.

        Returns 0 without a connection, so that the caller claims.
        """
        if self._conn is None:
            return 0.0
        try:
            with self._database.deadline(self._conn, 10):
                return read(self._conn)
        except psycopg.Error as error:
            self._lose(error)
            return 0.0

    def disarm(self) -> None:
        """Release the armed lock, so that writers no longer ring."""
        if not self._armed or self._conn is None:
            return
        self._armed = False
        try:
            with self._database.deadline(self._conn, 10):
                self._conn.execute("SELECT public.doorbell_disarm()")
        except psycopg.Error as error:
            self._lose(error)

    def sleep(self, seconds: float) -> Wake:
        """Wait for a ring, a call or a poll; returns which.

        A ring is a notification, a call is `wake`, and a poll comes after `seconds`.
        """
        if self._mode == "polling":
            seconds = min(seconds, _POLL_SECONDS)
        if self._rung or (self._conn is not None and self._read()):
            # It arrived with the answer to another statement: select() would not see it.
            self._rung = False
            return "ring"
        sources = (
            [self._wake_read] if self._conn is None else [self._wake_read, self._conn.fileno()]
        )
        deadline = time.monotonic() + seconds
        while True:
            ready = readable(sources, deadline - time.monotonic())
            if self._wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                return "call"
            if not ready:
                return "poll"
            if self._read():
                return "ring"

    def suspend(self) -> None:
        """Close the connection until `arm` is called again."""
        self.close()
        with self._lock:
            self._sent_at = None
        self._armed = False
        self._mode = "polling"
        self._retry_at = 0.0

    def close(self) -> None:
        """Close the connection, which releases the armed lock."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _read(self) -> bool:
        """Read notifications; True when there is a reason to claim."""
        if self._conn is None:
            return True
        rung = False
        try:
            with self._database.deadline(self._conn, 10):
                for notification in self._conn.notifies(timeout=0):
                    if notification.channel != self.channel:
                        rung = True
                    elif self._mode == "notify" or notification.payload == self._token:
                        self._echo_arrived()
        except psycopg.Error as error:
            self._lose(error)
            return True
        return rung

    def _echo_arrived(self) -> None:
        with self._lock:
            self._sent_at = None
            self._echo_at = time.monotonic()
        if self._mode == "polling":
            self._mode = "notify"
            log.info("listening", mode="notify", recovered=self._was_polling)
            self._was_polling = False

    def _check_echo(self) -> None:
        if self._conn is not None and self._read():
            self._rung = True  # the next sleep returns at once
        if self._conn is not None and self.echo_overdue:
            self._lose(None)
        if self._conn is None and time.monotonic() >= self._retry_at:
            self._connect()

    def _connect(self) -> None:
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        with self._lock:
            self._sent_at = None
        try:
            self._conn = self._database.connect(self._url)
            with self._database.deadline(self._conn, 10):
                self._conn.execute(f"LISTEN {RING}")
                self._conn.execute(f"LISTEN {self.channel}")
            # Otherwise the mode would be `polling` until the next heartbeat. Only an echo with this
            # token counts: behind a pooler the answer to LISTEN may bring an earlier heartbeat, from
            # a server connection that still listens since an earlier attempt.
            self._token = secrets.token_hex(8)
            with self.echo_expected(), self._database.transaction(seconds=10) as conn:
                conn.execute("SELECT pg_notify(%s, %s)", [self.channel, self._token])
        except psycopg.Error as error:
            self._lose(error)

    def _lose(self, error: psycopg.Error | None) -> None:
        """Fall back to polling: the connection broke, or an echo is overdue."""
        self.close()
        self._armed = False
        first = self._mode == "notify" or not self._was_polling
        if self._mode == "notify":
            self._retry_at = 0.0  # the first retry is at once, the others at intervals
        self._mode = "polling"
        self._was_polling = True
        if not first:
            return
        if error is None:
            log.warning(
                "notifications do not arrive",
                mode="polling",
                reason="echo overdue",
                remedy="LISTEN_DATABASE_URL must be a direct connection, not a transaction pooler",
            )
        else:
            log.warning("notifications do not arrive", mode="polling", reason=error_line(error))
