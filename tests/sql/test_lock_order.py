"""Backends that really wait for each other: all take their locks in one order, so nobody deadlocks."""

from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from market import outcomes
from market.prices import bars_table
from market.providers import Bar
from sql.database import Database
from tests.support.backends import Work, backends, crossing, until_waiting, until_waiting_at_all
from tests.support.context import context_of
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, sessions
from tests.support.queue import add, claim, claim_one, delay, enqueue, fail, finish, lock
from worker.context import Context
from worker.handlers import predictions
from worker.queue import outbox

NEW = ["AAA", "MMM", "ZZZ"]
HOLD_TICKER = "INSERT INTO ticker_registry (symbol) VALUES ('MMM')"
HOLD_EVENT = "INSERT INTO outbox (topic, key) VALUES ('ticker', 'MMM')"


def statement(text: str, *parameters: Any) -> Work:
    return lambda conn: conn.execute(text.encode(), list(parameters) or None).fetchall()


def batch(*ids: int) -> Work:
    """A batch of predictions, as a worker processes it."""

    def work(conn: Conn) -> None:
        done = outcomes.process(conn, ids, 365)
        conn.execute("SELECT ticker_enqueue(%s, 0, true)", [done.wanting])

    return work


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
def test_batches_that_name_the_same_new_symbols_in_opposite_order(
    url: str, conn: Conn, how: str
) -> None:
    one = insert_prediction(conn, NEW)
    two = insert_prediction(conn, NEW[::-1])
    assert crossing(url, conn, HOLD_TICKER, batch(one), batch(two), how=how) == [None, None]
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 6
    named = conn.execute("SELECT key FROM outbox WHERE topic = 'ticker' ORDER BY key").fetchall()
    assert [row["key"] for row in named] == NEW


def test_in_two_orders_one_of_them_would_fail(url: str, conn: Conn) -> None:
    """That the scene of the test above is one in which the order matters."""
    text = "INSERT INTO ticker_registry (symbol) SELECT unnest(%s::text[]) RETURNING symbol"
    conn.execute("ALTER TABLE ticker_registry DISABLE TRIGGER registry_inserted")
    works = [statement(text, symbols) for symbols in (NEW, NEW[::-1])]
    errors = crossing(url, conn, HOLD_TICKER, *works, how="ROLLBACK")
    assert [type(error) for error in errors].count(psycopg.errors.DeadlockDetected) == 1


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("status", [None, "pending", "dead"])
def test_asking_for_the_same_tickers_in_opposite_order(
    url: str, conn: Conn, status: str | None, how: str
) -> None:
    for symbol in ("ZZZ", "AAA") if status else ():  # lie in another order than their names
        add(conn, "ticker", symbol, status=status)
    text = "SELECT ticker_enqueue(%s, %s, true)"
    works = [statement(text, NEW, 0), statement(text, NEW[::-1], 5)]
    assert crossing(url, conn, HOLD_EVENT, *works, how=how) == [None, None]
    rows = conn.execute("SELECT key, status, priority FROM outbox ORDER BY key").fetchall()
    assert [tuple(row.values()) for row in rows] == [(symbol, "pending", 5) for symbol in NEW]


def test_the_same_predictions_in_opposite_order(url: str, conn: Conn, database: Database) -> None:
    ids = [insert_prediction(conn, ["AAA", "ZZZ"]) for _ in range(3)]
    with database.transaction() as made:
        outcomes.process(made, ids, 365)
    middle = f"SELECT FROM prediction_outcomes WHERE prediction_id = {ids[1]} FOR UPDATE"
    works = [batch(*ids), batch(*ids[::-1])]
    assert crossing(url, conn, middle, *works, how="COMMIT") == [None, None]
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 6


# A ticker's prices are stored while a batch names the ticker.


def storing(conn: Conn, claimed: dict[str, Any]) -> None:
    """A ticker's prices and all that follows, but for the event's end."""
    assert lock(conn, claimed) == [claimed["id"]]
    days = sessions(conn, "2024-01-01", "2024-06-30")
    bars = [Bar(day, 100.0, 101.0, 99.0, 100.0) for day in days]
    bars_table.store(conn, "GOOD", "csv", bars, days[0], days[-1])
    outcomes.fill_symbol(conn, "GOOD")


@pytest.fixture
def awaited(conn: Conn, database: Database) -> tuple[int, dict[str, Any]]:
    """A prediction that waits for the prices of GOOD, and the claim of the ticker's event."""
    number = insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"})
    with database.transaction() as made:
        outcomes.process(made, [number], 365)
    enqueue(conn, "GOOD")
    return number, claim_one(conn, "ticker")


def test_a_batch_waits_for_the_prices_that_are_just_stored(
    url: str, conn: Conn, awaited: tuple[int, dict[str, Any]]
) -> None:
    number, claimed = awaited
    other = insert_prediction(conn, ["GOOD"])
    with backends(url, 2) as (store, process):
        storing(store.conn, claimed)
        done = process.start(batch(other, number))
        until_waiting(conn, process, store)
        assert finish(store.conn, claimed) == [claimed["id"]]
        store.end("COMMIT")
        done.result(30)
    states = conn.execute("SELECT outcome_state FROM prediction_outcomes").fetchall()
    assert [row["outcome_state"] for row in states] == ["complete"] * 2


def test_storing_waits_for_a_batch_that_has_asked_for_the_ticker_again(
    url: str, conn: Conn, awaited: tuple[int, dict[str, Any]]
) -> None:
    number, claimed = awaited

    def work(conn: Conn) -> str | None:
        storing(conn, claimed)
        return delay(conn, claimed)  # into the event that the batch wrote meanwhile

    with backends(url, 2) as (process, store):
        batch(number)(process.conn)
        done = store.start(work)
        until_waiting(conn, store, process)
        process.end("COMMIT")
        assert done.result(30) == "merged"
    assert value(conn, "SELECT count(*) FROM outbox WHERE topic = 'ticker'") == 1
    assert value(conn, "SELECT outcome_state FROM prediction_outcomes") == "complete"


# A worker's batch of events, and others who want its rows.


@pytest.fixture
def held(conn: Conn) -> list[dict[str, Any]]:
    """Three claimed events."""
    for key in ("7", "8", "9"):
        add(conn, key=key)
    return claim(conn)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE outbox SET status = 'pending' RETURNING id",
        "SELECT outbox_park(max(id), 'a test') FROM outbox",
    ],
)
def test_whoever_wants_the_rows_of_a_batch_waits_for_its_end(
    url: str, conn: Conn, held: list[dict[str, Any]], text: str
) -> None:
    with backends(url, 2) as (worker, other):
        assert lock(worker.conn, *held[::-1]) == [row["id"] for row in held]
        done = other.start(statement(text))
        until_waiting(conn, other, worker)
        assert len(finish(worker.conn, *held)) == 3
        worker.end("COMMIT")
        error = done.exception(30)
        assert error is None or isinstance(error, psycopg.errors.NoDataFound)
    assert value(conn, "SELECT count(*) FROM outbox_history WHERE verdict = 'done'") == 3
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_a_requeue_in_the_way_of_a_batch_costs_the_worker_and_not_the_operator(
    url: str, conn: Conn, database: Database
) -> None:
    numbers = [insert_prediction(conn, ["GOOD"]) for _ in range(2)]
    context = context_of(database)
    claims = outbox.claim(database, "prediction", "w", 10, 60)
    with backends(url, 1) as (operator,):
        text = "UPDATE outbox SET status = 'pending' WHERE id = %s"
        operator.conn.execute(text.encode(), [claims[1].id])
        tried: Future[Any] = operator.start(lambda _: _both(context, claims, operator.conn, text))
        assert isinstance(tried.result(30), psycopg.errors.LockNotAvailable)
    assert predictions.process(context, claims)["lost"] == 2
    rows = conn.execute("SELECT key, status FROM outbox ORDER BY id").fetchall()
    assert [tuple(row.values()) for row in rows] == [(str(n), "pending") for n in numbers]


def _both(context: Context, claims: list[Any], operator: Conn, text: str) -> BaseException | None:
    """The worker gives up before the server has to choose; the operator goes on."""
    error: BaseException | None = None
    try:
        predictions.process(context, claims)
    except psycopg.errors.LockNotAvailable as raised:
        error = raised
    operator.execute(text.encode(), [claims[0].id])
    return error


# Leases that end.


def expired(conn: Conn, *keys: str) -> list[int]:
    """Events of tickers whose workers died, several of a symbol where two claimed at once."""
    columns = {"status": "processing", "lease": 1, "leased_by": "dead"}
    past = "2024-03-05 15:00+00"
    return [add(conn, "ticker", key, **columns, leased_until=past) for key in keys]


def test_an_event_whose_waiting_twin_is_cancelled_just_then_stays(url: str, conn: Conn) -> None:
    enqueue(conn, "GOOD")
    held = claim(conn, "ticker")[0]
    enqueue(conn, "GOOD")
    with backends(url, 2) as (worker, operator):
        twin = "FROM outbox WHERE key = 'GOOD' AND status = 'pending'"
        operator.conn.execute(f"SELECT {twin} FOR UPDATE".encode())
        done = worker.start(lambda at: fail(at, held))
        until_waiting(conn, worker, operator)  # it has seen the twin
        operator.conn.execute(f"DELETE {twin}".encode())
        operator.end("COMMIT")
        assert done.result(30) == "failed"
    rows = conn.execute("SELECT id, status, attempts FROM outbox").fetchall()
    assert [tuple(row.values()) for row in rows] == [(held["id"], "failed", 1)]
    assert value(conn, "SELECT count(*) FROM outbox_history") == 0


EXPIRE = "SELECT id, status FROM outbox_expire(3)"


def test_two_that_end_leases_of_one_symbol(url: str, conn: Conn) -> None:
    numbers = expired(conn, "GOOD", "GOOD")
    with backends(url, 3) as (first, second, busy):
        busy.conn.execute("SELECT FROM outbox WHERE id = %s FOR UPDATE", [numbers[1]])
        assert first.conn.execute(EXPIRE).fetchall() == [{"id": numbers[0], "status": "pending"}]
        busy.end("ROLLBACK")
        done = second.start(statement(EXPIRE))
        until_waiting(conn, second, first)
        first.end("COMMIT")
        assert done.result(30) == [{"id": numbers[1], "status": "merged"}]
    rows = conn.execute("SELECT id, status, crashes FROM outbox").fetchall()
    assert [tuple(row.values()) for row in rows] == [(numbers[0], "pending", 1)]


def test_two_that_end_leases_of_the_same_symbols_in_opposite_order(url: str, conn: Conn) -> None:
    numbers = expired(conn, "GOOD", "MMM", "FINE", "FINE", "GOOD")
    with backends(url, 4) as (first, second, busy, holder):
        busy.conn.execute("SELECT FROM outbox WHERE id = ANY (%s) FOR UPDATE", [numbers[3:]])
        holder.conn.execute(HOLD_EVENT)
        done = [first.start(statement(EXPIRE))]
        until_waiting(conn, first, holder)
        busy.end("ROLLBACK")
        done.append(second.start(statement(EXPIRE)))
        until_waiting_at_all(conn, second)
        holder.end("ROLLBACK")
        assert [future.exception(30) for future in done] == [None, None]
