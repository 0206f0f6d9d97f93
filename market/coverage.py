"""Coverage: how complete and how fresh the bars of tracked symbols are.

The figures are SQL functions (`sql/functions/69_freshness.sql`); this module reads them.
"""

from typing import Any

from sql.database import Connection, one
from sql.errors import NotFound
from sql.rows import Rows, fetch_rows

# More time is a sign of a fault; coverage() then says `unknown`.
_SECONDS = 15


def report(conn: Connection, *, refresh: bool = False) -> dict[str, Any]:
    """Return the report as of now; refresh: and keep it as the hour's snapshot."""
    call = "coverage_snapshot()" if refresh else "coverage()"
    conn.execute("SELECT set_config('statement_timeout', %s, true)", [f"{_SECONDS}s"])
    found: dict[str, Any] = one(conn, f"SELECT {call} AS report")["report"]
    return found


def stale(conn: Connection, limit: int | None = 50) -> Rows:
    """List stale and missing symbols with reason and remedy, the oldest first."""
    return fetch_rows(conn, "SELECT * FROM coverage_stale(%s)", [limit])


def symbol(conn: Connection, name: str) -> dict[str, Any]:
    """Return one symbol's coverage; raises NotFound where it is not registered."""
    found: dict[str, Any] | None = one(conn, "SELECT coverage_symbol(%s) AS row", [name])["row"]
    if found is None:
        raise NotFound(f"{name} is not registered: python -m market register-tickers {name}")
    return found
