"""The history of snapshots: what was known on a day, whatever happens later."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from market import snapshots
from market.prices import bars_table
from market.providers import Bar
from market.snapshots import Benchmark, history, refresh
from sql.database import Database
from tests.support.cli import command
from tests.support.clock import at, clock, clock_at, use_everywhere
from tests.support.db import Conn, value
from tests.support.market import sessions
from tests.support.providers import plain_bars


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """Half a year of sessions; ACME and OTHER are registered, and nothing rings."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME'), ('OTHER')")
    conn.execute("DELETE FROM outbox")
    return sessions(conn, "2023-07-03", "2023-12-29")


def store(
    database: Database, symbol: str, bars: Sequence[Bar], *, rebased: bool = False, computes: bool = True
) -> None:  # fmt: skip
    """Store bars, with their snapshot unless the worker died before it or could not compute one."""
    span = bars[0].date, bars[-1].date
    with at(database) as conn:
        made = snapshots.prepare(conn, symbol, bars, *span, Benchmark("SPY"), rebased=rebased)
    with at(database, evening(bars[-1].date)) as conn:
        bars_table.store(conn, symbol, "test", bars, *span, rebased=rebased)
        if computes and made:
            snapshots.store(conn, [made])


def evening(day: dt.date) -> dt.datetime:
    """An hour after the close."""
    return dt.datetime.combine(day, dt.time(22), dt.UTC)


def record(database: Database, as_of: dt.date | None = None) -> list[dict[str, Any]]:
    with at(database) as conn:
        return history.record(conn, as_of)


def kept(conn: Conn) -> list[dict[str, Any]]:
    return conn.execute(
        "SELECT * FROM market_snapshot_history ORDER BY symbol, as_of_date"
    ).fetchall()


def test_a_split_changes_the_snapshot_and_no_row_of_the_history(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, "ACME", plain_bars(days[:-1]))
    [row] = record(database)
    assert (row["as_of"], row["recorded"]) == (days[-2], 1)
    before = kept(conn)
    assert (before[0]["current_price"], before[0]["engine_version"]) == (100.0 + len(days) - 2, "1")
    store(database, "ACME", plain_bars(days, lambda n: (100.0 + n) / 4), rebased=True)
    record(database)
    assert value(conn, "SELECT current_price FROM market_snapshot") == (100.0 + len(days) - 1) / 4
    old, new = kept(conn)
    assert [old] == before
    assert new["sma_20"] < old["sma_20"] / 3.5
    # A revised close of the same day is not what was known either.
    store(database, "ACME", plain_bars(days[-1:], lambda _: 999.0))
    assert record(database, days[-1])[0]["recorded"] == 0
    assert kept(conn) == [old, new]
    assert value(conn, "SELECT current_price FROM market_snapshot") == 999.0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE market_snapshot_history SET rsi = 1",
        "DELETE FROM market_snapshot_history",
        "TRUNCATE market_snapshot_history",
        """INSERT INTO market_snapshot_history SELECT * FROM market_snapshot_history
        ON CONFLICT (symbol, analysis_type, as_of_date) DO UPDATE SET rsi = 1""",
        """MERGE INTO market_snapshot_history h USING market_snapshot s ON h.symbol = s.symbol
        WHEN MATCHED THEN DELETE""",
    ],
)
def test_its_owner_cannot_change_it_either(
    conn: Conn, database: Database, days: list[dt.date], change: str
) -> None:
    store(database, "ACME", plain_bars(days))
    record(database)
    before = kept(conn)
    with pytest.raises(psycopg.errors.RestrictViolation, match="what was known on a day"):
        conn.execute(change.encode())
    assert kept(conn) == before


def test_retention_deletes_by_age_and_nothing_else_does(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    for n in (-3, -2, -1):
        store(database, "ACME", plain_bars(days[: n or None] if n else days))
        record(database)
    moment = evening(days[-2]) + dt.timedelta(days=30)
    with at(database, moment) as inside:
        assert history.prune(inside, 0) == 0  # 0: keep all
        assert history.prune(inside, 30) == 2
    assert [row["as_of_date"] for row in kept(conn)] == [days[-2]]
    # A function of the same name elsewhere is not the one that may.
    conn.execute(
        "CREATE SCHEMA theirs; CREATE FUNCTION theirs.snapshot_history_prune(integer, integer)"
        " RETURNS void LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.market_snapshot_history; END'"
    )
    with pytest.raises(psycopg.errors.RestrictViolation):
        conn.execute("SELECT theirs.snapshot_history_prune(1, 1)")


def test_each_day_that_was_computed_is_kept_also_when_nobody_recorded_it(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, "ACME", plain_bars(days[:-3]))
    store(database, "ACME", plain_bars(days[:-2])[-2:])
    # Two sessions at once, after an outage: the day between was never computed.
    store(database, "ACME", plain_bars(days)[-3:])
    record(database)
    assert [row["as_of_date"] for row in kept(conn)] == [days[-4], days[-3], days[-1]]
    [row] = record(database, days[-2])
    assert (row["recorded"], row["already"], row["never"]) == (0, 0, 1)


def test_what_is_due_is_not_recorded(conn: Conn, database: Database, days: list[dt.date]) -> None:
    store(database, "ACME", plain_bars(days))
    store(database, "ACME", plain_bars(days[-1:], lambda _: 99.0), computes=False)
    store(database, "OTHER", plain_bars(days))
    [row] = record(database)
    assert (row["recorded"], row["due"]) == (1, 1)
    with clock(database.url, evening(days[-1])) as then:
        refresh.due(then, Benchmark("SPY"))
    assert [row["recorded"] for row in record(database)] == [1]
    assert [row["current_price"] for row in kept(conn) if row["symbol"] == "ACME"] == [99.0]
    assert record(database) == []


def test_what_is_computed_after_its_day_is_not_recorded(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, "ACME", plain_bars(days[:-1]))
    # A halt: the next session has no bar, and a refresh comes years later. The snapshot of the day is kept.
    refresh.these(database, Benchmark("SPY"), ["ACME"])
    assert [row["as_of_date"] for row in kept(conn)] == [days[-2]]
    store(database, "OTHER", plain_bars(days[:-1]), computes=False)
    refresh.these(database, Benchmark("SPY"), ["OTHER"])
    assert record(database) == []
    [row] = record(database, days[-2])
    assert (row["recorded"], row["already"], row["never"]) == (0, 1, 1)


def test_the_commands(url: str, database: Database, days: list[dt.date]) -> None:
    store(database, "ACME", plain_bars(days))
    store(database, "OTHER", plain_bars(days), computes=False)
    last = days[-1].isoformat()
    dry = command(url, "market", "refresh-indicators", "--due", "--dry-run", "-o", "json")
    assert '"due_after": 1' in dry.stdout
    assert command(url, "market", "record-history", "--as-of", last).returncode == 0
    done = command(url, "market", "refresh-indicators")
    assert (done.returncode, done.stdout.splitlines()[1].split("\t")[:3]) == (0, ["2", "2", "0"])
    shown = command(url, "market", "snapshot", "acme", "--columns", "symbol,bars,sma_20")
    assert shown.stdout.splitlines()[1].split("\t")[:2] == ["ACME", str(len(days))]
    assert command(url, "market", "record-history", "--as-of", last).returncode == 0
    refused = command(url, "market", "record-history", "--as-of", days[-2].isoformat())
    assert refused.returncode == 1
    assert "what was known then is not computed afterwards (2 symbols" in refused.stderr
    nobody = command(url, "market", "snapshot", "NOBODY")
    assert (nobody.returncode, "has no snapshot" in nobody.stderr) == (1, True)


def test_other_readers_see_when_bars_changed(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    use_everywhere(conn, clock_at(conn, evening(days[-1])))
    with Database(database.url) as then:
        store(then, "ACME", plain_bars(days))
        read = "SELECT expiry_timestamp, is_due, raw_analysis FROM market_analysis_cache"
        with then.transaction() as inside:
            [row] = inside.execute(read.encode()).fetchall()
            assert row["expiry_timestamp"] > dt.datetime.combine(days[-1], dt.time(23), dt.UTC)
            assert (row["is_due"], row["raw_analysis"]["sma_5"]) == (False, 100.0 + len(days) - 3)
            assert "symbol" not in row["raw_analysis"]
        store(then, "ACME", plain_bars(days[:1], lambda _: 7.0), computes=False)
        with then.transaction() as inside:
            now = "SELECT expiry_timestamp <= reckoner_now() AS over, is_due FROM market_analysis_cache"
            assert inside.execute(now.encode()).fetchall() == [{"over": True, "is_due": True}]
