"""The ticker registry: symbols with their status, asset type, calendar and fetched range.

The SQL function `normalize_symbol` is the only definition of a symbol, so that a trigger, a command
and a list cannot disagree.
"""

from collections.abc import Sequence

from sql.database import Connection
from sql.rows import Rows, fetch_rows

STATUSES = ("active", "inactive", "invalid")


def register(conn: Connection, elements: Sequence[str]) -> dict[str, list[str]]:
    """Register symbols; the table's trigger writes a ticker event for each new one.

    Returns the elements under `registered`, `known` and `rejected` (not a symbol).
    """
    rows = conn.execute(
        "SELECT element, normalize_symbol(element) AS symbol FROM unnest(%s::text[]) AS element",
        [list(elements)],
    ).fetchall()
    symbols = list(dict.fromkeys(row["symbol"] for row in rows if row["symbol"]))
    new = {
        row["symbol"]
        for row in conn.execute(
            "SELECT registry_register(%s::text[], %s::bigint[]) AS symbol",
            [symbols, [None] * len(symbols)],
        )
    }
    conn.execute("SELECT registry_by_hand(%s)", [symbols])
    return {
        "registered": [symbol for symbol in symbols if symbol in new],
        "known": [symbol for symbol in symbols if symbol not in new],
        "rejected": [row["element"] for row in rows if not row["symbol"]],
    }


def listing(conn: Connection, status: str | None) -> Rows:
    """List the registry, or its tickers of one status."""
    return fetch_rows(
        conn,
        "SELECT symbol, status, status_reason, asset_type, coalesce(calendar, symbol_calendar(symbol)) AS calendar,"
        " first_seen_date, source_prediction_id, price_data_start, price_data_end, total_price_records,"
        " backfill_status, backfill_error FROM ticker_registry"
        " WHERE %(status)s::text IS NULL OR status = %(status)s ORDER BY symbol",
        {"status": status},
    )


def tracked(conn: Connection, *, new: bool) -> Rows:
    """List the symbols that are followed; new: those without any bar."""
    if new:
        return fetch_rows(conn, "SELECT * FROM tracked_new ORDER BY symbol")
    return fetch_rows(conn, "SELECT * FROM tracked_symbols ORDER BY symbol")
