"""What a person decides about a ticker: its status, and what it is called now.

Thin doors to `sql/functions/83_ticker_verbs.sql`, which changes registry, queue, prices and
outcomes in one transaction. Raises NotFound where there is no such ticker.
"""

from typing import Any

from market.universe import sessions
from sql.database import Database, one
from sql.errors import translated


def set_status(
    database: Database, symbol: str, status: str, reason: str, *, dry_run: bool
) -> dict[str, Any]:
    """Set a ticker's status and all that follows from it; returns the counts.

    dry_run does it and rolls it back, so that the counts are true.
    """
    with (
        translated(),
        database.transaction(seconds=300) as conn,
        conn.transaction(force_rollback=dry_run),
    ):
        return one(conn, "SELECT * FROM ticker_set_status(%s, %s, %s)", [symbol, status, reason])


def remap(database: Database, old: str, new: str, *, dry_run: bool) -> dict[str, Any]:
    """Let `old` be what `new` is, for providers and sessions; returns the counts.

    Loads the sessions that it needs first, also in a dry run.
    """
    with translated(), database.transaction() as conn:
        target = one(conn, "SELECT * FROM ticker_remap_target(%s, %s)", [old, new])
    sessions.ensure_one(database, target["calendar"])
    with (
        translated(),
        database.transaction(seconds=300) as conn,
        conn.transaction(force_rollback=dry_run),
    ):
        return one(conn, "SELECT * FROM ticker_remap(%s, %s)", [old, new])
