"""Price coverage: a range with a hole is a fact, and a fetch asks for the hole alone."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from market.prices import backfill, jobs
from market.providers import Answer, Capabilities, Kind, Request
from sql.database import Database
from tests.support.clock import at, day, standing_still, utc
from tests.support.db import Conn, connect, value
from tests.support.market import (
    BACKFILL_DAYS,
    cover,
    insert_prediction,
    put_bars,
    sessions,
    set_fetched,
)
from tests.support.providers import FakeProvider, serving
from tests.support.waiting import never, until

NOW = utc("2024-05-16 22:00")
TODAY = day("2024-05-16")
FLAT = serving(lambda _: 100.0)

database, conn = standing_still(NOW)


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """All settled sessions of the wanted year."""
    return sessions(conn, str(TODAY - dt.timedelta(days=BACKFILL_DAYS)), str(TODAY))


def covered(conn: Conn, symbol: str = "ACME") -> list[tuple[str, str, str]]:
    rows = conn.execute(
        'SELECT "from"::text AS a, "to"::text AS b, source FROM price_coverage'
        " WHERE symbol = %s ORDER BY source, 1",
        [symbol],
    )
    return [(row["a"], row["b"], row["source"]) for row in rows]


def stored(conn: Conn, days: list[dt.date], *holes: tuple[str, str], close: float = 100.0) -> None:
    """ACME with a bar for each of the days, and coverage, but for the holes."""
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('ACME', 'XNYS')")
    spans = [(day(first), day(last)) for first, last in holes]
    kept = [each for each in days if not any(first <= each <= last for first, last in spans)]
    put_bars(conn, "ACME", dict.fromkeys(kept, close))
    start = days[0]
    for first, last in spans:
        cover(conn, "ACME", start, first - dt.timedelta(days=1))
        start = last + dt.timedelta(days=1)
    if start <= days[-1]:
        cover(conn, "ACME", start, days[-1])


def plan_of(database: Database, *, refetch: bool = False) -> backfill.Plan:
    with at(database) as inside:
        inside.execute("SET TRANSACTION READ ONLY")  # a plan writes nothing
        plan = backfill.plan(inside, "ACME", BACKFILL_DAYS, refetch=refetch)
    assert plan is not None
    return plan


def asked(plan: backfill.Plan) -> Request:
    assert plan.request is not None
    return plan.request


def go(database: Database, *providers: FakeProvider) -> backfill.Summary:
    plan = plan_of(database)
    result = backfill.fetch(database, providers, plan, never)
    with at(database) as inside:
        return backfill.store(inside, plan, result)


# The plan.


def test_what_is_covered_is_not_asked_for(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days)
    assert plan_of(database).request is None


def test_a_hole_in_the_middle_is_asked_for_alone(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    request = asked(plan_of(database))
    hole = [each for each in days if day("2024-01-08") <= each <= day("2024-01-12")]
    assert set(hole) < set(request.sessions)
    # And five stored bars on either side, to see whether their basis is the same.
    first, last = days.index(hole[0]), days.index(hole[-1])
    assert request.sessions == days[first - 5 : last + 6]
    assert (request.start, request.end) == (days[first - 5], days[last + 5])

    provider = FakeProvider("other", FLAT)
    assert go(database, provider).result == "fetched"
    assert len(provider.asked) == 1
    assert plan_of(database).request is None
    assert value(conn, "SELECT count(*) FROM market_prices") == len(days)


def test_a_hole_before_the_rest_is_asked_for_alone(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days)
    insert_prediction(conn, ["ACME"], moment="2022-06-01 15:00+00")
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, entry_session,"
        " outcome_state) VALUES (1, 'ACME', '2022-06-01', '2022-06-01', 'awaiting_prices')"
    )
    request = asked(plan_of(database))
    assert request.start == day("2021-06-01")
    assert request.end == days[4]
    provider = FakeProvider("other", FLAT)
    go(database, provider)
    assert len(provider.asked) == 1
    assert plan_of(database).request is None


def test_several_holes_are_one_request(conn: Conn, database: Database, days: list[dt.date]) -> None:
    stored(conn, days, ("2023-09-05", "2023-09-08"), ("2024-05-15", "2024-05-16"))
    request = asked(plan_of(database))
    assert request.start == day("2023-08-28")
    assert request.end == TODAY
    go(database, FakeProvider("other", FLAT))
    assert plan_of(database).request is None


def test_the_nearest_stored_bar_is_compared_however_far_it_is(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    conn.execute("DELETE FROM market_prices WHERE date BETWEEN '2023-10-02' AND '2024-02-28'")
    request = asked(plan_of(database))
    assert (request.start, request.end) == (day("2023-09-29"), day("2024-02-29"))


def test_days_without_a_session_are_no_hole(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days)
    conn.execute("DELETE FROM price_coverage")
    cover(conn, "ACME", days[0], day("2024-01-12"), "a")
    cover(conn, "ACME", day("2024-01-16"), TODAY, "b")  # a weekend, and Martin Luther King's day
    assert plan_of(database).request is None


def test_intraday_coverage_says_nothing_of_daily_bars(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days)
    conn.execute("UPDATE price_coverage SET \"interval\" = '5m'")
    assert asked(plan_of(database)).sessions == days


def test_a_refetch_asks_for_everything(conn: Conn, database: Database, days: list[dt.date]) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    assert asked(plan_of(database, refetch=True)).sessions == days


def test_another_basis_around_a_hole_has_everything_asked_for(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"), close=400.0)
    provider = FakeProvider("other", FLAT)
    summary = go(database, provider)
    assert [request.sessions for request in provider.asked][1] == days
    assert len(provider.asked) == 2
    assert summary.details["rebased"]
    assert value(conn, "SELECT max(close) FROM market_prices") == 100.0


def test_an_empty_answer_for_a_hole_is_not_taken_for_good(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    """There are stored bars in what was asked for: a provider that knows them would have them."""
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    assert go(database, FakeProvider("other", Answer(Kind.EMPTY))).result == "failed"
    assert len(covered(conn)) == 2


def test_a_history_counts_from_today_and_not_from_the_end_of_a_hole(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days, ("2023-09-05", "2023-09-08"))
    shallow = FakeProvider("shallow", FLAT, capabilities=Capabilities(history_days=100))
    assert go(database, shallow).result == "failed"
    assert shallow.asked == []


# The rows.


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-01-10", "2024-01-12", [("2024-01-02", "2024-01-12", "a")]),  # it follows
        ("2024-01-05", "2024-01-24", [("2024-01-02", "2024-01-24", "a")]),  # it overlaps both
        ("2024-01-03", "2024-01-04", [("2024-01-02", "2024-01-09", "a")]),  # it is there
        ("2024-01-11", "2024-01-19", [("2024-01-02", "2024-01-09", "a"), ("2024-01-11", "2024-01-24", "a")]),
    ],
)  # fmt: skip
def test_ranges_of_one_source_are_joined(
    conn: Conn, start: str, end: str, expected: list[tuple[str, str, str]]
) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME')")
    cover(conn, "ACME", day("2024-01-02"), day("2024-01-09"), "a")
    cover(conn, "ACME", day("2024-01-22"), day("2024-01-24"), "a")
    cover(conn, "ACME", day("2024-01-02"), day("2024-01-24"), "b")
    cover(conn, "ACME", day(start), day(end), "a")
    rest = [] if expected[-1][1] == "2024-01-24" else [("2024-01-22", "2024-01-24", "a")]
    assert covered(conn) == [*expected, *rest, ("2024-01-02", "2024-01-24", "b")]


def test_a_weekend_between_two_ranges_joins_them(conn: Conn) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME'), ('BTC-USD')")
    for symbol in ("ACME", "BTC-USD"):
        cover(conn, symbol, day("2024-01-08"), day("2024-01-12"), "a")
        cover(conn, symbol, day("2024-01-16"), day("2024-01-19"), "a")
    assert covered(conn) == [("2024-01-08", "2024-01-19", "a")]
    assert len(covered(conn, "BTC-USD")) == 2  # coins know no weekend


@pytest.fixture
def other(url: str, conn: Conn) -> Iterator[Conn]:
    assert conn.info.dbname in url
    with connect(url) as other:
        yield other


def test_two_that_store_at_once_make_one_range(conn: Conn, other: Conn) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME')")
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
    pid = other.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        with conn.transaction():
            cover(conn, "ACME", day("2024-01-02"), day("2024-01-12"), "a")
            second = pool.submit(cover, other, "ACME", day("2024-01-08"), day("2024-01-19"), "a")
            until("the second one waits", lambda: value(conn, waits, [pid]))
        second.result(20)
    assert covered(conn) == [("2024-01-02", "2024-01-19", "a")]


def test_a_ticker_that_is_registered_again_has_no_coverage(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days)
    conn.execute("DELETE FROM market_prices")
    conn.execute("DELETE FROM ticker_registry")
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME')")
    assert covered(conn) == []
    assert asked(plan_of(database)).sessions == days


def test_it_is_told_with_its_holes(conn: Conn, days: list[dt.date]) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    (text,) = [
        row["story"] for row in conn.execute("SELECT story FROM ticker_standing('ACME')").fetchall()
    ]
    assert f"answered for {days[0]} to 2024-01-07 and 2024-01-13 to 2024-05-16" in text


# Jobs.


def test_a_job_wants_what_is_not_covered(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    start = days[0]
    with at(database) as inside:
        number = jobs.start(inside, "backfill", ["ACME"], start, TODAY)
        later = jobs.start(inside, "backfill", ["ACME"], day("2024-02-01"), TODAY)
    wants = "SELECT want_from::text, state FROM price_job_symbols WHERE job_id = %s"
    assert conn.execute(wants, [number]).fetchall() == [
        {"want_from": "2024-01-08", "state": "open"}
    ]
    assert conn.execute(wants, [later]).fetchall()[0]["state"] == "done"

    plan = plan_of(database)
    assert list(plan.jobs) == [number]
    provider = FakeProvider("other", FLAT)
    result = backfill.fetch(database, [provider], plan, never)
    with at(database) as inside:
        summary = backfill.store(inside, plan, result)
        assert jobs.settle(inside, plan, result, summary, last=False) == 1
    assert len(provider.asked[0].sessions) == 15


def test_a_job_whose_hole_another_fetch_filled_is_settled(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    stored(conn, days, ("2024-01-08", "2024-01-12"))
    with at(database) as inside:
        number = jobs.start(inside, "backfill", ["ACME"], days[0], TODAY)
    set_fetched(conn, "ACME", days[0], TODAY)
    plan = plan_of(database)
    assert plan.request is None
    with at(database) as inside:
        summary = backfill.store(inside, plan, None)
        jobs.settle(inside, plan, None, summary, last=False)
        progress = jobs.progress(inside, number)
    assert (progress["done"], progress["left"]) == (1, 0)
