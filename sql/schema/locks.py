"""How migrations wait for locks on other programs' tables: in blinks.

While a statement waits for a lock on a table, all that come after it wait behind it. So each
wait is a tenth of a second, and between two the owner's programs go on; after a few seconds
the whole step is given up.
"""

from collections.abc import Callable
from typing import TypeVar

import psycopg
import tenacity

from sql.database import Connection

MILLISECONDS = 100
_PATIENCE_SECONDS = 4.0

# Of all who hold one of our or the owner's tables, the one that has done so longest.
_HOLDER = """
SELECT a.pid, c.relname AS held, coalesce(a.backend_type, '') = 'autovacuum worker' AS is_vacuum,
       coalesce(nullif(a.application_name, ''), a.usename, '?') AS program
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY a.xact_start NULLS LAST, l.pid, c.relname LIMIT 1
"""

T = TypeVar("T")


def patiently(step: Callable[[], T]) -> T:
    """Try a step, which is a transaction, until its locks are free.

    Raises psycopg.errors.LockNotAvailable or DeadlockDetected after some seconds.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
        ),
        wait=tenacity.wait_fixed(0.3),
        stop=tenacity.stop_after_delay(_PATIENCE_SECONDS),
        reraise=True,
    )
    return retrying(step)


def holder(conn: Connection) -> str:
    """Who holds a table, in words: for the person who has to wait for it or to end it."""
    row = conn.execute(_HOLDER).fetchone()
    if row is None:
        return "who held it has ended meanwhile"
    if row["is_vacuum"]:
        # It gives way only to those who wait longer than we may.
        return f"an autovacuum of {row['held']} (pid {row['pid']}) is under way"
    return f"{row['program']} (pid {row['pid']}) holds {row['held']} in a transaction"
