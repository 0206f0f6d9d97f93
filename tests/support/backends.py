"""Backends that work at the same time and really wait for each other."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.support.db import Conn, connect, value
from tests.support.waiting import until

Work = Callable[[Conn], Any]


class Backend:
    """A connection with a transaction open, and a thread that works in it."""

    def __init__(self, conn: Conn, threads: ThreadPoolExecutor) -> None:
        self.conn = conn
        self.pid = conn.info.backend_pid
        self._threads = threads
        conn.execute("BEGIN")

    def start(self, work: Work) -> "Future[Any]":
        """Work, and commit; an error rolls back and is the future's."""

        def run() -> Any:
            try:
                found = work(self.conn)
            except BaseException:
                self.conn.execute("ROLLBACK")
                raise
            self.conn.execute("COMMIT")
            return found

        return self._threads.submit(run)

    def end(self, how: str) -> None:
        """COMMIT or ROLLBACK."""
        self.conn.execute(how.encode())


@contextmanager
def backends(url: str, count: int) -> Iterator[list[Backend]]:
    """So many; whoever still waits at the end is terminated."""
    conns = [connect(url) for _ in range(count)]
    with ThreadPoolExecutor(count) as threads:
        try:
            yield [Backend(conn, threads) for conn in conns]
        finally:
            with connect(url) as watch:
                watch.execute(
                    "SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) pid",
                    [[conn.info.backend_pid for conn in conns]],
                )
            for conn in conns:
                conn.close()


def until_waiting(watch: Conn, waiter: Backend, holder: Backend) -> None:
    """Wait until the server says that one waits for the other."""
    until(
        f"{waiter.pid} waits for {holder.pid}",
        lambda: holder.pid in value(watch, "SELECT pg_blocking_pids(%s)", [waiter.pid]),
    )


def until_waiting_at_all(watch: Conn, waiter: Backend) -> None:
    """Wait until the server says that it waits for somebody."""
    until(f"{waiter.pid} waits", lambda: value(watch, "SELECT pg_blocking_pids(%s)", [waiter.pid]))


def crossing(
    url: str, watch: Conn, hold: str, first: Work, second: Work, *, how: str
) -> list[BaseException | None]:
    """Two at work on the same things while a third holds one in the middle, until both wait.

    Then the third lets go. Whoever takes things in another order than the other now has what
    the other needs. Returns the error of each, None for those that went through.
    """
    with backends(url, 3) as (holder, one, two):
        holder.conn.execute(hold.encode())
        done = [one.start(first)]
        until_waiting(watch, one, holder)
        done.append(two.start(second))
        until_waiting_at_all(watch, two)
        holder.end(how)
        return [future.exception(30) for future in done]
