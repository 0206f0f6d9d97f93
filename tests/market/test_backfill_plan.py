"""What a ticker's fetch asks for: the whole history once, then only the tail, and an overlap."""

import datetime as dt

import pytest

from market.prices import backfill
from market.prices.plan import mark_started
from market.providers import Answer, Kind
from sql.database import Database
from tests.support.clock import at, day, stopped_clock, utc
from tests.support.db import Conn, value
from tests.support.market import BACKFILL_DAYS, insert_prediction, outcome, process, ticker
from tests.support.providers import FakeProvider, serving
from tests.support.waiting import never

# A Thursday evening, 16:00 in New York being 20:00 UTC: its session settles at 20:30.
NOW = utc("2024-05-16 22:00")


def plan_of(database: Database, *, refetch: bool = False) -> backfill.Plan:
    with at(database) as conn:
        plan = backfill.plan(conn, "ACME", BACKFILL_DAYS, refetch=refetch)
    assert plan is not None
    return plan


def go(database: Database, *providers: FakeProvider) -> backfill.Summary:
    plan = plan_of(database)
    result = backfill.fetch(database, providers, plan, never)
    with at(database) as conn:
        return backfill.store(conn, plan, result)


@pytest.fixture
def prediction(url: str, conn: Conn) -> int:
    """A prediction of 2024-03-05 on ACME, processed on NOW."""
    number = insert_prediction(conn, ["ACME"])
    with stopped_clock(url, NOW) as database:
        process(database, number)
    return number


@pytest.mark.usefixtures("prediction")
@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2024-05-16 22:00", "2024-05-16"),
        ("2024-05-16 20:29:50", "2024-05-15"),  # closed, not settled
        ("2024-05-16 18:00", "2024-05-15"),  # in session
        ("2024-05-18 12:00", "2024-05-17"),  # a Saturday
        ("2024-05-28 12:00", "2024-05-24"),  # after Memorial Day
    ],
)
def test_the_first_fetch_is_the_history_before_the_earliest_moment(
    url: str, conn: Conn, now: str, last: str
) -> None:
    with stopped_clock(url, utc(now)) as database:
        plan = plan_of(database)
        assert ticker(conn, "ACME")["backfill_status"] == "pending"  # a plan writes nothing
        with at(database) as inside:
            mark_started(inside, plan)
    request = plan.request
    assert request is not None
    assert request.start == day("2024-03-05") - dt.timedelta(days=BACKFILL_DAYS)
    assert request.end == day(last)
    assert request.sessions[0] == day("2023-03-06")
    assert request.sessions[-1] == day(last)
    assert day("2024-03-29") not in request.sessions
    assert ticker(conn, "ACME")["backfill_status"] == "in_progress"


@pytest.mark.usefixtures("prediction")
def test_nothing_is_asked_twice(url: str) -> None:
    provider = FakeProvider("remote", serving(lambda _: 100.0))
    with stopped_clock(url, NOW) as database:
        assert go(database, provider).result == "fetched"
        assert plan_of(database).request is None
        assert go(database, provider).result == "up to date"
    assert len(provider.asked) == 1


@pytest.mark.usefixtures("prediction")
def test_later_only_the_tail_is_asked_for_with_an_overlap(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", serving(lambda _: 100.0))
    with stopped_clock(url, NOW) as database:
        go(database, provider)
    with stopped_clock(url, utc("2024-05-21 22:00")) as database:
        go(database, provider)

    tail = provider.asked[1]
    assert tail.end == day("2024-05-21")
    # Three new sessions, and a few stored ones to see whether their basis is the same.
    stored = [date for date in tail.sessions if date <= NOW.date()]
    assert 1 <= len(stored) <= 10
    assert [date for date in tail.sessions if date > NOW.date()] == [
        day("2024-05-17"),
        day("2024-05-20"),
        day("2024-05-21"),
    ]
    row = ticker(conn, "ACME")
    assert row["price_data_end"] == day("2024-05-21")
    assert row["covered_to"] == day("2024-05-21")


@pytest.mark.usefixtures("prediction")
def test_a_prediction_of_an_earlier_day_brings_the_history_before_it(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", serving(lambda _: 100.0))
    with stopped_clock(url, NOW) as database:
        go(database, provider)
        earlier = insert_prediction(conn, ["ACME"], moment="2022-06-01 15:00+00")
        assert process(database, earlier).wanting == ["ACME"]
        go(database, provider)
        assert provider.asked[1].start == day("2021-06-01")
        assert outcome(conn, earlier, "ACME")["outcome_state"] == "complete"
        assert process(database, earlier).wanting == []


@pytest.mark.usefixtures("prediction")
def test_a_hole_that_an_outcome_waits_for_is_asked_for_again(url: str, conn: Conn) -> None:
    late = insert_prediction(conn, ["ACME"], moment="2024-05-14 15:00+00")
    holed = FakeProvider(
        "remote", serving(lambda date: None if date == day("2024-05-14") else 100.0)
    )
    with stopped_clock(url, NOW) as database:
        process(database, late)
        go(database, holed)
        assert outcome(conn, late, "ACME")["outcome_state"] == "awaiting_prices"
        request = plan_of(database).request
        assert request is not None
        assert day("2024-05-14") in request.sessions
        go(database, FakeProvider("remote", serving(lambda _: 100.0)))
        assert outcome(conn, late, "ACME")["outcome_state"] == "maturing"


@pytest.mark.usefixtures("prediction")
def test_nothing_where_a_bar_is_stored_is_no_good_answer(url: str, conn: Conn) -> None:
    with stopped_clock(url, NOW) as database:
        go(database, FakeProvider("remote", serving(lambda _: 100.0)))
    with stopped_clock(url, utc("2024-05-21 22:00")) as database:
        assert go(database, FakeProvider("remote", Answer(Kind.EMPTY))).result == "failed"
    row = ticker(conn, "ACME")
    assert row["covered_to"] == day("2024-05-16")
    assert row["price_data_end"] == day("2024-05-16")
    assert row["status"] == "active"


@pytest.mark.usefixtures("prediction")
def test_the_bar_of_an_open_session_is_never_stored(url: str, conn: Conn) -> None:
    def price(_date: dt.date) -> float:
        return 100.0

    with stopped_clock(url, utc("2024-05-16 18:00")) as database:
        plan = plan_of(database)
        assert plan.request is not None
        settled = serving(price)(plan.request).bars
        today = settled[-1]._replace(date=day("2024-05-16"), close=99.0)
        future = settled[-1]._replace(date=day("2024-05-17"), close=99.0)
        go(database, FakeProvider("remote", Answer(Kind.OK, [*settled, today, future])))
    assert value(conn, "SELECT max(date) FROM market_prices") == day("2024-05-15")
    assert value(conn, "SELECT count(*) FROM market_prices WHERE close = 99") == 0
    assert ticker(conn, "ACME")["covered_to"] == day("2024-05-15")


@pytest.mark.usefixtures("prediction")
def test_the_providers_own_name_of_the_symbol_is_asked_for(url: str, conn: Conn) -> None:
    conn.execute("UPDATE ticker_registry SET provider_symbol = 'ACME.X'")
    provider = FakeProvider("remote", serving(lambda _: 100.0))
    with stopped_clock(url, NOW) as database:
        go(database, provider)
    assert provider.asked[0].symbol == "ACME.X"
    assert value(conn, "SELECT array_agg(DISTINCT symbol::text) FROM market_prices") == ["ACME"]


def test_a_symbol_that_is_not_registered_has_no_plan(database: Database) -> None:
    with at(database) as conn:
        assert backfill.plan(conn, "NOBODY", BACKFILL_DAYS) is None
