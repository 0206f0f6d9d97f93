"""`bloat`: the queue with years behind it and vacuum held back, beside the same queue when new.

Aged: 2,000,000 finished events of the same kind in history, and before the backlog is written a
transaction is opened and stays open until it is drained, so that no dead version of any event can
be removed meanwhile. New: an empty database, nothing held back. One process drains 100,000 in each;
each round takes fresh copies of all. A claim's latency includes its commit.

Beside it a history whose rows are larger than those that come: then each of these goes into the gap
that some old page has left, and after a checkpoint the WAL gets an image of that whole page.
"""

import statistics
import time
from contextlib import ExitStack

from sql.database import Database
from tests.benchmarks.bench import Bench
from tests.benchmarks.drain import drain
from tests.benchmarks.queue import fill
from tests.benchmarks.server import settle
from tests.support.db import connect
from worker.settings import WorkerSettings

HISTORY = """
INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at, finished_at,
                            worker, claimed_at, result)
SELECT n, 'prediction', n, 'done', 0, 0, t.at, t.at, 'bench', t.at, %s
FROM generate_series(1, %s) n CROSS JOIN LATERAL (SELECT now() - (20 - n / 150000.0) * interval '1 day' AS at) t
"""
RESULTS = {"aged": "{}", "aged, larger rows": '{"outcomes": {"complete": 3}}'}


def _turn(bench: Bench, side: str, template: str, events: int, *, held: bool) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.copy(template))
        conn = stack.enter_context(connect(url))
        if held:
            holder = stack.enter_context(connect(url))
            holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT count(*) FROM outbox")
        fill(conn, events)
        settings = WorkerSettings.model_construct()
        size = settings.worker_prediction_concurrency
        database = stack.enter_context(Database(url, name="bench", size=size))
        begun = time.perf_counter()
        latencies = drain(database, settings)
        bench.add(side, events / (time.perf_counter() - begun))
        if len(latencies) > 1:
            p99 = statistics.quantiles(latencies, n=100, method="inclusive")[98]
            bench.add(f"{side}, claim p99", p99 * 1000)


def measure(bench: Bench) -> None:
    events, history = bench.size(100_000, 2_000), bench.size(2_000_000, 20_000)
    with ExitStack() as stack:
        new = stack.enter_context(bench.server.migrated())
        aged = {side: stack.enter_context(bench.server.copy(new)) for side in RESULTS}
        for side, url in aged.items():
            with connect(url) as conn:
                # The newest finished event's id is below any that comes: ids are a sequence's.
                conn.execute(HISTORY, [RESULTS[side], history])
                conn.execute("SELECT setval(pg_get_serial_sequence('outbox', 'id'), %s)", [history])
                settle(conn, "outbox_history")
        for _ in bench.rounds():
            _turn(bench, "new", new, events, held=False)
            for side, url in aged.items():
                _turn(bench, side, url, events, held=True)


def judge(bench: Bench) -> None:
    ratio = bench.median("aged") / bench.median("new")
    bench.at_least("events/s: aged and vacuum held back ÷ new", ratio, 0.8)
    larger = bench.median("aged, larger rows") / bench.median("new")
    bench.beside("events/s: the same behind larger rows ÷ new", larger)
    p99 = {side: bench.median(f"{side}, claim p99") for side in ("new", *RESULTS)}
    bench.at_most("claim p99: aged ÷ new", p99["aged"] / p99["new"], 3)
    for side, milliseconds in p99.items():
        bench.beside(side, bench.median(side), " events/s")
        bench.beside(f"{side}, claim p99", milliseconds, " ms")
