"""What a person decides about a ticker: its status, and what it is called now.

Thin doors to `sql/functions/83_ticker_verbs.sql`, which changes registry, queue, prices and
outcomes in one transaction. Raises CommandError where there is no such ticker.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from market import sessions
from market.console import CommandError
from sql.database import Database, one


def set_status(
    database: Database, symbol: str, status: str, reason: str, *, dry_run: bool
) -> dict[str, Any]:
    """Set a ticker's status and all that follows from it; returns the counts.

    dry_run does it and rolls it back, so that the counts are true.
    """
    with (
        _spoken(),
        database.transaction(seconds=300) as conn,
        conn.transaction(force_rollback=dry_run),
    ):
        return one(conn, "SELECT * FROM ticker_set_status(%s, %s, %s)", [symbol, status, reason])


def remap(database: Database, old: str, new: str, *, dry_run: bool) -> dict[str, Any]:
    """Let `old` be what `new` is, for providers and sessions; returns the counts.

    Loads the sessions that it needs first, also in a dry run.
    """
    with _spoken(), database.transaction() as conn:
        target = one(conn, "SELECT * FROM ticker_remap_target(%s, %s)", [old, new])
    sessions.ensure_one(database, target["calendar"])
    with (
        _spoken(),
        database.transaction(seconds=300) as conn,
        conn.transaction(force_rollback=dry_run),
    ):
        return one(conn, "SELECT * FROM ticker_remap(%s, %s)", [old, new])


@contextlib.contextmanager
def _spoken() -> Iterator[None]:
    """Errors that the functions raise on purpose, as their own sentence."""
    try:
        yield
    except (psycopg.errors.NoDataFound, psycopg.errors.ObjectNotInPrerequisiteState) as error:
        raise CommandError(str(error.diag.message_primary)) from None
    except psycopg.errors.InvalidParameterValue as error:
        raise CommandError(str(error.diag.message_primary), 2) from None
