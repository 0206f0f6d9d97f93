"""Storing bars while another program stores some of them, seen by nobody until it commits."""

import datetime as dt
from typing import Any

import psycopg
import pytest

from market.prices import bars_table
from market.providers import Bar
from sql.database import Database
from tests.support.backends import Backend, Work, backends, until_waiting
from tests.support.clock import at
from tests.support.db import Conn, value
from tests.support.market import sessions
from tests.support.providers import plain_bars


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """Nine sessions; ACME is registered."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME')")
    return sessions(conn, "2024-03-05", "2024-03-15")


def storing(bars: list[Bar]) -> Work:
    return lambda conn: bars_table.store(conn, "ACME", "test", bars, bars[0].date, bars[-1].date)


def theirs(other: Backend, date: dt.date, close: float = 55.0) -> None:
    """Another program's bar, which nobody sees yet."""
    other.conn.execute(
        "INSERT INTO market_prices (symbol, date, close, source) VALUES ('ACME', %s, %s, 'theirs')",
        [date, close],
    )


def revisions(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute("SELECT * FROM market_price_revisions ORDER BY date").fetchall()


def check_all_ours(conn: Conn, bars: list[Bar]) -> None:
    stored = conn.execute("SELECT close, source, fetched_at FROM market_prices ORDER BY date")
    for row, bar in zip(stored.fetchall(), bars, strict=True):
        assert (row["close"], row["source"]) == (bar.close, "test")
        assert row["fetched_at"] is not None
    assert value(conn, "SELECT total_price_records FROM ticker_registry") == len(bars)


def test_a_bar_that_another_program_commits_meanwhile_is_replaced_and_kept(
    url: str, conn: Conn, days: list[dt.date]
) -> None:
    bars = plain_bars(days)
    with backends(url, 2) as (other, ours):
        theirs(other, days[5])
        done = ours.start(storing(bars))
        until_waiting(conn, ours, other)
        other.end("COMMIT")
        counts = done.result(30)
    assert counts == {"inserted": len(days) - 1, "updated": 1, "revised": 1}
    (kept,) = revisions(conn)
    assert (kept["date"], kept["old_close"], kept["old_source"]) == (days[5], 55.0, "theirs")
    assert (kept["old_fetched_at"], kept["new_close"]) == (None, bars[5].close)
    check_all_ours(conn, bars)


def test_beside_known_bars_too_the_new_ones_are_ours_in_the_end(
    url: str, conn: Conn, database: Database, days: list[dt.date]
) -> None:
    bars = plain_bars(days)
    with at(database) as inside:
        storing(bars[:3])(inside)
    with backends(url, 2) as (other, ours):
        theirs(other, days[5])
        done = ours.start(storing(bars))
        until_waiting(conn, ours, other)
        other.end("COMMIT")
        assert done.result(30)["updated"] == 0
    check_all_ours(conn, bars)


def test_a_bar_that_another_program_takes_back_is_new(
    url: str, conn: Conn, days: list[dt.date]
) -> None:
    with backends(url, 2) as (other, ours):
        theirs(other, days[5])
        done = ours.start(storing(plain_bars(days)))
        until_waiting(conn, ours, other)
        other.end("ROLLBACK")
        assert done.result(30) == {"inserted": len(days), "updated": 0, "revised": 0}
    assert revisions(conn) == []


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
def test_several_programs_one_after_the_other(
    url: str, conn: Conn, days: list[dt.date], how: str
) -> None:
    bars = plain_bars(days)
    with backends(url, 4) as (*others, ours):
        for other, date in zip(others, days[2:8:2], strict=True):
            theirs(other, date)
        done = ours.start(storing(bars))
        for other in others:
            until_waiting(conn, ours, other)
            other.end(how)
        done.result(30)
    check_all_ours(conn, bars)


def test_two_of_ours_store_the_same_bars(url: str, conn: Conn, days: list[dt.date]) -> None:
    bars = plain_bars(days)
    with backends(url, 2) as (one, two):
        assert storing(bars)(one.conn)["inserted"] == len(days)
        done = two.start(storing(bars))
        until_waiting(conn, two, one)
        one.end("COMMIT")
        assert done.result(30) == {"inserted": 0, "updated": 0, "revised": 0}
    assert value(conn, "SELECT count(*) FROM market_prices") == len(days)


def test_a_date_twice_is_refused(database: Database, conn: Conn, days: list[dt.date]) -> None:
    first, second = plain_bars(days[:2])
    with pytest.raises(psycopg.errors.CardinalityViolation), at(database) as inside:
        storing([first, first, second])(inside)
    assert value(conn, "SELECT count(*) FROM market_prices") == 0


@pytest.mark.parametrize(
    "index",
    [
        None,
        "(symbol, date) WHERE close > 0",
        "(id, date) INCLUDE (symbol)",
        "(symbol, date, source)",
    ],
)
def test_without_its_unique_index_nothing_is_stored(
    database: Database, conn: Conn, days: list[dt.date], index: str | None
) -> None:
    """Bars of the same day could come from two sides at once, and stay."""
    conn.execute("ALTER TABLE market_prices DROP CONSTRAINT market_prices_symbol_date_key")
    if index:
        conn.execute(f"CREATE UNIQUE INDEX ON market_prices {index}".encode())
    with (
        pytest.raises(psycopg.errors.InvalidColumnReference, match="ON CONFLICT"),
        at(database) as inside,
    ):
        storing(plain_bars(days))(inside)
    conn.execute("CREATE UNIQUE INDEX ON market_prices (date, symbol) INCLUDE (close)")
    with at(database) as inside:
        assert storing(plain_bars(days))(inside)["inserted"] == len(days)


def test_the_session_keeps_nothing(url: str, conn: Conn, days: list[dt.date]) -> None:
    """Behind a transaction pooler the next statement may be another program's."""
    with backends(url, 1) as (ours,):
        ours.start(storing(plain_bars(days))).result(30)
        temporary = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"
        assert value(conn, temporary) == 0
        assert value(ours.conn, "SELECT count(*) FROM pg_prepared_statements") == 0
