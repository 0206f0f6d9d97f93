"""`intraday`: five-minute bars of 500 symbols, one session on top of the other, 63 of them.

Through `market.prices.intraday.store.store_bars`, 50 symbols to a transaction as a backfill does it, beside
a bare COPY of the same bars, formatted before the time runs, into the same table of another database with
its key and its months. Both grow alike; after each session it is the other's turn to go first. What is
more than COPY: the arrays, what is known of each symbol, coverage, the comparison with the daily bar.
"""

import datetime as dt
import statistics
from contextlib import ExitStack

from market.prices.intraday.plan import IntradayPlan
from market.prices.intraday.store import Good, compare, store_bars
from market.providers.base import IntradayBar
from sql.database import Database
from tests.benchmarks.bench import Bench
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value
from tests.support.intraday import FIVE

SESSIONS = """
SELECT session, opens_at FROM market_sessions
WHERE calendar = 'XNYS' AND closes_at < now() AND closes_at - opens_at > interval '6 hours'
ORDER BY session DESC LIMIT %s
"""
BATCH = 50
Batch = list[Good]


def _session(symbols: int, day: dt.date, opens_at: dt.datetime) -> Batch:
    found = []
    for n in range(symbols):
        plan = IntradayPlan(f"S{n}", "XNYS", "stock", None, settled=day)
        bars = [
            IntradayBar(opens_at + k * FIVE, c, c * 1.01, c * 0.99, c + 0.1, 10_000 + k)
            for k in range(78)
            for c in [50 + n / 7 + k / 100]
        ]
        until = opens_at + 78 * FIVE
        found.append(Good(plan, "bench", bars, [day], "0" * 64, until))
    return found


def _text(session: Batch) -> bytes:
    """The bars as COPY reads them."""
    now = dt.datetime.now(dt.UTC)
    return "".join(
        f"{good.plan.symbol}\t5m\t{bar.ts}\t{bar.open}\t{bar.high}\t{bar.low}\t{bar.close}\t{bar.volume}"
        f"\tbench\t{good.raw_hash}\t{now}\n"
        for good in session
        for bar in good.bars
    ).encode()


def _copy(conn: Conn, text: bytes) -> None:
    with conn.cursor().copy("COPY price_history_intraday FROM STDIN") as copy:
        for begin in range(0, len(text), 1 << 18):
            copy.write(text[begin : begin + (1 << 18)])


def _store(database: Database, session: Batch) -> None:
    for first in range(0, len(session), BATCH):
        batch = session[first : first + BATCH]
        with database.transaction(seconds=300) as conn:
            store_bars(conn, batch)
            compare(conn, batch)


def measure(bench: Bench) -> None:
    symbols, count = bench.size(500, 10), bench.size(63, 3)
    with ExitStack() as stack:
        urls = [stack.enter_context(bench.server.migrated()) for _ in range(2)]
        copied, stored = (stack.enter_context(connect(url)) for url in urls)
        database = stack.enter_context(Database(urls[1], name="bench", size=1))
        rows = copied.execute(SESSIONS, [count]).fetchall()
        days = sorted((row["session"], row["opens_at"].astimezone(dt.UTC)) for row in rows)
        for conn in (copied, stored):
            conn.execute(
                "INSERT INTO ticker_registry (symbol, calendar) SELECT 'S' || n, 'XNYS'"
                " FROM generate_series(0, %s) n",
                [symbols - 1],
            )
            conn.execute("SELECT intraday_partitions_ensure(%s, %s)", [days[0][1], days[-1][1]])
            conn.execute(
                "INSERT INTO market_prices (symbol, date, open, high, low, close, source, fetched_at)"
                " SELECT 'S' || n, d, 50 + n / 7.0, (50.77 + n / 7.0) * 1.01, (50 + n / 7.0) * 0.99,"
                "  50.87 + n / 7.0, 'bench', now() FROM generate_series(0, %s) n, unnest(%s::date[]) d",
                [symbols - 1, [day for day, _ in days]],
            )
            settle(conn, "price_history_intraday")
        for number in bench.rounds(count):
            session = _session(symbols, *days[number])
            text = _text(session)
            turns = [("COPY", lambda text=text: _copy(copied, text))]
            turns.append(("store", lambda session=session: _store(database, session)))
            for figure, turn in turns if number % 2 else reversed(turns):
                with bench.timed(figure):
                    turn()
            bench.add("rows", symbols * 78.0)
        if bench.quick:
            return
        with bench.timed("unchanged"):
            _store(database, session)
        done = len(bench.figures["store"])
        assert value(stored, "SELECT count(*) FROM price_history_intraday") == done * symbols * 78
        size = "SELECT sum(bytes) FROM intraday_partitions"
        bench.add("bytes", float(value(stored, size)))


def judge(bench: Bench) -> None:
    copy, store = bench.figures["COPY"], bench.figures["store"]
    bench.at_most("store ÷ COPY, seconds of all sessions", sum(store) / max(sum(copy), 1e-9), 2)
    ends = min(10, max(1, len(store) // 2))
    # Beside COPY of the same sessions, because the machine may have been busier at the end.
    first = statistics.median(store[:ends] or [float("nan")])
    last = statistics.median(store[-ends:] or [float("nan")])
    bench.at_most("the last ten sessions ÷ the first ten", last / first, 1.3)
    bench.beside("a session, store", bench.median("store"), " s")
    bench.beside("a session, COPY", bench.median("COPY"), " s")
    if not bench.quick:
        bench.beside("a session again, unchanged", bench.median("unchanged"), " s")
        bench.beside(
            "bytes a bar, with its key",
            bench.median("bytes") / max(1.0, sum(bench.figures["rows"])),
        )
