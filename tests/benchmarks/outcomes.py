"""`outcomes`: predictions a second, end to end, prices known, beside a loop row by row.

20,000 predictions of three tickers are inserted in one statement while a real worker sleeps;
the time runs from the acknowledged COMMIT until the queue is empty, which is when the last
batch has committed (asked every 20 ms). Before that the same with a second worker beside it.
The loop does a slice of the same predictions and its rate is taken for the whole. Both must
have written the same numbers.
"""

import time
from contextlib import ExitStack

from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.peers import per_row
from tests.benchmarks.processes import worker
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value

SYMBOLS, SESSIONS = 50, 500
DIFFERENT = """
SELECT count(*) FROM loop_outcomes l
LEFT JOIN prediction_outcomes o USING (prediction_id, symbol)
WHERE (l.entry_session, l.price_at_prediction, l.price_t1, l.return_t1, l.correct_t1, l.pnl_t1,
       l.price_t3, l.return_t3, l.correct_t3, l.pnl_t3, l.price_t7, l.return_t7, l.correct_t7,
       l.pnl_t7, l.price_t30, l.return_t30, l.correct_t30, l.pnl_t30, l.is_complete)
      IS DISTINCT FROM
      (o.entry_session, o.price_at_prediction, o.price_t1, o.return_t1, o.correct_t1, o.pnl_t1,
       o.price_t3, o.return_t3, o.correct_t3, o.pnl_t3, o.price_t7, o.return_t7, o.correct_t7,
       o.pnl_t7, o.price_t30, o.return_t30, o.correct_t30, o.pnl_t30, o.is_complete)
"""


def _ours(conn: Conn, number: int) -> float:
    data.predictions(conn, number, SYMBOLS, SESSIONS // 2)
    committed = time.perf_counter()
    while value(conn, "SELECT EXISTS (SELECT FROM outbox)"):
        time.sleep(0.02)
    seconds = time.perf_counter() - committed
    query = "SELECT count(*) FROM prediction_outcomes WHERE outcome_state = 'complete'"
    assert value(conn, query) == 3 * number
    return seconds


def _empty(conn: Conn) -> None:
    conn.execute("TRUNCATE predictions, prediction_outcomes, loop_outcomes, outbox, outbox_history")
    settle(conn)


def measure(bench: Bench) -> None:
    number, slice_ = bench.size(20_000, 500), bench.size(500, 20)
    bench.remark(
        f"{number:,} predictions of 3 tickers; the loop did {slice_:,} of them, extrapolated"
    )
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        data.market(conn, SYMBOLS, SESSIONS)
        conn.execute("CREATE TABLE loop_outcomes (LIKE prediction_outcomes INCLUDING ALL)")
        stack.enter_context(worker(url))
        for _ in bench.rounds():
            with worker(url):
                _empty(conn)
                bench.add("two workers", number / _ours(conn, number))
            _empty(conn)
            bench.add("reckoner", number / _ours(conn, number))
            ids = [row["id"] for row in conn.execute("SELECT id FROM predictions ORDER BY id")]
            begun = time.perf_counter()
            per_row.run(conn, ids[:slice_])
            bench.add("per-row loop", slice_ / (time.perf_counter() - begun))
            assert value(conn, DIFFERENT) == 0, "the loop computes something else"


def judge(bench: Bench) -> None:
    ratio = bench.median("reckoner") / bench.median("per-row loop")
    bench.at_least("Reckoner ÷ per-row loop", ratio, 25)
    two = bench.median("two workers")
    bench.beside("two workers ÷ per-row loop", two / bench.median("per-row loop"))
    bench.beside("two workers", two, " predictions/s")
    bench.beside("Reckoner", bench.median("reckoner"), " predictions/s")
    bench.beside("per-row loop", bench.median("per-row loop"), " predictions/s")
