"""Reckoner and the other program side by side on the same tickers.

TOGETHER_SECONDS=600 lets them run for ten minutes, by hand.
"""

import datetime as dt
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach.databases import DUPLICATES, Migration, contents, duplicates, last_ids, unique_on
from tests.attach.scenes import insert_prediction
from tests.attach.together import NOW, SYMBOLS, TODAY, Together, close
from tests.support.clock import set_clock
from tests.support.db import Conn, connect, value
from tests.support.process import cleaned_up
from tests.support.waiting import until

SECONDS = float(os.environ.get("TOGETHER_SECONDS", "8"))
# Tables in which both write; of all others every row that was there must stay.
BOTH_WRITE = ("market_prices", "ticker_registry")
DAY = dt.timedelta(days=1)


class Before:
    """The rows of the other program's that were there before we came."""

    def __init__(self, conn: Conn, migration: Migration) -> None:
        tables = migration.columns.keys() - set(BOTH_WRITE)
        self._columns = {table: migration.columns[table] for table in tables}
        self._last_ids = last_ids(conn, self._columns)
        self._rows = {table: migration.rows[table] for table in tables}

    def check(self, conn: Conn) -> None:
        """They are still there, and nothing has touched them."""
        assert contents(conn, self._columns, self._last_ids) == self._rows


@pytest.fixture
def before(migrated_url: str, migration: Migration) -> Before:
    """What was there before migrate."""
    with connect(migrated_url) as conn:
        return Before(conn, migration)


@pytest.fixture
def together(migrated_url: str, tmp_path: Path) -> Iterator[Together]:
    """A migrated database that lives at NOW; bars up to yesterday, no worker yet."""
    with connect(migrated_url) as conn:
        set_clock(conn, NOW)
    with connect(migrated_url) as conn:
        together = Together(migrated_url, conn, tmp_path)
        together.write_bars(TODAY - DAY)
        with cleaned_up(together.workers):
            yield together


def test_both_work_on_the_same_tickers_and_neither_is_harmed(
    together: Together, before: Before, generation: str
) -> None:
    conn = together.conn
    # Only the newer generation's own table keeps the pairs unique.
    pairs_are_unique = unique_on(conn, "prediction_outcomes", "prediction_id", "symbol")
    assert pairs_are_unique == (generation == "newer")
    first = together.start_worker()
    half = time.monotonic() + SECONDS / 2
    processing = "SELECT count(*) FROM outbox WHERE status = 'processing'"
    with together.other_program(SECONDS) as said:
        until("half of the time is over", lambda: time.monotonic() > half, SECONDS)
        until("the worker is at work", lambda: value(conn, processing), 30)
        first.kill()
        together.start_worker()
        until("there are closes of today", lambda: are_early(conn), 60)
    together.until_empty(60 + SECONDS)

    # No statement of the other program's failed because of us.
    assert said["errors"] == []
    if not pairs_are_unique:
        assert "outcome" not in said["unique"]
    kinds = {"prediction", "remap", "ticker", "price", "outcome"}
    assert kinds <= said["counts"].keys(), said
    # Nothing of ours was given up.
    verdicts = "SELECT array_agg(DISTINCT verdict) FROM outbox_history WHERE topic = 'prediction'"
    assert value(conn, verdicts) == ["done"]
    # No outcome is wrong, and none is missing.
    together.check_outcomes(NOW)
    # Nothing older was touched.
    before.check(conn)

    # A day later, when the closes that the other program stored of today are over.
    assert are_early(conn)
    together.workers[-1].stop()
    set_clock(conn, NOW + DAY)
    together.write_bars(TODAY)
    together.drain()
    together.check_outcomes(NOW + DAY)
    before.check(conn)


def are_early(conn: Conn) -> bool:
    """Whether the other program has stored today's close of most symbols."""
    early = "SELECT count(*) FROM market_prices WHERE date = %s AND source = 'yfinance'"
    return bool(value(conn, early, [TODAY]) > len(SYMBOLS) / 2)


@pytest.mark.parametrize("generation", ["newer"])
def test_a_close_that_only_the_other_program_has_is_no_price_of_ours(
    together: Together, generation: str
) -> None:
    conn = together.conn
    yesterday = NOW - DAY
    predict(conn, generation, yesterday)
    together.drain()
    # Today is not over, and the other program stores a close of it.
    for symbol in SYMBOLS:
        conn.execute(
            "INSERT INTO market_prices (symbol, date, close, source, created_at, updated_at)"
            " VALUES (%s, %s, %s, 'yfinance', %s, %s)",
            [symbol, TODAY, 2 * close(symbol, TODAY), NOW, NOW],
        )
    together.drain()
    together.check_outcomes(NOW)

    # Today is over; our provider answers, and is late with its bar of it.
    set_clock(conn, NOW + DAY)
    predict(conn, generation, yesterday)
    together.drain()
    rows = together.outcomes()
    assert len(rows) == 2 * len(SYMBOLS)
    assert {row["symbol"]: row["price_t1"] for row in rows} == dict.fromkeys(SYMBOLS)

    # And then it has it, when the sweep asks again: ever more rarely for what is missing.
    later = NOW + DAY + dt.timedelta(hours=8)
    set_clock(conn, later)
    together.write_bars(TODAY + DAY)
    together.drain()
    together.check_outcomes(later)


def predict(conn: Conn, generation: str, published: dt.datetime) -> None:
    """Insert a prediction for each symbol."""
    for symbol in SYMBOLS:
        insert_prediction(conn, generation, json.dumps([symbol]), published=published)


@pytest.mark.parametrize("generation", ["older"])
def test_duplicates_whose_predictions_event_is_processed_all_say_the_same(
    together: Together,
) -> None:
    conn = together.conn
    assert duplicates(conn) == DUPLICATES
    for prediction in {prediction for prediction, _ in DUPLICATES}:
        conn.execute("SELECT outbox_requeue_prediction(%s)", [prediction])

    together.drain()

    assert duplicates(conn) == DUPLICATES
    for pair in DUPLICATES:
        rows = conn.execute(
            "SELECT * FROM prediction_outcomes WHERE prediction_id = %s AND symbol = %s", pair
        ).fetchall()
        assert {row["engine_version"] for row in rows} == {1}
        kept = {"id", "created_at", "prediction_timeframe_days", "market_volatility", "notes"}
        for name in rows[0].keys() - kept:
            assert len({row[name] for row in rows}) == 1, (pair, name)
