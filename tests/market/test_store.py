"""Storing bars: what is new is inserted, what changed replaced, what is equal not touched."""

import datetime as dt
from typing import Any

import psycopg
import pytest

from market.prices import bars_table
from market.providers import Bar
from sql.database import Database
from tests.support.clock import at, day
from tests.support.db import Conn, connect, value
from tests.support.market import sessions, ticker
from tests.support.providers import plain_bars


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """Nine sessions; ACME is registered."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME')")
    return sessions(conn, "2024-03-05", "2024-03-15")


def store(database: Database, bars: list[Bar], source: str = "test") -> dict[str, int]:
    with at(database) as conn:
        return bars_table.store(
            conn,
            "ACME",
            source,
            bars,
            bars[0].date if bars else day("2024-03-05"),
            day("2024-03-15"),
        )


def rows(conn: Conn) -> dict[dt.date, dict[str, Any]]:
    found = conn.execute("SELECT *, xmin::text AS version FROM market_prices ORDER BY date")
    return {row["date"]: row for row in found}


def test_every_column_arrives(database: Database, conn: Conn, days: list[dt.date]) -> None:
    full = Bar(days[0], 1.5, 2.5, 0.5, 2.0, 1.9, 2**40, has_split=True, has_dividend=True)
    bare = Bar(days[1], None, None, None, 3.0)
    assert store(database, [full, bare]) == {"inserted": 2, "updated": 0, "revised": 0}

    first, second = rows(conn).values()
    columns = ("date", "open", "high", "low", "close", "adjusted_close", "volume")
    assert tuple(first[name] for name in columns) == full[:7]
    assert (first["has_split"], first["has_dividend"], first["is_market_open"]) == (True,) * 3
    assert (first["symbol"], first["source"]) == ("ACME", "test")
    assert first["last_updated"] is not None
    assert tuple(second[name] for name in columns) == bare[:7]
    assert (second["has_split"], second["has_dividend"]) == (False, False)


def test_the_registry_says_what_is_there(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    store(database, plain_bars(days[2:6]))
    row = ticker(conn, "ACME")
    assert (row["price_data_start"], row["price_data_end"]) == (days[2], days[5])
    assert row["total_price_records"] == 4
    assert (row["backfill_status"], row["backfill_error"]) == ("completed", None)
    assert row["last_price_update"] is not None
    assert row["last_backfill"] is not None
    assert (row["covered_from"], row["covered_to"]) == (days[2], day("2024-03-15"))

    store(database, plain_bars(days[:8]))
    row = ticker(conn, "ACME")
    assert (row["price_data_start"], row["price_data_end"]) == (days[0], days[7])
    assert row["total_price_records"] == 8
    assert row["covered_from"] == days[0]


def test_equal_bars_are_not_rewritten(database: Database, conn: Conn, days: list[dt.date]) -> None:
    bars = plain_bars(days)
    store(database, bars)
    before = rows(conn)
    assert store(database, bars, "another source") == {"inserted": 0, "updated": 0, "revised": 0}
    assert rows(conn) == before


def test_only_the_changed_bar_is_rewritten(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    bars = plain_bars(days[:-1])
    store(database, bars)
    before = rows(conn)
    bars[2] = bars[2]._replace(close=102.5)
    bars[4] = bars[4]._replace(volume=5)
    bars += plain_bars(days[-1:])
    assert store(database, bars, "better") == {"inserted": 1, "updated": 2, "revised": 1}

    after = rows(conn)
    changed = {date for date in before if after[date]["version"] != before[date]["version"]}
    assert changed == {days[2], days[4]}
    assert after[days[2]]["close"] == 102.5
    assert after[days[2]]["source"] == "better"
    assert after[days[3]]["source"] == "test"
    assert after[days[2]]["id"] == before[days[2]]["id"]
    assert after[days[2]]["created_at"] == before[days[2]]["created_at"]


@pytest.mark.parametrize(
    "change",
    [
        {"open": 1.0},
        {"high": 999.0},
        {"low": 1.0},
        {"close": 100.1},
        {"adjusted_close": 99.0},
        {"volume": None},
        {"has_split": True},
        {"has_dividend": True},
    ],
)
def test_a_change_of_any_column_is_stored(
    database: Database, conn: Conn, days: list[dt.date], change: dict[str, Any]
) -> None:
    plain = plain_bars(days[:1])[0]
    store(database, [plain])
    counts = store(database, [plain._replace(**change)])
    assert (counts["inserted"], counts["updated"]) == (0, 1)
    assert counts["revised"] == (1 if "close" in change else 0)
    name, wanted = next(iter(change.items()))
    assert rows(conn)[days[0]][name] == wanted


def test_rounding_in_the_last_digit_is_no_revision(database: Database, days: list[dt.date]) -> None:
    plain = plain_bars(days[:1])[0]
    store(database, [plain])
    assert store(database, [plain._replace(close=100.0 * (1 + 1e-12))])["revised"] == 0


def test_no_bar_is_an_answer_too(database: Database, conn: Conn, days: list[dt.date]) -> None:
    store(database, plain_bars(days[:3]))
    assert store(database, []) == {"inserted": 0, "updated": 0, "revised": 0}
    assert ticker(conn, "ACME")["total_price_records"] == 3


@pytest.mark.usefixtures("days")
def test_storing_is_all_or_nothing(database: Database, conn: Conn, days: list[dt.date]) -> None:
    bars = plain_bars(days)
    bars[3] = bars[3]._replace(close=None)
    with pytest.raises(psycopg.errors.NotNullViolation):
        store(database, bars)
    assert rows(conn) == {}
    assert ticker(conn, "ACME")["total_price_records"] == 0
    # The connection and its staging table are as before.
    assert store(database, plain_bars(days))["inserted"] == len(days)


def test_two_stores_in_one_transaction(database: Database, conn: Conn, days: list[dt.date]) -> None:
    """A worker stores one symbol per transaction, but nothing may depend on it."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('BETA')")
    with at(database) as inside:
        for symbol, some in (("ACME", days[:2]), ("BETA", days[2:5])):
            bars_table.store(inside, symbol, "test", plain_bars(some), some[0], some[-1])
    assert value(conn, "SELECT count(*) FROM market_prices WHERE symbol = 'ACME'") == 2
    assert value(conn, "SELECT count(*) FROM market_prices WHERE symbol = 'BETA'") == 3


def test_plans_made_on_an_empty_table_do_not_read_all_that_it_becomes(
    url: str, conn: Conn, days: list[dt.date]
) -> None:
    """A connection keeps its plans, and a first backfill fills the table while it does."""
    # What is known of the table stays what it was when it was empty.
    conn.execute("ALTER TABLE market_prices SET (autovacuum_enabled = false)")
    conn.execute("VACUUM ANALYZE market_prices")
    with connect(url) as ours:
        for n in range(10):
            ours.execute("INSERT INTO ticker_registry (symbol) VALUES (%s)", [f"S{n}"])
            with ours.transaction():
                bars_table.store(ours, f"S{n}", "test", plain_bars(days), days[0], days[-1])
                scans = (
                    "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'market_prices'"
                )
                assert value(ours, scans) == 0


def test_plans_made_on_an_empty_table_rewrite_a_long_history_too(url: str, conn: Conn) -> None:
    """Each bar beside each would be 400 million pairs."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME')")
    conn.execute("ALTER TABLE market_prices SET (autovacuum_enabled = false)")
    conn.execute("VACUUM ANALYZE market_prices")
    every = [day("1960-01-01") + dt.timedelta(days=n) for n in range(20_000)]
    bars = plain_bars(every)
    with connect(url) as ours:
        ours.execute("SET statement_timeout = '8s'")
        for factor in (1.0, 4.0):
            counts = bars_table.store(
                ours,
                "ACME",
                "test",
                [Bar(bar.date, None, None, None, (bar.close or 0) / factor) for bar in bars],
                every[0],
                every[-1],
                rebased=True,
            )
    assert counts == {"inserted": 0, "updated": 20_000, "revised": 20_000}


def test_price_stats_of_a_symbol_in_any_case(database: Database, days: list[dt.date]) -> None:
    bars = plain_bars(days)
    bars[1] = bars[1]._replace(has_split=True)
    store(database, bars)
    with at(database) as conn:
        stats = bars_table.stats(conn, " acme")
        assert bars_table.stats(conn, "NOBODY") == []
    assert len(stats) == 1
    row = stats[0]
    assert (row["symbol"], row["bars"], row["splits"]) == ("ACME", len(days), 1)
    assert (row["first_bar"], row["last_bar"]) == (days[0], days[-1])
    assert row["last_close"] == bars[-1].close
