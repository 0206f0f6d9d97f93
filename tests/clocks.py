"""The product's clock for tests: rows of reckoner_clock, and the setting that names one."""

import datetime as dt
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql as psql

# Any of our connections: a test's own, or one of a transaction.
AnyConn = psycopg.Connection[dict[str, Any]]


def make_clock(
    conn: AnyConn, *, stopped_at: dt.datetime | str | None = None, offset: dt.timedelta | str = "0"
) -> str:
    """Write a clock, as the owner; returns its name, which moves nothing until it is set."""
    name = uuid4().hex
    conn.execute(
        "INSERT INTO reckoner_clock (name, stopped_at, clock_offset) VALUES (%s, %s, %s::interval)",
        [name, stopped_at, offset],
    )
    return name


def clock_at(conn: AnyConn, moment: dt.datetime | str) -> str:
    """Write a clock that shows `moment` now and goes on; returns its name."""
    row = conn.execute("SELECT %s::timestamptz - clock_timestamp() AS offset", [moment]).fetchone()
    assert row is not None
    return make_clock(conn, offset=row["offset"])


def use_clock(conn: AnyConn, name: str, *, local: bool = False) -> None:
    """Let this session, or its transaction, live by a clock; an empty name: by the real time."""
    conn.execute("SELECT set_config('reckoner.clock', %s, %s)", [name, local])


def use_everywhere(conn: AnyConn, name: str) -> None:
    """Let connections to this database that are made from now on live by a clock."""
    row = conn.execute("SELECT current_database() AS name").fetchone()
    assert row is not None
    statement = psql.SQL("ALTER DATABASE {} SET reckoner.clock = {}")
    conn.execute(statement.format(psql.Identifier(row["name"]), name))


def move_clock(conn: AnyConn, offset: str) -> None:
    """Let this session's time be `offset` after the real one, or after where its clock stands still."""
    row = conn.execute(
        "SELECT stopped_at FROM reckoner_clock WHERE name = current_setting('reckoner.clock', true)"
    ).fetchone()
    use_clock(conn, make_clock(conn, stopped_at=row["stopped_at"] if row else None, offset=offset))


def stop_clock(conn: AnyConn) -> None:
    """Let time stand still at this moment, for this session and all that are made from now on.

    A lease or a backoff of seconds then ends when `move_clock` says so, and not while the machine stands.
    """
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    name = make_clock(conn, stopped_at=row["now"])
    use_everywhere(conn, name)
    use_clock(conn, name)
