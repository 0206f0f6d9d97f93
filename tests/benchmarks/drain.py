"""A contestant of `queue`: drains prediction events through the worker's own verbs.

As a worker does it: a batch is claimed in one transaction, and ended in another that moves
it to history, guarded by its leases, and where a batch is full another thread ends it while
the next is claimed. Only the work in between is nothing.
"""

import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from sql.database import Database
from tests.benchmarks.processes import done, ready
from worker.queue import outbox
from worker.queue.claim_cursor import ClaimCursor
from worker.queue.outbox import Claim, End
from worker.settings import WorkerSettings


def drain(database: Database, settings: WorkerSettings) -> list[float]:
    """Drain the queue; returns the seconds that each claim took, its commit included."""
    name = str(os.getpid())
    latencies: list[float] = []
    cursor = ClaimCursor()
    beside = settings.worker_prediction_concurrency - 1
    handed: set[Future[None]] = set()
    with ThreadPoolExecutor(max(1, beside)) as lanes:
        while True:
            position, begun = cursor.position("prediction"), time.perf_counter()
            claims = outbox.claim(
                database,
                "prediction",
                name,
                settings.worker_batch_size,
                settings.worker_lease_seconds,
                position,
            )
            seconds = time.perf_counter() - begun
            cursor.record("prediction", claims, seconds, position)
            if not claims and not position:
                break
            if not claims:
                cursor.reset()
                continue
            latencies.append(seconds)
            handed = {each for each in handed if not _ended(each)}
            if len(claims) < settings.worker_batch_size or len(handed) >= 2 * beside:
                _finish(database, claims)
            else:
                handed.add(lanes.submit(_finish, database, claims))
    for each in handed:
        each.result()
    return latencies


def _finish(database: Database, claims: list[Claim]) -> None:
    with database.transaction() as conn:
        outbox.finish(conn, [End(claim, "done", {}) for claim in claims])


def _ended(future: "Future[None]") -> bool:
    """Raises what it raised."""
    return future.done() and future.result() is None


def main() -> None:
    url = sys.argv[1]
    settings = WorkerSettings.model_construct()
    with Database(url, name="bench", size=settings.worker_prediction_concurrency) as database:
        with database.transaction() as conn, database.transaction() as other:
            conn.execute("SELECT 1")
            other.execute("SELECT 1")
        ready()
        drain(database, settings)
        done()


if __name__ == "__main__":
    main()
