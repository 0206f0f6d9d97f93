"""Databases for tests: copies of a template, made and dropped when nobody is connected to it any more."""

import itertools
import uuid
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql as psql

from tests.support import connect, until

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
