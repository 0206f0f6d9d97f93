"""A contestant of `queue`: drains prediction events through the worker's own verbs.

As a worker does it: a batch is claimed in one transaction, and ended in another that moves
it to history, guarded by its leases. Only the work in between is nothing.
"""

import os
import sys
import time

from sql.database import Database
from tests.benchmarks.processes import done, ready
from worker import outbox
from worker.frontier import Frontier
from worker.outbox import End
from worker.settings import WorkerSettings


def drain(database: Database, settings: WorkerSettings) -> list[float]:
    """Drain the queue; returns the seconds that each claim took, its commit included."""
    name = str(os.getpid())
    latencies: list[float] = []
    frontier = Frontier()
    while True:
        places, begun = frontier.places("prediction"), time.perf_counter()
        with database.transaction() as conn:
            claims = outbox.claim(
                conn,
                "prediction",
                name,
                settings.worker_batch_size,
                settings.worker_lease_seconds,
                places,
            )
        seconds = time.perf_counter() - begun
        frontier.claimed("prediction", claims, seconds, places)
        if not claims and not places:
            return latencies
        if not claims:
            frontier.forget()
            continue
        latencies.append(seconds)
        with database.transaction() as conn:
            outbox.finish(conn, [End(claim, "done", {}) for claim in claims])


def main() -> None:
    url = sys.argv[1]
    settings = WorkerSettings.model_construct()
    with Database(url, name="bench", size=1) as database:
        with database.transaction() as conn:
            conn.execute("SELECT 1")
        ready()
        drain(database, settings)
        done()


if __name__ == "__main__":
    main()
