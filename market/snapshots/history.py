"""The history of snapshots: what was known on a day. Rows are only inserted; the database refuses more.

A day that is over and has no snapshot is not computed afterwards: bars have been revised and splits
applied since, and nobody knew what would come out.
"""

import datetime as dt
from typing import Any

from sql.database import Connection, one
from sql.rows import Rows, fetch_rows


def record(conn: Connection, as_of: dt.date | None = None) -> Rows:
    """Record the current snapshots of a day, or each of its own day; returns a row for each day."""
    return fetch_rows(conn, "SELECT * FROM snapshot_history_record(%s)", [as_of])


def prune(conn: Connection, days: int) -> int:
    """Delete history of days more than so many days ago; 0: keep all. Returns how many rows."""
    return int(one(conn, "SELECT snapshot_history_prune(%s) AS n", [days])["n"])


def current(conn: Connection, symbol: str) -> dict[str, Any] | None:
    """Return a symbol's snapshot, and whether it is due; None where there is none."""
    row = conn.execute(
        "SELECT * FROM market_analysis_cache WHERE symbol = normalize_symbol(%s)", [symbol]
    ).fetchone()
    if row is not None:
        del row["raw_analysis"]  # the columns say the same
    return row
