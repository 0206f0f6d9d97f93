"""Every class of a provider's answer and what follows: for the ticker, the provider, the others."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from market.prices import backfill
from market.providers import Answer, Kind, Provider, Request
from sql.database import Database
from tests.support.clock import at, standing_still, utc
from tests.support.db import Conn, value
from tests.support.market import BACKFILL_DAYS, insert_prediction, process, provider_row, ticker
from tests.support.providers import FakeProvider, plain_bars, serving
from tests.support.waiting import never

GOOD = serving(lambda _: 100.0)
NOW = utc("2024-05-16 22:00")
# In the year before.
LISTED = NOW.date() - dt.timedelta(days=100)
NOBODY_KNOWS = Answer(Kind.UNKNOWN, message="No data found")

# No session ends between a plan and its answer.
database, conn = standing_still(NOW)


@pytest.fixture
def run(database: Database, conn: Conn) -> Callable[..., tuple[backfill.Result | None, str]]:
    """Register a symbol and take it through plan, fetch and store."""

    def run(*providers: Provider, symbol: str = "ACME") -> tuple[backfill.Result | None, str]:
        conn.execute(
            "INSERT INTO ticker_registry (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol]
        )
        with at(database) as inside:
            plan = backfill.plan(inside, symbol, BACKFILL_DAYS)
        assert plan is not None
        result = backfill.fetch(database, providers, plan, never)
        with at(database) as inside:
            summary = backfill.store(inside, plan, result)
        return result, summary.result

    return run


Run = Callable[..., tuple[backfill.Result | None, str]]


@pytest.mark.parametrize(("said", "kept"), [("GBp", "GBp"), ({"a": 1}, "USD"), ("<b>", "USD")])
def test_the_listing_s_currency_is_kept(run: Run, conn: Conn, said: Any, kept: str) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol, currency) VALUES ('ACME', 'USD')")
    run(FakeProvider("first", lambda request: replace(GOOD(request), currency=said)))
    assert ticker(conn, "ACME")["currency"] == kept


def test_bars_are_stored_with_their_source(run: Run, conn: Conn) -> None:
    result, outcome = run(FakeProvider("first", GOOD), FakeProvider("second", NOBODY_KNOWS))
    assert isinstance(result, backfill.Fetched)
    assert outcome == "fetched"
    row = ticker(conn, "ACME")
    assert (row["status"], row["backfill_status"]) == ("active", "completed")
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == ["first"]
    assert provider_row(conn, "first")["last_ok_at"] is not None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OK])
def test_no_answer_but_unknown_makes_a_ticker_invalid(run: Run, conn: Conn, kind: Kind) -> None:
    _, outcome = run(FakeProvider("only", Answer(kind, message="in its words")))
    row = ticker(conn, "ACME")
    assert row["status"] == ("invalid" if kind is Kind.UNKNOWN else "active")
    expected = {
        Kind.UNKNOWN: ("unknown", "failed"),
        Kind.EMPTY: ("failed", "failed"),
        Kind.BAD_ANSWER: ("failed", "failed"),
        Kind.THROTTLED: ("later", "pending"),
        Kind.PLAN: ("later", "pending"),
        Kind.DOWN: ("later", "pending"),
    }
    assert (outcome, row["backfill_status"]) == expected[kind]
    assert "in its words" in row["backfill_error"]
    assert value(conn, "SELECT count(*) FROM market_prices") == 0


def test_an_ok_without_one_usable_bar_is_a_failure(run: Run, conn: Conn) -> None:
    rubbish = Answer(Kind.OK, plain_bars([dt.date(1970, 1, 4)]))
    result, _ = run(FakeProvider("only", rubbish))
    assert isinstance(result, backfill.Failed)
    assert "no session of its calendar" in result.reason
    assert ticker(conn, "ACME")["status"] == "active"


def test_an_empty_answer_is_a_rest_for_the_next_provider(run: Run, conn: Conn) -> None:
    first = FakeProvider("first", Answer(Kind.EMPTY))
    result, _ = run(first, FakeProvider("second", GOOD))
    assert isinstance(result, backfill.Fetched)
    assert result.source == "second"
    assert len(first.asked) == 1
    assert ticker(conn, "ACME")["status"] == "active"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OK])
def test_whatever_the_first_says_the_second_is_asked(run: Run, conn: Conn, kind: Kind) -> None:
    result, _ = run(FakeProvider("first", Answer(kind)), FakeProvider("second", GOOD))
    assert isinstance(result, backfill.Fetched)
    assert ticker(conn, "ACME")["status"] == "active"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in {Kind.OK, Kind.UNKNOWN}])
@pytest.mark.parametrize("unknown_first", [True, False])
def test_unknown_by_one_is_no_verdict_while_another_gave_none(
    run: Run, conn: Conn, kind: Kind, unknown_first: bool
) -> None:
    providers = [FakeProvider("a", NOBODY_KNOWS), FakeProvider("b", Answer(kind))]
    result, _ = run(*(providers if unknown_first else providers[::-1]))
    assert isinstance(result, backfill.Deferred | backfill.Failed | backfill.NoData)
    assert ticker(conn, "ACME")["status"] == "active"


def test_unknown_by_all_makes_it_invalid_with_every_providers_words(run: Run, conn: Conn) -> None:
    result, _ = run(
        FakeProvider("a", Answer(Kind.UNKNOWN, message="never heard of it")),
        FakeProvider("b", Answer(Kind.UNKNOWN, message="no such thing")),
    )
    assert isinstance(result, backfill.UnknownSymbol)
    row = ticker(conn, "ACME")
    assert row["status"] == "invalid"
    assert "a: unknown never heard of it" in row["status_reason"]
    assert "b: unknown no such thing" in row["status_reason"]


def only_knows(*symbols: str) -> Callable[[Request], Answer]:
    return lambda request: GOOD(request) if request.symbol in symbols else NOBODY_KNOWS


def test_a_canary_that_lives_makes_unknown_a_verdict(run: Run, conn: Conn) -> None:
    provider = FakeProvider("remote", only_knows("SPY"), canary="SPY")
    result, _ = run(provider)
    assert isinstance(result, backfill.UnknownSymbol)
    assert [request.symbol for request in provider.asked] == ["ACME", "SPY"]
    assert ticker(conn, "ACME")["status"] == "invalid"

    # It is trusted for a while: the next unknown symbol costs one request.
    run(provider, symbol="BETA")
    assert [request.symbol for request in provider.asked] == ["ACME", "SPY", "BETA"]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OK])
def test_a_canary_that_fails_leaves_the_ticker_alone(run: Run, conn: Conn, kind: Kind) -> None:
    def answers(request: Request) -> Answer:
        return Answer(kind) if request.symbol == "SPY" else NOBODY_KNOWS

    result, _ = run(FakeProvider("remote", answers, canary="SPY"))
    assert isinstance(result, backfill.Failed | backfill.Deferred)
    assert ticker(conn, "ACME")["status"] == "active"


def test_the_canary_itself_is_never_invalid(run: Run, conn: Conn) -> None:
    result, _ = run(FakeProvider("remote", NOBODY_KNOWS, canary="SPY"), symbol="SPY")
    assert isinstance(result, backfill.Failed)
    assert ticker(conn, "SPY")["status"] == "active"


def test_a_canary_of_last_week_is_asked_again(run: Run, conn: Conn) -> None:
    provider = FakeProvider("remote", only_knows("SPY"), canary="SPY")
    run(provider)
    conn.execute("UPDATE reckoner_providers SET last_ok_at = reckoner_now() - interval '7 days'")
    run(provider, symbol="BETA")
    assert [request.symbol for request in provider.asked] == ["ACME", "SPY", "BETA", "SPY"]


def test_an_unknown_ticker_settles_its_outcomes(run: Run, conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["ACME"])
    process(database, number)
    run(FakeProvider("only", NOBODY_KNOWS))
    row = conn.execute("SELECT * FROM prediction_outcomes").fetchone()
    assert row is not None
    assert row["outcome_state"] == "unresolvable"
    assert "invalid" in row["outcome_reason"]


def test_bars_bring_an_invalid_ticker_back(run: Run, conn: Conn) -> None:
    run(FakeProvider("only", NOBODY_KNOWS))
    assert ticker(conn, "ACME")["status"] == "invalid"
    run(FakeProvider("only", GOOD))
    row = ticker(conn, "ACME")
    assert (row["status"], row["status_reason"]) == ("active", None)


def test_what_the_provider_knows_better_is_taken_over(run: Run, conn: Conn) -> None:
    def answers(request: Request) -> Answer:
        return Answer(Kind.OK, plain_bars(request.sessions), asset_type="etf", exchange="PCX")

    run(FakeProvider("only", answers))
    row = ticker(conn, "ACME")
    assert (row["asset_type"], row["exchange"]) == ("etf", "PCX")


def test_without_a_provider_nothing_is_decided(run: Run, conn: Conn) -> None:
    result, _ = run()
    assert isinstance(result, backfill.Failed)
    assert ticker(conn, "ACME")["status"] == "active"


# Sessions without a bar: the others are asked too.


def holes(every: int) -> Callable[[Request], Answer]:
    return serving(lambda date: None if date.day % every == 0 else 100.0)


@pytest.mark.parametrize(
    ("first", "second", "source", "asked"),
    [
        (holes(7), GOOD, "second", 1),
        (holes(7), holes(3), "first", 1),
        (holes(3), holes(7), "second", 1),
        (holes(7), NOBODY_KNOWS, "first", 1),  # and its canary is not asked
        (holes(7), Answer(Kind.THROTTLED), "first", 1),
        (holes(7), Answer(Kind.BAD_ANSWER), "first", 1),
        (GOOD, GOOD, "first", 0),
        # Listed in the middle of the range: nothing is missing.
        (serving(lambda date: 100.0 if date >= LISTED else None), GOOD, "first", 0),
    ],
)
def test_the_most_complete_answer_is_used(
    run: Run,
    conn: Conn,
    first: Callable[[Request], Answer],
    second: Answer | Callable[[Request], Answer],
    source: str,
    asked: int,
) -> None:
    other = FakeProvider("second", second, canary="SPY")
    result, outcome = run(FakeProvider("first", first), other)
    assert outcome == "fetched"
    assert isinstance(result, backfill.Fetched)
    # As it came: bars of two providers do not stand side by side.
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == [source]
    assert len(other.asked) == asked
    row = conn.execute(
        "SELECT provider, jsonb_array_length(asked) AS n FROM ingestion_audit"
    ).fetchone()
    assert row == {"provider": source, "n": 1 + asked}
