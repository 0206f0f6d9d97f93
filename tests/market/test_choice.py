"""Who is asked, and in which order: what providers can have, the order that was named, the draw."""

import datetime as dt
from collections import Counter

import pytest

from market.prices import backfill
from market.providers import Answer, Capabilities, Kind, Provider, Request
from market.providers.limits import attempt
from market.providers.selection import lack, ranked, worth
from sql.database import Database
from tests.support.clock import at, standing_still, utc
from tests.support.db import Conn, value
from tests.support.market import BACKFILL_DAYS, put_bars, ticker
from tests.support.providers import FakeProvider, plain_bars, serving
from tests.support.waiting import never

DAYS = [dt.date(2024, 3, 4), dt.date(2024, 3, 5), dt.date(2024, 3, 6), dt.date(2024, 3, 7)]
REQUEST = Request("ACME", DAYS[0], DAYS[-1], DAYS)
GOOD = serving(lambda _: 100.0)
# Late in a month and after a close: what a test serves may depend on the day of the month.
NOW = utc("2024-05-22 22:00")

database, conn = standing_still(NOW)


def three() -> list[Provider]:
    return [FakeProvider(name, GOOD, canary="SPY") for name in ("a", "b", "c")]


def scored(conn: Conn, name: str, good: float, bad: float, ago: str = "0") -> None:
    conn.execute(
        "INSERT INTO reckoner_providers (name, good, bad, scored_at)"
        " VALUES (%s, %s, %s, reckoner_now() - %s::interval)",
        [name, good, bad, ago],
    )


def order(database: Database, symbol: str = "ACME", request: Request = REQUEST) -> str:
    with at(database) as inside:
        return "".join(provider.name for provider in ranked(inside, three(), symbol, request))


def orders(database: Database, number: int = 60) -> Counter[str]:
    return Counter(order(database, f"ACME{n}") for n in range(number))


def test_little_data_leaves_the_order(database: Database, conn: Conn) -> None:
    assert orders(database) == {"abc": 60}
    scored(conn, "a", 0, 19)
    scored(conn, "c", 19, 0)
    assert orders(database) == {"abc": 60}


def test_old_data_is_little_data(database: Database, conn: Conn) -> None:
    scored(conn, "a", 0, 100, ago="21 days")
    scored(conn, "c", 100, 0, ago="21 days")
    assert orders(database) == {"abc": 60}


def test_the_better_one_comes_first_and_who_has_little_data_keeps_its_place(
    database: Database, conn: Conn
) -> None:
    scored(conn, "a", 10, 90)
    scored(conn, "c", 90, 10)
    assert orders(database) == {"cba": 60}


def test_like_ones_take_turns_and_the_same_scores_give_the_same_draw(
    database: Database, conn: Conn
) -> None:
    for name in ("a", "b"):
        scored(conn, name, 18, 6)
    conn.execute("UPDATE reckoner_providers SET scored_at = reckoner_now() + interval '1 hour'")
    found = orders(database)
    assert set(found) == {"abc", "bac"}
    assert min(found.values()) > 10
    assert orders(database) == found
    # One more answer, and it is drawn anew.
    conn.execute("UPDATE reckoner_providers SET good = good + 1 WHERE name = 'a'")
    again = [order(database, f"ACME{n}") for n in range(60)]
    conn.execute("UPDATE reckoner_providers SET good = good - 1 WHERE name = 'a'")
    assert again != [order(database, f"ACME{n}") for n in range(60)]


def test_a_symbol_stays_with_the_provider_of_its_bars_while_that_is_good(
    database: Database, conn: Conn
) -> None:
    scored(conn, "a", 95, 5)
    scored(conn, "c", 60, 40)
    put_bars(conn, "ACME", {DAYS[0]: 100.0})
    conn.execute("UPDATE market_prices SET source = 'c'")
    assert order(database) == "cba"
    assert order(database, "OTHER") == "abc"
    conn.execute("UPDATE reckoner_providers SET good = 40, bad = 60 WHERE name = 'c'")
    assert order(database) == "abc"


def run(
    database: Database,
    conn: Conn,
    *providers: Provider,
    symbol: str = "ACME",
    by_merit: bool = True,
) -> backfill.Result | None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol]
    )
    with at(database) as inside:
        plan = backfill.plan(inside, symbol, BACKFILL_DAYS)
    assert plan is not None
    result = backfill.fetch(database, providers, plan, never, by_merit=by_merit)
    with at(database) as inside:
        backfill.store(inside, plan, result)
    return result


@pytest.mark.parametrize(("by_merit", "source"), [(True, "b"), (False, "a")])
def test_an_order_that_was_named_is_kept(
    database: Database, conn: Conn, by_merit: bool, source: str
) -> None:
    scored(conn, "a", 5, 95)
    scored(conn, "b", 95, 5)
    result = run(database, conn, *three(), by_merit=by_merit)
    assert isinstance(result, backfill.Fetched)
    assert result.source == source


def test_who_cannot_have_it_is_not_asked(database: Database, conn: Conn) -> None:
    shares = Capabilities(asset_types=frozenset({"stock"}))
    new_york = Capabilities(calendars=frozenset({"XNYS"}))
    shallow = Capabilities(history_days=100)
    refused = [
        FakeProvider("shares", GOOD, capabilities=shares),
        FakeProvider("new_york", GOOD, capabilities=new_york),
        FakeProvider("shallow", GOOD, capabilities=shallow),
    ]
    result = run(database, conn, *refused, symbol="BTC-USD")
    assert isinstance(result, backfill.Failed)
    assert result.reason.startswith(
        "shares has no prices of this kind: crypto; new_york has nothing of 24/7;"
        " shallow goes back 100 days, not 36"
    )
    assert all(provider.asked == [] for provider in refused)
    result = run(database, conn, *refused, FakeProvider("all", GOOD), symbol="BTC-USD")
    assert isinstance(result, backfill.Fetched)
    assert result.source == "all"


@pytest.mark.parametrize(
    "vague",
    [
        Answer(Kind.EMPTY, message="[]", abstains=True),
        Answer(Kind.PLAN, message="this symbol is for paying people", abstains=True),
    ],
)
def test_who_gives_no_verdict_does_not_keep_the_others_from_theirs(
    database: Database, conn: Conn, vague: Answer
) -> None:
    unknown = Answer(Kind.UNKNOWN, message="never heard of it")
    result = run(database, conn, FakeProvider("a", vague), FakeProvider("b", unknown))
    assert isinstance(result, backfill.UnknownSymbol)
    assert vague.message in result.reason
    assert ticker(conn, "ACME")["status"] == "invalid"


def test_vague_ones_alone_never_make_a_ticker_invalid(database: Database, conn: Conn) -> None:
    vague = Answer(Kind.EMPTY, message="[]", abstains=True)
    result = run(database, conn, FakeProvider("a", vague), FakeProvider("b", vague))
    assert isinstance(result, backfill.NoData)
    refused = Answer(Kind.PLAN, message="not this one", abstains=True)
    result = run(database, conn, FakeProvider("a", refused))
    assert isinstance(result, backfill.Failed)
    assert ticker(conn, "ACME")["status"] == "active"


def test_a_plan_without_this_symbol_is_no_pause(database: Database, conn: Conn) -> None:
    refused = Answer(Kind.PLAN, message="not this one", abstains=True)
    assert attempt(database, FakeProvider("a", refused), REQUEST, never) == refused
    assert value(conn, "SELECT paused_until FROM reckoner_providers WHERE name = 'a'") is None


@pytest.mark.parametrize(
    ("dates", "worthy"),
    [(DAYS, 1.0), (DAYS[1:], (2 + 3 / 4) / 3), (DAYS[:3], (1 + 3 / 4 + 1 / 2) / 3), ([], 0.0)],
)
def test_what_an_answer_is_worth(dates: list[dt.date], worthy: float) -> None:
    assert worth(plain_bars(dates), REQUEST) == pytest.approx(worthy)


def test_answers_are_scored_and_what_was_of_no_use_is_counted(
    database: Database, conn: Conn
) -> None:
    failing = FakeProvider("a", Answer(Kind.BAD_ANSWER, message="a form"), canary="SPY")
    half = FakeProvider("b", serving(lambda day: 100.0 if day.day > 15 else None), canary="SPY")
    run(database, conn, failing, half, by_merit=False)
    rows = conn.execute(
        "SELECT name, score, answers_scored, errors FROM provider_status WHERE name IN ('a', 'b')"
        " ORDER BY name"
    ).fetchall()
    assert [row["score"] for row in rows] == [0.0, pytest.approx(0.83, abs=0.05)]
    assert [row["answers_scored"] for row in rows] == [pytest.approx(1, abs=0.01)] * 2
    assert [row["errors"] for row in rows] == [{"bad_answer": 1}, None]


def test_a_local_provider_has_no_score(database: Database, conn: Conn) -> None:
    run(database, conn, FakeProvider("local", GOOD))
    assert value(conn, "SELECT good + bad FROM reckoner_providers WHERE name = 'local'") == 0


def test_half_of_a_score_is_gone_in_a_week(database: Database, conn: Conn) -> None:
    scored(conn, "a", 40, 8, ago="7 days")
    with at(database) as inside:
        inside.execute("SELECT provider_scored('a', 0.25)")
    row = conn.execute("SELECT good, bad FROM reckoner_providers WHERE name = 'a'").fetchone()
    assert row == {"good": pytest.approx(20.25, abs=0.01), "bad": pytest.approx(4.75, abs=0.01)}


def test_declared_is_what_is_compared() -> None:
    can = Capabilities(history_days=3)
    assert lack(FakeProvider("a", GOOD, capabilities=can), "stock", "XNYS", REQUEST) is None
    can = Capabilities(history_days=2)
    assert lack(FakeProvider("a", GOOD, capabilities=can), "stock", "XNYS", REQUEST)
