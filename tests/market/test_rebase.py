"""A split after the bars were stored: the whole history changes, and no return does."""

import datetime as dt
from typing import Any

import pytest

from market.prices import backfill
from market.providers import Answer, Bar, Kind, Request
from sql.database import Database
from tests.support.clock import at, day, stopped_clock, utc
from tests.support.db import Conn, value
from tests.support.market import (
    BACKFILL_DAYS,
    HORIZONS,
    insert_prediction,
    outcome,
    process,
    sessions,
)
from tests.support.providers import FakeProvider
from tests.support.waiting import never

BEFORE = utc("2024-05-16 22:00")
SPLIT = day("2024-05-20")
AFTER = utc("2024-05-21 22:00")


class Market(FakeProvider):
    """A provider whose past is rewritten by a 4:1 split once it happened, as Yahoo's is."""

    def __init__(self, *, rewritten: bool, holes: frozenset[dt.date] = frozenset()) -> None:
        super().__init__("remote", self._answer)
        self._factor = 4.0 if rewritten else 1.0
        self._holes = holes

    def _answer(self, request: Request) -> Answer:
        bars = []
        for date in request.sessions:
            if date in self._holes:
                continue
            close = (400.0 + date.toordinal() % 50) / self._factor
            split = date == SPLIT and self._factor != 1.0
            bars.append(Bar(date, close, close, close, close, close, 1000, has_split=split))
        return Answer(Kind.OK if bars else Kind.EMPTY, bars)


def go(database: Database, provider: FakeProvider) -> backfill.Summary:
    with at(database) as conn:
        plan = backfill.plan(conn, "ACME", BACKFILL_DAYS)
    assert plan is not None
    result = backfill.fetch(database, [provider], plan, never)
    with at(database) as conn:
        return backfill.store(conn, plan, result)


def returns(row: dict[str, Any]) -> list[float]:
    return [row[f"return_t{n}"] for n in HORIZONS]


@pytest.fixture
def prediction(url: str, conn: Conn) -> int:
    """A prediction of 2024-03-05, complete on the unsplit prices of BEFORE."""
    number = insert_prediction(conn, ["ACME"], {"ACME": "bullish"})
    with stopped_clock(url, BEFORE) as database:
        process(database, number)
        go(database, Market(rewritten=False))
    assert outcome(conn, number, "ACME")["is_complete"]
    return number


def test_a_split_rewrites_the_history_and_leaves_the_returns(
    url: str, conn: Conn, prediction: int
) -> None:
    before = outcome(conn, prediction, "ACME")
    bars = value(conn, "SELECT count(*) FROM market_prices")
    provider = Market(rewritten=True)
    with stopped_clock(url, AFTER) as database:
        summary = go(database, provider)

    assert len(provider.asked) == 2  # the tail, then, as it disagrees, everything
    assert provider.asked[1].start == day("2024-03-05") - dt.timedelta(days=BACKFILL_DAYS)
    assert summary.details["revised"] == bars
    after = outcome(conn, prediction, "ACME")
    assert after["price_at_prediction"] == before["price_at_prediction"] / 4
    assert returns(after) == pytest.approx(returns(before), abs=1e-9)
    assert [after[f"correct_t{n}"] for n in HORIZONS] == [before[f"correct_t{n}"] for n in HORIZONS]
    assert after["outcome_state"] == "complete"
    assert value(conn, "SELECT max(close) FROM market_prices") < 200
    flagged = conn.execute("SELECT date FROM market_prices WHERE has_split").fetchall()
    assert [row["date"] for row in flagged] == [SPLIT]


def test_prices_and_outcomes_change_at_one_moment(url: str, conn: Conn, prediction: int) -> None:
    with stopped_clock(url, AFTER) as database:
        with at(database) as inside:
            plan = backfill.plan(inside, "ACME", BACKFILL_DAYS)
        assert plan is not None
        result = backfill.fetch(database, [Market(rewritten=True)], plan, never)
        with at(database) as inside:
            backfill.store(inside, plan, result)
            # Nobody else sees anything of it yet.
            assert value(conn, "SELECT min(close) FROM market_prices") >= 400
            assert outcome(conn, prediction, "ACME")["price_at_prediction"] >= 400
    stamps = conn.execute(
        "SELECT DISTINCT xmin::text FROM market_prices UNION SELECT xmin::text FROM prediction_outcomes"
    ).fetchall()
    assert len(stamps) == 1


def test_without_a_split_the_tail_is_enough(url: str, conn: Conn, prediction: int) -> None:
    before = outcome(conn, prediction, "ACME")
    provider = Market(rewritten=False)
    with stopped_clock(url, AFTER) as database:
        summary = go(database, provider)
    assert len(provider.asked) == 1
    assert (summary.details["inserted"], summary.details["revised"]) == (3, 0)
    assert outcome(conn, prediction, "ACME") == before


@pytest.mark.usefixtures("prediction")
def test_a_split_after_a_suspension_is_found_by_its_event(url: str, conn: Conn) -> None:
    # Nothing traded for two weeks, so no fetched bar overlaps a stored one of the last days.
    with stopped_clock(url, BEFORE) as database:
        conn.execute("DELETE FROM market_prices WHERE date > '2024-05-02'")
    idle = frozenset(sessions(conn, "2024-05-03", "2024-05-17"))
    with stopped_clock(url, AFTER) as database:
        go(database, Market(rewritten=True, holes=idle))
    # Were both bases side by side, the price would fall by three quarters in between.
    assert value(conn, "SELECT max(close) FROM market_prices") < 200


def test_a_bar_that_the_new_history_lacks_gives_no_false_return(
    url: str, conn: Conn, prediction: int
) -> None:
    before = outcome(conn, prediction, "ACME")
    entry = frozenset([before["entry_session"]])
    with stopped_clock(url, AFTER) as database:
        go(database, Market(rewritten=True, holes=entry))
    after = outcome(conn, prediction, "ACME")
    for old, new in zip(returns(before), returns(after), strict=True):
        assert new is None or new == pytest.approx(old, abs=1e-9)
    assert value(conn, "SELECT max(close) FROM market_prices") < 200


@pytest.mark.usefixtures("prediction")
def test_when_the_whole_history_cannot_be_had_nothing_changes(url: str, conn: Conn) -> None:
    def tail_only(request: Request) -> Answer:
        if len(request.sessions) > 20:
            return Answer(Kind.BAD_ANSWER, message="truncated")
        return Market(rewritten=True).fetch(request)

    with stopped_clock(url, AFTER) as database:
        summary = go(database, FakeProvider("remote", tail_only))
    assert summary.result == "failed"
    assert value(conn, "SELECT min(close) FROM market_prices") >= 400
    assert value(conn, "SELECT max(date) FROM market_prices") == BEFORE.date()


def test_a_row_of_another_program_is_not_rebased(url: str, conn: Conn, prediction: int) -> None:
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date,"
        " price_at_prediction, is_complete) VALUES (777, 'ACME', '2024-03-05', 5, true)"
    )
    with stopped_clock(url, AFTER) as database:
        go(database, Market(rewritten=True))
    assert outcome(conn, 777, "ACME")["price_at_prediction"] == 5
    assert outcome(conn, prediction, "ACME")["price_at_prediction"] < 200


def test_rounding_is_no_new_basis(url: str, conn: Conn, prediction: int) -> None:
    before = outcome(conn, prediction, "ACME")
    conn.execute("UPDATE market_prices SET close = close * 1.0000001 WHERE date > '2024-05-10'")
    provider = Market(rewritten=False)
    with stopped_clock(url, AFTER) as database:
        go(database, provider)
    assert len(provider.asked) == 1
    after = outcome(conn, prediction, "ACME")
    assert returns(after) == returns(before)
