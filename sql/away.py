"""Telling whether the database is away: by a statement of our own, not by an error's code.

A trigger of the owner may raise any SQLSTATE for one row. So the code of a failed statement only
says that the database may be away, and the probe tells: a write that no event and no trigger of the
owner takes part in. It fails where the server cannot be reached, starts, stops, is full or
read-only.
"""

import psycopg

from sql.database import Database
from sql.descriptors import is_short

# Connections, invalid transaction states (read-only), resources, interventions, system errors.
_CLASSES = {"08", "25", "53", "57", "58"}

# The row has 64 kB that do not compress: on a full disk one more row may still fit into its page.
_PROBE = """
INSERT INTO public.reckoner_workers (name, host, pid, mode)
SELECT 'probe ' || pg_backend_pid(), string_agg(md5(random()::text), ''), 0, 'polling'
FROM generate_series(1, 2000)
"""


def may_be_away(error: BaseException) -> bool:
    """Whether an error's code allows that the database is away.

    False for a statement that took too long or was cancelled, and for every error of data, rights
    or missing objects.
    """
    if not isinstance(error, psycopg.Error) or isinstance(error, psycopg.errors.QueryCanceled):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _CLASSES


def is_away(database: Database, error: BaseException) -> bool:
    """Whether the database is away now, or the system has no descriptor or thread left."""
    if not may_be_away(error):
        return is_short(error)
    try:
        probe(database)
    except psycopg.Error as second:
        # A write that takes ten seconds is a server that stands still.
        return may_be_away(second) or isinstance(second, psycopg.errors.QueryCanceled)
    except Exception as second:
        if not is_short(second):
            raise
        return True
    return False


def probe(database: Database) -> None:
    """Write a row and roll it back; raises psycopg.Error where the database cannot do that."""
    with database.transaction(seconds=10, lock_seconds=2) as conn:
        conn.execute(_PROBE)
        conn.rollback()


def may_pass(error: BaseException) -> bool:
    """Whether the same statement may succeed at once: a lost connection, a lock, a deadlock."""
    return may_be_away(error) or (
        isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in {"40", "55"}
    )


def is_locked(error: BaseException) -> bool:
    """Whether another session held a lock that the statement waited for.

    False where a trigger raised the same code with RAISE.
    """
    return isinstance(
        error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected
    ) and not _was_raised(error)


def is_lost(error: BaseException) -> bool:
    """Whether the connection was lost, or the server ended it."""
    return may_be_away(error) and (
        not isinstance(error, psycopg.Error)
        or error.sqlstate is None
        or (error.sqlstate[:4] == "57P0" and not _was_raised(error))
    )


def _was_raised(error: psycopg.Error) -> bool:
    return error.diag.source_function == "exec_stmt_raise"
