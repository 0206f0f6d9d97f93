"""The registry: who named a symbol first, two writers at once, and the event of a new ticker."""

import contextlib
import threading
from collections.abc import Callable

import psycopg
import pytest

from market.universe import registry
from sql.database import Database
from tests.support.clock import at, day, utc
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, process, ticker
from tests.support.waiting import until


def test_the_first_prediction_stays_the_source(database: Database, conn: Conn) -> None:
    first, second, third = (insert_prediction(conn, ["AAPL"]) for _ in range(3))
    process(database, third, second)  # one batch: the earliest of it
    assert ticker(conn, "AAPL")["source_prediction_id"] == second
    process(database, first)
    process(database, third)
    assert ticker(conn, "AAPL")["source_prediction_id"] == second


def test_a_ticker_registered_by_hand_has_no_source_and_keeps_none(
    database: Database, conn: Conn
) -> None:
    with at(database) as inside:
        registry.register(inside, ["AAPL"])
    process(database, insert_prediction(conn, ["AAPL"]))
    assert ticker(conn, "AAPL")["source_prediction_id"] is None


def test_what_a_new_ticker_is(database: Database, conn: Conn) -> None:
    number = insert_prediction(conn, ["btc-usd", "^GSPC", "aapl"])
    process(database, number, moment=utc("2024-03-05 23:00"))
    rows = conn.execute(
        "SELECT symbol, asset_type, calendar, status, backfill_status, first_seen_date"
        " FROM ticker_registry ORDER BY symbol"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("AAPL", "stock", "XNYS", "active", "pending", day("2024-03-05")),
        ("BTC-USD", "crypto", "24/7", "active", "pending", day("2024-03-05")),
        ("^GSPC", "index", "XNYS", "active", "pending", day("2024-03-05")),
    ]


def test_registering_sorts_what_it_is_given(database: Database) -> None:
    with at(database) as conn:
        registry.register(conn, ["OLD"])
        done = registry.register(conn, ["new", " NEW ", "old", "no ticker", "", "Other"])
    assert done == {
        "registered": ["NEW", "OTHER"],
        "known": ["OLD"],
        "rejected": ["no ticker", ""],
    }


def test_a_prediction_without_a_symbol_registers_nothing(database: Database, conn: Conn) -> None:
    process(database, insert_prediction(conn, ["no ticker", 5]))
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 0


def waits_for_a_lock(conn: Conn) -> bool:
    return bool(
        value(
            conn,
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()",
        )
    )


class Writer(threading.Thread):
    """A second writer that registers symbols and commits; its end or error can be asked for."""

    def __init__(self, database: Database, symbols: list[str]) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._symbols = symbols
        self.done: dict[str, list[str]] | None = None
        self.error: psycopg.Error | None = None

    def run(self) -> None:
        try:
            with self._database.transaction() as conn:
                self.done = registry.register(conn, self._symbols)
        except psycopg.Error as error:
            self.error = error


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_two_writers_of_the_same_symbols(database: Database, conn: Conn, ends: str) -> None:
    with contextlib.suppress(ZeroDivisionError), at(database) as mine:
        assert registry.register(mine, ["AAA", "BBB", "CCC"])["registered"] == ["AAA", "BBB", "CCC"]
        other = Writer(database, ["CCC", "DDD", "AAA", "BBB"])
        other.start()
        until("the other writer waits for ours", lambda: waits_for_a_lock(conn))
        if ends == "rollback":
            raise ZeroDivisionError
    other.join(60)

    assert other.error is None
    assert other.done is not None
    new = ["DDD"] if ends == "commit" else ["CCC", "DDD", "AAA", "BBB"]
    assert other.done["registered"] == new
    rows = conn.execute("SELECT symbol FROM ticker_registry ORDER BY 1").fetchall()
    assert [row["symbol"] for row in rows] == ["AAA", "BBB", "CCC", "DDD"]


def test_two_batches_of_predictions_at_once(database: Database, conn: Conn) -> None:
    symbols = [f"T{n}" for n in range(40)]
    ids = [insert_prediction(conn, symbols[n:] + symbols[:n]) for n in range(0, 40, 5)]
    errors: list[BaseException] = []

    def work(numbers: list[int]) -> None:
        try:
            for number in numbers:
                process(database, number)
        except psycopg.Error as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(some,), daemon=True) for some in (ids, ids[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert value(conn, "SELECT count(*) FROM ticker_registry") == 40
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 40 * len(ids)


def ticker_events(conn: Conn) -> list[str]:
    rows = conn.execute("SELECT key FROM outbox WHERE topic = 'ticker' ORDER BY key")
    return [row["key"] for row in rows]


@pytest.mark.parametrize(
    ("insert", "events"),
    [
        ("INSERT INTO ticker_registry (symbol) VALUES ('AAPL')", ["AAPL"]),
        ("INSERT INTO ticker_registry (symbol) VALUES ('AAPL'), ('TSLA')", ["AAPL", "TSLA"]),
        ("INSERT INTO ticker_registry (symbol, status) VALUES ('AAPL', 'invalid')", []),
        ("INSERT INTO ticker_registry (symbol, status) VALUES ('AAPL', 'inactive')", []),
        ("INSERT INTO ticker_registry (symbol) VALUES ('not one')", []),
        ("INSERT INTO ticker_registry (symbol) SELECT 'AAPL' WHERE false", []),
    ],
)
def test_plain_sql_writes_a_tickers_event(conn: Conn, insert: str, events: list[str]) -> None:
    conn.execute(insert.encode())
    assert ticker_events(conn) == events


def by_hand(database: Database) -> None:
    with at(database) as conn:
        registry.register(conn, ["AAPL"])


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("register", [by_hand])
def test_registering_writes_one_event(
    database: Database, conn: Conn, register: Callable[[Database], None], times: int
) -> None:
    for _ in range(times):
        register(database)
    assert ticker_events(conn) == ["AAPL"]
