"""The rows of a result together with its columns, which an empty result has too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString

from sql.database import Connection


class Rows(list[dict[str, Any]]):
    """Rows with the same columns. A table of them has a header also where there is none."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Keep the rows, and the names of their columns in order."""
        super().__init__(dict(row) for row in rows)
        self.columns = tuple(columns)


def fetch_rows(
    conn: Connection, query: LiteralString, parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> Rows:
    """Run a statement and return its rows with the columns of the result."""
    cursor = conn.execute(query, parameters or None)
    return Rows(cursor.fetchall(), [column.name for column in cursor.description or ()])
