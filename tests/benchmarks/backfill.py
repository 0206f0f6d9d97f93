"""`backfill`: five years of 500 symbols from CSV files, through the command's own job, by real workers.

One worker, then two, each on a database of its own, beside a bare COPY of the same rows into the
same table with its indexes. What a worker does more than COPY is the files' parsing, validation,
the record of it, and a transaction for each symbol. The peak of a worker's memory (VmHWM) is taken
with a fifth of the symbols and with all. The csv provider is at no network's mercy, so this is our
own part; with a provider in the network that one's pace is the bound.
"""

import datetime as dt
import tempfile
from contextlib import ExitStack
from pathlib import Path

from market.prices import jobs
from sql.database import Database
from tests.benchmarks.bench import Bench
from tests.benchmarks.memory import peak, write_files
from tests.benchmarks.processes import worker
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value
from tests.support.waiting import until

COLUMNS = (
    "symbol, date, open, high, low, close, adjusted_close, volume, source, last_updated, has_split,"
    " has_dividend, is_market_open, fetched_at, created_at, updated_at, payload_id"
)


def _job(url: str, symbols: int, start: dt.date) -> int:
    """As `market backfill` writes it."""
    with Database(url, name="bench", size=1) as database, database.transaction() as conn:
        today = value(conn, "SELECT current_date")
        return jobs.start(conn, "backfill", [f"S{n}" for n in range(symbols)], start, today)


def _pass(bench: Bench, folder: Path, symbols: int, years: int, workers: int) -> float:
    """Let workers do a job; adds rows a second and the highest peak of a worker."""
    figure = f"{workers} x {symbols}"
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        started = [
            stack.enter_context(worker(url, MARKET_CSV_DIR=str(folder), BACKFILL_DAYS="1"))
            for _ in range(workers)
        ]
        today = value(conn, "SELECT current_date")
        settle(conn, "market_prices")
        job = _job(url, symbols, today - dt.timedelta(days=365 * years))
        query = 'SELECT "left" = 0 FROM job_progress(%s)'
        until("the job ends", lambda: value(conn, query, [job]), 170)
        row = conn.execute(
            "SELECT done, failed, rows, extract(epoch FROM settled_at - created_at)::float8 AS seconds"
            " FROM job_progress(%s)", [job],
        ).fetchone()  # fmt: skip
        assert row is not None
        assert (row["done"], row["failed"]) == (symbols, 0)
        assert value(conn, "SELECT count(*) FROM market_prices") == row["rows"]
        bench.add(figure, row["rows"] / row["seconds"])
        bench.add(f"{figure}, peak", max(peak(each.process.pid) for each in started))
        bench.progress(f"{workers} workers, {symbols} symbols: {row['seconds']:.1f} s")
        if symbols == _symbols(bench):
            _copy(bench, conn)
        return float(row["rows"])


def _copy(bench: Bench, conn: Conn) -> None:
    """The rows that the workers stored once more, as COPY has them."""
    with conn.cursor().copy(f"COPY market_prices ({COLUMNS}) TO STDOUT") as rows:
        text = [bytes(each) for each in rows]
    conn.execute("TRUNCATE market_prices")
    settle(conn, "market_prices")
    with (
        bench.timed("COPY, seconds"),
        conn.cursor().copy(f"COPY market_prices ({COLUMNS}) FROM STDIN") as copy,
    ):
        for each in text:
            copy.write(each)
    bench.add("COPY", len(text) / bench.figures["COPY, seconds"][-1])


def _symbols(bench: Bench) -> int:
    return bench.size(500, 10)


def measure(bench: Bench) -> None:
    symbols, years = _symbols(bench), bench.size(5, 1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(bench.server.migrated())
        with connect(url) as conn:
            write_files(conn, folder, symbols, 253 * years)
        bench.progress("files written")
        for _ in bench.rounds():
            _pass(bench, folder, symbols // 5, years, 1)
            _pass(bench, folder, symbols, years, 1)
            _pass(bench, folder, symbols, years, 2)


def judge(bench: Bench) -> None:
    symbols = _symbols(bench)
    one, two = bench.median(f"1 x {symbols}"), bench.median(f"2 x {symbols}")
    grown = bench.median(f"1 x {symbols}, peak") / bench.median(f"1 x {symbols // 5}, peak")
    bench.at_most(f"peak of a worker, {symbols} ÷ {symbols // 5} symbols", grown, 1.1)
    bench.at_most("bare COPY ÷ two workers, rows/s", bench.median("COPY") / two, 4)
    bench.beside("two workers ÷ one, rows/s", two / one)
    bench.beside("rows/s, one worker", one)
    bench.beside("rows/s, two workers", two)
    bench.beside("rows/s, bare COPY", bench.median("COPY"))
    bench.beside("peak of a worker", bench.median(f"1 x {symbols}, peak"), " MB")
    bench.remark(
        "the database has the same cores as the workers; a second worker gets what is left"
    )
