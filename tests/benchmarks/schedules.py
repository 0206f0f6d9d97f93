"""`schedules`: 1,000 schedules that are due in the same second, and how late a tick is on an idle system.

A real worker that looks at schedules; what counts is when another connection sees the ticks with their runs,
each a row in `schedule_ticks`, `job_run` and `outbox`. Beside it, in the same rounds:

- APScheduler 3 with its jobs in this database: from the due second until the last of 1,000 functions that do
  nothing was started. It keeps no row of what was due.
- procrastinate's periodic tasks: from the due second until 1,000 of its periodic defers are there.
"""

import contextlib
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import worker
from tests.support.db import Conn, connect, value
from tests.support.process import ROOT, environment
from tests.support.waiting import until

# How long before the due second everybody has begun.
_AHEAD_SECONDS = 5
_OURS = "SELECT count(*) FROM schedule_ticks WHERE run_id IS NOT NULL"
_LAST_OURS = "SELECT extract(epoch FROM max(tick_at))::float8 FROM schedule_ticks"
_THEIRS = "SELECT count(*) FROM procrastinate_periodic_defers"
_LAST_THEIRS = "SELECT max(defer_timestamp)::float8 FROM procrastinate_periodic_defers"


def _now(conn: Conn) -> float:
    return float(value(conn, "SELECT extract(epoch FROM clock_timestamp())::float8"))


def _until_all(conn: Conn, query: str, number: int, due: float) -> float:
    """Seconds from the due moment until a connection sees so many."""
    while value(conn, query) < number:
        time.sleep(0.002)
    return _now(conn) - due


def _latenesses(conn: Conn, query: str, ticks: int) -> Iterator[float]:
    """How many ms after each of the next ticks a connection sees it."""
    last = value(conn, query)
    while ticks:
        newest = value(conn, query)
        if newest != last and newest is not None:
            if last is not None:
                yield (_now(conn) - newest) * 1000
                ticks -= 1
            last = newest
        time.sleep(0.001)


def _clear(conn: Conn) -> None:
    conn.execute("DELETE FROM outbox; TRUNCATE job_run, schedule_ticks; DELETE FROM schedules")


def _at_once(bench: Bench, url: str, conn: Conn, number: int) -> None:
    _clear(conn)
    query = "SELECT schedule_create('s' || n, 'daily_sync', 'every 1 day') FROM generate_series(1, %s) n"
    conn.execute(query, [number])
    with worker(url, WORKER_SCHEDULES="true"):
        computed = "SELECT count(*) FROM schedules WHERE isfinite(next_tick_at)"
        until("their first ticks are computed", lambda: value(conn, computed) == number)
        due = math.ceil(_now(conn)) + _AHEAD_SECONDS
        conn.execute("UPDATE schedules SET next_tick_at = to_timestamp(%s)", [due])
        conn.execute("SELECT doorbell_ring()")
        bench.add("ours at once", _until_all(conn, _OURS, number, due))


def _one_by_one(bench: Bench, url: str, conn: Conn, ticks: int) -> None:
    _clear(conn)
    with worker(url, WORKER_SCHEDULES="true"):
        conn.execute("SELECT schedule_create('s', 'daily_sync', 'every 1 second')")
        bench.add("ours late", *_latenesses(conn, _LAST_OURS, ticks))
    _clear(conn)


@contextlib.contextmanager
def _peer(url: str, module: str, *arguments: object) -> Iterator[Callable[[], float]]:
    """A process of a peer; the function reads its next figure."""
    with subprocess.Popen(
        [sys.executable, "-m", module, url, *map(str, arguments)],
        env=environment(url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = process.stdout
        try:
            assert lines.readline() == "ready\n", f"{module} did not start"
            yield lambda: float(lines.readline())
        finally:
            process.kill()


def _apscheduler(bench: Bench, url: str, number: int, ticks: int) -> None:
    with _peer(url, "tests.benchmarks.peers.with_apscheduler", "at_once", number) as figure:
        bench.add("APScheduler at once", figure())
    with _peer(url, "tests.benchmarks.peers.with_apscheduler", "late", ticks) as figure:
        bench.add("APScheduler late", *(figure() * 1000 for _ in range(ticks)))


def _procrastinate(bench: Bench, url: str, conn: Conn, number: int, ticks: int) -> None:
    module = "tests.benchmarks.peers.with_procrastinate_periodic"
    conn.execute("TRUNCATE procrastinate_jobs, procrastinate_periodic_defers CASCADE")
    due = math.ceil(_now(conn)) + 2 * _AHEAD_SECONDS
    # The minute as well: at its start it defers what was due within the last ten.
    with _peer(url, module, number, f"{due // 60 % 60} * * * * {due % 60}"):
        bench.add("procrastinate at once", _until_all(conn, _THEIRS, number, due))
    conn.execute("TRUNCATE procrastinate_jobs, procrastinate_periodic_defers CASCADE")
    with _peer(url, module, 1, "* * * * * *"):
        bench.add("procrastinate late", *_latenesses(conn, _LAST_THEIRS, ticks))


def measure(bench: Bench) -> None:
    number, ticks = bench.size(1000, 5), bench.size(30, 1)
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        theirs = stack.enter_context(bench.server.empty())
        watch = stack.enter_context(connect(theirs))
        if not bench.alone:
            from tests.benchmarks.peers import with_procrastinate  # noqa: PLC0415 - not installed where tests run

            with_procrastinate.install(theirs)
        for _ in bench.rounds(1):  # a minute of it is the peers' waiting for their due second
            _at_once(bench, url, conn, number)
            _one_by_one(bench, url, conn, ticks)
            if not bench.alone:
                _apscheduler(bench, theirs, number, ticks // 3)
                _procrastinate(bench, theirs, watch, number, ticks // 3)


def judge(bench: Bench) -> None:
    bench.at_most("1,000 due at once", bench.median("ours at once"), 1, " s")
    p50, p99 = _percentiles(bench, "ours late")
    bench.at_most("a tick's lateness, p99", p99, 100, " ms")
    bench.beside("a tick's lateness, p50", p50, " ms")
    if bench.alone:
        return
    for peer in ("APScheduler", "procrastinate"):
        bench.beside(f"{peer}, 1,000 due at once", bench.median(f"{peer} at once"), " s")
        p50, p99 = _percentiles(bench, f"{peer} late")
        bench.beside(f"{peer}'s lateness, p50", p50, " ms")
        bench.beside(f"{peer}'s lateness, p99", p99, " ms")


def _percentiles(bench: Bench, figure: str) -> tuple[float, float]:
    values = bench.figures[figure]
    if len(values) < 2:
        return math.nan, math.nan
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
