"""`prices`: 1,250,000 bars from memory into market_prices: new, half known, known and unchanged.

Through `market.prices.bars_table.store`, a symbol to a transaction as the worker does it, beside a bare
COPY of the same bars, formatted before the time runs, into the same table with its indexes,
and beside SQLAlchemy's ORM row by row, which gets one symbol's bars. The same COPY with a symbol
to a transaction tells what of the difference are the commits; what is left is finding out what is
stored, formatting, columns that COPY leaves to their defaults, and the registry. WAL is what the server
wrote meanwhile, counted from a checkpoint on, so that page images are in it.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from market.prices import bars_table
from market.providers import Bar
from sql.database import Database
from tests.benchmarks.bench import Bench
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value

SESSIONS = """
SELECT session FROM market_sessions WHERE calendar = 'XNYS' AND closes_at < now()
ORDER BY session DESC LIMIT %s
"""
Bars = dict[str, list[Bar]]


def _bars(conn: Conn, symbols: int, sessions: int) -> Bars:
    days = sorted(row["session"] for row in conn.execute(SESSIONS, [sessions]))
    return {
        f"S{n}": [
            Bar(day, c, c * 1.01, c * 0.99, c + 0.1, c, 1_000_000 + k)
            for k, day in enumerate(days)
            for c in [50 + n / 7 + k / 100]
        ]
        for n in range(symbols)
    }


def _store(database: Database, bars: Bars) -> None:
    for symbol, each in bars.items():
        with database.transaction(seconds=300) as conn:
            bars_table.store(conn, symbol, "bench", each, each[0].date, each[-1].date)


def _text(bars: Bars) -> bytes:
    """The bars as COPY reads them."""
    now = dt.datetime.now(dt.UTC)
    return "".join(
        f"{symbol}\t{bar.date}\t{bar.open}\t{bar.high}\t{bar.low}\t{bar.close}\t{bar.adjusted_close}"
        f"\t{bar.volume}\tbench\t{now}\t{now}\n"
        for symbol, each in bars.items()
        for bar in each
    ).encode()


def _copy(conn: Conn, text: bytes) -> None:
    with conn.cursor().copy(
        "COPY market_prices (symbol, date, open, high, low, close, adjusted_close, volume, source,"
        " last_updated, fetched_at) FROM STDIN"
    ) as copy:
        for begin in range(0, len(text), 1 << 18):
            copy.write(text[begin : begin + (1 << 18)])


def _copy_each(database: Database, texts: Iterable[bytes]) -> None:
    for text in texts:
        with database.transaction(seconds=300) as conn:
            _copy(conn, text)


def _measured(bench: Bench, conn: Conn, figure: str, body: Callable[[], None]) -> None:
    settle(conn, "market_prices")
    before = value(conn, "SELECT pg_current_wal_insert_lsn()")
    with bench.timed(figure):
        body()
    wal = value(conn, "SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", [before])
    bench.add(f"{figure}, WAL", float(wal) / 1e6)


def measure(bench: Bench) -> None:
    symbols, sessions = bench.size(500, 10), bench.size(2_500, 100)
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        database = stack.enter_context(Database(url, name="bench", size=1))
        bars = _bars(conn, symbols, sessions)
        text, total = _text(bars), symbols * sessions
        texts = [_text({symbol: each}) for symbol, each in bars.items()]
        conn.execute("INSERT INTO ticker_registry (symbol) SELECT unnest(%s::text[])", [list(bars)])
        conn.execute("DELETE FROM outbox")
        middle = bars["S0"][sessions // 2].date
        for _ in bench.rounds():
            conn.execute("TRUNCATE market_prices")
            _measured(bench, conn, "COPY", lambda: _copy(conn, text))
            conn.execute("TRUNCATE market_prices")
            _measured(bench, conn, "COPY per symbol", lambda: _copy_each(database, texts))
            conn.execute("TRUNCATE market_prices")
            _measured(bench, conn, "all new", lambda: _store(database, bars))
            assert value(conn, "SELECT count(*) FROM market_prices") == total
            _measured(bench, conn, "unchanged", lambda: _store(database, bars))
            conn.execute("DELETE FROM market_prices WHERE date >= %s", [middle])
            _measured(bench, conn, "half known", lambda: _store(database, bars))
            if not bench.alone:
                _row_by_row(bench, url, conn, bars, total)


def _row_by_row(bench: Bench, url: str, conn: Conn, bars: Bars, total: int) -> None:
    from tests.benchmarks.peers import with_sqlalchemy  # noqa: PLC0415 - not in the tests' environment

    slice_ = bars["S0"]
    conn.execute("DELETE FROM market_prices WHERE symbol = 'S0'")
    settle(conn, "market_prices")
    begun = time.perf_counter()
    with_sqlalchemy.store(url, "S0", slice_)
    bench.add("SQLAlchemy", (time.perf_counter() - begun) * total / len(slice_))


def judge(bench: Bench) -> None:
    copy = bench.median("COPY")
    bench.at_most("all new ÷ COPY, seconds", bench.median("all new") / copy, 1.6)
    wal = bench.median("unchanged, WAL") / bench.median("all new, WAL") * 100
    bench.at_most("unchanged ÷ all new, WAL", wal, 1, " %")
    commits = bench.median("COPY per symbol") / copy
    bench.beside("COPY, a symbol to a transaction ÷ COPY, seconds", commits)
    for figure in ("COPY", "COPY per symbol", "all new", "half known", "unchanged"):
        bench.beside(figure, bench.median(figure), " s")
        bench.beside(f"{figure}, WAL", bench.median(f"{figure}, WAL"), " MB")
    if not bench.alone:
        bench.beside("SQLAlchemy row by row, extrapolated", bench.median("SQLAlchemy"), " s")
