"""procrastinate with its async psycopg pool, many jobs side by side, finished jobs deleted.

Concurrency is its documentation's means to throughput; deleting finished jobs is faster than
keeping them. Called with a URL it drains.
"""

import asyncio
import logging
import sys

import procrastinate

from tests.benchmarks.processes import done, ready

CONCURRENCY = 10


async def _nothing() -> None:
    pass


def _app(url: str) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=CONCURRENCY + 2)
    app = procrastinate.App(connector=connector)
    app.task(name="nothing")(_nothing)
    return app


async def _install(url: str) -> None:
    app = _app(url)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def _fill(url: str, events: int) -> None:
    app = _app(url)
    async with app.open_async():
        await app.connector.execute_query_async("TRUNCATE procrastinate_jobs CASCADE")
        await app.tasks["nothing"].batch_defer_async(*({} for _ in range(events)))


def install(url: str) -> None:
    """Make procrastinate's tables."""
    asyncio.run(_install(url))


def fill(url: str, events: int) -> None:
    """Empty its tables and write a backlog."""
    asyncio.run(_fill(url, events))


async def _drain(url: str) -> None:
    app = _app(url)
    async with app.open_async():
        ready()
        await app.run_worker_async(
            wait=False, concurrency=CONCURRENCY, delete_jobs="always", install_signal_handlers=False
        )
        done()


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # its logs would cost it time
    asyncio.run(_drain(sys.argv[1]))
