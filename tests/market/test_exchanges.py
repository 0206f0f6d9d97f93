"""Each symbol has its own exchange's sessions, and one without a rule borrows nobody's."""

import re
import zoneinfo

import pytest

from market.providers import Answer, Kind
from market.universe import sessions
from sql.database import Database
from tests.market.desk import Desk
from tests.market.silence import NOW, OLD, state
from tests.support.clock import utc
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, outcome, process, ticker
from tests.support.process import ROOT
from tests.support.providers import FakeProvider, plain_bars

CALENDARS = {
    # plain symbols, share classes, coins
    "AAPL": "XNYS",
    "BRK.B": "XNYS",
    "BRK-B": "XNYS",
    "NYSE:IBM": "XNYS",
    "BTC-USD": "24/7",
    "EUR/USD": "24/5",
    "CL=F": "CMES",
    # suffixes
    "KAP.IL": "XLON",
    "2222.SR": "XSAU",
    "CEZ.PR": "XPRA",
    "BMW.MU": "XFRA",
    "BMW.SG": "XSTU",
    "BMW.DU": "XDUS",
    "BMW.HM": "XHAM",
    "OTP.BD": "XBUD",
    "SNP.RO": "XBSE",
    "GGAL.BA": "XBUE",
    "DX-Y.NYB": "CMES",
    "7203.T": "XTKS",
    # indices
    "^GSPC": "XNYS",
    "^BSESN": "XBOM",
    "^N225": "XTKS",
    "^FTSE": "XLON",
    "^STOXX50E": "XETR",
    "^KS11": "XKRX",
    "^SP500-45": "XNYS",
    # none
    "COMI.CA": "?.CA",
    "QNBK.QA": "?.QA",
    "^NOSUCH": "?^NOSUCH",
    "NOWHERE:ABC": "?NOWHERE:",
    "2222": "?2222",
    "A.B.ZZ": "?.ZZ",
}


@pytest.mark.parametrize(("symbol", "calendar"), CALENDARS.items())
def test_a_symbol_has_its_own_calendar_or_none(conn: Conn, symbol: str, calendar: str) -> None:
    assert value(conn, "SELECT symbol_calendar(%s)", [symbol]) == calendar
    insert_prediction(conn, [symbol])
    conn.execute("SELECT registry_register(ARRAY[%s], NULL)", [symbol])
    assert ticker(conn, symbol)["calendar"] == calendar


def test_a_post_is_entered_at_a_close_behind_it(database: Database, conn: Conn) -> None:
    """Bombay closes at 10:00 UTC: New York's sessions gave a close five hours before the post."""
    sessions.load(database, "XBOM")
    number = insert_prediction(conn, ["^BSESN"], moment=utc("2024-03-05 15:00"))
    process(database, number)
    assert str(outcome(conn, number, "^BSESN")["entry_session"]) == "2024-03-06"


def test_a_symbol_without_a_calendar_says_how_it_gets_one(database: Database, conn: Conn) -> None:
    moment = utc("2024-03-05 15:00")
    numbers = [insert_prediction(conn, [symbol], moment=moment) for symbol in ("COMI.CA", "AAPL")]
    for number in numbers:
        process(database, number)
    row = outcome(conn, numbers[0], "COMI.CA")
    assert row["outcome_state"] == "unresolvable"
    assert row["entry_session"] is None
    assert (
        "no calendar is known for symbols that end in .CA: INSERT INTO symbol_rules"
        in (row["outcome_reason"])
    )
    assert outcome(conn, numbers[1], "AAPL")["entry_session"] is not None
    assert "1 ticker is not processed: no calendar is known" in str(
        value(conn, "SELECT message FROM reckoner_health() WHERE name = 'calendars'")
    )

    # The statement that it names, with a calendar that is loaded.
    conn.execute(r"INSERT INTO symbol_rules (pattern, calendar) VALUES ('.+\.CA', 'XNYS')")
    row = outcome(conn, numbers[0], "COMI.CA")
    assert row["outcome_state"] == "awaiting_prices"
    assert str(row["entry_session"]) == "2024-03-05"
    assert ticker(conn, "COMI.CA")["calendar"] == "XNYS"
    assert value(conn, "SELECT count(*) FROM outbox WHERE key = 'COMI.CA' AND status = 'pending'")


def test_an_index_that_had_new_yorks_sessions_gets_its_own(database: Database, conn: Conn) -> None:
    """As migration 0028 leaves it: without a calendar, with entries of another one."""
    moment = utc("2024-03-05 15:00")
    known = insert_prediction(conn, ["^SPX"], moment=moment)
    unknown = insert_prediction(conn, ["^NOSUCH"], moment=moment)
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, status) VALUES ('^NOSUCH', 'XNYS', 'active')"
    )
    for number in (known, unknown):
        process(database, number)
    assert str(outcome(conn, unknown, "^NOSUCH")["entry_session"]) == "2024-03-05"
    conn.execute("UPDATE ticker_registry SET calendar = '?' WHERE symbol IN ('^SPX', '^NOSUCH')")
    conn.execute("SELECT sweep_misplaced()")
    assert ticker(conn, "^SPX")["calendar"] == "XNYS"
    assert str(outcome(conn, known, "^SPX")["entry_session"]) == "2024-03-05"
    assert ticker(conn, "^NOSUCH")["calendar"] == "?^NOSUCH"
    row = outcome(conn, unknown, "^NOSUCH")
    assert (row["outcome_state"], row["entry_session"]) == ("unresolvable", None)


def test_a_ticker_without_a_calendar_is_not_asked_for_and_costs_no_attempt(
    url: str, conn: Conn
) -> None:
    desk = Desk(url, FakeProvider("remote", lambda _: Answer(Kind.DOWN, message="not asked")))
    number = desk.predict(NOW, "COMI.CA", OLD)
    desk.turn(NOW)
    assert value(conn, "SELECT count(*) FROM outbox") == 0
    assert state(conn, number, "COMI.CA") == "unresolvable"
    reason = outcome(conn, number, "COMI.CA")["outcome_reason"]
    assert r"VALUES ('.+\.CA', 'XNYS or another')" in reason


@pytest.mark.parametrize(
    ("zone", "is_refused"),
    [
        ("America/New_York", False),
        ("America/Toronto", False),  # the same time under another name
        ("Nowhere/Land", False),  # it proves nothing
        (None, False),
        ("Asia/Kolkata", True),
        ("Europe/London", True),
    ],
)
def test_a_provider_that_names_another_time_zone_is_refused(
    url: str, conn: Conn, zone: str | None, is_refused: bool
) -> None:
    provider = FakeProvider(
        "remote",
        lambda request: Answer(
            Kind.OK, plain_bars(request.sessions, lambda _: 100.0), timezone=zone
        ),
    )
    desk = Desk(url, provider)
    number = desk.predict(NOW, "AAPL", OLD)
    (told,) = desk.turn(NOW)
    if is_refused:
        assert told["result"] == "failed"
        assert f"its time zone is {zone}, that of XNYS is America/New_York" in told["reason"]
        assert state(conn, number, "AAPL") == "awaiting_prices"
    else:
        assert state(conn, number, "AAPL") == "complete"


def test_the_page_of_exchanges_has_every_suffix_and_index(conn: Conn) -> None:
    rules = conn.execute(
        "SELECT literal, calendar FROM symbol_rules"
        " WHERE (kind = 'suffix' AND literal LIKE '.%' OR literal LIKE '^%') AND calendar IS NOT NULL"
    )
    page = (ROOT / "docs" / "exchanges.md").read_text()
    shown = {
        word: cells[0]
        for cells in (
            re.findall(r"`([^`]+)`", line) for line in page.splitlines() if line[:3] == "| `"
        )
        for word in cells[1:]
    }
    assert shown == {row["literal"]: row["calendar"] for row in rules}


def test_every_rules_calendar_exists_and_has_a_time_zone(conn: Conn) -> None:
    from exchange_calendars.calendar_utils import (  # noqa: PLC0415 - loads pandas
        _default_calendar_factories as known,
    )

    names = [row["calendar"] for row in conn.execute("SELECT DISTINCT calendar FROM symbol_rules")]
    assert {name for name in names if name} <= known.keys()
    stored = value(conn, "SELECT timezone FROM market_calendars WHERE calendar = 'XNYS'")
    assert zoneinfo.ZoneInfo(stored).key == "America/New_York"
