"""A server of the suite's own that keeps what it said it committed, and the ways in which it ends.

Its supervisor (`sql/embedded/supervisor.py`) starts it again on the same socket; while the supervisor is
stopped, the server stays away.
"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg

from market.universe import sessions
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.db import connect, copy_of, database_of, drop
from tests.support.waiting import until

# The names of PostgreSQL's shutdown modes, and none at all.
ENDS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "killed": signal.SIGKILL}

# What every promise is about; the settings of the suite's other server would forget.
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


class Server:
    """A running server under a folder; databases on it are copies of one migrated template."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self._template: str | None = None

    @property
    def postmaster(self) -> int:
        """The process id of the running server."""
        return int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def end(self, how: signal.Signals) -> None:
        """End the server in this way and wait until it is gone; its supervisor starts it again."""
        number = self.postmaster
        os.kill(number, how)
        until("the server has ended", lambda: not _runs(number), 60)

    @contextlib.contextmanager
    def away(self, how: signal.Signals) -> Iterator[None]:
        """End the server in this way and keep it away while the body runs."""
        supervisor = json.loads((self.folder / "run" / "server.json").read_text())["supervisor"]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            self.end(how)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def until_back(self) -> None:
        """Wait until the server answers."""

        def answers() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                connect(self.url).close()
                return True
            return False

        until("the server answers", answers, 60)

    def create(self) -> str:
        """Create a migrated database with its sessions loaded; returns its URL."""
        if self._template is None:
            url = self._make("template0")
            with Database(url) as database:
                migrate.migrate(database)
                sessions.ensure(database)
            self._template = database_of(url)
        return self._make(self._template)

    def _make(self, template: str) -> str:
        return copy_of(self.url, template, word="chaos", strategy="WAL_LOG")

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected."""
        drop(self.url, url)


@contextlib.contextmanager
def serving(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a durable server under a folder."""
    with embedded.use(folder, settings={**DURABLE, **(settings or {})}) as url:
        yield Server(folder, url)


def _runs(number: int) -> bool:
    # A killed child of a stopped supervisor is not reaped: a zombie is no server.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
