"""`worker explain`: the story of a prediction, a ticker or an event, from `70_explain.sql`."""

from typing import Any

from sql.database import Database
from sql.errors import translated


def explain(
    database: Database, *, what: str | None = None, event: int | None = None
) -> list[dict[str, Any]]:
    """The story as rows `at` (timestamptz, None for what just is so), `subject`, `story`.

    what: a prediction's id, or else a symbol. Raises NotFound where there is none.
    """
    if event is not None:
        query, argument = "SELECT * FROM explain_event(%s)", str(event)
    elif what is not None and what.isdecimal() and len(what) < 19:
        query, argument = "SELECT * FROM explain_prediction(%s)", what
    else:
        query, argument = "SELECT * FROM explain_ticker(%s)", what or ""
    with translated(lookup=True), database.transaction() as conn:
        return conn.execute(query.encode(), [argument]).fetchall()
