"""A contestant of `queue`: drains prediction events through the worker's own verbs.

As a worker does it: a batch is claimed in one transaction, and ended in another that moves
it to history, guarded by its leases. Only the work in between is nothing.
"""

import os
import sys

from sql.database import Database
from tests.benchmarks.processes import done, ready
from worker import outbox
from worker.outbox import End
from worker.settings import WorkerSettings


def drain(database: Database, name: str, batch: int, seconds: float) -> list[int]:
    """Drain the queue; returns how many events each batch had."""
    sizes: list[int] = []
    while True:
        with database.transaction() as conn:
            claims = outbox.claim(conn, "prediction", name, batch, seconds)
        if not claims:
            return sizes
        with database.transaction() as conn:
            outbox.finish(conn, [End(claim, "done", {}) for claim in claims])
        sizes.append(len(claims))


def main() -> None:
    url = sys.argv[1]
    settings = WorkerSettings.model_construct()
    with Database(url, name="bench", size=1) as database:
        with database.transaction() as conn:
            conn.execute("SELECT 1")
        ready()
        drain(database, str(os.getpid()), settings.worker_batch_size, settings.worker_lease_seconds)
        done()


if __name__ == "__main__":
    main()
