"""index_refresh() and index_members(): guards, counters, periods, and two refreshes at once."""

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.clock import use_clock, write_clock
from tests.support.db import Conn, connect, shared_database, value
from tests.support.waiting import until

DAY = dt.date(2026, 3, 2)


@pytest.fixture
def small(conn: Conn) -> Conn:
    """An index of 2 to 6 symbols, of which 2 may leave."""
    conn.execute(
        "INSERT INTO market_indexes (name, title, least, most, most_leaving)"
        " VALUES ('SMALL', 'A small one', 2, 6, 2)"
    )
    return conn


def refresh(
    conn: Conn, symbols: Sequence[str], *, index: str = "SMALL", yes: bool = False
) -> dict[str, Any]:
    """Hand over a list of bare symbols."""
    return hand_over(conn, [{"symbol": each} for each in symbols], index=index, yes=yes)


def hand_over(
    conn: Conn, members: Sequence[Mapping[str, Any]], *, index: str = "SMALL", yes: bool = False
) -> dict[str, Any]:
    row = conn.execute(
        "SELECT * FROM index_refresh(%s, 'csv', %s, %s)", [index, Jsonb(members), yes]
    ).fetchone()
    assert row is not None
    return row


def members(conn: Conn, as_of: dt.date | None = None, index: str = "SMALL") -> list[str]:
    rows = conn.execute("SELECT symbol FROM index_members(%s, %s)", [index, as_of])
    return [row["symbol"] for row in rows]


def at_noon(conn: Conn, date: dt.date) -> None:
    use_clock(conn, write_clock(conn, "noon", stopped_at=f"{date} 12:00+00"))


def counters(row: Mapping[str, Any]) -> tuple[int, ...]:
    names = ("fetched", "inserted", "reactivated", "inactivated", "registered")
    return tuple(row[name] for name in names)


def test_a_symbol_that_leaves_and_returns_has_two_periods(small: Conn) -> None:
    at_noon(small, DAY)
    assert counters(refresh(small, ["A", "B", "C"])) == (3, 3, 0, 0, 3)
    at_noon(small, DAY + dt.timedelta(days=7))
    assert counters(refresh(small, ["A", "B"])) == (2, 0, 0, 1, 0)
    at_noon(small, DAY + dt.timedelta(days=14))
    assert counters(refresh(small, ["A", "B", "C", "D"])) == (4, 1, 1, 0, 1)
    rows = small.execute(
        "SELECT is_active, first_seen_at::date::text AS a, last_seen_at::date::text AS b,"
        " became_inactive_at::date::text AS c FROM index_constituents WHERE symbol = 'C' ORDER BY 2"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        (False, "2026-03-02", "2026-03-02", "2026-03-09"),
        (True, "2026-03-16", "2026-03-16", None),
    ]
    # It stayed followed all the time.
    assert value(small, "SELECT status FROM ticker_registry WHERE symbol = 'C'") == "active"


def test_the_same_list_again_changes_no_period(small: Conn) -> None:
    refresh(small, ["A", "B"])
    assert counters(refresh(small, ["B", "A"])) == (2, 0, 0, 0, 0)
    assert value(small, "SELECT count(*) FROM index_constituents") == 2


def test_members_of_any_day_and_since_when_they_are_known(small: Conn) -> None:
    at_noon(small, DAY)
    refresh(small, ["A", "B", "C"])
    at_noon(small, DAY + dt.timedelta(days=7))
    refresh(small, ["A", "D"])
    notices: list[str] = []
    small.add_notice_handler(lambda said: notices.append(said.message_primary or ""))
    assert members(small, DAY - dt.timedelta(days=1)) == []
    assert notices == ["members of SMALL are known since 2026-03-02, not on 2026-03-01"]
    assert members(small, DAY) == ["A", "B", "C"]
    assert members(small, DAY + dt.timedelta(days=6)) == ["A", "B", "C"]
    assert members(small, DAY + dt.timedelta(days=7)) == ["A", "D"]
    assert members(small) == members(small, dt.date(2030, 1, 1)) == ["A", "D"]
    row = small.execute("SELECT * FROM index_members('small', %s)", [DAY]).fetchall()[1]
    assert (row["symbol"], row["since"].date(), row["until"].date(), row["known_since"].date()) == (
        "B", DAY, DAY + dt.timedelta(days=7), DAY,
    )  # fmt: skip
    assert members(small, index="SP500") == []
    assert notices[1:] == ["members of SP500 are not known yet"]
    with pytest.raises(
        psycopg.errors.NoDataFound, match='no index "FTSE": market_indexes has DOW30, NAS'
    ):
        members(small, index="FTSE")


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ([], "0 symbols, 2 to 6 are expected"),
        (["A"], "1 symbols, 2 to 6 are expected"),
        (["A", "a", " A ", "no symbol"], "1 symbols, 2 to 6 are expected"),
        (list("ABCDEFG"), "7 symbols, 2 to 6 are expected"),
        (
            ["X", "Y"],
            "5 members would leave (A, B, C, D, E), more than 2: --yes takes the list all the same",
        ),
        (["A", "B"], "3 members would leave (C, D, E), more than 2: --yes takes the list all the same"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_right_changes_nothing(
    small: Conn, symbols: list[str], reason: str
) -> None:
    refresh(small, list("ABCDE"))
    before = small.execute("SELECT * FROM index_constituents ORDER BY symbol").fetchall()
    row = refresh(small, symbols)
    assert (row["result"], row["reason"], row["members_after"]) == ("refused", reason, 5)
    assert counters(row)[1:] == (0, 0, 0, 0)
    assert small.execute("SELECT * FROM index_constituents ORDER BY symbol").fetchall() == before


def test_a_person_may_consent_to_many_that_leave_and_not_to_a_short_list(small: Conn) -> None:
    refresh(small, list("ABCDE"))
    assert refresh(small, ["A"], yes=True)["result"] == "refused"
    assert counters(refresh(small, ["A", "B"], yes=True)) == (2, 0, 0, 3, 0)


@pytest.mark.parametrize(
    ("index", "right", "wrong", "leaving"),
    [
        ("SP500", (490, 510), (489, 511), 10),
        ("NASDAQ100", (95, 103, 110), (94, 111), 10),
        ("DOW30", (30,), (29, 31), 3),
    ],
)
def test_the_bounds_of_the_indexes_that_come_with_it(
    conn: Conn, index: str, right: Sequence[int], wrong: Sequence[int], leaving: int
) -> None:
    for count in wrong:
        assert refresh(conn, [f"S{n}" for n in range(count)], index=index)["result"] == "refused"
    for count in right:
        names = [f"S{n}" for n in range(count)]
        assert refresh(conn, names, index=index, yes=True)["members_after"] == count
    other = [f"T{n}" for n in range(leaving + 1)]
    assert refresh(conn, [*other, *names[leaving + 1 :]], index=index)["result"] == "refused"
    assert refresh(conn, [*other[1:], *names[leaving:]], index=index)["inactivated"] == leaving


def test_dots_dashes_and_case_are_one_symbol_and_the_first_of_two_counts(small: Conn) -> None:
    row = hand_over(
        small,
        [
            {"symbol": "BRK.B", "name": "Berkshire\n  Hathaway", "sector": "Financials"},
            {"symbol": " brk-b ", "name": "Another"},
            {"symbol": "VOD.L", "name": "\x1b[31mVodafone<b>", "industry": "Telecom"},
            {"symbol": None, "name": "Nobody"},
            {"name": "Nobody"},
            {"symbol": "Berkshire Hathaway"},
        ],
    )
    assert counters(row) == (2, 2, 0, 0, 2)
    rows = small.execute("SELECT symbol, name, sector, industry FROM index_members('SMALL')")
    assert [tuple(row.values()) for row in rows] == [
        ("BRK-B", "Berkshire Hathaway", "Financials", None),
        ("VOD.L", "\x1b[31mVodafone<b>", None, "Telecom"),
    ]


def test_a_name_that_a_source_does_not_give_stays(small: Conn) -> None:
    hand_over(small, [{"symbol": "A", "name": "Alpha", "sector": "Tech"}, {"symbol": "B"}])
    hand_over(small, [{"symbol": "A"}, {"symbol": "B", "name": "Beta"}])
    rows = small.execute("SELECT name, sector FROM index_members('SMALL')")
    assert [tuple(row.values()) for row in rows] == [("Alpha", "Tech"), ("Beta", None)]


def test_a_failure_is_kept_until_a_refresh_succeeds(small: Conn) -> None:
    at_noon(small, DAY)
    small.execute("SELECT index_refresh_failed('small', %s)", ["fmp: HTTP 402\nno"])
    at_noon(small, DAY + dt.timedelta(days=1))
    small.execute("SELECT index_refresh_failed('SMALL', 'wikipedia: HTTP 403')")
    state = (
        "SELECT failure, failed_since::date, tried_at::date, refreshed_at, provider"
        " FROM index_status WHERE name = 'SMALL'"
    )
    row = small.execute(state.encode()).fetchone()
    assert row is not None
    assert tuple(row.values()) == (
        "wikipedia: HTTP 403", DAY, DAY + dt.timedelta(days=1), None, None,
    )  # fmt: skip
    refresh(small, ["A", "B"])
    row = small.execute(state.encode()).fetchone()
    assert row is not None
    assert (row["failure"], row["failed_since"], row["provider"]) == (None, None, "csv")


def test_two_refreshes_at_once_are_one_after_the_other(small: Conn, url: str) -> None:
    done: list[dict[str, Any]] = []
    with connect(url) as first, connect(url) as other:
        first.execute("BEGIN")
        refresh(first, ["A", "B", "C"])
        pid = other.info.backend_pid
        thread = threading.Thread(target=lambda: done.append(refresh(other, ["B", "C", "D"])))
        thread.start()
        waits = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        until("the second one waits", lambda: bool(value(small, waits, [pid])))
        first.execute("COMMIT")
        thread.join(30)
    assert counters(done[0]) == (3, 1, 0, 1, 1)
    assert members(small) == ["B", "C", "D"]


def test_a_clock_that_is_set_back_makes_no_periods_that_overlap(small: Conn) -> None:
    at_noon(small, DAY)
    refresh(small, ["A", "B"])
    at_noon(small, DAY - dt.timedelta(days=30))
    refresh(small, ["A", "C"])
    refresh(small, ["A", "B"])
    assert value(small, OVERLAPS) == 0
    assert members(small) == ["A", "B"]


OVERLAPS = """
SELECT count(*) FROM index_constituents a JOIN index_constituents b USING (index_name, symbol)
WHERE a.first_seen_at < b.first_seen_at AND coalesce(a.became_inactive_at, 'infinity') > b.first_seen_at
"""


@dataclass
class Model:
    """The members that the last good list named, and those of each evening."""

    now: set[str] = field(default_factory=set)
    evenings: dict[dt.date, set[str]] = field(default_factory=dict)

    def takes(self, symbols: set[str], *, yes: bool) -> bool:
        return 2 <= len(symbols) <= 6 and (yes or len(self.now - symbols) <= 2)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),  # days later
        st.sets(st.sampled_from("ABCDEFGH"), max_size=8),
        st.booleans(),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(max_examples=40)
def test_any_order_of_refreshes_agrees_with_a_model(
    shared: Conn, steps: list[tuple[int, set[str], bool]]
) -> None:
    shared.execute("TRUNCATE index_constituents")
    shared.execute("UPDATE market_indexes SET refreshed_at = NULL")
    model, date = Model(), DAY
    for days, symbols, yes in steps:
        for _ in range(days):
            model.evenings[date] = set(model.now)
            date += dt.timedelta(days=1)
        at_noon(shared, date)
        row = refresh(shared, sorted(symbols), yes=yes)
        assert (row["result"] == "refreshed") == model.takes(symbols, yes=yes)
        if row["result"] == "refreshed":
            assert row["inserted"] + row["reactivated"] == len(symbols - model.now)
            assert row["inactivated"] == len(model.now - symbols)
            model.now = set(symbols)
    model.evenings[date] = set(model.now)
    assert {each: set(members(shared, each)) for each in model.evenings} == model.evenings
    assert set(members(shared)) == model.now
    assert value(shared, OVERLAPS) == 0


@pytest.fixture(scope="module")
def shared(server_url: str, template: str) -> Any:
    """One database for all examples."""
    with shared_database(server_url, template) as conn:
        conn.execute(
            "INSERT INTO market_indexes (name, title, least, most, most_leaving) VALUES ('SMALL', '', 2, 6, 2)"
        )
        yield conn
