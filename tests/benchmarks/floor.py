"""Contestants of `queue` that keep less than it does: how far it is to the floor.

nothing: claims and deletes in one statement of 1,000 events; no lease, no fence, no history.
leases: in batches of a worker's size leases events, and moves them to a history in a second
transaction, fenced; the tables have a primary key each and nothing else: no priorities, no
times, no order by key, no views.
"""

import sys

import psycopg
from psycopg.types.json import Jsonb

from tests.benchmarks.processes import done, ready
from tests.support.db import Conn
from worker.settings import WorkerSettings

TABLES = """
DROP TABLE IF EXISTS floor_queue, floor_history;
CREATE TABLE floor_queue (id bigint PRIMARY KEY, payload jsonb NOT NULL, lease bigint, leased_until timestamptz);
CREATE TABLE floor_history (id bigint PRIMARY KEY, payload jsonb NOT NULL, finished_at timestamptz NOT NULL);
CREATE SEQUENCE IF NOT EXISTS floor_lease
"""
NOTHING = """
DELETE FROM floor_queue WHERE id IN (
    SELECT id FROM floor_queue ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING id, payload
"""
CLAIM = """
UPDATE floor_queue SET lease = nextval('floor_lease'), leased_until = now() + interval '1 minute'
WHERE id = ANY (ARRAY(SELECT id FROM floor_queue WHERE lease IS NULL AND id > %s ORDER BY id
                      LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id, lease
"""
FINISH = """
WITH gone AS (
    DELETE FROM floor_queue q USING jsonb_to_recordset(%s) AS v(id bigint, lease bigint)
    WHERE q.id = v.id AND q.lease = v.lease RETURNING q.id, q.payload)
INSERT INTO floor_history SELECT id, payload, now() FROM gone
"""


def fill(conn: Conn, events: int) -> None:
    """Empty tables and a backlog."""
    conn.execute(TABLES)
    conn.execute("INSERT INTO floor_queue SELECT n, '{}' FROM generate_series(1, %s) n", [events])


def _nothing(conn: psycopg.Connection) -> None:
    while conn.execute(NOTHING.encode()).fetchall():
        pass


def _leases(conn: psycopg.Connection) -> None:
    size, last = WorkerSettings.model_construct().worker_batch_size, 0
    while claims := conn.execute(CLAIM, [last, size]).fetchall():
        last = max(number for number, _ in claims)
        ends = [{"id": number, "lease": lease} for number, lease in claims]
        conn.execute(FINISH, [Jsonb(ends)])


def main() -> None:
    url, what = sys.argv[1:]
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as conn:
        conn.execute("SELECT 1")
        ready()
        {"nothing": _nothing, "leases": _leases}[what](conn)
        done()


if __name__ == "__main__":
    main()
