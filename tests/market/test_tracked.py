"""`tracked_symbols` and `tracked_new`: which symbols are followed, and why."""

from typing import Any

import pytest

from market.universe import registry
from sql.database import Database
from tests.support.clock import at, day
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, process, put_bars

COLUMNS = [
    "symbol", "asset_class", "active", "reasons", "date_added", "last_backfill", "backfill_status",
    "backfill_error", "record_count", "first_date", "last_date", "validation_rate", "gaps_detected",
]  # fmt: skip


def tracked(conn: Conn) -> dict[str, list[str]]:
    """The reasons of each tracked symbol."""
    rows = conn.execute("SELECT symbol, reasons FROM tracked_symbols ORDER BY symbol")
    return {row["symbol"]: row["reasons"] for row in rows}


def member(conn: Conn, symbol: str, index: str = "SP500") -> None:
    """Make a symbol a member since now."""
    conn.execute("INSERT INTO index_constituents (index_name, symbol) VALUES (%s, %s)", [index, symbol])  # fmt: skip


def hold(conn: Conn, symbol: str, quantity: Any = 1, account: str = "main") -> None:
    """Hold a symbol, as another program writes it."""
    conn.execute(
        "INSERT INTO holdings (symbol, quantity, account) VALUES (%s, %s, %s)",
        [symbol, quantity, account],
    )


@pytest.mark.parametrize("view", ["tracked_symbols", "tracked_new"])
def test_the_columns_are_those_that_readers_know(conn: Conn, view: str) -> None:
    found = conn.execute(f"SELECT * FROM {view}".encode())  # noqa: S608
    assert [column.name for column in found.description or ()] == COLUMNS


def test_each_reason_for_which_a_symbol_is_followed(database: Database, conn: Conn) -> None:
    process(database, insert_prediction(conn, ["AAPL", "BTC-USD"]))
    with at(database) as inside:
        registry.register(inside, ["HAND", "MSFT"])
    for symbol in ("MSFT", "NVDA", "GONE"):
        member(conn, symbol)
    conn.execute(
        "UPDATE index_constituents SET is_active = false, became_inactive_at = last_seen_at + interval '1 s'"
        " WHERE symbol = 'GONE'"
    )
    member(conn, "MSFT", "NASDAQ100")
    hold(conn, "nvda")
    hold(conn, "TSLA", 2.5, "other")
    hold(conn, "SOLD", 0)
    hold(conn, "SHORT", -3)
    hold(conn, "no symbol")
    conn.execute("SELECT tracked_register()")
    assert tracked(conn) == {
        "AAPL": ["prediction"],
        "BTC-USD": ["prediction"],
        "GONE": ["index:SP500"],
        "HAND": ["manual"],
        "MSFT": ["index:NASDAQ100", "index:SP500", "manual"],
        "NVDA": ["index:SP500", "held"],
        "SHORT": ["held"],
        "TSLA": ["held"],
    }
    assert value(conn, "SELECT bool_and(active) FROM tracked_symbols")
    assert value(conn, "SELECT count(*) FROM tracked_new") == 8
    assert value(conn, "SELECT asset_class FROM tracked_symbols WHERE symbol = 'BTC-USD'") == "crypto"  # fmt: skip


def test_what_is_not_registered_yet_is_tracked_already(conn: Conn) -> None:
    member(conn, "NVDA")
    row = conn.execute("SELECT * FROM tracked_new").fetchone()
    assert row is not None
    assert (row["symbol"], row["asset_class"], row["reasons"]) == ("NVDA", "stock", ["index:SP500"])
    assert (row["record_count"], row["gaps_detected"], row["backfill_status"]) == (0, 0, None)
    assert row["date_added"] == value(conn, "SELECT (now() AT TIME ZONE 'UTC')::date")


@pytest.mark.parametrize("status", ["inactive", "invalid"])
def test_a_ticker_that_is_not_active_is_not_tracked(conn: Conn, status: str) -> None:
    member(conn, "TWTR")
    hold(conn, "TWTR")
    conn.execute("SELECT tracked_register()")
    conn.execute("UPDATE ticker_registry SET status = %s", [status])
    assert tracked(conn) == {}


def test_a_holding_that_was_sold_is_not_tracked_and_never_manual(conn: Conn) -> None:
    hold(conn, "TSLA")
    conn.execute("SELECT tracked_register()")
    conn.execute("DELETE FROM holdings")
    assert tracked(conn) == {}


def test_a_universe_ticker_that_a_prediction_names_has_both_reasons(
    database: Database, conn: Conn
) -> None:
    member(conn, "NVDA")
    conn.execute("SELECT tracked_register()")
    process(database, insert_prediction(conn, ["NVDA"]))
    assert tracked(conn) == {"NVDA": ["prediction", "index:SP500"]}


def test_somebody_registers_what_is_followed_already(database: Database, conn: Conn) -> None:
    member(conn, "NVDA")
    conn.execute("SELECT tracked_register()")
    process(database, insert_prediction(conn, ["AAPL"]))
    with at(database) as inside:
        registry.register(inside, ["nvda", "AAPL"])
    assert tracked(conn) == {"AAPL": ["prediction", "manual"], "NVDA": ["index:SP500", "manual"]}


def test_dots_and_dashes_are_one_symbol(database: Database, conn: Conn) -> None:
    process(database, insert_prediction(conn, ["BRK.B"]))
    with at(database) as inside:
        registry.register(inside, ["FB", "VOD.L"])
    member(conn, "BRK-B")
    member(conn, "META")  # the same prices as FB, and not the same writing
    hold(conn, "brk-b")
    assert list(tracked(conn)) == ["BRK.B", "FB", "META", "VOD.L"]
    conn.execute("SELECT tracked_register()")
    assert tracked(conn)["BRK.B"] == ["prediction", "index:SP500", "held"]
    assert value(conn, "SELECT count(*) FROM ticker_registry WHERE symbol = 'BRK-B'") == 0


def test_counts_are_those_of_our_bars(conn: Conn) -> None:
    member(conn, "NVDA")
    conn.execute("SELECT tracked_register()")
    put_bars(conn, "NVDA", {day("2024-03-04"): 1.0, day("2024-03-07"): 2.0})
    conn.execute("INSERT INTO market_prices (symbol, date, close) VALUES ('NVDA', '2024-03-06', 9)")
    conn.execute(
        "INSERT INTO data_quality_log (symbol, provider, range_from, range_to, given, rejected, flagged,"
        " expected, missing, parts, notes, score, verdict)"
        " VALUES ('NVDA', 'csv', '2024-03-04', '2024-03-07', 4, 1, 0, 4, 2, '{}', '{}', 1, 'accepted')"
    )
    row = conn.execute("SELECT * FROM tracked_symbols").fetchone()
    assert row is not None
    assert (row["record_count"], row["first_date"], row["last_date"], row["gaps_detected"]) == (
        2, day("2024-03-04"), day("2024-03-07"), 2,
    )  # fmt: skip
    assert row["validation_rate"] == 0.75
    assert value(conn, "SELECT count(*) FROM tracked_new") == 0


def test_a_column_that_is_not_read_costs_nothing(conn: Conn) -> None:
    plan = conn.execute("EXPLAIN SELECT symbol, reasons FROM tracked_symbols").fetchall()
    text = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "market_prices" not in text
    assert "data_quality_log" not in text
    assert "market_sessions" not in text


def test_new_symbols_wait_below_everything_else(conn: Conn) -> None:
    for n in range(30):
        member(conn, f"NEW{n}")
    conn.execute("SELECT tracked_register()")
    rows = conn.execute("SELECT topic, priority, count(*) AS n FROM outbox GROUP BY 1, 2").fetchall()  # fmt: skip
    assert rows == [{"topic": "ticker", "priority": -10, "n": 30}]
    # After what a daily sync wants, and before years of history that a person asked for.
    for symbol, priority in (("SYNC", -5), ("YEARS", -20)):
        conn.execute("SELECT ticker_enqueue(ARRAY[%s], %s, true)", [symbol, priority])
    claimed = conn.execute("SELECT key FROM outbox_claim('ticker', 'w', 31, 60) ORDER BY lease")
    keys = [row["key"] for row in claimed]
    assert (keys[0], "YEARS" in keys) == ("SYNC", False)
    conn.execute(
        "UPDATE outbox SET status = 'pending', lease = NULL, leased_by = NULL, leased_until = NULL"
    )
    # A prediction that names one raises it.
    conn.execute("SELECT ticker_enqueue(ARRAY['NEW7'], 0, true)")
    assert value(conn, "SELECT key FROM outbox_claim('ticker', 'w', 1, 60)") == "NEW7"


def test_the_unique_index_refuses_a_second_active_row(conn: Conn) -> None:
    member(conn, "NVDA")
    with pytest.raises(Exception, match="index_constituents_active"):
        member(conn, "NVDA")
