"""Workers that are killed all the time lose nothing and do nothing twice.

Two workers, 1,500 predictions on 40 tickers written while they run; whenever one of them
holds events it is killed with -9 and another takes its place. What is left at the end is
checked row by row against numbers computed here from the CSV files.
"""

import bisect
import csv
import datetime as dt
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import (
    Conn,
    WorkerProcess,
    connect,
    insert_prediction,
    sessions,
    until,
    value,
    write_csv,
)
from tests.worker.scenes import SHORT, Start

_TICKERS = [f"TICK{number}" for number in range(40)]
_ROUNDS = 10
_PER_ROUND = 150
_SETTINGS = {
    **SHORT,
    "WORKER_BATCH_SIZE": "10",  # so that a kill finds events in hand
    "WORKER_MAX_CRASHES": "50",
}
_SENTIMENTS = ("bullish", "bearish", "neutral")


class Writer(threading.Thread):
    """Another program: writes a round of predictions each time it is told to."""

    def __init__(self, url: str, days: list[dt.date], chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.rounds = threading.Semaphore(0)
        self.written: dict[int, tuple[dt.datetime, dict[str, str]]] = {}
        self._url = url
        self._days = days
        self._chance = chance

    def run(self) -> None:
        with connect(self._url) as conn:
            for _ in range(_ROUNDS):
                self.rounds.acquire()
                left = _PER_ROUND
                while left:
                    size = min(left, self._chance.choice([1, 5, 30]))
                    with conn.transaction():
                        for _ in range(size):
                            self._write(conn)
                    left -= size

    def _write(self, conn: Conn) -> None:
        chance = self._chance
        day = chance.choice(self._days)
        moment = dt.datetime.combine(day, dt.time(chance.randrange(24), 7), dt.UTC)
        impact = {
            symbol: chance.choice(_SENTIMENTS)
            for symbol in chance.sample(_TICKERS, chance.randint(1, 3))
        }
        # As posts write them: lower case, and some twice.
        named = [symbol.lower() for symbol in impact] + chance.choices(list(impact), k=1)
        self.written[insert_prediction(conn, named, impact, moment=moment)] = (moment, impact)


@pytest.fixture
def closes(conn: Conn, tmp_path: Path) -> dict[str, dict[dt.date, float]]:
    """A random walk for every ticker, written as CSV and read back from there."""
    chance = random.Random(20240305)  # noqa: S311 - no secret
    days = sessions(conn, "2023-12-01", "2024-12-31")
    read: dict[str, dict[dt.date, float]] = {}
    for symbol in _TICKERS:
        price, rows = chance.uniform(5, 500), []
        for day in days:
            price *= chance.uniform(0.97, 1.03)
            rows.append(
                {
                    "date": day.isoformat(),
                    **dict.fromkeys(("open", "high", "low", "close"), round(price, 4)),
                    "volume": 1,
                }
            )
        with write_csv(tmp_path / "bars", symbol, rows).open() as file:
            read[symbol] = {
                dt.date.fromisoformat(row["date"]): float(row["close"])
                for row in csv.DictReader(file)
            }
    return read


def test_nothing_is_lost_or_done_twice(
    url: str,
    conn: Conn,
    start_worker: Start,
    closes: dict[str, dict[dt.date, float]],
) -> None:
    writer = Writer(url, sessions(conn, "2024-01-02", "2024-09-30"), random.Random(7))  # noqa: S311
    writer.start()
    workers = [start_worker(**_SETTINGS).ready() for _ in range(2)]
    killed_with_work = 0
    for _ in range(_ROUNDS):
        writer.rounds.release()
        victim = until("a worker holds events", lambda: busy(conn, workers), 30)
        victim.kill()
        killed_with_work += bool(held_by(conn, victim))
        workers.remove(victim)
        workers.append(start_worker(**_SETTINGS))
    writer.join(30)
    assert not writer.is_alive()
    assert len(writer.written) == _ROUNDS * _PER_ROUND
    assert killed_with_work >= _ROUNDS // 3, "the kills hit workers with nothing in hand"

    until("the outbox is empty", lambda: value(conn, "SELECT count(*) FROM outbox") == 0, 60)

    expected = dict(outcomes(conn, writer.written, closes))
    found = conn.execute("SELECT * FROM prediction_outcomes").fetchall()
    assert len(found) == len(expected)
    for row in found:
        check(row, *expected.pop((row["prediction_id"], row["symbol"])))
    assert not expected
    one_end_per_event(conn, set(writer.written))
    assert value(conn, "SELECT sum(crashes) FROM outbox_history") >= killed_with_work


def held_by(conn: Conn, worker: WorkerProcess) -> int:
    return int(
        value(
            conn,
            "SELECT count(*) FROM outbox WHERE split_part(leased_by, ':', 2) = %s",
            [str(worker.process.pid)],
        )
    )


def busy(conn: Conn, workers: list[WorkerProcess]) -> WorkerProcess | None:
    """A worker that holds events just now."""
    return next((worker for worker in workers if held_by(conn, worker)), None)


def outcomes(
    conn: Conn,
    written: dict[int, tuple[dt.datetime, dict[str, str]]],
    closes: dict[str, dict[dt.date, float]],
) -> Iterator[tuple[tuple[int, str], tuple[list[float], str, dt.date]]]:
    """For each (prediction, symbol): five closes from the entry on, the sentiment, the entry."""
    calendar = conn.execute(
        "SELECT session, closes_at FROM market_sessions"
        " WHERE calendar = 'XNYS' AND session >= '2023-12-01' ORDER BY session"
    ).fetchall()
    ends = [row["closes_at"] for row in calendar]
    for number, (moment, impact) in written.items():
        entry = bisect.bisect_left(ends, moment)
        for symbol, sentiment in impact.items():
            prices = [closes[symbol][calendar[entry + n]["session"]] for n in (0, 1, 3, 7, 30)]
            yield (number, symbol), (prices, sentiment, calendar[entry]["session"])


def check(row: dict[str, Any], prices: list[float], sentiment: str, entry: dt.date) -> None:
    """One row against numbers computed from the CSV."""
    assert row["is_complete"]
    assert row["outcome_state"] == "complete"
    assert row["entry_session"] == entry
    assert row["prediction_sentiment"] == sentiment
    assert row["price_at_prediction"] == prices[0]
    for n, price in zip((1, 3, 7, 30), prices[1:], strict=True):
        percent = (price / prices[0] - 1) * 100
        assert row[f"price_t{n}"] == price
        assert row[f"return_t{n}"] == pytest.approx(percent, rel=1e-12, abs=1e-12)
        assert row[f"pnl_t{n}"] == pytest.approx(percent * 10, rel=1e-12, abs=1e-11)
        right = {
            "bullish": percent > 0.5,
            "bearish": percent < -0.5,
            "neutral": abs(percent) <= 0.5,
        }
        assert row[f"correct_t{n}"] is right[sentiment]


def one_end_per_event(conn: Conn, numbers: set[int]) -> None:
    """Each prediction's one event is done once; ticker events are done, or merged into another."""
    rows = conn.execute("SELECT * FROM outbox_history").fetchall()
    predictions = [row for row in rows if row["topic"] == "prediction"]
    assert {row["verdict"] for row in predictions} == {"done"}
    assert len(predictions) == len(numbers)
    assert {int(row["key"]) for row in predictions} == numbers
    tickers = [row for row in rows if row["topic"] == "ticker"]
    assert {row["key"] for row in tickers if row["verdict"] == "done"} == set(_TICKERS)
    for row in tickers:
        assert row["verdict"] == "done" or row["result"]["reason"].startswith("merged into event")
