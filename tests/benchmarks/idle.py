"""`idle`: what a worker with nothing to do costs in a minute.

Statements are counted in the server's log (`log_statement = all` for this database): one line
is one message from the worker, whatever it holds. Transactions are pg_stat_database's. NOTIFYs
are those that arrive at a connection listening on every channel that the log shows the worker
to listen on. CPU is the kernel's count for the worker's process, and for its connections'.
One minute each round; three minutes allow two. The default schedules are there, and the worker looks at
them; none but the hourly one may be due.
"""

import contextlib
import re
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import worker
from tests.support.db import Conn, connect, value
from tests.support.waiting import until

BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'reckoner worker'
"""
TRANSACTIONS = """
SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""
MESSAGE = re.compile(r"LOG:  (?:statement|execute [^:]*): ")


def _cpu(pid: int) -> float:
    """Seconds that the threads of a process have run, which the kernel counts in nanoseconds."""
    ran = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that just ended
            ran += int(path.read_text().split()[0])
    return ran / 1e9


def _backends(conn: Conn) -> dict[int, float]:
    return {row["pid"]: _cpu(row["pid"]) for row in conn.execute(BACKENDS.encode())}


def _minute(bench: Bench, seconds: int) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        # Only the worker's connections are new enough to be logged.
        conn.execute(
            f"ALTER DATABASE {urlsplit(url).path.lstrip('/')} SET log_statement = 'all'".encode()
        )
        begin = bench.server.log.stat().st_size
        process = stack.enter_context(worker(url, WORKER_SCHEDULES="true"))
        with bench.server.log.open() as log:
            log.seek(begin)
            early = log.read()
            for channel in set(re.findall(r"LISTEN (reckoner\w*)", early)):
                conn.execute(f"LISTEN {channel}".encode())
            time.sleep(2)  # what it does once, after its start
            until("its connections", lambda: _backends(conn))
            list(conn.notifies(timeout=0))
            log.read()
            transactions = value(conn, TRANSACTIONS)
            before, backends = _cpu(process.process.pid), _backends(conn)
            begun = time.monotonic()
            notified = len(list(conn.notifies(timeout=seconds)))
            took = time.monotonic() - begun
            used = _cpu(process.process.pid) - before
            theirs = sum(cpu - backends.get(pid, 0) for pid, cpu in _backends(conn).items())
            lines = log.read()
        bench.add("statements", len(MESSAGE.findall(lines)) / took)
        bench.add("transactions", (value(conn, TRANSACTIONS) - transactions) / took)
        bench.add("notifies", notified / took)
        bench.add("worker's CPU", used / took * 100)
        bench.add("connections' CPU", theirs / took * 100)


def measure(bench: Bench) -> None:
    for _ in bench.rounds(2):
        _minute(bench, bench.size(60, 1))


def judge(bench: Bench) -> None:
    bench.at_most("statements a second", bench.median("statements"), 1)
    bench.at_most("CPU of the worker", bench.median("worker's CPU"), 0.5, " % of a core")
    bench.beside("CPU of its connections", bench.median("connections' CPU"), " % of a core")
    bench.beside("transactions a second", bench.median("transactions"))
    bench.beside("NOTIFYs a second", bench.median("notifies"))
