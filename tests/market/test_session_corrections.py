"""Sessions that never took place, or took place unforeseen: said by a person, or proved by the bars."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market import outcomes
from market.universe import calendars, sessions
from sql.database import Database
from tests.support.clock import at, day, utc
from tests.support.db import Conn, connect, value
from tests.support.market import (
    insert_prediction,
    outcome,
    process,
    put_bars,
    set_fetched,
    uncover_after,
)
from tests.support.market import sessions as session_dates
from tests.support.waiting import until

NOW = utc("2023-12-01 12:00")
TYPHOON = day("2023-09-01")
FROM, TO = "2023-06-01", "2023-11-30"


@pytest.fixture
def hong_kong(database: Database, conn: Conn) -> list[dt.date]:
    """The calendar is loaded, as the library has it; returns its sessions."""
    sessions.load(database, "XHKG")
    dates = session_dates(conn, FROM, TO, "XHKG")
    assert TYPHOON in dates
    return dates


def list_ticker(
    conn: Conn,
    symbol: str,
    dates: list[dt.date],
    holes: set[dt.date],
    asset_type: str = "stock",
) -> dict[dt.date, float]:
    """A ticker of Hong Kong with a bar for every session but these; returns its closes."""
    closes = {date: 100.0 + n for n, date in enumerate(dates) if date not in holes}
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, asset_type, status) VALUES (%s, 'XHKG', %s, 'active')",
        [symbol, asset_type],
    )
    put_bars(conn, symbol, closes)
    set_fetched(conn, symbol, dates[0], dates[-1])
    conn.execute(
        "UPDATE ticker_registry SET total_price_records = %s, last_price_update = now() WHERE symbol = %s",
        [len(closes), symbol],
    )
    return closes


def predict(conn: Conn, moment: str, symbol: str = "0700.HK") -> int:
    return insert_prediction(conn, [symbol], {symbol: "bullish"}, moment=moment)


def sweep(database: Database, now: dt.datetime = NOW) -> int:
    with at(database, now) as inside:
        return int(inside.execute("SELECT sweep_closures() AS n").fetchone()["n"])  # type: ignore[index]


def prices(row: dict[str, Any]) -> list[float | None]:
    return [row[f"price_{name}"] for name in ("at_prediction", "t1", "t3", "t7", "t30")]


SAYINGS = [
    "SELECT session_correction('XHKG', '2023-09-01', 'typhoon')",
    "INSERT INTO session_correction (calendar, session) VALUES ('XHKG', '2023-09-01')",
]


@pytest.mark.parametrize("saying", SAYINGS)
def test_a_correction_moves_entries_and_horizons_and_keeps_what_they_were(
    database: Database, conn: Conn, hong_kong: list[dt.date], saying: str
) -> None:
    closes = list_ticker(conn, "0700.HK", hong_kong, {TYPHOON})
    numbers = {
        "the entry": predict(conn, "2023-09-01 02:00+00"),
        "a horizon": predict(conn, "2023-08-31 02:00+00"),
        "behind": predict(conn, "2023-09-04 02:00+00"),
        "long before": predict(conn, "2023-06-05 02:00+00"),
    }
    process(database, *numbers.values(), moment=NOW)
    before = {name: outcome(conn, number, "0700.HK") for name, number in numbers.items()}
    assert before["the entry"]["outcome_state"] == "unresolvable"
    assert before["a horizon"]["price_t1"] is None
    conn.execute(saying.encode())

    dates = [date for date in hong_kong if date != TYPHOON]
    assert session_dates(conn, FROM, TO, "XHKG") == dates
    for name, number in numbers.items():
        row = outcome(conn, number, "0700.HK")
        entry = before[name]["entry_session"]
        first = dates.index(entry if entry != TYPHOON else day("2023-09-04"))
        assert prices(row) == [closes[dates[first + n]] for n in (0, 1, 3, 7, 30)], name
        assert row["outcome_state"] == "complete"
    moved = outcome(conn, numbers["a horizon"], "0700.HK")
    old = before["a horizon"]["return_t3"]
    assert f"return_t3 was {old:.4f}" in moved["revision"]
    assert moved["revision"].startswith("sessions of XHKG changed on ")
    for name in ("behind", "long before"):
        assert outcome(conn, numbers[name], "0700.HK") == before[name]


def test_an_entry_that_moves_says_what_it_was(
    database: Database, conn: Conn, hong_kong: list[dt.date]
) -> None:
    closes = list_ticker(conn, "0700.HK", hong_kong, set())
    number = predict(conn, "2023-09-01 02:00+00")
    process(database, number, moment=NOW)
    old = outcome(conn, number, "0700.HK")
    assert old["price_at_prediction"] == closes[TYPHOON]
    conn.execute("DELETE FROM predictions WHERE id = %s", [number])  # nor does that keep it
    conn.execute(SAYINGS[0].encode())
    row = outcome(conn, number, "0700.HK")
    assert (row["entry_session"], row["outcome_state"]) == (day("2023-09-04"), "complete")
    assert "entry was 2023-09-01" in row["revision"]


def test_it_holds_when_the_calendar_is_loaded_again_and_until_it_is_taken_back(
    database: Database, conn: Conn, hong_kong: list[dt.date], monkeypatch: pytest.MonkeyPatch
) -> None:
    list_ticker(conn, "0700.HK", hong_kong, set())
    number = predict(conn, "2023-09-01 02:00+00")
    process(database, number, moment=NOW)
    before = outcome(conn, number, "0700.HK")
    conn.execute(SAYINGS[0].encode())
    monkeypatch.setattr(calendars, "library_version", lambda: "the next one")
    sessions.ensure(database)
    assert TYPHOON not in session_dates(conn, FROM, TO, "XHKG")
    conn.execute("DELETE FROM session_correction")
    sessions.ensure(database)
    assert session_dates(conn, FROM, TO, "XHKG") == hong_kong
    # The session that came back was asked for before; now it is asked for again.
    assert outcome(conn, number, "0700.HK")["entry_session"] == before["entry_session"]
    assert prices(outcome(conn, number, "0700.HK")) == prices(before)


def test_a_session_that_nobody_foresaw_is_asked_for(
    database: Database, conn: Conn, hong_kong: list[dt.date]
) -> None:
    list_ticker(conn, "0700.HK", hong_kong, set())
    saturday = day("2023-10-07")
    number = predict(conn, "2023-10-07 02:00+00")
    process(database, number, moment=NOW)
    conn.execute(
        "SELECT session_correction('XHKG', %s, 'a special session', '2023-10-07 01:30Z', '2023-10-07 04:00Z')",
        [saturday],
    )
    row = outcome(conn, number, "0700.HK")
    assert (row["entry_session"], row["outcome_state"]) == (saturday, "awaiting_prices")
    with at(database, NOW) as inside:
        plan = inside.execute("SELECT * FROM ticker_plan('0700.HK', 30, false)").fetchone()
    assert plan is not None
    assert plan["missing_from"] == saturday
    holes = conn.execute(
        "SELECT \"from\", \"to\" FROM coverage_holes('0700.HK', '1d', 'XHKG', '2023-10-01', '2023-10-15')"
    ).fetchall()
    assert [tuple(hole.values()) for hole in holes] == [(saturday, saturday)]


def test_another_version_of_the_library_moves_what_follows_from_it(
    database: Database, conn: Conn, hong_kong: list[dt.date], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closure that the next release knows."""
    closes = list_ticker(conn, "0700.HK", hong_kong, {TYPHOON})
    number = predict(conn, "2023-09-01 02:00+00")
    process(database, number, moment=NOW)
    true = calendars.compute

    def compute(name: str, wanted: dt.date) -> calendars.Computed:
        found = true(name, wanted)
        kept = [each for each in found.sessions if (name, each[0]) != ("XHKG", TYPHOON)]
        return calendars.Computed(kept, found.ends)

    monkeypatch.setattr(calendars, "compute", compute)
    assert "XHKG" not in sessions.ensure(database)
    monkeypatch.setattr(calendars, "library_version", lambda: "the next one")
    assert sessions.ensure(database)["XHKG"] > 0
    row = outcome(conn, number, "0700.HK")
    assert row["outcome_state"] == "complete"
    assert row["price_at_prediction"] == closes[day("2023-09-04")]
    assert sessions.ensure(database) == {}


_SAID = (
    "SELECT symbol, prediction_id, entry_session, price_at_prediction, price_t1, price_t3, price_t7, price_t30,"
    " return_t1, return_t3, return_t7, return_t30, correct_t1, correct_t30, pnl_t7, is_complete,"
    " outcome_state, outcome_reason, due_at FROM prediction_outcomes ORDER BY 1, 2"
)
corrections = st.lists(
    st.tuples(st.integers(0, 120), st.booleans()),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each[0],
)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(corrections, st.lists(st.integers(0, 120 * 24), min_size=3, max_size=8))
def test_after_any_corrections_every_row_is_as_if_the_calendar_had_always_been_so(
    database: Database,
    conn: Conn,
    hong_kong: list[dt.date],
    wanted: list[tuple[int, bool]],
    hours: list[int],
) -> None:
    """Days taken away and days added, in any order, against rows that are processed afterwards."""
    conn.execute(
        "DELETE FROM prediction_outcomes; DELETE FROM predictions; DELETE FROM outbox;"
        " DELETE FROM market_prices; DELETE FROM ticker_registry; DELETE FROM session_correction"
    )
    sessions.load(database, "XHKG")
    every_day = [hong_kong[0] + dt.timedelta(days=n) for n in range(181)]
    list_ticker(conn, "0700.HK", every_day, {date for date in every_day if date.day == 13})
    start = utc("2023-06-05 00:00")
    numbers = [
        insert_prediction(
            conn, ["0700.HK"], {"0700.HK": "bullish"}, moment=start + dt.timedelta(hours=each)
        )
        for each in hours
    ]
    process(database, *numbers, moment=NOW)
    with at(database, NOW) as inside:
        for offset, is_session in wanted:
            date = start.date() + dt.timedelta(days=offset)
            times = [f"{date} 01:30Z", f"{date} 08:00Z"] if is_session else [None, None]
            inside.execute("SELECT session_correction('XHKG', %s, 'said', %s, %s)", [date, *times])
    # What is asked for again is another matter: here it is thought to have been.
    set_fetched(conn, "0700.HK", every_day[0], every_day[-1])
    with at(database, NOW) as inside:
        inside.execute("SELECT outcomes_fill_symbol('0700.HK', true)")
    moved = conn.execute(_SAID).fetchall()
    conn.execute("DELETE FROM prediction_outcomes")
    process(database, *numbers, moment=NOW)
    fresh = conn.execute(_SAID).fetchall()
    for row in (*moved, *fresh):  # asked again a while from now, where a bar is awaited
        row.pop("due_at")
    assert moved == fresh
    assert session_dates(conn, "2023-06-05", "2023-10-03", "XHKG") == sorted(
        ({date for date in hong_kong if day("2023-06-05") <= date <= day("2023-10-03")}
         | {start.date() + dt.timedelta(days=offset) for offset, is_session in wanted if is_session})
        - {start.date() + dt.timedelta(days=offset) for offset, is_session in wanted if not is_session}
    )  # fmt: skip


# Evidence.


def test_no_bar_of_three_tickers_proves_that_it_was_no_session(
    database: Database, conn: Conn, hong_kong: list[dt.date]
) -> None:
    for symbol in ("0700.HK", "0005.HK", "9988.HK"):
        list_ticker(conn, symbol, hong_kong, {TYPHOON})
    number = predict(conn, "2023-08-31 02:00+00")
    process(database, number, moment=NOW)
    assert outcome(conn, number, "0700.HK")["price_t1"] is None
    assert sweep(database) == 1
    assert outcome(conn, number, "0700.HK")["outcome_state"] == "complete"
    row = conn.execute("SELECT session, origin, reason FROM session_correction").fetchone()
    assert row is not None
    assert (row["session"], row["origin"]) == (TYPHOON, "evidence")
    assert "0005.HK, 0700.HK, 9988.HK" in row["reason"]
    assert sweep(database) == 0


def test_an_index_alone_proves_it(database: Database, conn: Conn, hong_kong: list[dt.date]) -> None:
    list_ticker(conn, "0700.HK", hong_kong, {TYPHOON})
    assert sweep(database) == 0
    list_ticker(conn, "^HSI", hong_kong, {TYPHOON}, "index")
    assert sweep(database) == 1


def test_several_days_in_a_row(database: Database, conn: Conn, hong_kong: list[dt.date]) -> None:
    closed = {day("2023-09-04"), day("2023-09-05"), day("2023-09-06"), day("2023-09-07")}
    list_ticker(conn, "^HSI", hong_kong, closed, "index")
    assert sweep(database) == 4


@pytest.mark.parametrize(
    "what", ["two suspended", "one has a bar", "not asked for", "too young", "nothing behind it",
             "an operator says otherwise", "thinly traded"],
)  # fmt: skip
def test_what_proves_nothing(
    database: Database, conn: Conn, hong_kong: list[dt.date], what: str
) -> None:
    hole, now = {TYPHOON}, NOW
    if what == "nothing behind it":
        hole = {date for date in hong_kong if date >= TYPHOON}
    if what == "thinly traded":
        hole = {date for date in hong_kong if date.day % 3}
    for symbol in ("0700.HK", "0005.HK", "9988.HK")[: 2 if what == "two suspended" else 3]:
        list_ticker(conn, symbol, hong_kong, hole)
    if what == "one has a bar":
        list_ticker(conn, "0001.HK", hong_kong, set())
        conn.execute("UPDATE ticker_registry SET status = 'inactive' WHERE symbol = '0001.HK'")
    if what == "not asked for":
        uncover_after(conn, "2023-08-31")
    if what == "too young":
        now = utc("2023-09-06 07:00")  # before the third close behind it
    if what == "an operator says otherwise":
        conn.execute(
            "SELECT session_correction('XHKG', '2023-09-01', 'it was', '2023-09-01 01:30Z', '2023-09-01 08:00Z')"
        )
    assert sweep(database, now) == 0
    assert TYPHOON in session_dates(conn, FROM, TO, "XHKG")


def test_bars_of_another_program_are_no_evidence_but_another_calendars_holes_are_nobodys(
    database: Database, conn: Conn, hong_kong: list[dt.date]
) -> None:
    for symbol in ("0700.HK", "0005.HK", "9988.HK"):
        list_ticker(conn, symbol, hong_kong, {TYPHOON})
    conn.execute("UPDATE market_prices SET fetched_at = NULL")
    assert sweep(database) == 0


@pytest.mark.usefixtures("hong_kong")
def test_a_ticker_that_is_given_another_calendar_by_hand_does_not_wait_for_ever(
    database: Database, conn: Conn
) -> None:
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar, status) VALUES ('ODD', '24/7', 'active')"
    )
    number = predict(conn, "2023-11-25 02:00+00", "ODD")  # a Saturday
    process(database, number, moment=utc("2023-11-25 03:00"))
    conn.execute("UPDATE ticker_registry SET calendar = 'XHKG' WHERE symbol = 'ODD'")
    with at(database, utc("2023-11-25 04:00")) as inside:
        inside.execute("SELECT outcomes_fill_symbol('ODD', true)")
        inside.execute("SELECT sweep_misplaced()")
    row = outcome(conn, number, "ODD")
    assert (row["entry_session"], row["outcome_state"]) == (day("2023-11-27"), "maturing")
    assert row["due_at"] == utc("2023-11-27 08:30")


# Together with those who process.


def test_who_is_just_processing_with_the_old_sessions_ends_first(
    url: str, database: Database, conn: Conn, hong_kong: list[dt.date]
) -> None:
    list_ticker(conn, "0700.HK", hong_kong, {TYPHOON})
    number = predict(conn, "2023-09-01 02:00+00")

    def correct() -> None:
        with connect(url) as other:
            other.execute(SAYINGS[0].encode())

    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as pool, at(database, NOW) as inside:
        outcomes.process(inside, [number], 365)
        done = pool.submit(correct)
        until("the correction waits", lambda: value(conn, waits) == 1)
        inside.commit()
        done.result(30)
    assert outcome(conn, number, "0700.HK")["entry_session"] == day("2023-09-04")
