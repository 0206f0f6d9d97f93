"""A calendar that cannot be computed, that nobody knows, that ends, that another version computes."""

import datetime as dt
from collections.abc import Callable

import pytest

from market.universe import calendars, sessions
from market.universe.calendars import Computed
from sql.database import Database
from tests.market.desk import Desk
from tests.support.clock import utc
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, outcome, process, put_bars, set_fetched
from tests.support.providers import FakeProvider, serving

TRUE_COMPUTE = calendars.compute


class OddError(Exception):
    """Nothing that anybody expects."""


def failing(monkeypatch: pytest.MonkeyPatch, broken: dict[str, Exception]) -> list[str]:
    """Let these calendars raise; returns the names that are computed from now on, in their order."""
    asked: list[str] = []

    def compute(name: str, until: dt.date) -> Computed:
        asked.append(name)
        if name in broken:
            raise broken[name]
        return TRUE_COMPUTE(name, until)

    monkeypatch.setattr(calendars, "compute", compute)
    return asked


def calendar(conn: Conn, name: str) -> dict[str, object]:
    row = conn.execute(
        "SELECT *, retry_at - reckoner_now() AS waits FROM market_calendars WHERE calendar = %s",
        [name],
    ).fetchone()
    assert row is not None, name
    return row


def health(conn: Conn) -> tuple[str, str]:
    row = conn.execute("SELECT * FROM reckoner_health() WHERE name = 'calendars'").fetchone()
    assert row is not None
    return row["state"], row["message"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Special dates\nare not sessions"),
        NotImplementedError("implemented by subclasses"),
        OddError("x" * 10_000),
        RecursionError("maximum recursion depth exceeded"),
        ImportError("pandas is broken"),
        MemoryError(),
    ],
)
def test_a_calendar_that_raises_stops_no_other(
    database: Database, conn: Conn, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, {"XTAE": error})
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar) VALUES ('TEVA.TA', 'XTAE'), ('VOD.L', 'XLON')"
    )
    done = sessions.ensure(database)
    assert done["XTAE"] == 0
    assert done["XLON"] > 8000
    state = calendar(conn, "XTAE")
    assert state["state"] == "failed"
    assert str(state["reason"]).startswith(type(error).__name__)
    assert "\n" not in str(state["reason"])
    assert sessions.ensure(database) == {}  # not before its time
    warn, message = health(conn)
    assert warn == "warn"
    assert "sessions of XTAE cannot be computed: " + type(error).__name__ in message


def test_it_is_tried_again_ever_more_rarely_and_then_its_outcomes_go_on(
    database: Database, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: dict[str, Exception] = {"XTAE": ValueError("no")}
    failing(monkeypatch, broken)
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('TEVA.TA', 'XTAE')")
    waits = []
    for _ in range(9):
        sessions.ensure(database)
        waits.append(calendar(conn, "XTAE")["waits"])
        conn.execute("UPDATE market_calendars SET retry_at = now() WHERE calendar = 'XTAE'")
    minutes = [round(wait.total_seconds() / 60) for wait in waits]  # type: ignore[attr-defined]
    assert minutes == [15, 15 * 2, 60, 120, 240, 480, 960, 1440, 1440]

    number = insert_prediction(
        conn, ["TEVA.TA"], {"TEVA.TA": "bullish"}, moment="2024-03-05 10:00+00"
    )
    with database.transaction() as inside:
        inside.execute("SELECT * FROM outcomes_process(%s, 365, false)", [[number]])
    row = outcome(conn, number, "TEVA.TA")
    assert row["outcome_state"] == "awaiting_prices"
    assert row["outcome_reason"] == "sessions of XTAE cannot be computed: ValueError: no"

    broken.clear()
    assert sessions.ensure(database)["XTAE"] > 8000
    assert calendar(conn, "XTAE")["state"] == "loaded"
    row = outcome(conn, number, "TEVA.TA")
    assert (row["outcome_state"], str(row["entry_session"])) == ("awaiting_prices", "2024-03-05")
    assert health(conn)[0] == "ok"


def test_a_ticker_whose_calendar_fails_waits_without_an_attempt(
    url: str, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = failing(monkeypatch, {"XTAE": ValueError("no")})
    now = utc("2024-06-03 22:00")
    desk = Desk(url, FakeProvider("remote", serving(lambda _: 100.0)))
    number = desk.predict(now, "TEVA.TA", utc("2024-03-05 10:00"))
    other = desk.predict(now, "ACME", utc("2024-03-05 10:00"))
    told = desk.turn(now)
    assert {each["result"] for each in told} == {"later", "fetched"}
    row = conn.execute("SELECT attempts, last_error FROM outbox WHERE key = 'TEVA.TA'").fetchone()
    assert row == {
        "attempts": 0,
        "last_error": "sessions of XTAE cannot be computed: ValueError: no",
    }
    assert outcome(conn, number, "TEVA.TA")["outcome_state"] == "awaiting_prices"
    assert outcome(conn, other, "ACME")["outcome_state"] == "complete"
    # One failure, however many name it.
    desk.predict(now, "NICE.TA", utc("2024-03-05 10:00"))
    desk.turn(now)
    assert asked.count("XTAE") == 1


def test_a_name_that_nobody_knows_is_unresolvable_and_says_what_mends_it(
    database: Database, conn: Conn
) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('ACME', 'NOSUCH')")
    sessions.ensure(database)
    number = insert_prediction(conn, ["ACME"], {"ACME": "bullish"})
    with database.transaction() as inside:
        inside.execute("SELECT * FROM outcomes_process(%s, 365, false)", [[number]])
    row = outcome(conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert row["outcome_reason"] == (
        "no calendar is called NOSUCH: set ticker_registry.calendar to one that exchange_calendars has"
    )
    assert "no calendar is called NOSUCH" in health(conn)[1]


def test_a_merge_that_fails_is_that_calendars_fault_too(database: Database, conn: Conn) -> None:
    conn.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;"
        " CREATE TRIGGER no BEFORE INSERT ON market_sessions FOR EACH ROW WHEN (NEW.calendar = 'XTAE')"
        " EXECUTE FUNCTION no();"
        " INSERT INTO ticker_registry (symbol, calendar) VALUES ('TEVA.TA', 'XTAE'), ('VOD.L', 'XLON')"
    )
    assert sessions.ensure(database)["XLON"] > 8000
    assert "not this one" in str(calendar(conn, "XTAE")["reason"])


# A calendar that ends.


def cut(until: str, *, ends: bool = True) -> Callable[[str, dt.date], Computed]:
    """The calendar as a library has it that knows it until a date."""

    def compute(name: str, wanted: dt.date) -> Computed:
        found = TRUE_COMPUTE(name, wanted).sessions
        return Computed([each for each in found if str(each[0]) <= until], ends=ends)

    return compute


def test_a_calendar_that_ends_is_not_loaded_again_at_every_sweep(
    database: Database, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('TCS.NS', 'XBOM')")
    monkeypatch.setattr(calendars, "compute", cut("2026-12-31"))
    assert sessions.ensure(database)["XBOM"] > 7000
    assert sessions.ensure(database) == {}
    monkeypatch.setattr(calendars, "library_version", lambda: "the next one")
    monkeypatch.setattr(calendars, "compute", TRUE_COMPUTE)
    assert "XBOM" in sessions.ensure(database)
    assert sessions.ensure(database) == {}


def test_what_lies_behind_the_end_waits_and_goes_on_when_the_calendar_grows(
    database: Database, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = value(conn, "SELECT reckoner_now()")
    end = (now + dt.timedelta(days=10)).date().isoformat()
    monkeypatch.setattr(calendars, "compute", cut(end))
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('VOD.L', 'XLON')")
    sessions.ensure(database)
    last = value(conn, "SELECT max(session) FROM market_sessions WHERE calendar = 'XLON'")
    known = f"sessions of XLON are known until {last}"
    behind = insert_prediction(conn, ["VOD.L"], moment=now + dt.timedelta(days=60))
    near = insert_prediction(conn, ["VOD.L"], moment=now - dt.timedelta(days=5))
    mistake = insert_prediction(conn, ["VOD.L"], moment="2299-01-05 15:00+00")
    process(database, behind, near, mistake)
    row = outcome(conn, behind, "VOD.L")
    assert (row["outcome_state"], row["outcome_reason"]) == ("awaiting_prices", known)
    assert outcome(conn, mistake, "VOD.L")["outcome_state"] == "unresolvable"
    state, message = health(conn)
    assert (state, known in message) == ("warn", True)

    set_fetched(conn, "VOD.L", dt.date(2020, 1, 1), now.date())
    dates = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = 'XLON' AND session > %s AND closes_at < %s",
        [now.date() - dt.timedelta(days=9), now],
    ).fetchall()
    put_bars(conn, "VOD.L", {each["session"]: 100.0 for each in dates})
    with database.transaction() as inside:
        inside.execute("SELECT outcomes_fill_symbol('VOD.L', true)")
    assert outcome(conn, near, "VOD.L")["outcome_state"] in {"maturing", "awaiting_prices"}

    monkeypatch.setattr(calendars, "compute", TRUE_COMPUTE)
    monkeypatch.setattr(calendars, "library_version", lambda: "the next one")
    sessions.ensure(database)
    row = outcome(conn, behind, "VOD.L")
    assert row["entry_session"] > last
    assert row["outcome_state"] == "maturing"
    assert outcome(conn, mistake, "VOD.L")["outcome_state"] == "unresolvable"
    stuck = "SELECT count(*) FROM prediction_outcomes WHERE outcome_state = 'maturing' AND due_at IS NULL"
    assert value(conn, stuck) == 0
    assert health(conn)[0] == "ok"
