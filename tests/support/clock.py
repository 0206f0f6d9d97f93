"""The one way to stop or move time in tests: rows of reckoner_clock, and the setting that names one.

`write_clock` writes a row; a session, a transaction or a whole database then lives by it. No test
writes that table itself or replaces reckoner_now().
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql as psql

from sql.database import Connection, Database
from tests.support.db import Conn, connect

# Any of our connections: a test's own, or one of a transaction.
AnyConn = psycopg.Connection[dict[str, Any]]


def write_clock(
    conn: AnyConn,
    name: str | None = None,
    *,
    stopped_at: dt.datetime | str | None = None,
    offset: dt.timedelta | str = "0",
) -> str:
    """Write a clock, as the owner; returns its name, which moves nothing until it is set.

    name: a clock that may exist; whoever lives by it then does so by the new time (None: a new one).
    """
    name = name or uuid4().hex
    conn.execute(
        "INSERT INTO reckoner_clock (name, stopped_at, clock_offset) VALUES (%s, %s, %s::interval)"
        " ON CONFLICT (name) DO UPDATE"
        " SET stopped_at = excluded.stopped_at, clock_offset = excluded.clock_offset",
        [name, stopped_at, offset],
    )
    return name


def clock_at(conn: AnyConn, moment: dt.datetime | str, name: str | None = None) -> str:
    """Write a clock that shows `moment` now and goes on; returns its name."""
    row = conn.execute("SELECT %s::timestamptz - clock_timestamp() AS offset", [moment]).fetchone()
    assert row is not None
    return write_clock(conn, name, offset=row["offset"])


def use_clock(conn: AnyConn, name: str, *, local: bool = False) -> None:
    """Let this session, or its transaction, live by a clock; an empty name: by the real time."""
    conn.execute("SELECT set_config('reckoner.clock', %s, %s)", [name, local])


def use_everywhere(conn: AnyConn, name: str) -> None:
    """Let connections to this database that are made from now on live by a clock."""
    row = conn.execute("SELECT current_database() AS name").fetchone()
    assert row is not None
    statement = psql.SQL("ALTER DATABASE {} SET reckoner.clock = {}")
    conn.execute(statement.format(psql.Identifier(row["name"]), name))


def set_clock(conn: AnyConn, moment: dt.datetime | str) -> None:
    """Let connections to this database that are made from now on live at `moment`; time goes on."""
    use_everywhere(conn, clock_at(conn, moment))


def move_clock(conn: AnyConn, offset: str) -> None:
    """Let this session's time be `offset` after the real one, or after where its clock stands still."""
    row = conn.execute(
        "SELECT stopped_at FROM reckoner_clock WHERE name = current_setting('reckoner.clock', true)"
    ).fetchone()
    use_clock(conn, write_clock(conn, stopped_at=row["stopped_at"] if row else None, offset=offset))


def stop_clock(conn: AnyConn) -> None:
    """Let time stand still at this moment, for this session and all that are made from now on.

    A lease or a backoff of seconds then ends when `move_clock` says so, and not while the machine stands.
    """
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    name = write_clock(conn, stopped_at=row["now"])
    use_everywhere(conn, name)
    use_clock(conn, name)


def utc(text: str) -> dt.datetime:
    """An ISO moment, UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def day(text: str) -> dt.date:
    """An ISO date."""
    return dt.date.fromisoformat(text)


@contextmanager
def at(database: Database, moment: dt.datetime | None = None) -> Iterator[Connection]:
    """A transaction in which it is `moment` (None: now)."""
    with database.transaction() as conn:
        if moment is not None:
            use_clock(conn, clock_at(conn, moment), local=True)
        yield conn


@contextmanager
def clock(url: str, moment: dt.datetime) -> Iterator[Database]:
    """A way to the database whose new connections all live at `moment`, and time goes on from there."""
    with connect(url) as conn:
        set_clock(conn, moment)
    with Database(url, name="reckoner test", size=8) as database:
        yield database


@contextmanager
def stopped_clock(url: str, moment: dt.datetime) -> Iterator[Database]:
    """A way to the database for whose new connections it stays `moment`, however long things take.

    Not for real workers: they wait for their clock to go on.
    """
    with connect(url) as conn:
        use_everywhere(conn, write_clock(conn, stopped_at=moment))
    with Database(url, name="reckoner test", size=8) as database:
        yield database


def standing_still(moment: dt.datetime) -> tuple[Any, Any]:
    """The fixtures `database` and `conn` for a module in whose tests it stays `moment`."""

    @pytest.fixture
    def database(url: str) -> Iterator[Database]:
        with stopped_clock(url, moment) as database:
            yield database

    @pytest.fixture
    def conn(url: str, database: Database) -> Iterator[Conn]:
        assert database.url == url  # it is stopped before anybody connects
        with connect(url) as conn:
            yield conn

    return database, conn
