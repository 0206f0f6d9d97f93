"""`recompute`: a million outcomes over 500 symbols and 2,500 sessions, every horizon, written.

Ours is what `market calculate-outcomes --force` calls, on rows that have an entry and no price
yet, so that every row is written. Beside it:

- a bare COPY of the finished rows from memory into the same table with its indexes;
- a plain UPDATE of the same rows, setting the same columns, from a table that holds them finished, in
  one statement: the floor of whoever writes rows that are there already;
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
from tests.support.db import Conn, connect

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
# The finished rows as CSV, for COPY and to check everybody by: one statement over windows.
FINISHED = """
WITH b AS (
    SELECT symbol, date, close AS p, lead(close, 1) OVER w AS p1, lead(close, 3) OVER w AS p3,
           lead(close, 7) OVER w AS p7, lead(close, 30) OVER w AS p30
    FROM market_prices WINDOW w AS (PARTITION BY symbol ORDER BY date)
), r AS (
    SELECT b.*, (p1 / p - 1) * 100 AS r1, (p3 / p - 1) * 100 AS r3, (p7 / p - 1) * 100 AS r7,
           (p30 / p - 1) * 100 AS r30 FROM b
)
SELECT prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence,
       entry_session, p, true, 'complete', 1,
       p1, r1, outcome_correct(s, r1), r1 / 100 * 1000, p3, r3, outcome_correct(s, r3), r3 / 100 * 1000,
       p7, r7, outcome_correct(s, r7), r7 / 100 * 1000, p30, r30, outcome_correct(s, r30), r30 / 100 * 1000
FROM prediction_outcomes o JOIN r USING (symbol) CROSS JOIN LATERAL (SELECT prediction_sentiment AS s) x
WHERE r.date = o.entry_session ORDER BY o.id
"""
# What changes in a row that had no price.
CHANGED = COLUMNS.split(", ")[6:]
FLOOR = (
    f"UPDATE prediction_outcomes o SET ({', '.join(CHANGED)}, last_price_update, updated_at)"  # noqa: S608 - ours
    f" = ROW({', '.join('f.' + name for name in CHANGED)}, now(), now())"
    " FROM finished f WHERE f.prediction_id = o.prediction_id AND f.symbol = o.symbol"
)
SUM = """
SELECT count(*) AS rows, sum(price_at_prediction) AS p, sum(return_t1 + return_t3 + return_t7 + return_t30) AS r,
       count(*) FILTER (WHERE correct_t1) + count(*) FILTER (WHERE correct_t30) AS c
FROM prediction_outcomes WHERE is_complete
"""


def _ours(url: str) -> None:
    with Database(url, name="bench", size=2) as database:  # as commands have it
        outcomes.calculate(database, force=True, dry_run=False)


def _copy_in(conn: Conn, text: bytes, table: str = "prediction_outcomes") -> None:
    """Into a table with its indexes, in pieces as a client sends them."""
    with conn.cursor().copy(f"COPY {table} ({COLUMNS}) FROM STDIN (FORMAT csv)".encode()) as copy:
        for begin in range(0, len(text), 1 << 18):
            copy.write(text[begin : begin + (1 << 18)])


def copy_out(conn: Conn, query: str) -> bytes:
    """A query's rows as CSV with a header."""
    with conn.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)".encode()) as copy:
        return b"".join(copy)


def _sums(conn: Conn) -> dict[str, float]:
    return conn.execute(SUM.encode()).fetchall()[0]


def _same(conn: Conn, expected: dict[str, float]) -> None:
    for name, number in _sums(conn).items():
        assert math.isclose(number, expected[name], rel_tol=1e-9), (name, number, expected[name])


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
            finished = copy_out(conn, FINISHED).partition(b"\n")[2]
        bench.progress("made")
        for _ in bench.rounds():
            with bench.server.copy(empty) as url, connect(url) as conn:
                settle(conn)
                with bench.timed("COPY"):
                    _copy_in(conn, finished)
                expected = _sums(conn)
            for name, engine in engines.items():
                with (
                    bench.server.copy(empty) as url,
                    connect(url) as conn,
                    connect(opened) as source,
                ):
                    settle(conn)
                    with bench.timed(name):
                        pairs_, bars = copy_out(source, frames.PAIRS), copy_out(source, frames.BARS)
                        _copy_in(conn, engine(pairs_, bars))
                    _same(conn, expected)
            with bench.server.copy(opened) as url, connect(url) as conn:
                conn.execute("CREATE TABLE finished AS SELECT * FROM prediction_outcomes LIMIT 0")
                _copy_in(conn, finished, "finished")
                settle(conn, "finished")
                with bench.timed("UPDATE"):
                    conn.execute(FLOOR.encode())
                _same(conn, expected)
            with bench.server.copy(opened) as url, connect(url) as conn:
                settle(conn)
                with bench.timed("Reckoner"):
                    _ours(url)
                _same(conn, expected)


def judge(bench: Bench) -> None:
    ours = bench.median("Reckoner")
    bench.at_most("Reckoner ÷ COPY of the finished rows", ours / bench.median("COPY"), 2)
    for name in () if bench.alone else ("pandas", "polars", "DuckDB"):
        bench.at_least(f"{name} ÷ Reckoner", bench.median(name) / ours, 1)
    floor = bench.median("UPDATE")
    bench.beside("the floor, UPDATE from finished rows ÷ COPY", floor / bench.median("COPY"))
    bench.beside("Reckoner ÷ the floor", ours / floor)
    for figure in bench.figures:
        bench.beside(figure, bench.median(figure), " s")
