"""An operator's changes of a ticker: its status, and its current symbol.

`sql/functions/83_ticker_verbs.sql` changes registry, queue, prices and outcomes in one transaction;
these functions call it. They raise NotFound where the ticker does not exist.
"""

from typing import Any

from market.universe import sessions
from sql.database import Database, one, trying
from sql.errors import translated


def set_status(
    database: Database, symbol: str, status: str, reason: str, *, dry_run: bool
) -> dict[str, Any]:
    """Set a ticker's status; its events and outcomes follow. Returns the counts.

    dry_run: do it all and roll it back, so that the counts are true.
    """
    with (
        translated(lookup=True),
        database.transaction(seconds=300) as conn,
        trying(conn, dry_run=dry_run),
    ):
        return one(conn, "SELECT * FROM ticker_set_status(%s, %s, %s)", [symbol, status, reason])


def remap(database: Database, old: str, new: str, *, dry_run: bool) -> dict[str, Any]:
    """Map `old` to `new` for providers and sessions; returns the counts.

    Loads the needed sessions first, also in a dry run.
    """
    with translated(lookup=True), database.transaction() as conn:
        target = one(conn, "SELECT * FROM ticker_remap_target(%s, %s)", [old, new])
    sessions.ensure_one(database, target["calendar"])
    with (
        translated(lookup=True),
        database.transaction(seconds=300) as conn,
        trying(conn, dry_run=dry_run),
    ):
        return one(conn, "SELECT * FROM ticker_remap(%s, %s)", [old, new])
