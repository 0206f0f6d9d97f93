"""`mature`: a night in which 10,000 of 1,000,000 outcomes become due.

Every day of the last month brought 10,000 outcomes; what came before is complete. The last
session's bars are new tonight: with them the outcomes that are thirty sessions old become
complete, and no others change. What is measured is the sweep and then, for each of 500
symbols in a transaction of its own, what the worker does with a bar that came behind the last
stored one: it stores it, and fills those outcomes that it can change (`fill_due`). Beside it the
same night with only those 10,000 in the table. Each turn has a fresh copy of its database.

Without a goal there stand beside it the same two nights with every open outcome looked at
(`fill_symbol`: what the worker does after a hole was filled), and the floor: those 10,000 rows,
completed by one UPDATE that is told their ids.
"""

from collections.abc import Callable
from contextlib import ExitStack

from market import outcomes
from market.prices import bars_table
from market.providers import Bar
from sql.database import Connection, Database
from tests.benchmarks import data
from tests.benchmarks.bench import Bench
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value
from worker import sweep
from worker.settings import WorkerSettings

# Oldest first, as they came: complete ones of long ago, then those that are `age` sessions old.
ROWS = """
INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, prediction_sentiment,
    prediction_confidence, entry_session, outcome_state, is_complete, engine_version,
    price_at_prediction, price_t1, price_t3, price_t7, price_t30,
    return_t1, return_t3, return_t7, return_t30, due_at)
SELECT %(first)s + n, 'S' || n %% %(symbols)s, s.session, 'bullish', 0.7, s.session,
       CASE WHEN %(done)s THEN 'complete' ELSE 'awaiting_prices' END, %(done)s, 1,
       x.p, x.p, x.p, x.p, x.p, x.r, x.r, x.r, x.r, CASE WHEN NOT %(done)s THEN s.closes_at END
FROM generate_series(1, %(rows)s) n
CROSS JOIN (SELECT session, closes_at FROM market_sessions
            WHERE calendar = 'XNYS' AND closes_at <= now() - session_settling()
            ORDER BY session DESC OFFSET %(age)s LIMIT 1) s
CROSS JOIN (SELECT CASE WHEN %(done)s THEN 100 END AS p, CASE WHEN %(done)s THEN 0 END AS r) x
"""
# Ages of open outcomes, in sessions: none of them reaches a horizon tonight but the first.
DUE, OTHERS = 30, (29, 28, 27, 26, 25, 20, 15, 10, 9, 8)
DUE_IDS = "SELECT array_agg(id ORDER BY id) FROM prediction_outcomes WHERE outcome_state = 'awaiting_prices'"
FLOOR = """
UPDATE prediction_outcomes SET price_t30 = 1, return_t30 = 1, correct_t30 = true, pnl_t30 = 1,
    is_complete = true, outcome_state = 'complete', outcome_reason = NULL, due_at = NULL, updated_at = now()
WHERE id = ANY (%s)
"""
# What is filled, and how a figure says it.
FILLINGS = {"": outcomes.fill_due, ", all open": outcomes.fill_symbol}
COMPLETE = "SELECT count(*) FROM prediction_outcomes WHERE is_complete"


def _rows(conn: Conn, symbols: int, rows: int, age: int, *, done: bool) -> None:
    first = value(conn, "SELECT coalesce(max(prediction_id), 0) FROM prediction_outcomes")
    conn.execute(ROWS, {"first": first, "symbols": symbols, "rows": rows, "age": age, "done": done})


def _evening(conn: Conn, url: str) -> list[tuple[str, Bar]]:
    """Take the last session's bars away, compute what is known without them; returns the bars."""
    rows = conn.execute(
        "DELETE FROM market_prices WHERE date = (SELECT max(date) FROM market_prices)"
        " RETURNING symbol, date, open, high, low, close, adjusted_close, volume"
    ).fetchall()
    last = value(conn, "SELECT max(date) FROM market_prices")
    conn.execute("UPDATE ticker_registry SET price_data_end = %s", [last])
    conn.execute('UPDATE price_coverage SET "to" = %s', [last])
    with Database(url, name="bench", size=1) as database:
        outcomes.calculate(database, force=False, dry_run=False)
    settle(conn, "prediction_outcomes", "market_prices", "ticker_registry")
    return [(row.pop("symbol"), Bar(**row)) for row in rows]


def _night(url: str, bars: list[tuple[str, Bar]], fill: Callable[[Connection, str], int]) -> None:
    with Database(url, name="bench", size=1) as database:
        sweep.once(database, WorkerSettings.model_construct())
        for symbol, bar in bars:
            with database.transaction() as conn:
                bars_table.store(conn, symbol, "bench", [bar], bar.date, bar.date)
                fill(conn, symbol)


def measure(bench: Bench) -> None:
    symbols, day = bench.size(500, 10), bench.size(10_000, 100)
    total = bench.size(1_000_000, 3_000)
    with ExitStack() as stack:
        few = stack.enter_context(bench.server.migrated())
        with connect(few) as conn:
            data.market(conn, symbols, 60)
        many = stack.enter_context(bench.server.copy(few))
        urls = {"all": many, "only the due": few}
        bars = {}
        for side, url in urls.items():
            with connect(url) as conn:
                others = OTHERS if side == "all" else ()
                if others:
                    _rows(conn, symbols, total - (len(others) + 1) * day, 40, done=True)
                for age in (DUE, *others):
                    _rows(conn, symbols, day, age, done=False)
                bars[side] = _evening(conn, url)
        bench.progress("made")
        for _ in bench.rounds():
            for side, url in urls.items():
                for figure, fill in FILLINGS.items():
                    with bench.server.copy(url) as tonight, connect(tonight) as conn:
                        before = value(conn, COMPLETE)
                        settle(conn)
                        with bench.timed(side + figure):
                            _night(tonight, bars[side], fill)
                        assert value(conn, COMPLETE) - before == day
                with bench.server.copy(url) as tonight, connect(tonight) as conn:
                    ids = value(conn, DUE_IDS)
                    settle(conn)
                    with bench.timed(f"{side}, UPDATE"):
                        assert conn.execute(FLOOR.encode(), [ids]).rowcount == day


def judge(bench: Bench) -> None:
    ratio = bench.median("all") / bench.median("only the due")
    bench.at_most("1,000,000 outcomes ÷ only those that are due", ratio, 1.3)
    for figure in (*FILLINGS, ", UPDATE")[1:]:
        ratio = bench.median(f"all{figure}") / bench.median(f"only the due{figure}")
        bench.beside(f"the same{figure}", ratio)
    for figure in bench.figures:
        bench.beside(figure, bench.median(figure), " s")
