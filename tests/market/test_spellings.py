"""symbol_rules: what a symbol is called by providers, and whose sessions it keeps."""

import datetime as dt
from pathlib import Path
from typing import Any

import exchange_calendars
import psycopg
import pytest

from market.providers import Answer, Kind
from market.universe import sessions as calendars
from sql.database import Database
from tests.market.desk import Desk
from tests.market.spellings import SPELLINGS, rule
from tests.support.clock import day, utc
from tests.support.db import Conn, value
from tests.support.market import (
    flat_bars,
    insert_prediction,
    outcome,
    process,
    sessions,
    ticker,
    until_complete,
    write_csv,
)
from tests.support.process import SHORT, Start
from tests.support.providers import FakeProvider, serving
from tests.support.waiting import until

FLAT = serving(lambda _: 100.0)
NOW = utc("2024-05-16 22:00")


def registered_by_another_program(conn: Conn, symbol: str) -> None:
    """As a program writes it that knows nothing of calendars; its ticker event is not ours to see."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, created_at, updated_at)"
        " VALUES (%s, 'active', now(), now())",
        [symbol],
    )
    conn.execute("DELETE FROM outbox WHERE key = %s", [symbol])


def test_registered_tickers_carry_spelling_calendar_and_type(conn: Conn) -> None:
    symbols = [symbol for symbol, *_ in SPELLINGS]
    conn.execute(
        "SELECT registry_register(%s::text[], %s::integer[])", [symbols, [None] * len(symbols)]
    )
    found = conn.execute(
        "SELECT symbol, provider_symbol, calendar, asset_type FROM ticker_registry"
    ).fetchall()
    assert {row["symbol"]: tuple(row.values()) for row in found} == {
        row[0]: row for row in SPELLINGS
    }


def test_a_prediction_registers_alike(conn: Conn, database: Database) -> None:
    number = insert_prediction(conn, ["fb", " brk.b", "BTC", "btc/usd"])
    process(database, number)
    found = conn.execute("SELECT symbol, provider_symbol, calendar FROM ticker_registry").fetchall()
    assert {tuple(row.values()) for row in found} == {
        ("FB", "META", "XNYS"),
        ("BRK.B", "BRK-B", "XNYS"),
        ("BTC", None, "XNYS"),
        ("BTC/USD", "BTC-USD", "24/7"),
    }


@pytest.mark.parametrize(
    ("symbol", "spelling"), [(row[0], row[1] or row[0]) for row in SPELLINGS[:12]]
)
def test_providers_are_asked_in_their_spelling(url: str, symbol: str, spelling: str) -> None:
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    desk.predict(NOW, symbol.lower(), "2024-03-05 15:00+00")
    desk.turn(NOW)
    assert [request.symbol for request in provider.asked] == [spelling]


def test_the_outcome_keeps_the_symbol_as_it_was_written(url: str, conn: Conn) -> None:
    desk = Desk(url, FakeProvider("remote", FLAT))
    number = desk.predict(NOW, " brk.b ", "2024-03-05 15:00+00")
    desk.turn(NOW)
    row = outcome(conn, number, "BRK.B")
    assert (row["outcome_state"], row["prediction_sentiment"]) == ("complete", "bullish")
    assert value(conn, "SELECT array_agg(DISTINCT symbol::text) FROM market_prices") == ["BRK.B"]
    assert value(conn, "SELECT array_agg(key) FROM outbox_history WHERE topic = 'ticker'") == [
        "BRK.B"
    ]


def test_two_spellings_of_one_instrument_are_two_tickers(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    first = desk.predict(NOW, "FB", "2024-03-05 15:00+00")
    second = desk.predict(NOW, "META", "2024-03-05 15:00+00")
    desk.turn(NOW)
    assert [request.symbol for request in provider.asked] == ["META", "META"]
    for number, symbol in ((first, "FB"), (second, "META")):
        assert outcome(conn, number, symbol)["is_complete"]


# The entry is the first session that closes at or after the moment, of the own exchange.


@pytest.fixture
def london(url: str) -> None:
    """London's sessions loaded."""
    with Database(url) as database:
        calendars.load(database, "XLON")


@pytest.mark.usefixtures("london")
def test_the_entry_session_is_the_exchanges_own(conn: Conn, database: Database) -> None:
    calendars.load(database, "XKRX")
    moments = {
        # Martin Luther King's day: New York is closed, London opens at 8, Korea closed at 6:30.
        "2024-01-15 10:00+00": ("2024-01-16", "2024-01-15", "2024-01-16", "2024-01-15"),
        # London's bank holiday, which Korea kept as well: Children's day, moved to the Monday.
        "2024-05-06 10:00+00": ("2024-05-06", "2024-05-07", "2024-05-07", "2024-05-06"),
        # Lunar new year in Korea, from Friday to Monday.
        "2024-02-09 03:00+00": ("2024-02-09", "2024-02-09", "2024-02-13", "2024-02-09"),
        # Between Korea's close and London's opening; half an hour earlier Korea is still open.
        "2024-01-17 07:00+00": ("2024-01-17", "2024-01-17", "2024-01-18", "2024-01-17"),
        "2024-01-17 06:30+00": ("2024-01-17", "2024-01-17", "2024-01-17", "2024-01-17"),
        # London is closed and New York open for four hours and a half more; coins never close.
        "2024-01-17 16:30:01+00": ("2024-01-17", "2024-01-18", "2024-01-18", "2024-01-17"),
        "2024-01-20 12:00+00": ("2024-01-22", "2024-01-22", "2024-01-22", "2024-01-20"),
    }
    symbols = ("FB", "VOD.L", "KRX:005930", "BTC/USD")
    for moment, entries in moments.items():
        number = insert_prediction(conn, list(symbols), moment=moment)
        process(database, number)
        found = [str(outcome(conn, number, symbol)["entry_session"]) for symbol in symbols]
        assert tuple(found) == entries, moment


def test_a_worker_counts_the_sessions_of_each_exchange(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    """Real process, csv files named as providers spell; no calendar but XNYS is loaded before."""
    folder = tmp_path / "bars"
    for spelling, calendar in {
        "META": "XNYS",
        "BRK-B": "XNYS",
        "VOD.L": "XLON",
        "005930.KS": "XKRX",
        "BTC-USD": "24/7",
    }.items():
        days = exchange_calendars.get_calendar(calendar, start="2024-01-01", end="2024-04-30")
        dates = [session.date() for session in days.sessions]
        write_csv(folder, spelling, flat_bars(dates))
    worker = start_worker(**SHORT)
    symbols = ["fb", "BRK/B", "vod.l", "KRX:005930", "btc/usd"]
    number = insert_prediction(conn, symbols, moment="2024-01-15 10:00+00")
    until_complete(conn, len(symbols), 120)
    assert worker.process.poll() is None

    # Closes count the sessions of each calendar from 2024-01-01 or the first after it.
    for symbol, calendar, entry in (
        ("FB", "XNYS", "2024-01-16"),
        ("BRK/B", "XNYS", "2024-01-16"),
        ("VOD.L", "XLON", "2024-01-15"),
        ("KRX:005930", "XKRX", "2024-01-16"),
        ("BTC/USD", "24/7", "2024-01-15"),
    ):
        row = outcome(conn, number, symbol)
        assert row["entry_session"] == day(entry), symbol
        nth = len(sessions(conn, "2024-01-01", entry, calendar)) - 1
        assert row["price_at_prediction"] == 100 + nth, symbol
        assert [row[f"price_t{n}"] for n in (1, 3, 7, 30)] == [
            100 + nth + n for n in (1, 3, 7, 30)
        ], symbol


def test_a_ticker_that_nobody_predicted_brings_its_calendar(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    """An operator registers a ticker of an exchange whose sessions were never loaded."""
    folder = tmp_path / "bars"
    today = dt.datetime.now(dt.UTC).date()
    days = exchange_calendars.get_calendar(
        "XLON", start=today - dt.timedelta(days=300), end=today - dt.timedelta(days=1)
    )
    write_csv(folder, "VOD.L", flat_bars([session.date() for session in days.sessions]))
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('VOD.L')")
    start_worker(**SHORT)
    until("the ticker is fetched", lambda: ticker(conn, "VOD.L")["price_data_end"], 120)
    assert ticker(conn, "VOD.L")["calendar"] == "XLON"
    assert value(conn, "SELECT attempts FROM outbox_history WHERE key = 'VOD.L'") == 0


# What operators add.


def test_an_operators_rule_counts_from_the_next_fetch_on(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    number = desk.predict(NOW, "TWTR", "2024-05-14 15:00+00")
    desk.turn(NOW)
    rule(conn, "TWTR", "X.COM")
    assert ticker(conn, "TWTR")["provider_symbol"] is None

    desk.sweep(utc("2024-05-17 22:00"))
    desk.turn(utc("2024-05-17 22:00"))
    assert [request.symbol for request in provider.asked] == ["TWTR", "X.COM"]
    assert ticker(conn, "TWTR")["provider_symbol"] == "X.COM"
    assert outcome(conn, number, "TWTR")["price_t3"] == 100.0


@pytest.mark.parametrize(("symbol", "spelling"), [("OLD1", "NEW1"), ("BRK.B", "BRK-B")])
def test_a_rule_counts_for_what_another_program_registered(
    url: str, conn: Conn, symbol: str, spelling: str
) -> None:
    registered_by_another_program(conn, symbol)
    rule(conn, "OLD([0-9])", r"NEW\1")
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    number = desk.predict(NOW, symbol, "2024-03-05 15:00+00")
    desk.turn(NOW)
    assert [request.symbol for request in provider.asked] == [spelling]
    row = ticker(conn, symbol)
    assert (row["provider_symbol"], row["calendar"]) == (spelling, "XNYS")
    assert outcome(conn, number, symbol)["is_complete"]


@pytest.mark.usefixtures("london")
def test_a_calendar_counts_for_what_another_program_registered(url: str, conn: Conn) -> None:
    registered_by_another_program(conn, "VODA")
    rule(conn, "VODA", "VOD.L", calendar="XLON")
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    number = desk.predict(NOW, "VODA", "2024-01-15 10:00+00")
    desk.turn(NOW)
    assert outcome(conn, number, "VODA")["entry_session"] == day("2024-01-15")
    assert ticker(conn, "VODA")["calendar"] == "XLON"
    (request,) = provider.asked
    assert day("2024-01-15") in request.sessions
    assert day("2024-05-06") not in request.sessions


@pytest.mark.usefixtures("london")
def test_a_new_rules_calendar_counts_from_the_next_fetch_on(url: str, conn: Conn) -> None:
    """Registered by us before the rule was there, hence with New York's sessions."""
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    desk.predict(NOW, "VODA", "2024-05-14 15:00+00")
    desk.turn(NOW)
    rule(conn, "VODA", "VOD.L", calendar="XLON")
    desk.sweep(utc("2024-05-28 22:00"))
    desk.turn(utc("2024-05-28 22:00"))
    assert provider.asked[-1].symbol == "VOD.L"
    # The Monday was a holiday in London too; on the fourth of July London is open.
    number = desk.predict(utc("2024-07-08 22:00"), "VODA", "2024-07-04 10:00+00")
    assert outcome(conn, number, "VODA")["entry_session"] == day("2024-07-04")


def test_what_an_operator_wrote_into_the_registry_is_kept(url: str, conn: Conn) -> None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol, provider_symbol, calendar)"
        " VALUES ('FB', 'FB.OLD', '24/7')"
    )
    conn.execute("DELETE FROM outbox")
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    desk.predict(NOW, "FB", "2024-03-05 15:00+00")
    desk.turn(NOW)
    assert [request.symbol for request in provider.asked] == ["FB.OLD"]
    row = ticker(conn, "FB")
    assert (row["provider_symbol"], row["calendar"]) == ("FB.OLD", "24/7")


def test_the_rule_of_highest_priority_counts(conn: Conn) -> None:
    rule(conn, "F.", "LOW", priority=99)
    assert value(conn, "SELECT provider_symbol FROM symbol_rule('FB')") == "META"
    rule(conn, "[FG]B", "HIGH", priority=101)
    assert value(conn, "SELECT provider_symbol FROM symbol_rule('FB')") == "HIGH"
    # A rule that is for the symbol as it is spelled already ends the search.
    rule(conn, "FB|GB", priority=102)
    assert value(conn, "SELECT provider_symbol FROM symbol_rule('FB')") is None


def test_a_renamed_ticker_whose_new_name_is_known_mends(url: str, conn: Conn) -> None:
    """Unknown under its old name, until an operator says what it is called now."""

    def answer(request: Any) -> Answer:
        return FLAT(request) if request.symbol == "NEW" else Answer(Kind.UNKNOWN)

    desk = Desk(url, FakeProvider("remote", answer))
    number = desk.predict(NOW, "GONE", "2024-03-05 15:00+00")
    desk.turn(NOW)
    assert outcome(conn, number, "GONE")["outcome_state"] == "unresolvable"
    rule(conn, "GONE", "NEW")
    conn.execute("SELECT outbox_requeue_ticker('gone')")
    conn.execute("UPDATE outbox SET available_at = '-infinity'")
    desk.turn(NOW)
    assert ticker(conn, "GONE")["status"] == "active"
    assert outcome(conn, number, "GONE")["is_complete"]


@pytest.mark.parametrize("pattern", ["(", "A)", "[A", "A{2,1}", "*A", "A\\"])
def test_a_pattern_that_is_no_regular_expression_is_refused(conn: Conn, pattern: str) -> None:
    before = value(conn, "SELECT count(*) FROM symbol_rules")
    with pytest.raises(psycopg.errors.InvalidRegularExpression):
        rule(conn, pattern, "X")
    with pytest.raises(psycopg.errors.InvalidRegularExpression):
        conn.execute("UPDATE symbol_rules SET pattern = %s WHERE pattern = 'FB'", [pattern])
    assert value(conn, "SELECT count(*) FROM symbol_rules") == before


def test_every_calendar_of_the_rules_is_known(conn: Conn) -> None:
    rows = conn.execute(
        "SELECT DISTINCT calendar FROM symbol_rules WHERE calendar IS NOT NULL"
    ).fetchall()
    used = {row["calendar"] for row in rows}
    assert used - set(exchange_calendars.get_calendar_names()) == set()
    assert {"XKRX", "XLON", "XETR", "XTSE", "XHKG", "24/7"} <= used
