"""`start`: from `python -m worker` to its first claim, and `python -m market --help`.

An event waits in a database with an existing schema; the time runs from the start of the
process to the moment that its claim bears, by the one clock of the machine. Every round has
one of each; one round before the first fills the caches and is not counted. Beside it an
interpreter that does nothing.
"""

import subprocess
import sys
import time
from contextlib import ExitStack

from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import worker
from tests.support.db import Conn, connect, value
from tests.support.process import ROOT, environment
from tests.support.waiting import until


def _first_claim(conn: Conn, url: str) -> float:
    data.predictions(conn, 1, 5, 50)
    begun = time.time()
    with worker(url, "run"):
        until("the event is done", lambda: data.waiting(conn) == 0, 60)
    query = "SELECT extract(epoch FROM max(claimed_at))::float8 FROM outbox_history"
    return float(value(conn, query)) - begun


def _program(url: str, *arguments: str) -> float:
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    return time.perf_counter() - begun


def measure(bench: Bench) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        data.market(conn, 5, 100)
        if not bench.quick:
            _first_claim(conn, url)
            _program(url, "-m", "market", "--help")
        for _ in bench.rounds():
            bench.add("worker", _first_claim(conn, url))
            bench.add("help", _program(url, "-m", "market", "--help"))
            bench.add("nothing", _program(url, "-c", "pass"))


def judge(bench: Bench) -> None:
    bench.at_most("python -m worker to its first claim", bench.median("worker"), 1.0, " s")
    bench.at_most("python -m market --help", bench.median("help"), 0.4, " s")
    bench.beside("python -c pass", bench.median("nothing"), " s")
