"""Months of five-minute bars: made ahead and once, dropped whole, and no reader waits for either."""

import datetime as dt
import threading
from collections.abc import Iterator

import psycopg
import pytest

from sql.database import Database
from sql.schema import check, remove, repair
from tests.support.clock import standing_still, utc
from tests.support.db import Conn, connect, url_of, value
from tests.support.roles import roles
from tests.support.waiting import until
from worker import sweep
from worker.settings import WorkerSettings

NOW = utc("2026-11-30 20:00")
database, conn = standing_still(NOW)

INSERT = (
    'INSERT INTO price_history_intraday (symbol, "interval", ts, close, source_provider, pulled_at)'
    " VALUES ('SPY', '5m', %s, 100, 'csv', %s)"
)


def names(conn: Conn) -> list[str]:
    rows = conn.execute("SELECT name FROM intraday_partitions ORDER BY starts_at").fetchall()
    return [row["name"].removeprefix("price_history_intraday_") for row in rows]


def ensure(conn: Conn, first: str, last: str | None = None) -> int:
    made: int = value(
        conn, "SELECT intraday_partitions_ensure(%s, %s)", [utc(first), utc(last or first)]
    )
    return made


@pytest.fixture
def other(conn: Conn) -> Iterator[Conn]:
    """A second session that lives by the same clock; it is made after it was stopped."""
    with connect(url_of(conn)) as other:
        yield other


def test_the_sweep_makes_this_month_and_the_next_once(database: Database, conn: Conn) -> None:
    for _ in range(2):
        found = sweep.once(database, WorkerSettings())
        assert found is not None
        assert found["partitions"] == 0
        assert names(conn) == ["2026_11", "2026_12"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_month_is_a_month_in_utc_whatever_the_session_says(conn: Conn, zone: str) -> None:
    conn.execute(f"SET timezone = '{zone}'; SET datestyle = 'SQL, DMY'".encode())
    assert ensure(conn, "2026-10-31 23:59") == 1
    assert ensure(conn, "2026-10-01 00:00", "2026-11-01 00:00") == 1
    conn.execute("RESET datestyle")  # psycopg reads no other
    rows = conn.execute("SELECT starts_at, ends_at FROM intraday_partitions ORDER BY 1").fetchall()
    assert [tuple(row.values()) for row in rows] == [
        (utc("2026-10-01"), utc("2026-11-01")),
        (utc("2026-11-01"), utc("2026-12-01")),
    ]
    for moment in ("2026-10-01 00:00", "2026-10-31 23:55", "2026-11-01 00:00"):
        conn.execute(INSERT, [utc(moment), NOW])
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
        conn.execute(INSERT, [utc("2026-09-30 23:55"), NOW])


def test_two_sessions_at_once_make_a_month_once(conn: Conn, other: Conn) -> None:
    made: list[int] = []
    with conn.transaction():
        made.append(ensure(conn, "2026-11-01"))
        second = threading.Thread(
            target=lambda: made.append(ensure(other, "2026-10-01", "2026-12-01"))
        )
        second.start()
        with connect(conn.info.dsn) as watch:
            until(
                "the second waits for the first",
                lambda: value(watch, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation ="
                                     " 'price_history_intraday'::regclass"),
            )  # fmt: skip
    second.join()
    assert made == [1, 2]
    assert names(conn) == ["2026_10", "2026_11", "2026_12"]


def test_a_month_is_made_while_others_read_and_write(conn: Conn, other: Conn) -> None:
    ensure(conn, "2026-11-01")
    with other.transaction():
        other.execute("SELECT count(*) FROM price_history_intraday")
        other.execute(INSERT, [utc("2026-11-20 15:00"), NOW])
        with conn.transaction():
            assert ensure(conn, "2026-12-01") == 1
            # And they do while it is not yet committed.
            other.execute("SELECT count(*) FROM price_history_intraday")
            other.execute(INSERT, [utc("2026-11-20 15:05"), NOW])


def test_a_month_of_another_program_is_named(conn: Conn) -> None:
    conn.execute("CREATE TABLE price_history_intraday_2026_11 (theirs text)")
    with pytest.raises(psycopg.errors.DuplicateTable, match=r"is not a partition.*rename it"):
        ensure(conn, "2026-11-01")


@pytest.mark.parametrize(
    "span",
    [("1989-12-31", "1990-01-31"), ("2024-01-01", "2026-01-01"), ("2027-12-01", "2027-12-01")],
)
def test_no_more_months_than_bars_can_be_of(conn: Conn, span: tuple[str, str]) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="outside of 1990 to next year"):
        ensure(conn, *span)


def drop(conn: Conn, days: int = 90) -> str | None:
    name: str | None = value(conn, "SELECT intraday_partition_drop(%s)", [days])
    return name


def test_a_month_is_dropped_when_all_of_it_is_old(conn: Conn) -> None:
    ensure(conn, "2026-07-01", "2026-12-01")
    # The newest bar of August is 90 days old on 29 November.
    assert drop(conn) == "price_history_intraday_2026_07"
    assert drop(conn) == "price_history_intraday_2026_08"
    assert drop(conn) is None
    assert names(conn) == ["2026_09", "2026_10", "2026_11", "2026_12"]
    assert drop(conn, -1000) == "price_history_intraday_2026_09"  # never what is not yet a day old
    assert drop(conn, -1000) == "price_history_intraday_2026_10"
    assert drop(conn, -1000) is None


def test_retention_leaves_a_month_that_is_read_to_the_next_sweep(
    database: Database, conn: Conn, other: Conn
) -> None:
    ensure(conn, "2026-06-01", "2026-07-01")
    settings = WorkerSettings()
    with other.transaction():
        other.execute("SELECT count(*) FROM price_history_intraday")
        found = sweep.once(database, settings)
        assert found is not None
        assert found["partitions"] == 0
        assert "2026_06" in names(conn)
    for n in (1, 1, 0):  # one a sweep, so that its lock is short
        found = sweep.once(database, settings)
        assert found is not None
        assert found["partitions"] == n
    assert names(conn) == ["2026_11", "2026_12"]


def test_a_worker_of_least_rights_makes_and_drops_months_and_nothing_else(
    url: str, conn: Conn
) -> None:
    with roles(url) as made, connect(made.worker) as worker, connect(made.dashboard) as dashboard:
        assert ensure(worker, "2026-06-01", "2026-11-01") == 6
        worker.execute(INSERT, [utc("2026-11-20 15:00"), NOW])
        assert drop(worker) == "price_history_intraday_2026_06"
        assert value(dashboard, "SELECT count(*) FROM price_history_intraday") == 1
        owners = conn.execute(
            "SELECT DISTINCT pg_get_userbyid(c.relowner) AS owner FROM pg_class c"
            " JOIN intraday_partitions p ON p.name = c.relname"
        ).fetchall()
        assert [row["owner"] for row in owners] == [value(conn, "SELECT current_user")]
        dashboard.execute("SET default_transaction_read_only = off")
        for refused in (dashboard, worker):
            call = (
                "CREATE TABLE mine ()" if refused is worker else "SELECT intraday_partition_drop(1)"
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                refused.execute(call.encode())


def test_dropped_rows_leave_none_dead(conn: Conn) -> None:
    ensure(conn, "2026-06-01")
    for n in range(78):
        conn.execute(INSERT, [utc("2026-06-10 13:30") + n * dt.timedelta(minutes=5), NOW])
    assert drop(conn) is not None
    conn.execute("SELECT pg_stat_force_next_flush()")
    assert (
        value(conn, "SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname ~ 'intraday'")
        == 0
    )


def test_the_audit_passes_over_months_and_knows_the_key(database: Database, conn: Conn) -> None:
    ensure(conn, "2026-10-01", "2026-11-01")
    conn.execute(INSERT, [utc("2026-11-20 15:00"), NOW])
    assert repair.look(database) == []
    [size] = [row for row in check.sizes(database) if row["table"] == "price_history_intraday"]
    assert size["bytes"] >= 8192  # of its months
    conn.execute("DROP TABLE price_history_intraday CASCADE")
    [missing] = [
        each for each in repair.look(database) if each.object == "table price_history_intraday"
    ]
    conn.execute(missing.sql.encode())
    found = {each.object for each in repair.look(database)}
    assert "table price_history_intraday" not in found
    assert ensure(conn, "2026-11-01") == 1
    conn.execute("DROP TABLE price_history_intraday CASCADE")
    conn.execute(missing.sql.replace(" PARTITION BY RANGE (ts)", "").encode())
    [plain] = [
        each for each in repair.look(database) if each.object == "table price_history_intraday"
    ]
    assert (plain.difference, plain.additive) == ("is not partitioned by RANGE (ts)", False)


def test_a_removal_leaves_the_bars_and_their_months(database: Database, conn: Conn) -> None:
    ensure(conn, "2026-11-01")
    conn.execute(INSERT, [utc("2026-11-20 15:00"), NOW])
    remove.apply(database)
    assert value(conn, "SELECT count(*) FROM price_history_intraday") == 1
    assert value(conn, "SELECT to_regclass('intraday_symbols')") is None
