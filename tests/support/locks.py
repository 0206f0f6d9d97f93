"""Named points without hooks in the product: a lock of the test's makes a worker wait just there."""

import contextlib
from collections.abc import Iterator

from tests.support.db import Conn, connect
from tests.support.waiting import until

_WAITING = """
SELECT count(*) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.relation = %s::regclass AND a.application_name = 'reckoner worker'
  AND a.datname = current_database() -- copies of one template have the same numbers
  AND a.wait_event_type = 'Lock' AND a.query ILIKE %s
"""


@contextlib.contextmanager
def locked(url: str, table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[Conn]:
    """Hold a table's lock until the body ends, or rolls the connection back that it gets."""
    with connect(url) as holder:
        holder.autocommit = False
        holder.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        yield holder
        holder.rollback()


def until_worker_waits(conn: Conn, table: str, statement: str) -> None:
    """Wait until a worker waits for a table's lock in a statement like this.

    Its waits are short and come again, so this may see it in its second or third.
    """

    def probe() -> bool:
        row = conn.execute(_WAITING, [table, f"%{statement}%"]).fetchone()
        return bool(row and row["n"])

    until(f"a worker waits for {table} in {statement}", probe, 30)
