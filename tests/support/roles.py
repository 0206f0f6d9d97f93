"""Roles of least rights, made by the SQL that `market db roles` prints, and taken away again."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import conninfo
from psycopg import sql as psql

from sql.schema.catalogue import recorded
from tests.support.cli import command
from tests.support.db import Conn, connect

TABLES = sorted({item.parent for item in recorded() if item.kind == "column"})
VIEWS = sorted(item.name for item in recorded() if item.kind == "view")


@dataclass(frozen=True)
class Roles:
    """The URLs by which each of the three reaches a database."""

    worker: str
    dashboard: str
    analyst: str


@contextlib.contextmanager
def roles(url: str) -> Iterator[Roles]:
    """Make the three roles for a database, as its owner who pipes the SQL into psql."""
    names = {role: f"reckoner_{role}_{uuid.uuid4().hex[:8]}" for role in Roles.__annotations__}
    options = [word for role, name in names.items() for word in (f"--{role}", name)]
    done = command(url, "market", "db", "roles", *options)
    assert done.returncode == 0, done.stderr
    with connect(url) as owner:
        owner.execute(done.stdout.encode())
        for name in names.values():
            # For servers that ask; the suite's own does not.
            set_password = psql.SQL("ALTER ROLE {} PASSWORD 'of-a-test'").format(
                psql.Identifier(name)
            )
            owner.execute(set_password)
        try:
            yield Roles(**{role: as_role(url, name) for role, name in names.items()})
        finally:
            for name in names.values():
                _drop(owner, name)


def as_role(url: str, name: str) -> str:
    """The same database as somebody else."""
    return conninfo.make_conninfo(url, user=name, password="of-a-test")  # noqa: S106


def _drop(owner: Conn, name: str) -> None:
    for statement in ("DROP OWNED BY {} CASCADE", "DROP ROLE {}"):
        owner.execute(psql.SQL(statement).format(psql.Identifier(name)))
