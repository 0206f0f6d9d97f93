"""Predictions, bars, outcomes and registry rows for tests, and bars as CSV files."""

import csv
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from market import outcomes
from sql.database import Database
from tests.support.clock import AnyConn, at
from tests.support.db import Conn, value
from tests.support.waiting import until

BACKFILL_DAYS = 365
HORIZONS = (1, 3, 7, 30)


def put_bars(conn: AnyConn, symbol: str, closes: Mapping[dt.date, float]) -> None:
    """Write bars straight into market_prices, as if a provider had given them."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close,"
            " volume, source, fetched_at) VALUES (%s, %s, %s, %s, %s, %s, %s, 1000, 'test', now())"
            " ON CONFLICT (symbol, date) DO UPDATE SET close = excluded.close",
            [(symbol, date, *[close] * 5) for date, close in closes.items()],
        )


def set_fetched(conn: AnyConn, symbol: str, start: dt.date, end: dt.date) -> None:
    """Note which range providers answered for, and in the registry what bars there are."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol]
    )
    conn.execute(
        "UPDATE ticker_registry SET"
        " price_data_start = (SELECT min(date) FROM market_prices WHERE symbol = %s),"
        " price_data_end = (SELECT max(date) FROM market_prices WHERE symbol = %s)"
        " WHERE symbol = %s",
        [symbol, symbol, symbol],
    )
    conn.execute("DELETE FROM price_coverage WHERE symbol = %s", [symbol])
    cover(conn, symbol, start, end)


def cover(conn: AnyConn, symbol: str, start: dt.date, end: dt.date, source: str = "test") -> None:
    """Note that a provider answered for a range."""
    conn.execute("SELECT coverage_add(%s, '1d', %s, %s, %s)", [symbol, start, end, source])


def uncover_after(conn: AnyConn, last: dt.date | str, symbol: str | None = None) -> None:
    """Let it be as if no provider had answered for later days, for one symbol or all."""
    conn.execute(
        'DELETE FROM price_coverage WHERE symbol = coalesce(%s, symbol) AND "from" > %s',
        [symbol, last],
    )
    conn.execute(
        'UPDATE price_coverage SET "to" = %s WHERE symbol = coalesce(%s, symbol) AND "to" > %s',
        [last, symbol, last],
    )


def process(
    database: Database, *predictions: int, moment: dt.datetime | None = None
) -> outcomes.Batch:
    """Process predictions as the worker does, at a moment."""
    with at(database, moment) as conn:
        return outcomes.process(conn, predictions, BACKFILL_DAYS)


def fill(database: Database, symbol: str, moment: dt.datetime | None = None) -> int:
    """Fill a symbol's open outcomes, at a moment; returns how many changed."""
    with at(database, moment) as conn:
        return outcomes.fill_symbol(conn, symbol)


def outcome(conn: Conn, prediction: int, symbol: str) -> dict[str, Any]:
    """The outcome row of one prediction and symbol."""
    row = conn.execute(
        "SELECT * FROM prediction_outcomes WHERE prediction_id = %s AND symbol = %s",
        [prediction, symbol],
    ).fetchone()
    assert row is not None, (prediction, symbol)
    return row


def ticker(conn: Conn, symbol: str) -> dict[str, Any]:
    """The registry's row of a symbol, with the first and last day that providers answered for."""
    row = conn.execute(
        "SELECT r.*, v.* FROM ticker_registry r"
        " CROSS JOIN LATERAL coverage_span(r.symbol, '1d') v WHERE r.symbol = %s",
        [symbol],
    ).fetchone()
    assert row is not None, symbol
    return row


def provider_row(conn: Conn, name: str) -> dict[str, Any]:
    """What all workers know of a provider."""
    row = conn.execute(
        "SELECT paused_until, pause_reason, failures, last_ok_at, last_error FROM reckoner_providers"
        " WHERE name = %s",
        [name],
    ).fetchone()
    assert row is not None, name
    return row


def insert_prediction(
    conn: Conn,
    assets: Any,
    impact: Any = None,
    *,
    moment: str | dt.datetime = "2024-03-05 15:00+00",
    confidence: float | None = 0.5,
    status: str = "completed",
) -> int:
    """Insert one prediction as the owner's program would; returns its id."""
    return int(
        value(
            conn,
            "INSERT INTO predictions (assets, market_impact, confidence, analysis_status, post_timestamp)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id",
            [json.dumps(assets), json.dumps(impact), confidence, status, moment],
        )
    )


def sessions(conn: Conn, start: str, end: str, calendar: str = "XNYS") -> list[dt.date]:
    """The calendar's session dates in a range, ascending."""
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = %s AND session BETWEEN %s AND %s ORDER BY 1",
        [calendar, start, end],
    )
    return [row["session"] for row in rows]


def write_csv(
    folder: Path, symbol: str, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = ()
) -> Path:
    """Write a symbol's file in the csv provider's format; keys of the first row are the header."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{quote(symbol, safe='')}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns or rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def flat_bars(
    days: Sequence[dt.date], start: float = 100.0, step: float = 1.0
) -> list[dict[str, Any]]:
    """Bars whose close is `start`, `start + step`, … one per day, for outcomes computed by hand."""
    return [
        {
            "date": day.isoformat(),
            "open": start + step * n,
            "high": start + step * n + 0.5,
            "low": start + step * n - 0.5,
            "close": start + step * n,
            "volume": 1000,
        }
        for n, day in enumerate(days)
    ]


# Where every prediction of these tests lies, unless it says otherwise.
MOMENT = "2024-03-05 15:00+00"


def bars(conn: Conn, folder: Path, symbol: str, start: float = 100.0) -> Path:
    """Write a symbol's file: half a year of closes around MOMENT, one more each session."""
    return write_csv(folder, symbol, flat_bars(sessions(conn, "2024-01-01", "2024-06-30"), start))


def completed(conn: Conn) -> int:
    """How many outcomes are complete."""
    return int(value(conn, "SELECT count(*) FROM prediction_outcomes WHERE is_complete"))


def until_complete(conn: Conn, count: int, seconds: float = 30.0) -> None:
    """Wait until just this many outcomes are complete."""
    until(f"{count} outcomes are complete", lambda: completed(conn) == count, seconds)


def make_known(conn: Conn, folder: Path, symbol: str = "GOOD") -> int:
    """Have a running worker fetch a symbol, so that later predictions need no ticker event."""
    bars(conn, folder, symbol)
    before = completed(conn)
    number = insert_prediction(conn, [symbol], {symbol: "bullish"}, moment=MOMENT)
    until_complete(conn, before + 1)
    until("the outbox is empty", lambda: value(conn, "SELECT count(*) FROM outbox") == 0)
    return number


def everything(conn: Conn) -> list[list[dict[str, object]]]:
    """All that a ticker event may change, but for the clock of the last look."""
    tables = ("prediction_outcomes", "market_prices", "ticker_registry", "outbox", "outbox_history")
    return [
        conn.execute(f"SELECT * FROM {table} ORDER BY id".encode()).fetchall()  # noqa: S608 - constants
        for table in tables
    ]
