"""`recompute`: a million outcomes over 500 symbols and 2,500 sessions, every horizon, written.

Ours is what `market calculate-outcomes --force` calls, on rows that have an entry and no price
yet, so that every row is written. Beside it:

- a bare COPY of the finished rows from memory into the same table with its indexes: the floor;
- pandas `merge_asof`, polars `join_asof`, DuckDB ASOF JOIN. For each counts the way in (COPY out
  as CSV), the join, the arithmetic, and the way out (COPY into the same table with its
  indexes). They have less to do: no session calendar (a symbol's bars are its sessions), no
  states, no rows to find and replace. What they compute is compared with ours.

Each round takes fresh copies of the two databases.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack

from market import outcomes
from sql.database import Database
from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.server import settle
from tests.support import Conn, connect, value

# Three of 500 tickers each; the entry is the session of the moment itself.
OPENED = """
INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,
    prediction_confidence, is_complete, entry_session, outcome_state, engine_version)
SELECT n / 3 + 1, 'S' || (n / 3 + n %% 3 * 7) %% %(symbols)s, s.session,
       (ARRAY['bullish', 'bearish', 'neutral'])[n %% 3 + 1], 0.7, false, s.session, 'awaiting_prices', 1
FROM generate_series(0, %(pairs)s - 1) n
JOIN (SELECT session, row_number() OVER (ORDER BY session DESC) - 1 AS back FROM market_sessions
      WHERE calendar = 'XNYS' AND closes_at < now() - interval '60 days'
      ORDER BY session DESC LIMIT %(sessions)s - 50) s ON s.back = n / 3 * 17 %% (%(sessions)s - 50)
ORDER BY n
"""
COLUMNS = (
    "prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence,"
    " entry_session, price_at_prediction, is_complete, outcome_state, engine_version, "
) + ", ".join(
    f"{name}_t{n}" for n in (1, 3, 7, 30) for name in ("price", "return", "correct", "pnl")
)
FINISHED = f"SELECT {COLUMNS} FROM prediction_outcomes ORDER BY id"  # noqa: S608 - a constant
SUM = """
SELECT count(*) AS rows, sum(price_at_prediction) AS p, sum(return_t1 + return_t3 + return_t7 + return_t30) AS r,
       count(*) FILTER (WHERE correct_t1) + count(*) FILTER (WHERE correct_t30) AS c
FROM prediction_outcomes WHERE is_complete
"""


def _ours(url: str) -> None:
    with Database(url, name="bench", size=1) as database:
        outcomes.calculate(database, force=True, dry_run=False)


def _copy_in(conn: Conn, text: bytes) -> None:
    """Into a table with its indexes, in pieces as a client sends them."""
    with conn.cursor().copy(
        f"COPY prediction_outcomes ({COLUMNS}) FROM STDIN (FORMAT csv)"
    ) as copy:
        for begin in range(0, len(text), 1 << 18):
            copy.write(text[begin : begin + (1 << 18)])


def copy_out(conn: Conn, query: str) -> bytes:
    """A query's rows as CSV with a header."""
    with conn.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)".encode()) as copy:
        return b"".join(copy)


def _same(conn: Conn, expected: dict[str, float]) -> None:
    found = conn.execute(SUM.encode()).fetchone()
    assert found is not None
    for name, number in expected.items():
        assert math.isclose(found[name], number, rel_tol=1e-9), (name, found[name], number)


def measure(bench: Bench) -> None:
    symbols, sessions = bench.size(500, 10), bench.size(2_500, 200)
    pairs = bench.size(1_000_000, 3_000)
    engines: dict[str, Callable[[bytes, bytes], bytes]] = {}
    if not bench.alone:
        from tests.benchmarks.peers import frames  # noqa: PLC0415 - not in the tests' environment

        engines = frames.ENGINES
    with ExitStack() as stack:
        opened = stack.enter_context(bench.server.migrated())
        with connect(opened) as conn:
            data.market(conn, symbols, sessions)
        empty = stack.enter_context(bench.server.copy(opened))
        with connect(opened) as conn:
            conn.execute(OPENED, {"pairs": pairs, "symbols": symbols, "sessions": sessions})
            settle(conn, "prediction_outcomes")
        bench.progress("made")
        finished = b""
        for _ in bench.rounds():
            with bench.server.copy(opened) as url, connect(url) as conn:
                settle(conn)
                with bench.timed("reckoner"):
                    _ours(url)
                assert value(conn, "SELECT bool_and(is_complete) FROM prediction_outcomes")
                finished = finished or copy_out(conn, FINISHED).partition(b"\n")[2]
                expected = dict(conn.execute(SUM.encode()).fetchall()[0])
            with bench.server.copy(empty) as url, connect(url) as conn:
                settle(conn)
                with bench.timed("COPY"):
                    _copy_in(conn, finished)
            for name, engine in engines.items():
                with (
                    bench.server.copy(empty) as url,
                    connect(url) as conn,
                    connect(opened) as source,
                ):
                    settle(conn)
                    with bench.timed(name):
                        _copy_in(
                            conn,
                            engine(copy_out(source, frames.PAIRS), copy_out(source, frames.BARS)),
                        )
                    _same(conn, expected)


def judge(bench: Bench) -> None:
    ours = bench.median("reckoner")
    bench.at_most("Reckoner ÷ COPY of the finished rows", ours / bench.median("COPY"), 2)
    for name in () if bench.alone else ("pandas", "polars", "DuckDB"):
        bench.at_least(f"{name} ÷ Reckoner", bench.median(name) / ours, 1)
    for figure in bench.figures:
        bench.beside(figure, bench.median(figure), " s")
