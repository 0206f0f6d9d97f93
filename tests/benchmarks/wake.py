"""`wake`: from the acknowledged COMMIT of a prediction to its visible outcome rows, idle system.

A real worker sleeps. A connection inserts a prediction of three known tickers and takes the
time when its COMMIT is acknowledged; a second connection asks for the three filled rows without
a pause until it sees them, so a figure contains on average half of one such question. Before
each prediction the worker has gone to sleep again. Beside it, in the same rounds:

- the bare wake: no worker, but a process that lies down, wakes and claims through the
  product's own doorbell and outbox; from the COMMIT to the claimed row in its hand;
- a raw NOTIFY, from its sending to the notification in the hand of a process that LISTENs;
- SELECT 1, there and back.
"""

import contextlib
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import worker
from tests.benchmarks.sleeper import CHANNEL
from tests.support.db import Conn, connect, value
from tests.support.process import ROOT, environment
from tests.support.waiting import until

SYMBOLS, SESSIONS = 50, 200
INSERT = """
INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)
VALUES ('["S1", "S2", "S3"]', '{"S1": "bullish"}', 0.7, now() - interval '90 days') RETURNING id
"""
SEEN = """
SELECT count(*) = 3 AS yes FROM prediction_outcomes
WHERE prediction_id = %s AND outcome_state = 'complete'
"""
ASLEEP = """
SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND objsubid = 2
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
 AND mode = 'ExclusiveLock' AND granted
"""
# What a worker still does after its outcomes are visible, before and after it lies down.
REST_SECONDS = 0.03


def _times(bench: Bench) -> int:
    return bench.size(100, 3)


def _until_asleep(watch: Conn) -> None:
    time.sleep(REST_SECONDS)
    until("somebody sleeps", lambda: watch.execute(ASLEEP.encode()).fetchone() is not None)
    time.sleep(REST_SECONDS)


def _outcomes(bench: Bench, conn: Conn, watch: Conn, times: int) -> None:
    for _ in range(times):
        _until_asleep(watch)
        number = int(value(conn, INSERT))
        committed = time.perf_counter()
        while not value(watch, SEEN, [number]):
            assert time.perf_counter() < committed + 60, "no outcome within a minute"
        bench.add("outcomes", (time.perf_counter() - committed) * 1000)


@contextlib.contextmanager
def _sleeper(url: str, kind: str, times: int) -> Iterator[Callable[[], float]]:
    """A process of tests.benchmarks.sleeper; the function reads its next moment."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.sleeper", url, kind, str(times)],
        env=environment(url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = process.stdout
        try:
            assert lines.readline() == "ready\n"
            yield lambda: float(lines.readline())
        finally:
            process.kill()


def _bare(bench: Bench, url: str, conn: Conn, watch: Conn, times: int) -> None:
    with _sleeper(url, "claim", times) as moment:
        for _ in range(times):
            _until_asleep(watch)
            value(conn, INSERT)
            committed = time.perf_counter()
            bench.add("bare wake", (moment() - committed) * 1000)
    conn.execute("DELETE FROM outbox")


def _notify(bench: Bench, url: str, conn: Conn, times: int) -> None:
    with _sleeper(url, "notify", times) as moment:
        for _ in range(times):
            time.sleep(REST_SECONDS)
            sent = time.perf_counter()
            conn.execute(f"NOTIFY {CHANNEL}".encode())
            bench.add("NOTIFY", (moment() - sent) * 1000)


def _select(bench: Bench, conn: Conn, times: int) -> None:
    for _ in range(times):
        time.sleep(REST_SECONDS)
        sent = time.perf_counter()
        conn.execute("SELECT 1").fetchone()
        bench.add("SELECT 1", (time.perf_counter() - sent) * 1000)


def measure(bench: Bench) -> None:
    times = _times(bench)
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        watch = stack.enter_context(connect(url))
        data.market(conn, SYMBOLS, SESSIONS)
        for _ in bench.rounds():
            with worker(url):
                _outcomes(bench, conn, watch, times)
            _bare(bench, url, conn, watch, times)
            _notify(bench, url, conn, times)
            _select(bench, conn, times)


def judge(bench: Bench) -> None:
    times = _times(bench)
    outcomes, bare = _percentiles(bench, "outcomes", times), _percentiles(bench, "bare wake", times)
    bench.at_most("COMMIT → outcome rows, p50", outcomes[0], 4, " ms")
    bench.at_most("COMMIT → outcome rows, p99", outcomes[1], 20, " ms")
    bench.at_most("p50 ÷ p50 of the bare wake", outcomes[0] / bare[0], 8)
    for figure in ("bare wake", "NOTIFY", "SELECT 1"):
        p50, p99 = _percentiles(bench, figure, times)
        bench.beside(f"{figure}, p50", p50, " ms")
        bench.beside(f"{figure}, p99", p99, " ms")


def _percentiles(bench: Bench, figure: str, times: int) -> tuple[float, float]:
    """p50 and p99 over all rounds, in ms."""
    # A round's first wake is the new process's first, which a service makes once in its life.
    values = [v for n, v in enumerate(bench.figures[figure]) if n % times]
    if len(values) < 2:
        return math.nan, math.nan
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
