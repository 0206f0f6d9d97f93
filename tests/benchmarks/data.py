"""Rows for benchmarks, made by SQL: tickers, bars as if a provider had given them, predictions."""

from tests.support.db import Conn, value

BARS = """
INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close, volume, source,
                           last_updated, fetched_at)
SELECT 'S' || n, s.session, p.c, p.c * 1.01, p.c * 0.99, p.c, p.c, 1000000 + n, 'bench', now(), now()
FROM generate_series(0, %(symbols)s - 1) n
CROSS JOIN (SELECT session, ordinal FROM market_sessions
            WHERE calendar = 'XNYS' AND closes_at <= now() - session_settling()
            ORDER BY session DESC LIMIT %(sessions)s) s
CROSS JOIN LATERAL (SELECT 100 * exp(0.3 * sin(n + s.ordinal / 37.0) + 0.01 * sin(s.ordinal * (n + 7))) AS c) p
ORDER BY n, s.session
"""

TICKERS = """
INSERT INTO ticker_registry (symbol, calendar, price_data_start, price_data_end, last_backfill,
                             backfill_status)
SELECT 'S' || n, 'XNYS', '1990-01-01', current_date, now(), 'completed'
FROM generate_series(0, %(symbols)s - 1) n
"""

COVERAGE = """
INSERT INTO price_coverage (symbol, "interval", "from", "to", source)
SELECT 'S' || n, '1d', '1990-01-01', (SELECT max(session) FROM market_sessions
       WHERE calendar = 'XNYS' AND closes_at <= now() - session_settling()), 'bench'
FROM generate_series(0, %(symbols)s - 1) n
"""

# Moments spread over the sessions whose horizons are all over.
PREDICTIONS = """
INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)
SELECT jsonb_build_array(a, b, c), jsonb_build_object(a, 'bullish', b, 'bearish', c, 'neutral'), 0.7, s.opens_at
FROM generate_series(1, %(predictions)s) n
JOIN (SELECT opens_at, row_number() OVER (ORDER BY session DESC) - 1 AS back FROM market_sessions
      WHERE calendar = 'XNYS' AND closes_at < now() - interval '60 days'
      ORDER BY session DESC LIMIT %(sessions)s) s ON s.back = n %% %(sessions)s
CROSS JOIN LATERAL (SELECT 'S' || n %% %(symbols)s AS a, 'S' || (n + 1) %% %(symbols)s AS b,
                           'S' || (n + 2) %% %(symbols)s AS c) x
ORDER BY n
"""


def market(conn: Conn, symbols: int, sessions: int) -> None:
    """Tickers S0, S1, …, known to providers, with a bar for each of the last sessions."""
    conn.execute(TICKERS, {"symbols": symbols})
    conn.execute(COVERAGE, {"symbols": symbols})
    conn.execute("DELETE FROM outbox")  # the registry's trigger asks for prices of new tickers
    conn.execute(BARS, {"symbols": symbols, "sessions": sessions})
    conn.execute(
        "VACUUM ANALYZE ticker_registry, price_coverage, market_prices, market_sessions, outbox"
    )


def predictions(conn: Conn, number: int, symbols: int, sessions: int) -> None:
    """Predictions of three tickers each, whose every horizon is over; in one statement."""
    conn.execute(PREDICTIONS, {"predictions": number, "symbols": symbols, "sessions": sessions})


def waiting(conn: Conn) -> int:
    """Events that are in the queue."""
    return int(value(conn, "SELECT count(*) FROM outbox"))
