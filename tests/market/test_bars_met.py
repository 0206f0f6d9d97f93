"""A batch computes outcomes while their bars change: in every order the last bars are what they say."""

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from market import outcomes
from market.prices import bars_table
from market.providers import Bar
from sql.database import Database
from tests.support.backends import Backend, backends
from tests.support.db import Conn, value
from tests.support.market import (
    BACKFILL_DAYS,
    cover,
    fill,
    insert_prediction,
    outcome,
    process,
    sessions,
)
from tests.support.providers import plain_bars

STEPS = ("batch", "batch commits", "store", "store commits")
# Every order of two steps and two steps.
ORDERS = [
    [STEPS[n] for n in order]
    for order in itertools.permutations(range(4))
    if order.index(0) < order.index(1) and order.index(2) < order.index(3)
]


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """Half a year of sessions; ACME is registered and stored from 100 on, and nothing rings."""
    days = sessions(conn, "2024-01-02", "2024-06-28")
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME'), ('OTHER')")
    for symbol in ("ACME", "OTHER"):
        store(conn, symbol, plain_bars(days))
    return days


def store(conn: Any, symbol: str, bars: list[Bar], *, rebased: bool = False) -> None:
    """Store bars and fill what they change, as market/prices/store.py does."""
    bars_table.store(conn, symbol, "test", bars, bars[0].date, bars[-1].date, rebased=rebased)
    outcomes.fill_symbol(conn, symbol, everything=True)


def revised(days: list[dt.date]) -> list[Bar]:
    """The same bars with another split basis."""
    return plain_bars(days, lambda n: (100.0 + n) / 2)


def refill(conn: Any) -> int:
    return int(conn.execute("SELECT sweep_refill() AS n").fetchone()["n"])


def is_current(conn: Conn, prediction: int, symbol: str = "ACME") -> bool:
    """Whether the outcome says what its bars say."""
    row = outcome(conn, prediction, symbol)
    close = value(
        conn,
        "SELECT close FROM market_prices WHERE symbol = %s AND date = %s",
        [symbol, row["entry_session"]],
    )
    return bool(row["outcome_state"] == "complete" and row["price_at_prediction"] == close)


@pytest.fixture
def sides(url: str) -> Iterator[list[Backend]]:
    """Backends that fail instead of waiting for each other."""
    with backends(url, 3) as made:
        for each in made:
            each.conn.execute("SET lock_timeout = '100ms'")
        yield made


@pytest.mark.parametrize("order", ORDERS, ids=[", ".join(order) for order in ORDERS])
def test_in_every_order_the_outcome_has_the_stored_close(
    conn: Conn, sides: list[Backend], days: list[dt.date], order: list[str]
) -> None:
    batch, writer, _ = sides
    known = insert_prediction(conn, ["ACME"], moment="2024-03-05 15:00+00")
    new = insert_prediction(conn, ["ACME"], moment="2024-03-07 15:00+00")
    outcomes.process(conn, [known], BACKFILL_DAYS)
    steps: dict[str, Callable[[], object]] = {
        "batch": lambda: outcomes.process(batch.conn, [new], BACKFILL_DAYS),
        "batch commits": lambda: batch.end("COMMIT"),
        "store": lambda: store(writer.conn, "ACME", revised(days), rebased=True),
        "store commits": lambda: writer.end("COMMIT"),
    }
    for step in order:
        steps[step]()
        refill(conn)  # too early it must not take a note away

    assert is_current(conn, known)
    assert is_current(conn, new)
    assert value(conn, "SELECT count(*) FROM outcome_refills") == 0
    overlap = order not in (list(STEPS), [*STEPS[2:], *STEPS[:2]])
    assert ("prices restated" in (outcome(conn, new, "ACME")["revision"] or "")) is (
        overlap or order[0] == "batch"
    )


def test_a_hole_that_is_filled_while_a_batch_gives_it_up(
    conn: Conn, sides: list[Backend], days: list[dt.date]
) -> None:
    batch, writer, _ = sides
    conn.execute("DELETE FROM market_prices WHERE symbol = 'ACME' AND date = '2024-03-05'")
    new = insert_prediction(conn, ["ACME"], moment="2024-03-05 15:00+00")
    outcomes.process(batch.conn, [new], BACKFILL_DAYS)
    bars_table.store(writer.conn, "ACME", "test", plain_bars(days), days[0], days[-1])
    outcomes.fill_symbol(writer.conn, "ACME")
    writer.end("COMMIT")
    batch.end("COMMIT")
    assert outcome(conn, new, "ACME")["outcome_state"] == "unresolvable"
    assert refill(conn) == 1
    assert is_current(conn, new)


@pytest.mark.usefixtures("days")
def test_batches_of_one_symbol_go_side_by_side_and_leave_no_note(
    conn: Conn, sides: list[Backend]
) -> None:
    numbers = [insert_prediction(conn, ["ACME", "OTHER"]) for _ in sides]
    for side, number in zip(sides, numbers, strict=True):
        outcomes.process(side.conn, [number], BACKFILL_DAYS)
    for side in sides:
        side.end("COMMIT")
    assert value(conn, "SELECT count(*) FROM outcome_refills") == 0


def test_a_batch_and_two_stores(conn: Conn, sides: list[Backend], days: list[dt.date]) -> None:
    """The batch was refused by the first store, and holds no lock that the second could meet."""
    batch, first, second = sides
    new = insert_prediction(conn, ["ACME"])
    store(first.conn, "ACME", plain_bars(days, lambda n: 300.0 + n), rebased=True)
    outcomes.process(batch.conn, [new], BACKFILL_DAYS)
    first.end("COMMIT")
    store(second.conn, "ACME", revised(days), rebased=True)
    second.end("COMMIT")
    batch.end("COMMIT")
    refill(conn)
    assert is_current(conn, new)


def test_a_batch_that_begins_behind_a_refused_store(
    conn: Conn, sides: list[Backend], days: list[dt.date]
) -> None:
    """The store was refused and holds no lock that the second batch could meet."""
    first, writer, second = sides
    one, two = insert_prediction(conn, ["ACME"]), insert_prediction(conn, ["ACME"])
    outcomes.process(first.conn, [one], BACKFILL_DAYS)
    store(writer.conn, "ACME", revised(days), rebased=True)
    outcomes.process(second.conn, [two], BACKFILL_DAYS)
    second.end("COMMIT")
    writer.end("COMMIT")
    refill(conn)  # the first batch is still under way
    first.end("COMMIT")
    refill(conn)
    assert is_current(conn, one)
    assert is_current(conn, two)


def test_a_ticker_made_active_while_a_batch_gives_it_up(
    conn: Conn, sides: list[Backend], days: list[dt.date]
) -> None:
    batch, person, _ = sides
    conn.execute("UPDATE ticker_registry SET status = 'inactive' WHERE symbol = 'ACME'")
    conn.execute("DELETE FROM market_prices WHERE symbol = 'ACME' AND date = %s", [days[-1]])
    moment = f"{days[-1]} 15:00+00"
    new = insert_prediction(conn, ["ACME"], moment=moment)
    outcomes.process(batch.conn, [new], BACKFILL_DAYS)
    person.conn.execute("SELECT ticker_set_status('ACME', 'active', 'it trades')")
    person.end("COMMIT")
    batch.end("COMMIT")
    assert "inactive" in outcome(conn, new, "ACME")["outcome_reason"]
    conn.execute("DELETE FROM price_coverage")
    assert refill(conn) == 1
    assert outcome(conn, new, "ACME")["outcome_state"] == "awaiting_prices"


def test_a_batch_of_thousands_of_symbols_takes_few_locks(conn: Conn, sides: list[Backend]) -> None:
    batch = sides[0].conn
    symbols = [f"S{n}" for n in range(5000)]
    batch.execute("SELECT bars_reading(%s, %s)", [list(range(5000)), symbols])
    held = value(
        conn,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s",
        [sides[0].pid],
    )
    assert held == 128


@pytest.mark.usefixtures("days")
def test_a_stranger_who_holds_every_lock_stops_nothing(
    conn: Conn, database: Database, sides: list[Backend]
) -> None:
    stranger = sides[0]
    stranger.conn.execute(
        "SELECT pg_advisory_xact_lock(1380271947, 1000 + n) FROM generate_series(0, 127) n"
    )
    new = insert_prediction(conn, ["ACME"])
    process(database, new)
    assert is_current(conn, new)
    assert refill(conn) == 0
    assert value(conn, "SELECT prediction_ids FROM outcome_refills") == [new]
    # No batch lasts for ten minutes, so that the notes do not grow for ever.
    conn.execute("UPDATE outcome_refills SET noted_at = noted_at - interval '11 minutes'")
    process(database, new)
    conn.execute("UPDATE market_prices SET close = close + 1 WHERE symbol = 'ACME'")
    assert refill(conn) == 1
    assert is_current(conn, new)
    assert value(conn, "SELECT count(*) FROM outcome_refills") == 1
    stranger.end("ROLLBACK")
    refill(conn)
    assert value(conn, "SELECT count(*) FROM outcome_refills") == 0


RESTATED = {
    "a close": "UPDATE market_prices SET close = 7 WHERE symbol = 'ACME'",
    "a bar is deleted": "DELETE FROM market_prices WHERE symbol = 'ACME' AND date = '2024-03-06'",
    "a bar is another program's": "UPDATE market_prices SET fetched_at = NULL"
    " WHERE symbol = 'ACME' AND date = '2024-03-06'",
}


@pytest.mark.usefixtures("days")
@pytest.mark.parametrize("how", RESTATED)
def test_bars_changed_by_hand_are_found_by_the_walk(
    conn: Conn, database: Database, how: str
) -> None:
    mine = [insert_prediction(conn, ["ACME", "OTHER"]) for _ in range(5)]
    process(database, *mine)
    conn.execute(
        "UPDATE market_prices SET close = close + 1 WHERE symbol = 'OTHER' AND date < '2024-03-01'"
    )
    calls = [value(conn, "SELECT sweep_restated(4)") for _ in range(3)]
    assert calls == [0, 0, 0]  # nothing that an outcome says
    conn.execute(RESTATED[how].encode())
    assert sum(value(conn, "SELECT sweep_restated(4)") for _ in range(8)) == 5
    for number in mine:
        assert "prices restated" in outcome(conn, number, "ACME")["revision"]
        assert outcome(conn, number, "OTHER")["revision"] is None
    assert sum(value(conn, "SELECT sweep_restated(4)") for _ in range(8)) == 0


def test_a_hole_filled_by_hand_is_found_by_the_walk(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    bar = conn.execute(
        "DELETE FROM market_prices WHERE symbol = 'ACME' AND date = '2024-03-05' RETURNING *"
    ).fetchone()
    assert bar is not None
    mine = insert_prediction(conn, ["ACME"])
    process(database, mine)
    assert outcome(conn, mine, "ACME")["outcome_state"] == "unresolvable"
    conn.execute(
        "INSERT INTO market_prices (symbol, date, close, source, fetched_at, created_at, updated_at)"
        " VALUES ('ACME', '2024-03-05', 100, 'me', now(), now(), now())"
    )
    cover(conn, "ACME", days[0], days[-1])
    assert value(conn, "SELECT sweep_restated(100)") == 1
    assert outcome(conn, mine, "ACME")["outcome_state"] == "complete"
    assert fill(database, "ACME") == 0
