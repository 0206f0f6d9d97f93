"""Loading sessions: again, prolonged, put right, of an unknown calendar and of another exchange."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

from market.prices import backfill
from market.universe import sessions
from sql.database import Database
from tests.support.clock import utc
from tests.support.db import Conn, connect, value
from tests.support.waiting import until

# A day of its own: the sessions that a test finds may have been loaded before midnight.
_DAY = dt.date(2025, 6, 2)

_WAITS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def session(
    conn: Conn, date: str, calendar: str = "XNYS"
) -> tuple[dt.datetime, dt.datetime] | None:
    row = conn.execute(
        "SELECT opens_at, closes_at FROM market_sessions WHERE calendar = %s AND session = %s",
        [calendar, date],
    ).fetchone()
    return (row["opens_at"], row["closes_at"]) if row else None


def test_loading_again_changes_nothing(database: Database, conn: Conn) -> None:
    assert sessions.ensure(database) == {}
    for name in ("XNYS", "24/7"):
        sessions.load(database, name, _DAY)
    every = "SELECT xmin::text, * FROM market_sessions ORDER BY calendar, session"
    before = conn.execute(every).fetchall()
    for name in ("XNYS", "24/7"):
        assert sessions.load(database, name, _DAY) == 0
    assert conn.execute(every).fetchall() == before


def test_a_calendar_that_ends_too_soon_is_prolonged(database: Database, conn: Conn) -> None:
    conn.execute("DELETE FROM market_sessions WHERE calendar = 'XNYS' AND session > current_date")
    done = sessions.ensure(database)
    assert done.keys() == {"XNYS"}
    assert done["XNYS"] > 200
    assert sessions.ensure(database) == {}


def test_a_wrong_session_is_put_right(database: Database, conn: Conn) -> None:
    sessions.load(database, "XNYS", _DAY)
    conn.execute(
        "UPDATE market_sessions SET closes_at = closes_at + interval '1 hour'"
        " WHERE calendar = 'XNYS' AND session = '2024-07-03'"
    )
    conn.execute(
        "INSERT INTO market_sessions SELECT 'XNYS', '2025-01-09', 100000, '2025-01-09 14:30+00',"
        " '2025-01-09 21:00+00'"
    )
    assert sessions.load(database, "XNYS", _DAY) == 1
    assert session(conn, "2025-01-09") is None
    assert session(conn, "2024-07-03") == (utc("2024-07-03 13:30"), utc("2024-07-03 17:00"))


def test_a_missing_session_is_put_back_in_its_place(database: Database, conn: Conn) -> None:
    sessions.load(database, "XNYS", _DAY)
    before = conn.execute("SELECT * FROM market_sessions ORDER BY 1, 2").fetchall()
    conn.execute("DELETE FROM market_sessions WHERE calendar = 'XNYS' AND session = '2024-07-03'")
    assert sessions.load(database, "XNYS", _DAY) == 1
    assert conn.execute("SELECT * FROM market_sessions ORDER BY 1, 2").fetchall() == before


def test_an_unknown_calendar_loads_nothing(database: Database, conn: Conn) -> None:
    before = value(conn, "SELECT count(*) FROM market_sessions")
    assert sessions.load(database, "NO SUCH EXCHANGE") == 0
    assert value(conn, "SELECT count(*) FROM market_sessions") == before


def test_the_calendar_of_a_registered_ticker_is_loaded(database: Database, conn: Conn) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('005930.KS', 'XKRX')")
    assert sessions.ensure(database)["XKRX"] > 8000
    # The lunar new year; and the Seoul session lies before noon, UTC.
    assert session(conn, "2024-02-09", "XKRX") is None
    assert session(conn, "2024-02-08", "XKRX") == (utc("2024-02-08"), utc("2024-02-08 06:30"))


def test_who_loads_at_the_same_time_and_comes_second_finds_the_sessions(
    url: str, database: Database, conn: Conn
) -> None:
    """The sweep and a ticker's first fetch may both miss a calendar."""
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('VOD.L', 'XLON')")
    assert sessions.load(database, "XLON") > 8000
    conn.execute("CREATE TABLE kept AS SELECT * FROM market_sessions WHERE calendar = 'XLON'")
    conn.execute("DELETE FROM market_sessions WHERE calendar = 'XLON'")

    with ThreadPoolExecutor(1) as pool, connect(url) as first:
        with first.transaction():
            first.execute("SELECT pg_advisory_xact_lock(1380271947, hashtext('calendar XLON'))")
            second = pool.submit(backfill.prepare, database, "VOD.L", 30)
            until("the second one waits", lambda: value(conn, _WAITS) == 1, 60)
            first.execute("INSERT INTO market_sessions SELECT * FROM kept")
        plan = second.result(30)

    assert plan is not None
    assert plan.has_sessions
