"""A pool of connections that tells at once why it has none.

A thread opens the connection that it needs by itself, so that it gets the reason (connection
refused, a wrong password) when there is one, and not a timeout after a while.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

import psycopg
from psycopg.pq import TransactionStatus

from sql.descriptors import readable
from sql.session import Session


class PoolBusy(psycopg.OperationalError):
    """Every connection that this process may have was in use for the whole time."""


class Pool:
    """At most `size` connections; those unused for `idle_seconds` are closed.

    open_: opens one within so many seconds; its errors reach whoever takes a connection.
    """

    def __init__(self, open_: Callable[[float], Session], size: int, idle_seconds: float) -> None:
        self._open = open_
        self._size = size
        self._idle_seconds = idle_seconds
        self._condition = threading.Condition()
        self._idle = deque[tuple[float, Session]]()
        self._count = 0  # idle, in use, or being opened
        self._oldest = 0.0  # what was opened before is closed when it comes back
        self._closed = False

    def take(self, seconds: float) -> Session:
        """Return a connection that nobody else has; waits at most so long for one.

        Raises PoolBusy, and the error of opening one.
        """
        deadline = time.monotonic() + seconds
        with self._condition:
            while True:
                while self._idle:
                    conn = self._idle.pop()[1]
                    if not _ended(conn):
                        return conn
                    self._drop(conn)
                if self._count < self._size:
                    break
                if not self._condition.wait(deadline - time.monotonic()):
                    raise PoolBusy(
                        f"all {self._size} connections of this process were in use for {seconds:.0f} s"
                    )
            self._count += 1
        began = time.monotonic()
        try:
            conn = self._open(max(1.0, deadline - began))
        except BaseException:
            with self._condition:
                self._count -= 1
                self._condition.notify()
            raise
        conn.opened_at = began
        return conn

    def give(self, conn: Session) -> None:
        """Put a connection back; one that is broken or within a transaction is closed."""
        with self._condition:
            is_old = conn.opened_at < self._oldest
            is_usable = not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE
            if self._closed or is_old or not is_usable:
                self._drop(conn)
            else:
                self._idle.append((time.monotonic(), conn))
            while self._idle and self._idle[0][0] < time.monotonic() - self._idle_seconds:
                self._drop(self._idle.popleft()[1])
            self._condition.notify()

    def clear(self) -> None:
        """Close the connections that are not in use, and the others when they come back."""
        with self._condition:
            self._oldest = time.monotonic()
            while self._idle:
                self._drop(self._idle.popleft()[1])

    def close(self) -> None:
        """Close what is not in use; what is in use is closed when it comes back."""
        self._closed = True
        self.clear()

    def _drop(self, conn: Session) -> None:
        self._count -= 1
        conn.close()


def _ended(conn: Session) -> bool:
    """Whether an idle connection has something to read: nearly always its end.

    Else it is a message to all sessions, and one connection too many is opened.
    """
    if conn.closed:
        return True
    try:
        return bool(readable([conn.fileno()], 0))
    except psycopg.Error:
        return True
