"""`memory`: the worker's peak while 100,000 events and a 500-symbol backfill pass.

Each prediction names one ticker that nobody knows yet; the worker registers them, fetches each from
CSV files of 600 sessions, stores the bars and fills the outcomes, until nothing is left. Its
peak is the kernel's (VmHWM). Beside it the same with a tenth of the events. What grows with
the backlog would differ between the two. One round, because memory is no race.
"""

import csv
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import worker
from tests.support.db import Conn, connect, value
from tests.support.waiting import until

HISTORY = 600
PREDICTIONS = """
INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)
SELECT jsonb_build_array('S' || n %% %(symbols)s), '{}', 0.7, now() - interval '60 days' - n %% 100 * interval '1 day'
FROM generate_series(1, %(events)s) n
"""


def write_files(conn: Conn, folder: Path, symbols: int, history: int) -> None:
    """A CSV file of the newest `history` sessions for each of S0, S1, …"""
    query = (
        "SELECT session FROM market_sessions WHERE calendar = 'XNYS' AND closes_at < now()"
        " ORDER BY session DESC LIMIT %s"
    )
    days = sorted(row["session"] for row in conn.execute(query, [history]))
    for n in range(symbols):
        with (folder / f"S{n}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["date", "open", "high", "low", "close", "volume"])
            for k, day in enumerate(days):
                close = 50 + n / 7 + k / 100
                writer.writerow([day, close, close * 1.01, close * 0.99, close, 1000])


def peak(pid: int | str) -> float:
    """Most resident memory that a process ever had, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found.group(1)) / 1000


def _pass(bench: Bench, events: int, symbols: int) -> float:
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_files(conn, folder, symbols, HISTORY)
        conn.execute(PREDICTIONS, {"events": events, "symbols": symbols})
        process = stack.enter_context(worker(url, "run", MARKET_CSV_DIR=str(folder)))
        query = "SELECT NOT EXISTS (SELECT FROM outbox)"
        until("all is done", lambda: value(conn, query), 600)
        most = peak(process.process.pid)
        query = "SELECT count(*) FROM prediction_outcomes WHERE outcome_state = 'complete'"
        assert value(conn, query) == events
        return most


def measure(bench: Bench) -> None:
    symbols, events = bench.size(500, 10), bench.size(100_000, 1_000)
    for _ in bench.rounds(1):
        bench.add("a tenth", _pass(bench, events // 10, symbols))
        bench.progress("a tenth done")
        bench.add("all", _pass(bench, events, symbols))


def judge(bench: Bench) -> None:
    bench.at_most("peak, 100,000 events and 500 symbols", bench.median("all"), 300, " MB")
    growth = bench.median("all") / bench.median("a tenth")
    bench.at_most("that ÷ peak with a tenth of the events", growth, 1.1)
    bench.beside("peak with a tenth of the events", bench.median("a tenth"), " MB")
