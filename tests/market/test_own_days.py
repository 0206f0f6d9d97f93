"""Currencies and futures: their own days, and outcomes of one of each by hand."""

import datetime as dt

import pytest

from market.prices import backfill
from market.universe import sessions
from sql.database import Database
from sql.schema.files import schema_files
from tests.market.desk import Desk
from tests.support.clock import at, day, utc
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, outcome, process, put_bars, set_fetched, ticker
from tests.support.providers import FakeProvider, serving

# Closes of two weeks by hand: from Thursday before Thanksgiving 2025 on.
EURO = {
    "2025-11-20": 1.1500, "2025-11-21": 1.1520, "2025-11-24": 1.1510, "2025-11-25": 1.1570,
    "2025-11-26": 1.1590, "2025-11-27": 1.1600, "2025-11-28": 1.1595, "2025-12-01": 1.1610,
    "2025-12-02": 1.1625,
}  # fmt: skip
GOLD = {
    "2025-11-20": 4050.0, "2025-11-21": 4060.0, "2025-11-24": 4090.5, "2025-11-25": 4130.0,
    "2025-11-26": 4160.0, "2025-11-28": 4220.0, "2025-12-01": 4240.0, "2025-12-02": 4190.0,
    "2025-12-03": 4200.0,
}  # fmt: skip


def given(closes: dict[str, float], *missing: str) -> FakeProvider:
    return FakeProvider(
        "remote", serving(lambda date: closes.get(str(date)) if str(date) not in missing else None)
    )


@pytest.mark.parametrize(
    ("symbol", "provider_symbol", "calendar", "asset_type"),
    [
        ("EURUSD=X", None, "24/5", "currency"),
        ("JPY=X", None, "24/5", "currency"),
        ("EUR/USD", "EURUSD=X", "24/5", "currency"),
        ("USD/JPY", "USDJPY=X", "24/5", "currency"),
        ("EUR-USD", "EURUSD=X", "24/5", "currency"),
        ("GBPUSD", "GBPUSD=X", "24/5", "currency"),
        ("C:EURUSD", "EURUSD=X", "24/5", "currency"),
        ("XAU/USD", "XAUUSD=X", "24/5", "currency"),
        ("ES=F", None, "CMES", "commodity"),
        ("CL=F", None, "CMES", "commodity"),
        ("BRK-B=F", None, "?BRK-B=F", "commodity"),  # no such name; no rule of ours
        ("BTC/USD", "BTC-USD", "24/7", "crypto"),
        ("BTC-EUR", None, "24/7", "crypto"),
        ("BTCUSD", "BTC-USD", "24/7", "crypto"),
        ("F", None, "XNYS", "stock"),
        ("X", None, "XNYS", "stock"),
        ("USD", None, "XNYS", "stock"),
    ],
)
def test_whose_day_a_symbol_keeps(
    conn: Conn, symbol: str, provider_symbol: str | None, calendar: str, asset_type: str
) -> None:
    conn.execute("SELECT registry_register(ARRAY[%s], ARRAY[NULL::integer])", [symbol])
    row = ticker(conn, symbol)
    found = (row["provider_symbol"], row["calendar"], row["asset_type"])
    assert found == (provider_symbol, calendar, asset_type)


@pytest.mark.parametrize("symbol", ["EURUSD=X", "EUR/USD"])
def test_a_pair_of_currencies_by_hand(url: str, conn: Conn, symbol: str) -> None:
    """Saturday's post: Monday's close is the entry. Thanksgiving is a day of currencies."""
    provider = given(EURO)
    desk = Desk(url, provider)
    number = desk.predict(utc("2025-12-02 22:00"), symbol, utc("2025-11-22 12:00"))
    desk.turn(utc("2025-12-03 01:00"))  # 20:00 in New York of the second
    row = outcome(conn, number, symbol)
    assert row["entry_session"] == day("2025-11-24")
    assert row["price_at_prediction"] == 1.1510
    assert (row["price_t1"], row["price_t3"]) == (1.1570, 1.1600)
    assert row["return_t1"] == pytest.approx((1.1570 / 1.1510 - 1) * 100)
    assert (row["correct_t1"], row["correct_t3"]) == (True, True)
    assert row["price_t7"] is None  # 3 December
    assert row["outcome_state"] == "maturing"
    assert {request.symbol for request in provider.asked} == {"EURUSD=X"}
    assert all(date.weekday() < 5 for request in provider.asked for date in request.sessions)


def test_a_future_by_hand(url: str, conn: Conn) -> None:
    """A post at 16:30 in New York still has that day's close; on Thanksgiving nothing settles."""
    desk = Desk(url, given(GOLD))
    number = desk.predict(utc("2025-12-03 22:00"), "GC=F", utc("2025-11-21 21:30"))
    late = desk.predict(utc("2025-12-03 22:00"), "GC=F", utc("2025-11-21 22:00:01"))
    desk.turn(utc("2025-12-04 00:00"))
    row = outcome(conn, number, "GC=F")
    assert (row["entry_session"], row["price_at_prediction"]) == (day("2025-11-21"), 4060.0)
    assert [row[f"price_t{n}"] for n in (1, 3, 7)] == [4090.5, 4160.0, 4200.0]
    assert row["return_t7"] == pytest.approx((4200.0 / 4060.0 - 1) * 100)
    assert outcome(conn, late, "GC=F")["entry_session"] == day("2025-11-24")


@pytest.mark.parametrize(
    ("symbol", "calendar", "moment", "last"),
    [
        ("ES=F", "CMES", "2025-07-14 20:31", "2025-07-11"),  # 16:31: the bar is not over
        ("ES=F", "CMES", "2025-07-14 22:29", "2025-07-11"),
        ("ES=F", "CMES", "2025-07-14 22:30", "2025-07-14"),
        ("ES=F", "CMES", "2025-11-28 19:44", "2025-11-26"),
        ("ES=F", "CMES", "2025-11-28 19:45", "2025-11-28"),
        ("EURUSD=X", "24/5", "2025-07-14 23:00", "2025-07-11"),  # midnight in London
        ("EURUSD=X", "24/5", "2025-07-15 00:30", "2025-07-14"),
        ("AAPL", "XNYS", "2025-07-14 20:30", "2025-07-14"),
    ],
)
def test_a_bar_is_asked_for_when_it_is_settled(
    database: Database, conn: Conn, symbol: str, calendar: str, moment: str, last: str
) -> None:
    sessions.load(database, calendar)
    conn.execute("SELECT registry_register(ARRAY[%s], ARRAY[NULL::integer])", [symbol])
    with at(database, utc(moment) + dt.timedelta(seconds=1)) as inside:
        plan = backfill.plan(inside, symbol, 30)
    assert plan is not None
    assert plan.request is not None
    assert str(plan.request.end) == last


def test_every_due_moment_is_when_the_calendar_says(url: str, conn: Conn) -> None:
    desk = Desk(url, given(GOLD))
    number = desk.predict(utc("2025-11-26 12:00"), "GC=F", utc("2025-11-26 12:00"))
    desk.turn(utc("2025-11-26 12:00"))
    assert outcome(conn, number, "GC=F")["due_at"] == utc("2025-11-26 23:30")
    assert value(conn, "SELECT session_settling('XNYS') = session_settling()") is True


def test_an_upgrade_gives_those_that_are_there_their_own_days(
    database: Database, conn: Conn
) -> None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, provider_symbol, status, last_backfill) VALUES"
        " ('GC=F', 'XNYS', NULL, 'active', now()), ('EUR/USD', '24/7', 'EUR-USD', 'invalid', now()),"
        " ('AAPL', 'XNYS', NULL, 'active', now()), ('OWN=F', 'XLON', NULL, 'active', now())"
    )
    put_bars(conn, "GC=F", {day(date): close for date, close in GOLD.items()})
    set_fetched(conn, "GC=F", day("2025-11-20"), day("2025-12-03"))
    moment = utc("2025-11-21 21:30")
    number = insert_prediction(conn, ["GC=F", "EUR/USD"], {"GC=F": "bullish"}, moment=moment)
    process(database, number, moment=utc("2025-12-04 00:00"))
    assert outcome(conn, number, "GC=F")["entry_session"] == day("2025-11-24")
    (migration,) = [file for file in schema_files() if file.name.endswith("0018_calendars.sql")]
    conn.execute(migration.text.encode())
    sessions.ensure(database)
    row = outcome(conn, number, "GC=F")
    assert (row["entry_session"], row["price_at_prediction"]) == (day("2025-11-21"), 4060.0)
    assert "entry was 2025-11-24, return_t1 was" in row["revision"]
    pair = ticker(conn, "EUR/USD")
    found = [pair[name] for name in ("provider_symbol", "calendar", "asset_type", "status")]
    assert found == ["EURUSD=X", "24/5", "currency", "active"]
    assert outcome(conn, number, "EUR/USD")["entry_session"] == day("2025-11-21")
    assert ticker(conn, "GC=F")["covered_to"] is None  # asked for again, days of its own too
    assert ticker(conn, "AAPL")["calendar"] == "XNYS"
    assert ticker(conn, "OWN=F")["calendar"] == "XLON"
