"""Connections: opening them, and bounding every wait on them.

Every wait on the database ends. The server bounds its statements and locks (SET LOCAL, so
that nothing leaks through a transaction pooler), and a watchdog in this process cuts the
socket of a call that outlives its deadline: on a half-open network no answer arrives, and neither do
the server's own timeouts. `Database` holds the pool; it is made once per
process and passed down.
"""

import contextlib
import heapq
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg.rows import BaseRowFactory

from sql import session, unreachable, urls
from sql.descriptors import is_short
from sql.pool import Pool
from sql.redaction import one_line
from sql.session import Session

Connection = session.Connection
T = TypeVar("T")

# Called with each transaction that a thread has begun; see `sql/blockers.py`.
BEGUN: ContextVar[Callable[[Connection], None] | None] = ContextVar("BEGUN", default=None)

# The watchdog waits this much longer than the server's own timeout.
_GRACE_SECONDS = 5.0
_CONNECT_SECONDS = 10.0


class Watchdog:
    """Cuts the socket of calls that outlive their deadline; one thread for all of them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._deadlines: list[tuple[float, int, int]] = []
        self._guarded: dict[int, psycopg.Connection[Any]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def guard(self, conn: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        """Let the body use `conn` for at most `seconds`; then its call raises OperationalError."""
        number = next(self._numbers)
        with self._condition:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                thread.start()  # raises where the system has no thread left: then none is kept
                self._thread = thread
            self._guarded[number] = conn
            heapq.heappush(self._deadlines, (time.monotonic() + seconds, number, number))
            if self._deadlines[0][1] == number:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._guarded.pop(number, None)

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._deadlines and self._deadlines[0][1] not in self._guarded:
                    heapq.heappop(self._deadlines)
                wait = self._deadlines[0][0] - time.monotonic() if self._deadlines else None
                if wait is None or wait > 0:
                    self._condition.wait(wait)
                    continue
                conn = self._guarded.pop(heapq.heappop(self._deadlines)[1])
                _cut(conn)


def _cut(conn: psycopg.Connection[Any]) -> None:
    """Shut a connection's socket down, so that a waiting thread sees its end."""
    with contextlib.suppress(OSError, psycopg.OperationalError):
        # Not a copy of the descriptor: this must work where the process has none left.
        sock = socket.socket(fileno=conn.fileno())
        try:
            sock.shutdown(socket.SHUT_RDWR)
        finally:
            sock.detach()


class Database:
    """One database: a pool for transactions, single connections for LISTEN.

    url: a libpq URL. name: what pg_stat_activity shows. size: most connections at once.
    place: which database this is, in words and without a password; by default from the URL.
    """

    def __init__(
        self, url: str, *, name: str = "reckoner", size: int = 4, place: str | None = None
    ) -> None:
        self.url = url
        self.place = place or urls.place(url)
        self._name = name
        self._watchdog = Watchdog()
        self.size = size
        self._pool = Pool(lambda seconds: self._open(self.url, seconds), size, idle_seconds=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pool.close()

    def let_go(self) -> None:
        """Close every connection of the pool; the next transaction opens one again.

        To be called while no transaction is open.
        """
        self._pool.clear()

    @contextlib.contextmanager
    def transaction(
        self, seconds: float = 60.0, *, lock_seconds: float = 10.0, connect_seconds: float = 15.0
    ) -> Iterator[Connection]:
        """Yield a connection in a transaction that commits at the end of the body.

        Every statement of it, and the whole of it with some grace, ends within `seconds`;
        waiting for a lock within `lock_seconds`, for a connection within `connect_seconds`.
        Columns of other programs without a time zone are written in UTC. Raises psycopg.Error;
        `sql/away.py` tells whether the database is away.
        """
        with self._connection(seconds, connect_seconds) as conn:
            conn.execute(conn.begin(seconds, lock_seconds).encode())
            if begun := BEGUN.get():
                begun(conn)
            yield conn
            conn.commit()

    def at_once(
        self,
        query: str,
        values: Sequence[Any],
        rows: BaseRowFactory[T],
        seconds: float = 30.0,
    ) -> list[T]:
        """Run one statement as a transaction of its own, in one round trip; returns its rows.

        When it raises, the transaction may have committed nevertheless. psycopg puts the
        values into the text, because a message of several statements cannot carry them.
        """
        with (
            self._connection(seconds) as conn,
            psycopg.ClientCursor(conn, row_factory=rows) as cursor,
        ):
            cursor.execute(f"{conn.begin(seconds, 10)}; {query}; COMMIT".encode(), values)
            return [row for result in cursor.results() if result.description for row in result]

    @contextlib.contextmanager
    def _connection(self, seconds: float, connect_seconds: float = 15.0) -> Iterator[Session]:
        """Yield a connection of the pool for so long and some grace; roll back on an error."""
        conn = self._pool.take(connect_seconds)
        try:
            with self._watchdog.guard(conn, seconds + _GRACE_SECONDS):
                try:
                    yield conn
                except BaseException:
                    with contextlib.suppress(psycopg.Error):
                        conn.rollback()
                    raise
        finally:
            self._pool.give(conn)

    def connect(self, url: str | None = None) -> Connection:
        """Open a connection outside the pool, in autocommit; the caller closes it.

        Raises ConnectionFailed.
        """
        return self._open(url or self.url, _CONNECT_SECONDS)

    def _open(self, url: str, seconds: float) -> Session:
        try:
            conn = session.connect(url, self._name, seconds)
            try:
                with self._watchdog.guard(conn, _CONNECT_SECONDS):
                    conn.settle()
            except BaseException:
                conn.close()
                raise
        except psycopg.OperationalError as error:
            raise unreachable.failed(
                self.place if url == self.url else urls.place(url), error
            ) from error
        return conn

    @contextlib.contextmanager
    def deadline(self, conn: Connection, seconds: float) -> Iterator[None]:
        """Bound the body's calls on a connection from `connect`."""
        with self._watchdog.guard(conn, seconds):
            yield


def one(conn: Connection, query: LiteralString, parameters: Sequence[Any] = ()) -> dict[str, Any]:
    """Run a statement that returns exactly one row, such as the call of a function, and return it."""
    row = conn.execute(query, parameters or None).fetchone()
    if row is None:
        raise psycopg.DataError(f"no row from: {query}")
    return row


@contextlib.contextmanager
def trying(conn: Connection, *, dry_run: bool) -> Iterator[None]:
    """Run a block in a transaction of its own; a dry run does it all and rolls it back.

    Statements of a dry run take no ids of sequences, which a rollback would not give back.
    """
    with conn.transaction(force_rollback=dry_run):
        if dry_run:
            conn.execute("SELECT set_config('reckoner.dry_run', 'on', true)")
        yield


def is_external(error: BaseException) -> bool:
    """Whether an error is the database's or the system's own, and not a fault of this code."""
    return isinstance(error, psycopg.Error) or is_short(error)


def error_line(error: BaseException) -> str:
    """Return an error as one line without secrets that Postgres can store."""
    if isinstance(error, psycopg.Error):
        text = str(error).strip().splitlines()
        return one_line(f"{type(error).__name__}: {text[0] if text else 'no message'}")
    return one_line(f"{type(error).__name__}: {error}")
