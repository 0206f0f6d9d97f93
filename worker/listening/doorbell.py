"""Sleeping and waking: LISTEN on a connection of its own, and whether anything is heard there.

Why no wake-up is lost is argued in `sql/functions/20_doorbell.sql`. Here is the worker's
side: lie down (take the lock), drain once more, wait; get up when there is work.

LISTEN may be deaf without an error (a transaction pooler, a half-open connection). So
nothing is believed: the mode is `polling` until the worker's own heartbeat, sent through
another connection, came back, and again as soon as one does not come back in time.

Only the main thread uses this class, except `wake`, `beating` and the properties.
"""

import os
import secrets
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import psycopg
import structlog

from sql.database import Connection, Database, error_line

Mode = Literal["notify", "polling"]
Wake = Literal["ring", "call", "poll"]
Posture = Literal["asleep", "guarded", "busy", "polling"]

RING = "reckoner"
# A heartbeat that is not heard within this time is not heard at all.
_ECHO_SECONDS = 2.0
# How often a deaf worker looks, and tries to hear again.
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 10.0

log = structlog.get_logger()


class Doorbell:
    """One worker's ear. url: a direct connection, not through a transaction pooler."""

    def __init__(self, database: Database, url: str) -> None:
        self.channel = f"{RING}_{secrets.token_hex(6)}"
        self._database = database
        self._url = url
        self._conn: Connection | None = None
        self._token = ""  # of the last attempt to listen
        self._lying = False
        self._rung = False  # heard, and not yet a reason to wake
        self._mode: Mode = "polling"
        self._was_deaf = False
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._sent_at: float | None = None  # the oldest heartbeat that was not heard yet
        self._heard_at: float | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    @property
    def mode(self) -> Mode:
        """`notify` when this worker hears itself, else `polling`."""
        return self._mode

    @property
    def heard_seconds_ago(self) -> float | None:
        """Seconds since the last own heartbeat came back; None before the first."""
        return None if self._heard_at is None else time.monotonic() - self._heard_at

    @property
    def wake_fd(self) -> int:
        """A non-blocking descriptor; a byte written to it wakes the sleeper (for signals)."""
        return self._wake_write

    @property
    def lying(self) -> bool:
        """Whether this worker holds the lock that makes writers ring."""
        return self._lying

    @property
    def overdue(self) -> bool:
        """Whether a heartbeat should have come back by now and did not."""
        with self._lock:
            return self._sent_at is not None and time.monotonic() - self._sent_at > _ECHO_SECONDS

    def wake(self) -> None:
        """Wake the sleeping main thread from another thread."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    @contextmanager
    def beating(self) -> Iterator[None]:
        """The body sends a heartbeat to `channel` and commits it; it must be heard soon after.

        It may be heard before its sender is told of the commit. How long the sending takes, for
        want of a connection or of a lock, says nothing about hearing.
        """
        with self._lock:
            heard_before = self._heard_at
        yield
        with self._lock:
            if self._sent_at is None and self._heard_at == heard_before:
                self._sent_at = time.monotonic()

    def probe(self) -> None:
        """Find out at the start whether anything is heard: at once, or not within two seconds."""
        self._check_hearing()
        while self._conn is not None and self._mode == "polling":
            self.sleep(0.1)
            self._check_hearing()

    def lie_down(self) -> Posture:
        """Prepare to sleep; unless `polling` or `busy`, drain once more before `sleep`."""
        self._check_hearing()
        if self._conn is None or self._mode == "polling":
            return "polling"
        if self._lying:
            return "asleep"
        try:
            with self._database.deadline(self._conn, 10):
                row = self._conn.execute("SELECT doorbell_lie_down() AS posture").fetchone()
        except psycopg.Error as error:
            self._lose(error)
            return "polling"
        posture: Posture = row["posture"] if row else "busy"
        self._lying = posture == "asleep"
        return posture

    def ask(self, question: Callable[[Connection], float | None]) -> float | None:
        """Ask something of the database while lying: a statement of its own, without a transaction.

        0 when it cannot be asked here, which is a reason to get up.
        """
        if self._conn is None:
            return 0.0
        try:
            with self._database.deadline(self._conn, 10):
                return question(self._conn)
        except psycopg.Error as error:
            self._lose(error)
            return 0.0

    def get_up(self) -> None:
        """Let writers be silent again, because this worker is awake."""
        if not self._lying or self._conn is None:
            return
        self._lying = False
        try:
            with self._database.deadline(self._conn, 10):
                self._conn.execute("SELECT doorbell_get_up()")
        except psycopg.Error as error:
            self._lose(error)

    def sleep(self, seconds: float) -> Wake:
        """Wait for a ring, for `wake` (a call), or at most `seconds` (a poll); says which it was."""
        if self._mode == "polling":
            seconds = min(seconds, _POLL_SECONDS)
        if self._rung or (self._conn is not None and self._listen()):
            # It came while something else was read from the connection: no select would see it.
            self._rung = False
            return "ring"
        ears = [self._wake_read] if self._conn is None else [self._wake_read, self._conn.fileno()]
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select(ears, [], [], max(0.0, deadline - time.monotonic()))
            if self._wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                return "call"
            if not ready:
                return "poll"
            if self._listen():
                return "ring"

    def rest(self) -> None:
        """Hear nothing on purpose, until `lie_down` is called again."""
        self.close()
        with self._lock:
            self._sent_at = None
        self._lying = False
        self._mode = "polling"
        self._retry_at = 0.0

    def close(self) -> None:
        """Give the connection, and with it the lock, back."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _listen(self) -> bool:
        """Read what arrived; True when it is a reason to look for work."""
        if self._conn is None:
            return True
        rung = False
        try:
            with self._database.deadline(self._conn, 10):
                for notification in self._conn.notifies(timeout=0):
                    if notification.channel != self.channel:
                        rung = True
                    elif self._mode == "notify" or notification.payload == self._token:
                        self._heard()
        except psycopg.Error as error:
            self._lose(error)
            return True
        return rung

    def _heard(self) -> None:
        with self._lock:
            self._sent_at = None
            self._heard_at = time.monotonic()
        if self._mode == "polling":
            self._mode = "notify"
            log.info("listening", mode="notify", healed=self._was_deaf)
            self._was_deaf = False

    def _check_hearing(self) -> None:
        if self._conn is not None and self._listen():
            self._rung = True  # for the sleep that follows
        if self._conn is not None and self.overdue:
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
            # Do not wait for the next heartbeat to learn whether anything is heard here. And
            # believe nothing but this token: behind a pooler a heartbeat may come in the very
            # answer to LISTEN, from a server connection that listens since an earlier attempt.
            self._token = secrets.token_hex(8)
            with self.beating(), self._database.transaction(seconds=10) as conn:
                conn.execute("SELECT pg_notify(%s, %s)", [self.channel, self._token])
        except psycopg.Error as error:
            self._lose(error)

    def _lose(self, error: psycopg.Error | None) -> None:
        """Fall back to polling: the connection broke, or it hears nothing."""
        self.close()
        self._lying = False
        first = self._mode == "notify" or not self._was_deaf
        if self._mode == "notify":
            self._retry_at = 0.0  # once at once, then at intervals
        self._mode = "polling"
        self._was_deaf = True
        if not first:
            return
        if error is None:
            log.warning(
                "not hearing notifications",
                mode="polling",
                reason="own heartbeat not heard",
                remedy="LISTEN_DATABASE_URL must be a direct connection, not a transaction pooler",
            )
        else:
            log.warning("not hearing notifications", mode="polling", reason=error_line(error))
