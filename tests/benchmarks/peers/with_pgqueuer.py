"""pgqueuer with asyncpg on uvloop, one connection, batches of a thousand, its vacuum settings.

That is its fastest driver and what its performance guide recommends; its tables are durable,
because ours are. Called with a URL it drains.
"""

import asyncio
import re
import sys
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from tests.benchmarks.processes import done, ready
from tests.support.db import Conn

BATCH = 1000


def _known(url: str) -> str:
    """The URL without what asyncpg would send to the server as a setting."""
    return re.sub(r"&requirepeer=[^&]*", "", url)


async def _install(url: str, events: int) -> None:
    conn = await asyncpg.connect(_known(url))
    queries = Queries(AsyncpgDriver(conn))
    await queries.install()
    await queries.optimize_autovacuum()
    for begin in range(0, events, 10_000):
        number = min(10_000, events - begin)
        await queries.enqueue(["nothing"] * number, [None] * number, [0] * number)
    await conn.execute("CREATE TABLE backlog AS SELECT * FROM pgqueuer")
    await conn.close()


def install(url: str, events: int) -> None:
    """Make pgqueuer's tables, with the vacuum settings that it recommends, and a backlog."""
    asyncio.run(_install(url, events))


def fill(conn: Conn) -> None:
    """Bring its tables back to the backlog that was written first."""
    conn.execute("TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics")
    conn.execute("INSERT INTO pgqueuer SELECT * FROM backlog")


async def _nothing(_job: Job) -> None:
    pass


async def _drain(url: str) -> None:
    conn = await asyncpg.connect(_known(url))
    manager = QueueManager(Queries(AsyncpgDriver(conn)))
    manager.entrypoint("nothing")(_nothing)
    ready()
    await manager.run(
        dequeue_timeout=timedelta(seconds=1), batch_size=BATCH, mode=QueueExecutionMode.drain
    )
    done()
    await conn.close()


if __name__ == "__main__":
    uvloop.run(_drain(sys.argv[1]))
