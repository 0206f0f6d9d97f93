"""Waits of migrations for locks on other programs' tables.

While a statement waits for a lock on a table, all later statements on the table wait behind it. So
each wait is a tenth of a second, and the owner's programs go on in between; after a few seconds the
step fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg
import tenacity

from sql.database import Connection

MILLISECONDS = 100
_RETRY_SECONDS = 4.0

# The session that has held one of our or the owner's tables for the longest time.
_HOLDER = """
SELECT a.pid, c.relname AS held, coalesce(a.backend_type, '') = 'autovacuum worker' AS is_vacuum,
       coalesce(nullif(a.application_name, ''), a.usename, '?') AS program
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY a.xact_start NULLS LAST, l.pid, c.relname LIMIT 1
"""

# The advisory locks of sql/functions/05_locks.sql that Python names: the number that all have in common,
# and their own numbers. A test compares them with lock_number().
KEY = 1380271947
MIGRATING = 2

# Any role can take an advisory lock. may_own: whether the role may do what the lock is for.
_KEEPER = """
SELECT a.pid, coalesce(a.usename, '?') AS role, coalesce(nullif(a.application_name, ''), 'no name') AS app,
       pg_has_role(a.usesysid, (SELECT c.relowner FROM pg_class c
                                WHERE c.oid = to_regclass('public.reckoner_schema')), 'MEMBER') AS may_own
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY may_own NULLS FIRST, l.pid LIMIT 1
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Keeper:
    """The session that holds an advisory lock of ours. is_stranger: its role is not the schema owner's."""

    pid: int
    role: str
    app: str
    is_stranger: bool

    def __str__(self) -> str:
        return (
            f"pid {self.pid} (role {self.role}, {self.app}) holds the lock:"
            f" SELECT pg_terminate_backend({self.pid}) ends it"
        )


def keeper(conn: Connection, number: int) -> Keeper | None:
    """Return the holder of the advisory lock of this number; None where no other session has it."""
    row = conn.execute(_KEEPER, [KEY, number]).fetchone()
    if row is None:
        return None
    return Keeper(row["pid"], row["role"], row["app"], row["may_own"] is False)


def until_free(step: Callable[[], T]) -> T:
    """Try a step, which is a transaction, until its locks are free.

    Raises psycopg.errors.LockNotAvailable or DeadlockDetected after some seconds.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
        ),
        wait=tenacity.wait_fixed(0.3),
        stop=tenacity.stop_after_delay(_RETRY_SECONDS),
        reraise=True,
    )
    return retrying(step)


def holder(conn: Connection) -> str:
    """Return the holder of a table in words, for the person who waits for it or ends it."""
    row = conn.execute(_HOLDER).fetchone()
    if row is None:
        return "its holder has ended meanwhile"
    if row["is_vacuum"]:
        # A vacuum ends only for a statement that waits longer than the tenth of a second.
        return f"an autovacuum of {row['held']} (pid {row['pid']}) is under way"
    return f"{row['program']} (pid {row['pid']}) holds {row['held']} in a transaction"
