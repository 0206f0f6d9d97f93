"""`retention`: a month of five-minute bars of 500 symbols is dropped, while readers read the others.

Four readers ask for a symbol's newest session again and again; what counts is the longest time that one of
them waited. In the second turn one more session has read the old month and stays in its transaction: the
drop cannot have its lock, gives up, and must not hold up the readers by trying.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks.bench import Bench
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value

READERS = 4
READ = "SELECT count(*) FROM price_history_intraday WHERE symbol = 'S1' AND \"interval\" = '5m' AND ts > %s"
FILL = """
INSERT INTO price_history_intraday
SELECT 'S' || n, '5m', s.opens_at + k * interval '5 minutes', 50, 51, 49, 50.5, 10000 + k, 'bench',
       repeat('0', 64), now()
FROM generate_series(1, %s) n,
     (SELECT opens_at FROM market_sessions WHERE calendar = 'XNYS' AND opens_at >= %s AND opens_at < %s) s,
     generate_series(0, 77) k
"""


@contextmanager
def _readers(url: str, since: dt.datetime) -> Iterator[list[float]]:
    """Readers at work; yields the seconds of each read so far."""
    waits: list[float] = []
    stop = threading.Event()

    def read() -> None:
        with connect(url) as conn:
            while not stop.is_set():
                begun = time.perf_counter()
                conn.execute(READ, [since])
                waits.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    while len(waits) < 10 * READERS:
        time.sleep(0.01)
    yield waits
    stop.set()
    for thread in threads:
        thread.join()


def _longest(waits: list[float], body: Callable[[], None]) -> float:
    """Return the longest read that ended during or soon after the body."""
    before = len(waits)
    body()
    after = len(waits)
    while len(waits) < after + 2 * READERS:
        time.sleep(0.001)
    return max(waits[before:])


def measure(bench: Bench) -> None:
    symbols = bench.size(500, 20)
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        now = value(conn, "SELECT now()")
        recent = now - dt.timedelta(days=10)
        old = value(conn, "SELECT date_trunc('month', now() - interval '6 months', 'UTC')")
        after = value(conn, "SELECT date_trunc('month', now() - interval '5 months', 'UTC')")
        conn.execute("SELECT intraday_partitions_ensure(%s, %s)", [recent, now])
        conn.execute(FILL, [symbols, recent, now])
        for _ in bench.rounds(3):
            conn.execute("SELECT intraday_partitions_ensure(%s, %s)", [old, old])
            conn.execute(FILL, [symbols, old, after])
            settle(conn, "price_history_intraday")
            with _readers(url, recent) as waits:
                _turn(bench, url, conn, waits)


def _turn(bench: Bench, url: str, conn: Conn, waits: list[float]) -> None:
    bench.add("a read before", max(waits))

    def drop(expected: bool) -> None:
        with bench.timed("the drop" if expected else "a try in vain"):
            name = value(conn, "SELECT intraday_partition_drop(90)")
        assert (name is not None) is expected, name

    with connect(url) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM price_history_intraday WHERE symbol = 'S1'")
        bench.add("a read, try in vain", _longest(waits, lambda: drop(False)))
    bench.add("a read, drop", _longest(waits, lambda: drop(True)))
    conn.execute("SELECT pg_stat_force_next_flush()")
    dead = "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname ~ 'intraday'"
    bench.add("dead rows", float(value(conn, dead)))


def judge(bench: Bench) -> None:
    bench.at_most("dead rows after it", bench.median("dead rows"), 0)
    bench.at_most("the drop of a month", bench.median("the drop"), 0.2, " s")
    bench.at_most(
        "the longest read during it", max(bench.figures["a read, drop"], default=9.0), 0.1, " s"
    )
    vain = max(bench.figures["a read, try in vain"], default=9.0)
    bench.at_most("the longest read while it cannot have its lock", vain, 0.1, " s")
    bench.beside("a try in vain", bench.median("a try in vain"), " s")
    bench.beside("the longest read before", bench.median("a read before"), " s")
