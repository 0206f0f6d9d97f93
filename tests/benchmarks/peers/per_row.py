"""What one writes without a set-based engine: a loop in Python, a few statements for each outcome.

For every prediction and ticker: the entry session, the close of each horizon's session, the
arithmetic in Python, one row written; a commit per prediction. Statements are prepared by
psycopg after a few executions, as is its default.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import psycopg

HORIZONS = (1, 3, 7, 30)

ENTRY = """
SELECT ordinal, session FROM market_sessions
WHERE calendar = 'XNYS' AND closes_at >= %s ORDER BY closes_at LIMIT 1
"""
CLOSE = """
SELECT p.close FROM market_sessions s
JOIN market_prices p ON p.symbol = %s AND p.date = s.session AND p.fetched_at IS NOT NULL
WHERE s.calendar = 'XNYS' AND s.ordinal = %s AND s.closes_at <= %s
"""
WRITE = """
INSERT INTO loop_outcomes
 (prediction_id, symbol, prediction_date, prediction_sentiment, prediction_confidence, entry_session,
  price_at_prediction, is_complete, outcome_state, price_t1, return_t1, correct_t1, pnl_t1,
  price_t3, return_t3, correct_t3, pnl_t3, price_t7, return_t7, correct_t7, pnl_t7,
  price_t30, return_t30, correct_t30, pnl_t30)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (prediction_id, symbol) DO NOTHING
"""


def run(conn: psycopg.Connection[Any], predictions: Sequence[int]) -> None:
    """Compute and write the outcomes of predictions into `loop_outcomes`."""
    cursor = conn.cursor(row_factory=psycopg.rows.tuple_row)
    for number in predictions:
        with conn.transaction():
            found = cursor.execute(
                "SELECT assets, market_impact, confidence, post_timestamp FROM predictions"
                " WHERE id = %s",
                [number],
            ).fetchone()
            assert found is not None
            assets, impact, confidence, moment = found
            for symbol in assets:
                _outcome(cursor, number, symbol, impact.get(symbol), confidence, moment)


def _outcome(
    cursor: psycopg.Cursor[Any],
    number: int,
    symbol: str,
    sentiment: str | None,
    confidence: float,
    moment: dt.datetime,
) -> None:
    entry = cursor.execute(ENTRY, [moment]).fetchone()
    assert entry is not None
    ordinal, session = entry
    settled = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=30)
    start = cursor.execute(CLOSE, [symbol, ordinal, settled]).fetchone()
    row: list[Any] = []
    for horizon in HORIZONS:
        close = cursor.execute(CLOSE, [symbol, ordinal + horizon, settled]).fetchone()
        if start is None or close is None:
            row += [None, None, None, None]
            continue
        percent = (close[0] / start[0] - 1) * 100
        row += [close[0], percent, _correct(sentiment, percent), percent / 100 * 1000]
    complete = start is not None and None not in row[::4]
    head = [number, symbol, moment.date(), sentiment, confidence, session]
    state = "complete" if complete else "maturing"
    cursor.execute(WRITE, [*head, start[0] if start else None, complete, state, *row])


def _correct(sentiment: str | None, percent: float) -> bool | None:
    match sentiment:
        case "bullish":
            return percent > 0.5
        case "bearish":
            return percent < -0.5
        case "neutral":
            return abs(percent) <= 0.5
    return None
