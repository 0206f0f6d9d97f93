"""A contestant of `queue`: claims and deletes in one statement; no lease, no fence, no history."""

import sys

import psycopg

from tests.benchmarks.processes import done, ready
from tests.support import Conn

TABLE = "CREATE TABLE IF NOT EXISTS floor_queue (id bigint PRIMARY KEY, payload jsonb NOT NULL)"
CLAIM = """
DELETE FROM floor_queue WHERE id IN (
    SELECT id FROM floor_queue ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING id, payload
"""


def fill(conn: Conn, events: int) -> None:
    """An empty table and a backlog in it."""
    conn.execute("DROP TABLE IF EXISTS floor_queue")
    conn.execute(TABLE)
    conn.execute("INSERT INTO floor_queue SELECT n, '{}' FROM generate_series(1, %s) n", [events])


def main() -> None:
    with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=0) as conn:
        conn.execute("SELECT 1")
        ready()
        while conn.execute(CLAIM.encode()).fetchall():
            pass
        done()


if __name__ == "__main__":
    main()
