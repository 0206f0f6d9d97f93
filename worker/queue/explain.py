"""The history of a prediction, a ticker or an event, from the functions of `70_explain.sql`.

SQL tells the history, so that psql and a page give the same answer as the command.
"""

import re
from typing import Any

from sql.database import Database
from sql.errors import translated

_IDS = re.compile(r"-?[0-9]{1,19}")


def explain(
    database: Database, *, what: str | None = None, event: int | None = None
) -> list[dict[str, Any]]:
    """Return the history as rows `at` (timestamptz; None: true at any time), `subject`, `story`.

    what: a prediction's id or a symbol. Raises NotFound where neither exists.
    """
    if event is not None:
        query, argument = "SELECT * FROM explain_event(%s)", str(event)
    elif what is not None and _IDS.fullmatch(what) and -(2**63) <= int(what) < 2**63:
        query, argument = "SELECT * FROM explain_prediction(%s)", what
    else:
        query, argument = "SELECT * FROM explain_ticker(%s)", what or ""
    with translated(lookup=True), database.transaction() as conn:
        return conn.execute(query.encode(), [argument]).fetchall()
