"""Databases for tests: connections, and copies of a template for each test."""

import contextlib
import itertools
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql as psql
from psycopg.errors import Diagnostic
from psycopg.rows import DictRow, dict_row

from sql import embedded
from tests.support.waiting import until

# Process numbers come again, on a server that has what an earlier run left.
_RUN = uuid.uuid4().hex[:8]
_numbers = itertools.count()


def with_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def database_of(url: str) -> str:
    """The name of a URL's database."""
    return urlsplit(url).path.lstrip("/")


def copy_of(
    server_url: str,
    template: str = "template0",
    *,
    word: str = "test",
    strategy: Literal["FILE_COPY", "WAL_LOG"] = "FILE_COPY",
) -> str:
    """Copy a database of a server; returns the copy's URL.

    word: what its name says. strategy: copying files is quicker where nothing waits for the disk.
    """
    name = f"reckoner_{word}_{_RUN}_{next(_numbers)}"
    statement = psql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
    _alone(
        server_url,
        statement.format(psql.Identifier(name), psql.Identifier(template), psql.SQL(strategy)),
    )
    return with_database(server_url, name)


def drop(server_url: str, url: str) -> None:
    """Drop the database of a URL, whoever is connected."""
    name = psql.Identifier(database_of(url))
    _alone(server_url, psql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _alone(server_url: str, statement: psql.Composed) -> None:
    """Run a statement for which nobody may be connected to a database.

    The server itself waits five seconds for backends that end; one may need longer.
    """

    def done() -> bool:
        try:
            with connect(server_url) as conn:
                conn.execute(statement)
        except psycopg.errors.ObjectInUse:
            return False
        return True

    until("nobody is connected any more", done, 60)


Conn = psycopg.Connection[DictRow]


def connect(url: str) -> Conn:
    """An autocommit connection whose rows are dicts."""
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def value(conn: Conn, query: str, parameters: Sequence[Any] = ()) -> Any:
    """The single value that a query returns."""
    row = conn.execute(query.encode(), parameters or None).fetchone()
    assert row is not None, query
    return next(iter(row.values()))


@contextlib.contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for an embedded server that every user can reach: root's server is another's."""
    folder = Path(tempfile.mkdtemp(prefix="reckoner-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        embedded.remove(folder)


@contextmanager
def shared_database(server_url: str, template: str) -> Iterator[Conn]:
    """A database for a whole file of tests that only look, or only add rows of their own."""
    url = copy_of(server_url, template, word="shared")
    with connect(url) as conn:
        yield conn
    drop(server_url, url)


def collect_warnings(conn: Conn) -> list[str]:
    """The list to which the server's warnings on this connection are appended from now on."""
    warnings: list[str] = []

    def note(diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "")

    conn.add_notice_handler(note)
    return warnings


def url_of(conn: Conn) -> str:
    """The libpq URL of the database that a connection is to."""
    info = conn.info
    host = info.host.replace("/", "%2F")
    name = str(value(conn, "SELECT current_database()"))
    password = f":{info.password}" if info.password else ""
    return f"postgresql://{info.user}{password}@/{name}?host={host}&port={info.port}"
