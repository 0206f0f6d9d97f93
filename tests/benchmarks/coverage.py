"""`coverage`: coverage() over 5,000 symbols, 6,000,000 daily and 2,500,000 five-minute bars.

Beside the statement that one would write first, two GROUP BY over all bars, which gives the same
buckets: they are compared. Everything is in memory for both sides. The bars are loaded without their indexes,
which are made afterwards, because only the reading is measured.
"""

import json
import time
from contextlib import ExitStack
from typing import Any

from tests.benchmarks.bench import Bench
from tests.benchmarks.data import TICKERS
from tests.benchmarks.server import settle
from tests.support.db import Conn, connect, value

_CALLS = 20
_OFF = (
    "ALTER TABLE market_prices DROP CONSTRAINT market_prices_symbol_date_key,"
    " DROP CONSTRAINT market_prices_pkey"
)
_ON = (
    "ALTER TABLE market_prices ADD CONSTRAINT market_prices_pkey PRIMARY KEY (id),"
    " ADD CONSTRAINT market_prices_symbol_date_key UNIQUE (symbol, date)"
)
# Of the width of real ones; their prices are not read.
_BARS = """
INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close, volume, source,
                           last_updated, fetched_at)
SELECT 'S' || n, s.session, 100, 101, 99, 100, 100, 1000000, 'bench', now(), now()
FROM generate_series(0, %(symbols)s - 1) n
CROSS JOIN (SELECT session FROM market_sessions
            WHERE calendar = 'XNYS' AND closes_at <= now() - session_settling()
            ORDER BY session DESC LIMIT %(sessions)s) s
"""
_FIVE = """
INSERT INTO price_history_intraday (symbol, "interval", ts, open, high, low, close, volume, source_provider, pulled_at)
SELECT 'S' || n, '5m', s.opens_at + k * interval '5 minutes', 1, 1, 1, 1, 1, 'bench', now()
FROM (SELECT opens_at, closes_at FROM market_sessions
      WHERE calendar = 'XNYS' AND closes_at <= now() - session_settling() ORDER BY session DESC LIMIT %(sessions)s) s
CROSS JOIN generate_series(0, %(symbols)s - 1) n
CROSS JOIN generate_series(0, (extract(epoch FROM s.closes_at - s.opens_at) / 300)::integer - 1) k
"""
_KNOWN = """
INSERT INTO intraday_symbols (symbol, last_bar, last_session, session_bars)
SELECT p.symbol, max(p.ts), l.session, count(*)
FROM price_history_intraday p, session_last_settled('XNYS') l
WHERE p.ts >= l.opens_at GROUP BY p.symbol, l.session
"""
_NAIVE = """
WITH daily AS (SELECT symbol, max(date) AS last FROM market_prices GROUP BY symbol),
m5 AS (SELECT symbol, max(ts) AS last FROM price_history_intraday GROUP BY symbol),
age AS (
    SELECT r.symbol,
           (SELECT count(*) FROM market_sessions s WHERE s.calendar = 'XNYS' AND s.session > d.last
            AND s.closes_at <= now() - session_settling()) AS daily,
           (SELECT count(*) FROM market_sessions s WHERE s.calendar = 'XNYS' AND s.opens_at > m.last
            AND s.closes_at <= now() - session_settling()) AS m5, d.last, m.last AS last_5m
    FROM ticker_registry r LEFT JOIN daily d USING (symbol) LEFT JOIN m5 m USING (symbol)
)
SELECT jsonb_build_object(
    'daily', jsonb_build_object('<=24h', count(*) FILTER (WHERE last IS NOT NULL AND daily = 0),
        '24-48h', count(*) FILTER (WHERE last IS NOT NULL AND daily = 1),
        '>48h', count(*) FILTER (WHERE last IS NOT NULL AND daily > 1), 'none', count(*) FILTER (WHERE last IS NULL)),
    'm5', jsonb_build_object('<=24h', count(*) FILTER (WHERE last_5m IS NOT NULL AND m5 = 0),
        '24-48h', count(*) FILTER (WHERE last_5m IS NOT NULL AND m5 = 1),
        '>48h', count(*) FILTER (WHERE last_5m IS NOT NULL AND m5 > 1),
        'none', count(*) FILTER (WHERE last_5m IS NULL)))
FROM age
"""


def _load(bench: Bench, conn: Conn) -> None:
    symbols, sessions = bench.size(5_000, 50), bench.size(1_200, 30)
    followed, days = bench.size(500, 10), bench.size(63, 5)
    conn.execute("SET maintenance_work_mem = '512MB'")
    conn.execute("ALTER TABLE ticker_registry DISABLE TRIGGER USER")
    conn.execute(TICKERS, {"symbols": symbols})
    conn.execute(_OFF)
    conn.execute(_BARS.encode(), {"symbols": symbols, "sessions": sessions})
    conn.execute(_ON)
    bench.progress("daily bars are loaded")
    conn.execute("SELECT intraday_partitions_ensure(now() - interval '120 days', now())")
    conn.execute(_FIVE.encode(), {"sessions": days, "symbols": followed})
    conn.execute(_KNOWN.encode())
    settle(conn, "market_prices", "price_history_intraday", "intraday_symbols", "ticker_registry")
    settle(conn, "market_sessions")
    bars = value(conn, "SELECT count(*) FROM market_prices")
    five = value(conn, "SELECT count(*) FROM price_history_intraday")
    bench.remark(f"{symbols:,} symbols, {bars:,} daily and {five:,} five-minute bars")


def measure(bench: Bench) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(bench.server.migrated())
        conn = stack.enter_context(connect(url))
        _load(bench, conn)
        for statement in ("SELECT coverage()", _NAIVE):  # both warm
            value(conn, statement)
        for _ in bench.rounds():
            for _ in range(_CALLS):
                found = _timed(bench, conn, "coverage()", "SELECT coverage()")
            naive = _timed(bench, conn, "GROUP BY", _NAIVE)
            _timed(bench, conn, "coverage_symbol()", "SELECT coverage_symbol('S7')")
            _timed(bench, conn, "snapshot", "SELECT coverage_snapshot()")
            _timed(bench, conn, "cached", "SELECT coverage_cached()")
            told = {key: found[key]["freshness"] for key in ("daily", "m5")}
            assert told == naive, json.dumps([told, naive])
        plan = value(conn, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT coverage()")[0]["Plan"]
        bench.add("blocks", plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _timed(bench: Bench, conn: Conn, figure: str, statement: str) -> Any:
    begun = time.perf_counter()
    found = value(conn, statement)
    bench.add(figure, (time.perf_counter() - begun) * 1000)
    return found


def judge(bench: Bench) -> None:
    bench.at_most("coverage()", bench.median("coverage()"), 50, " ms")
    bench.beside("two GROUP BY over all bars", bench.median("GROUP BY"), " ms")
    for figure in ("coverage_symbol()", "snapshot", "cached"):
        bench.beside(figure, bench.median(figure), " ms")
    bench.beside("blocks that coverage() reads", bench.median("blocks"))
