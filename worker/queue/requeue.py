"""Requeue on an operator's request: the SQL functions, with counts before and after.

The counts show an operator what a requeue did, and in a dry run what it would do.
"""

from typing import Any

from sql.database import Connection, Database, one, trying
from sql.errors import NotFound, translated


def requeue(
    database: Database,
    *,
    event: int | None,
    prediction: int | None,
    ticker: str | None,
    topic: str | None,
    error_like: str | None,
    dry_run: bool,
) -> dict[str, Any]:
    """Requeue one event, prediction or ticker, or all dead events.

    Returns counts before and after, and the event's id if there is one. dry_run: do it all and roll
    it back, so that the counts are true. Raises NotFound where nothing has that id or symbol.
    """
    with database.transaction() as conn:
        before = _counts(conn)
        with translated(lookup=True), trying(conn, dry_run=dry_run):
            if event is not None:
                row = conn.execute("SELECT outbox_requeue(%s) AS event", [event]).fetchone()
            elif prediction is not None:
                row = conn.execute(
                    "SELECT outbox_requeue_prediction(%s) AS event", [prediction]
                ).fetchone()
            elif ticker is not None:
                known = one(conn, "SELECT ticker_is_known(%s) AS known", [ticker])["known"]
                if known is False:
                    raise NotFound(f"{ticker} is not registered, and no event names it")
                row = conn.execute("SELECT outbox_requeue_ticker(%s) AS event", [ticker]).fetchone()
            else:
                row = conn.execute(
                    "SELECT outbox_requeue_dead(%s, %s) AS redriven", [topic, error_like]
                ).fetchone()
            after = _counts(conn)
            if row is not None and row.get("event", 0) is None:
                after["ready"] += 1  # a dry run does not write a new event
    return {
        **(row or {}),
        "dry_run": dry_run,
        "ready_before": before["ready"],
        "ready_after": after["ready"],
        "dead_before": before["dead"],
        "dead_after": after["dead"],
    }


def _counts(conn: Connection) -> dict[str, Any]:
    return one(
        conn,
        "SELECT count(*) FILTER (WHERE status = 'pending' AND available_at <= reckoner_now()) AS ready,"
        " count(*) FILTER (WHERE status = 'dead') AS dead FROM outbox",
    )
