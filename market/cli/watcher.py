"""The loop of `watch`: when its page is read and drawn.

One connection listens for the notification that writers send while a worker sleeps, and reads the
page in one statement: at a notification, else every few seconds, less often where the page is slow.
It takes no lock of the doorbell, so that it wakes no worker and causes no notification.
"""

import sys
import time
from typing import Any

import psycopg
from rich.live import Live

from market.cli.console import drawing
from market.cli.watch_page import MAX_ROWS, Page, draw
from sql.database import Connection, Database, error_line, one
from sql.descriptors import readable

_CHANNEL = "reckoner"
_REFRESH_SECONDS = 2.0
# Many notifications draw no more often than this, and reading takes at most a twentieth of the time.
_REST_SECONDS = 0.5
_SHARE = 20.0
_STATEMENT_SECONDS = 20.0


class Watcher:
    """The page's connection, which may be lost and is then opened again."""

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._url = url
        self._conn: Connection | None = None
        self._lost: str | None = None  # since when and why, in words
        self._page: Page | None = None

    def read(self) -> dict[str, Any]:
        """Read the page's document. Raises psycopg.Error."""
        if self._conn is None:
            self._conn = self._database.connect(self._url)
            with self._database.deadline(self._conn, _STATEMENT_SECONDS):
                self._conn.execute(f"LISTEN {_CHANNEL}")
        with self._database.deadline(self._conn, _STATEMENT_SECONDS), self._conn.transaction():
            self._conn.execute("SET LOCAL search_path = public, pg_temp")
            row = one(self._conn, "SELECT watch_page(%s) AS page", [MAX_ROWS])
        page: dict[str, Any] = row["page"]
        return page

    def show(self) -> None:
        """Draw until interrupted; shows when the database is away, and retries."""
        console = drawing(sys.stdout)
        with Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            try:
                while True:
                    began = time.monotonic()
                    self._refresh()
                    took = time.monotonic() - began
                    live.update(draw(self._page, self._lost, console.size), refresh=True)
                    time.sleep(_REST_SECONDS)
                    self._wait(max(_REFRESH_SECONDS, took * _SHARE) - _REST_SECONDS)
            finally:
                self.close()

    def _refresh(self) -> None:
        try:
            self._page = self.read()
            self._lost = None
        except psycopg.Error as error:
            self._lose(error)

    def _wait(self, seconds: float) -> None:
        """Wait for a notification, or at most this long."""
        if self._conn is None:
            time.sleep(seconds)
            return
        readable([self._conn.fileno()], seconds)
        try:
            with self._database.deadline(self._conn, _STATEMENT_SECONDS):
                for _ in self._conn.notifies(timeout=0):
                    pass
        except psycopg.Error as error:
            self._lose(error)

    def _lose(self, error: psycopg.Error) -> None:
        if self._lost is None:
            since = time.strftime("%H:%M:%S", time.gmtime())
            self._lost = f"no answer since {since}, trying again: {error_line(error)}"
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
