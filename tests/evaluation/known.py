"""Outcomes of known prices: straight lines, and posts a session apart."""

import datetime as dt

from sql.database import Database
from tests.support.db import Conn
from tests.support.market import insert_prediction, process, put_bars, sessions, set_fetched

FIRST, LAST = "2024-01-02", "2024-06-28"

# One dividend of one dollar on UPCO's eleventh session; XSPY rises by a dollar a session.
PRICES = {"UPCO": (100.0, 1.0), "DOWN": (300.0, -1.0), "SPY": (400.0, 1.0), "FLAT": (50.0, 0.0)}
DIVIDEND_SESSION = 10
POSTS = 60


def closes(conn: Conn, symbol: str) -> dict[dt.date, float]:
    """A straight line for each symbol."""
    start, step = PRICES[symbol]
    return {day: start + step * n for n, day in enumerate(sessions(conn, FIRST, LAST))}


def fill(conn: Conn, url: str) -> None:
    """Bars of all symbols, and POSTS posts a session apart, each on three symbols, then processed."""
    days = sessions(conn, FIRST, LAST)
    for symbol in PRICES:
        put_bars(conn, symbol, closes(conn, symbol))
        set_fetched(conn, symbol, days[0], days[-1])
    conn.execute(
        "UPDATE market_prices SET adjusted_close = close - 1 WHERE symbol = 'UPCO' AND date < %s",
        [days[DIVIDEND_SESSION]],
    )
    conn.execute("UPDATE market_prices SET adjusted_close = NULL WHERE symbol = 'FLAT'")
    impacts = (
        {"UPCO": "bullish", "DOWN": "bearish"},
        {"UPCO": "bearish", "DOWN": "neutral", "FLAT": "neutral"},
    )
    with Database(url) as database:
        ids = [
            insert_prediction(
                conn, ["UPCO", "DOWN", "FLAT"], impacts[n % 2], moment=f"{day} 15:00Z",
                confidence=(1.0, 0.95, 0.5, 0.3, None)[n % 5],
            )
            for n, day in enumerate(days[5 : 5 + POSTS])
        ]  # fmt: skip
        ids.append(
            insert_prediction(conn, ["UPCO"], {"UPCO": "bullish"}, moment="2199-06-03 15:00Z")
        )
        ids.append(
            insert_prediction(conn, ["UPCO"], {"UPCO": "bullish"}, moment="1980-06-02 15:00Z")
        )
        process(database, *ids)
