"""Blockers: who holds the lock that a transaction of this thread waits for.

PostgreSQL tells that only while the transaction waits. So a short-lived thread asks on a connection
of its own until it has seen the holder.
"""

import contextlib
import threading
from collections.abc import Iterator

import psycopg

from sql.database import BEGUN, Connection, Database, one
from sql.descriptors import is_short
from sql.redaction import one_line

_PAUSE_SECONDS = 0.02
# A prepared transaction has no process.
_BLOCKER = """
SELECT b.pid, coalesce(a.usename::text, '?') AS role,
       coalesce(nullif(a.application_name, ''), 'no name') AS app
FROM unnest(pg_blocking_pids(%s)) AS b(pid) LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY b.pid DESC LIMIT 1
"""


class Blocker:
    """The holder, in words; empty while none was seen."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.text = ""

    def begun(self, conn: Connection) -> None:
        """Watch a transaction that has just begun."""
        if self._thread is not None:
            return
        pid = one(conn, "SELECT pg_backend_pid() AS pid")["pid"]
        thread = threading.Thread(target=self._watch, args=[pid], daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not is_short(error):
                raise
            return  # no thread can be started: then the holder stays unnamed
        self._thread = thread

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5)

    def _watch(self, pid: int) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            while not self.text and not self._ended.wait(_PAUSE_SECONDS):
                with self._database.transaction(seconds=5, connect_seconds=2) as conn:
                    row = conn.execute(_BLOCKER, [pid]).fetchone()
                if row:
                    self.text = one_line(_in_words(row["pid"], row["role"], row["app"]))


def _in_words(pid: int, role: str, app: str) -> str:
    if not pid:
        return "a prepared transaction holds a lock that is needed: SELECT * FROM pg_prepared_xacts"
    return (
        f"pid {pid} (role {role}, {app}) holds a lock that is needed:"
        f" SELECT pg_terminate_backend({pid}) ends it"
    )


@contextlib.contextmanager
def watched(database: Database) -> Iterator[Blocker]:
    """Watch the first transaction of the body that this thread begins."""
    blocker = Blocker(database)
    token = BEGUN.set(blocker.begun)
    try:
        yield blocker
    finally:
        BEGUN.reset(token)
        blocker.end()
