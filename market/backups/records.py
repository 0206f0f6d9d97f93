"""The rows of `reckoner_backups`: one for each complete backup.

The time is the database's, so that the age of a backup is right on any machine.
"""

import datetime as dt
from typing import Any

from sql.database import Database, one


def now(database: Database) -> dt.datetime:
    """Return the database's time, with zone."""
    with database.transaction() as conn:
        at: dt.datetime = one(conn, "SELECT reckoner_now() AS now")["now"]
    return at


def record(
    database: Database, kind: str, name: str, taken_at: dt.datetime, size: int | None
) -> None:
    """Record a backup that is complete. size: bytes; None where there is no file."""
    with database.transaction() as conn:
        conn.execute(
            "INSERT INTO reckoner_backups (kind, name, taken_at, bytes) VALUES (%s, %s, %s, %s)",
            [kind, name, taken_at, size],
        )


def last(database: Database) -> dict[str, Any] | None:
    """Return kind, name, taken_at and age of the last backup, or None without one."""
    with database.transaction() as conn:
        return conn.execute(
            "SELECT kind, name, taken_at, reckoner_now() - taken_at AS age FROM reckoner_backups"
            " ORDER BY taken_at DESC LIMIT 1"
        ).fetchone()
