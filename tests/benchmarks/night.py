"""`night`: after a close 5,000 symbols get one new daily bar each: stored, snapshot, history.

A process of its own tops them up from a local provider that gives many symbols at once, as the daily
sync does, and records the history. Beside it: COPY of the same rows into the same table, and the
indicators of the same bars, read before the time runs. What the night does more is reading ten years
of bars of each symbol, planning, validation, the record of it, outcomes, and a check that a snapshot is of
the bars that are stored. Its peak of memory is taken with a fifth of the symbols and with all.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from market.indicators import latest
from market.prices import sync
from market.providers import Answer, Bar, Capabilities, Kind, Request
from market.snapshots import Benchmark, history
from market.snapshots.stored import read
from sql.database import Database
from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.memory import peak
from tests.benchmarks.processes import done, ready, together
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value

SPY = "S0"
ROWS = (
    "symbol, date, open, high, low, close, adjusted_close, volume, source, last_updated, fetched_at"
)


class Local:
    """A provider in this process that has what a table says, all symbols at once."""

    name, canary = "fmp", None
    capabilities = Capabilities(batch=500)

    def __init__(self, conn: Conn) -> None:
        self._bars: dict[str, list[Bar]] = {}
        rows = conn.execute(
            "SELECT symbol, date, open, high, low, close, adjusted_close, volume FROM bench_bars ORDER BY date"
        )
        for row in rows:
            self._bars.setdefault(row.pop("symbol"), []).append(Bar(**row))

    def credits_for(self, _requests: Sequence[Request]) -> int:
        return 1

    def fetch(self, request: Request) -> Answer:
        return Answer(Kind.OK, self._bars[request.symbol])

    def fetch_many(self, requests: Sequence[Request]) -> list[Answer]:
        return [self.fetch(request) for request in requests]


def _evening(conn: Conn) -> None:
    """Take the last session's bars away; keep them, and those before, for the provider."""
    conn.execute("DROP TABLE IF EXISTS bench_bars, bench_new")
    conn.execute(
        "CREATE TABLE bench_bars AS SELECT * FROM market_prices WHERE date IN"
        " (SELECT DISTINCT date FROM market_prices WHERE symbol = 'S0' ORDER BY date DESC LIMIT 2)"
    )
    conn.execute(
        f"CREATE TABLE bench_new AS SELECT {ROWS} FROM bench_bars"  # noqa: S608 - constants
        " WHERE date = (SELECT max(date) FROM market_prices)"
    )
    conn.execute("DELETE FROM market_prices WHERE date = (SELECT max(date) FROM market_prices)")
    last = value(conn, "SELECT max(date) FROM market_prices")
    conn.execute("UPDATE ticker_registry SET price_data_end = %s", [last])
    conn.execute('UPDATE price_coverage SET "to" = %s', [last])
    settle(conn, "market_prices", "ticker_registry", "price_coverage")


def _night(bench: Bench, symbols: int, sessions: int, figure: str) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        data.market(conn, symbols, sessions)
        _evening(conn)
        bench.add(figure, together(url, "tests.benchmarks.night", 1))
        bench.add(f"{figure}, peak", value(conn, "SELECT peak FROM bench_peak"))
        for table in ("market_snapshot", "market_snapshot_history"):
            assert value(conn, f"SELECT count(*) FROM {table}") == symbols  # noqa: S608 - constants
        assert value(conn, "SELECT count(*) FROM market_snapshot_due") == 0
        bench.progress(f"{symbols} symbols: {bench.figures[figure][-1]:.1f} s")
        if figure == "night":
            _floor(bench, url, conn)


def _floor(bench: Bench, url: str, conn: Conn) -> None:
    """The same rows by COPY, and the same indicators on bars that are in memory."""
    with conn.cursor().copy("COPY bench_new TO STDOUT") as rows:
        text = [bytes(each) for each in rows]
    conn.execute("DELETE FROM market_prices WHERE date = (SELECT max(date) FROM market_prices)")
    settle(conn, "market_prices")
    with bench.timed("COPY"), conn.cursor().copy(f"COPY market_prices ({ROWS}) FROM STDIN") as copy:
        for each in text:
            copy.write(each)
    names = [row["symbol"] for row in conn.execute("SELECT DISTINCT symbol FROM bench_new")]
    seconds = 0.0
    with Database(url, name="bench", size=1) as database, database.transaction(300) as inside:
        against = read(inside, [SPY])[0].arrays()
        for name in names:
            bars = read(inside, [name])[0].arrays()
            begun = time.perf_counter()
            latest(bars, against)
            seconds += time.perf_counter() - begun
    bench.add("indicators", seconds)


def measure(bench: Bench) -> None:
    symbols, sessions = bench.size(5_000, 10), bench.size(2_500, 300)
    for _ in bench.rounds(1):
        _night(bench, max(5, symbols // 5), sessions, "a fifth")
        _night(bench, symbols, sessions, "night")


def judge(bench: Bench) -> None:
    floor = bench.median("COPY") + bench.median("indicators")
    bench.at_most("night ÷ (COPY + indicators), seconds", bench.median("night") / floor, 3)
    bench.at_most("peak", bench.median("night, peak"), 300, " MB")
    grown = bench.median("night, peak") / bench.median("a fifth, peak")
    bench.at_most("peak, all ÷ a fifth of the symbols", grown, 1.1)
    for figure in ("night", "COPY", "indicators"):
        bench.beside(figure, bench.median(figure), " s")


def main() -> None:
    url = sys.argv[1]
    with connect(url) as conn:
        provider = Local(conn)
        conn.execute("CREATE TABLE bench_peak (peak float8)")
        with Database(url, name="bench", size=4) as database:
            ready()
            sync.top_up(database, [provider], None, lambda _: None, Benchmark(SPY))
            with database.transaction(300) as inside:
                history.record(inside)
            done()
        conn.execute("INSERT INTO bench_peak VALUES (%s)", [peak("self")])


if __name__ == "__main__":
    main()
