"""`insert`: what the writer feels, single-row inserts at 1, 8 and 32 clients and one of 100,000.

pgbench writes predictions of three known tickers, one to a transaction, into four databases:
without our triggers; with Reckoner installed and a real worker alive, which works on what
is inserted meanwhile and takes its share of the same cores; and, to tell the two costs apart,
with Reckoner installed and no worker at all, which is the trigger's own price. The goals are
measured with the worker. The fourth is the floor: the least that a trigger can do which keeps
a record of each prediction and cannot fail its writer, a guarded INSERT of the ids into a table
with nothing but a primary key.
"""

import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import worker
from tests.benchmarks.server import program, settle
from tests.support.db import Conn, connect
from tests.support.waiting import until

SYMBOLS, SESSIONS = 50, 200
INSERT = """INSERT INTO predictions (assets, market_impact, confidence, post_timestamp) VALUES
 ('["S1", "S2", "S3"]', '{"S1": "bullish", "S2": "bearish"}', 0.7, now() - interval '90 days');
"""
FLOOR = """
DROP TRIGGER predictions_updated ON predictions;
CREATE TABLE least (id bigint PRIMARY KEY);
CREATE OR REPLACE FUNCTION predictions_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO least SELECT id FROM added;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;
ALTER FUNCTION predictions_inserted() SECURITY INVOKER RESET ALL
"""
CLIENTS = {1: 1.1, 8: 1.25, 32: 1.35}
BULK_GOAL = 1.5


def _bulk(bench: Bench) -> int:
    return bench.size(100_000, 1_000)


def _pgbench(url: str, script: Path, clients: int, length: str) -> float:
    """Inserts a second; connections stay open, the statement is prepared once."""
    result = subprocess.run(
        [
            program("pgbench"), "--no-vacuum", f"--client={clients}", f"--jobs={min(clients, 2)}",
            length, "--protocol=prepared", f"--file={script}", url,
        ],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = re.search(r"tps = ([0-9.]+)", result.stdout)
    assert found, result.stdout
    return float(found.group(1))


def _empty(conn: Conn) -> None:
    """Forget what earlier turns wrote. What no worker has begun with is not waited for."""
    conn.execute("DELETE FROM outbox WHERE status = 'pending'")
    until("the worker is done", lambda: data.waiting(conn) == 0, 60)
    conn.execute("TRUNCATE predictions, prediction_outcomes, outbox, outbox_history")
    settle(conn)


def measure(bench: Bench) -> None:
    length, bulk = "--transactions=10" if bench.quick else "--time=2", _bulk(bench)
    with ExitStack() as stack:
        script = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "insert.sql"
        script.write_text(INSERT)
        ours = stack.enter_context(bench.server.migrated())
        with connect(ours) as conn:
            data.market(conn, SYMBOLS, SESSIONS)
        urls = {
            "bare": stack.enter_context(bench.server.copy(ours)),
            "floor": stack.enter_context(bench.server.copy(ours)),
            "no worker": stack.enter_context(bench.server.copy(ours)),
            "worker alive": ours,
        }
        conns = {side: stack.enter_context(connect(url)) for side, url in urls.items()}
        for trigger in ("predictions_inserted", "predictions_updated"):
            conns["bare"].execute(f"DROP TRIGGER {trigger} ON predictions")
        conns["floor"].execute(FLOOR)
        stack.enter_context(worker(ours))
        for _ in bench.rounds():
            for clients in [1] if bench.quick else CLIENTS:
                for side, conn in conns.items():
                    _empty(conn)
                    rate = _pgbench(urls[side], script, clients, length)
                    bench.add(f"{side}, {clients} client(s)", rate)
            for side, conn in conns.items():
                _empty(conn)
                with bench.timed(f"{side}, bulk"):
                    data.predictions(conn, bulk, SYMBOLS, SESSIONS // 4)
                _empty(conn)


def judge(bench: Bench) -> None:
    for clients, goal in CLIENTS.items():
        bare = bench.median(f"bare, {clients} client(s)")
        what = f"inserts/s, {clients} client(s): bare ÷ installed,"
        ratio = bare / bench.median(f"worker alive, {clients} client(s)")
        bench.at_most(f"{what} worker alive", ratio, goal)
        for side in ("no worker", "floor"):
            ratio = bare / bench.median(f"{side}, {clients} client(s)")
            bench.beside(f"{what} {side}", ratio)
        bench.beside(f"bare, {clients} client(s)", bare, " inserts/s")
    bare = bench.median("bare, bulk")
    what = f"one INSERT of {_bulk(bench):,}: installed ÷ bare,"
    bench.at_most(f"{what} worker alive", bench.median("worker alive, bulk") / bare, BULK_GOAL)
    for side in ("no worker", "floor"):
        bench.beside(f"{what} {side}", bench.median(f"{side}, bulk") / bare)
    bench.beside("bare, bulk", bare, " s")
