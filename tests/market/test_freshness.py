"""Coverage: age in finished sessions of each symbol's own calendar, and what the whole amounts to."""

import datetime as dt
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.universe import sessions
from sql.database import Database
from tests.support.clock import day, use_clock, utc, write_clock
from tests.support.db import Conn, shared_database, url_of, value
from tests.support.market import cover, put_bars

BUCKETS = ("<=24h", "24-48h", ">48h", "none")
# Symbols on three continents, and one of every day.
CALENDARS = {"AAPL": "XNYS", "7203.T": "XTKS", "HSBA.L": "XLON", "BTC-USD": "24/7"}


@pytest.fixture(scope="module")
def world(server_url: str, template: str) -> Iterator[Conn]:
    """A database with sessions of four calendars; each test rolls back what it wrote."""
    with shared_database(server_url, template) as conn:
        with Database(url_of(conn)) as database:
            for calendar in set(CALENDARS.values()):
                sessions.load(database, calendar)
        yield conn


@pytest.fixture
def conn(world: Conn) -> Iterator[Conn]:
    with world.transaction(force_rollback=True):
        yield world


def at(conn: Conn, moment: str | dt.datetime) -> None:
    use_clock(conn, write_clock(conn, stopped_at=moment), local=True)


def ticker(conn: Conn, symbol: str, *bars: str, calendar: str | None = None) -> None:
    """A registered symbol with bars of these days."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol, calendar) VALUES (%s, %s)",
        [symbol, calendar or CALENDARS.get(symbol, "XNYS")],
    )
    put_bars(conn, symbol, {day(each): 100.0 for each in bars})


def report(conn: Conn) -> dict[str, Any]:
    found: dict[str, Any] = value(conn, "SELECT coverage()")
    return found


def row(conn: Conn, symbol: str) -> dict[str, Any]:
    found = conn.execute("SELECT * FROM coverage_symbols WHERE symbol = %s", [symbol]).fetchone()
    assert found is not None
    return found


# A moment (UTC), and the newest finished session of each calendar.
MOMENTS = {
    "a Sunday": ("2026-11-29 12:00", "2026-11-27", "2026-11-27", "2026-11-27", "2026-11-28"),
    "a holiday in New York": (
        "2026-11-26 23:00", "2026-11-25", "2026-11-26", "2026-11-26", "2026-11-25",
    ),
    "an early close is not settled": (
        "2026-11-27 18:20", "2026-11-25", "2026-11-27", "2026-11-27", "2026-11-26",
    ),
    "the hour after an early close": (
        "2026-11-27 18:45", "2026-11-27", "2026-11-27", "2026-11-27", "2026-11-26",
    ),
    "00:30 UTC on a weekday": (
        "2026-11-25 00:30", "2026-11-24", "2026-11-24", "2026-11-24", "2026-11-24",
    ),
    "a minute before that": (
        "2026-11-25 00:29", "2026-11-24", "2026-11-24", "2026-11-24", "2026-11-23",
    ),
    "Tokyo is closed, New York is open": (
        "2026-11-25 15:00", "2026-11-24", "2026-11-25", "2026-11-24", "2026-11-24",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOMENTS)
def test_all_is_green_where_everything_is_there(conn: Conn, name: str) -> None:
    moment, *newest = MOMENTS[name]
    at(conn, utc(moment))
    for symbol, last in zip(CALENDARS, newest, strict=True):
        ticker(conn, symbol, "2026-11-02", last)
    found = report(conn)
    assert found["daily"]["freshness"] == {"<=24h": 4, "24-48h": 0, ">48h": 0, "none": 0}
    assert found["daily"]["last"] == dict(zip(CALENDARS, newest, strict=True))
    assert found["status"]["label"] == "ok"
    assert found["status"]["daily_pct"] == 100
    assert [row(conn, symbol)["sessions_behind"] for symbol in CALENDARS] == [0, 0, 0, 0]


def test_one_session_behind_is_no_fault_and_two_are_named(conn: Conn) -> None:
    at(conn, utc("2026-11-30 03:00"))  # in New York the half day after Thanksgiving was the last
    for n in range(20):
        ticker(conn, f"OK{n}", "2026-11-27")
    ticker(conn, "ONE", "2026-11-25")
    assert row(conn, "ONE")["sessions_behind"] == 1
    assert row(conn, "ONE")["daily_bucket"] == "24-48h"
    assert report(conn)["status"]["label"] == "ok"
    ticker(conn, "TWO", "2026-11-24")
    cover(conn, "TWO", day("2026-11-24"), day("2026-11-24"))
    found = report(conn)
    assert found["daily"]["stale"] == [{"symbol": "TWO", "last": "2026-11-24", "bucket": ">48h"}]
    assert found["status"]["label"] == "degraded"
    assert found["status"]["stale_daily"] == found["daily"]["stale_48h"] == 1
    assert found["status"]["summary"] == (
        "daily bars of 20 of 22 symbols are fresh, 1 a session behind, 1 stale"
    )
    assert row(conn, "TWO")["sessions_behind"] == 2


def test_the_shape(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    ticker(conn, "AAPL", "2026-11-27")
    value(conn, "SELECT coverage_snapshot()")
    found = report(conn)
    interval = {"count", "last", "freshness", "stale", "stale_48h", "missing"}
    assert set(found) == {
        "generated_at", "symbols", "tracked_count", "indices", "daily", "m5", "status", "meta",
    }  # fmt: skip
    assert set(found["daily"]) == set(found["m5"]) == interval
    assert set(found["daily"]["freshness"]) == set(BUCKETS)
    assert set(found["indices"]) == {"SP500", "NASDAQ100", "DOW30"}
    assert set(found["status"]) == {
        "label", "summary", "daily_pct", "m5_pct", "stale_daily", "stale_m5", "thresholds",
    }  # fmt: skip
    assert set(found["meta"]) == {"source", "updated_at", "snapshot_age_seconds", "history"}
    assert found["generated_at"] == "2026-11-29T12:00:00+00:00"
    columns = conn.execute("SELECT * FROM coverage_symbols").description
    assert [each.name for each in columns or []] == [
        "symbol", "last_daily", "sessions_behind", "daily_bucket", "last_5m", "m5_bars", "m5_expected",
        "m5_bucket", "provider", "backfill_error",
    ]  # fmt: skip


def test_without_symbols_it_is_idle(conn: Conn) -> None:
    found = report(conn)
    assert found["status"]["label"] == "idle"
    assert found["symbols"] == found["status"]["daily_pct"] == 0
    assert found["meta"]["snapshot_age_seconds"] is None
    assert value(conn, "SELECT sweep_coverage(90)") == 0
    assert value(conn, "SELECT count(*) FROM coverage_health") == 0


def test_inactive_invalid_and_strange_rows_are_not_counted(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    ticker(conn, "AAPL", "2026-11-27")
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, status_reason) VALUES"
        " ('GONE', 'inactive', 'delisted'), ('NEVER', 'invalid', 'unknown')"
    )
    found = report(conn)
    assert found["symbols"] == found["tracked_count"] == 1
    assert found["status"]["label"] == "ok"
    told = value(conn, "SELECT coverage_symbol('gone')")
    assert (told["tracked"], told["reason"]) == (False, "inactive (delisted): not tracked")
    assert value(conn, "SELECT coverage_symbol('NOBODY')") is None


def test_an_unknown_calendar_says_so(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    ticker(conn, "ABC.QQ", "2026-11-27", calendar="?.QQ")
    ticker(conn, "ABC.TW", calendar="XTAI")
    found = report(conn)
    assert found["daily"]["missing"] == 2
    rows = {each["symbol"]: each for each in conn.execute("SELECT * FROM coverage_stale()")}
    assert rows["ABC.QQ"]["reason"] == "no calendar is known for symbols that end in .QQ"
    assert rows["ABC.QQ"]["remedy"].startswith("INSERT INTO symbol_rules")
    assert rows["ABC.TW"]["reason"] == "sessions of XTAI are not loaded yet"


def test_bars_of_another_program_are_not_ours(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    ticker(conn, "AAPL", "2026-11-24", "2026-11-27")
    conn.execute("UPDATE market_prices SET fetched_at = NULL WHERE date = '2026-11-27'")
    assert row(conn, "AAPL")["sessions_behind"] == 2


REASONS = {
    "never fetched": ("", "never fetched", "python -m market backfill-stale-daily"),
    "parked": (
        "UPDATE outbox SET status = 'dead', last_error = 'boom'",
        "its event is parked: boom",
        "python -m worker requeue --ticker OLD",
    ),
    "waits": ("-- its event stays", "waits: no worker is alive", "python -m worker"),
    "retried": (
        "UPDATE outbox SET available_at = '2026-11-29 12:05Z', last_error = 'yahoo is paused'",
        "tried again at 2026-11-29 12:05:00+00: yahoo is paused",
        None,
    ),
    "failed": (
        "UPDATE ticker_registry SET backfill_status = 'failed', backfill_error = 'no provider'",
        "the last fetch failed: no provider",
        "python -m market backfill-stale-daily",
    ),
    "behind": (
        "UPDATE ticker_registry SET last_backfill = '2026-11-25 01:00Z'",
        "not fetched since 2026-11-25 01:00:00+00",
        "python -m market backfill-stale-daily",
    ),
    "silent": (
        """UPDATE ticker_registry SET last_backfill = '2026-11-28 01:00Z';
        SELECT coverage_add('OLD', '1d', '2026-11-02', '2026-11-27', 'test')""",
        "providers answered up to 2026-11-27 and gave no newer bar",
        "python -m market set-ticker OLD --status inactive",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_stale_symbol_has_a_reason_and_a_remedy(conn: Conn, name: str) -> None:
    statement, reason, remedy = REASONS[name]
    at(conn, utc("2026-11-29 12:00"))
    ticker(conn, "OLD", "2026-11-02")
    if name not in {"parked", "waits", "retried"}:
        conn.execute("DELETE FROM outbox")
    for each in statement.split(";"):
        if each.strip() and not each.startswith("--"):
            conn.execute(each.encode())
    [stale] = conn.execute("SELECT * FROM coverage_stale()").fetchall()
    assert (stale["symbol"], stale["sessions_behind"]) == ("OLD", 18)
    assert (stale["reason"], stale["remedy"]) == (reason, remedy)
    told = value(conn, "SELECT coverage_symbol('OLD')")
    assert (told["reason"], told["remedy"]) == (reason, remedy)


Rows = list[tuple[str, int | None]]
SYMBOLS = st.lists(
    st.tuples(st.sampled_from([*CALENDARS.values(), "?.QQ"]), st.none() | st.integers(0, 12)),
    max_size=60,
)
MOMENT = st.datetimes(
    dt.datetime(2026, 3, 1),  # noqa: DTZ001 - hypothesis adds the zone
    dt.datetime(2026, 12, 31),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)


def oracle(closes: dict[str, list[tuple[dt.date, dt.datetime]]], now: dt.datetime) -> Any:
    """The finished sessions of a calendar: those that closed half an hour ago."""
    return {
        calendar: [date for date, closed in each if closed <= now - dt.timedelta(minutes=30)]
        for calendar, each in closes.items()
    }


@settings(max_examples=40)
@given(SYMBOLS, MOMENT)
def test_it_says_what_an_oracle_says(world: Conn, rows: Rows, now: dt.datetime) -> None:
    closes: dict[str, list[tuple[dt.date, dt.datetime]]] = {"?.QQ": []}
    for each in world.execute(
        "SELECT calendar, session, closes_at FROM market_sessions WHERE session > '2026-01-01' ORDER BY session"
    ):
        closes.setdefault(each["calendar"], []).append((each["session"], each["closes_at"]))
    done = oracle(closes, now)
    buckets: Counter[str] = Counter()
    behind: dict[str, int | None] = {}
    with world.transaction(force_rollback=True):
        at(world, now)
        for n, (calendar, days) in enumerate(rows):
            finished = done[calendar]
            last = None
            if days is not None:  # some calendar days before now, whether or not a session
                last = now.date() - dt.timedelta(days=days + 2)
                ticker(world, f"S{n}", last.isoformat(), calendar=calendar)
            else:
                ticker(world, f"S{n}", calendar=calendar)
            age = len(finished) - bisect_right(finished, last) if last and finished else None
            behind[f"S{n}"] = age
            buckets["none" if age is None else ("<=24h", "24-48h", ">48h")[min(age, 2)]] += 1
        found = report(world)
        told = {
            each["symbol"]: each["sessions_behind"]
            for each in world.execute("SELECT symbol, sessions_behind FROM coverage_symbols")
        }
    assert told == behind
    daily, freshness = found["daily"], found["daily"]["freshness"]
    assert freshness == {name: buckets[name] for name in BUCKETS}
    assert sum(freshness.values()) == found["symbols"] == len(rows)
    for each in (daily, found["m5"]):
        assert each["count"] + each["stale_48h"] + each["missing"] == found["symbols"]
        assert sum(each["freshness"].values()) == found["symbols"]
    assert len(daily["stale"]) == min(50, daily["stale_48h"] + daily["missing"])
    label = found["status"]["label"]
    assert (label == "idle") == (not rows)
    if rows:
        assert (label == "degraded") == (daily["stale_48h"] + daily["missing"] > 0)


def test_a_snapshot_an_hour_and_the_newest_has_the_report(conn: Conn) -> None:
    ticker(conn, "AAPL", "2026-11-27")
    for n, moment in enumerate(["12:00", "12:59", "13:00", "13:30"]):
        at(conn, utc(f"2026-11-29 {moment}"))
        assert value(conn, "SELECT sweep_coverage(90)") == 0
        assert value(conn, "SELECT count(*) FROM coverage_health") == n // 2 + 1
    assert value(conn, "SELECT count(*) FROM coverage_health") == 2
    assert value(conn, "SELECT count(report) FROM coverage_health") == 1
    cached = value(conn, "SELECT coverage_cached()")
    assert cached["meta"]["source"] == "cache"
    assert cached["meta"]["updated_at"] == "2026-11-29T13:00:00+00:00"
    assert cached["meta"]["snapshot_age_seconds"] == 1800
    assert [each["at"] for each in cached["meta"]["history"]] == [
        "2026-11-29T12:00:00+00:00",
        "2026-11-29T13:00:00+00:00",
    ]
    # Bars that came since are in the report that is computed, and not in the snapshot.
    ticker(conn, "NEW", "2026-11-27")
    now = report(conn)
    assert (now["meta"]["source"], now["symbols"], cached["symbols"]) == ("db", 2, 1)
    refreshed = value(conn, "SELECT coverage_snapshot()")
    assert (refreshed["meta"]["source"], refreshed["meta"]["snapshot_age_seconds"]) == ("db", 0)
    assert value(conn, "SELECT coverage_cached()")["symbols"] == 2


def test_while_it_is_degraded_a_snapshot_comes_every_five_minutes(conn: Conn) -> None:
    ticker(conn, "AAPL")
    at(conn, utc("2026-11-29 12:00"))
    value(conn, "SELECT sweep_coverage(90)")
    put_bars(conn, "AAPL", {day("2026-11-27"): 1.0})
    for moment, label in [("12:04", "degraded"), ("12:05", "ok")]:
        at(conn, utc(f"2026-11-29 {moment}"))
        value(conn, "SELECT sweep_coverage(90)")
        assert value(conn, "SELECT label FROM coverage_health") == label


def test_snapshots_are_bounded(conn: Conn) -> None:
    ticker(conn, "AAPL", "2026-11-27")
    conn.execute(
        "INSERT INTO coverage_health (hour, label, summary, symbols, daily_pct, m5_pct, stale_daily,"
        " missing_daily, stale_m5) SELECT h, 'ok', '', 1, 100, 0, 0, 0, 0 FROM generate_series("
        "timestamptz '2026-08-01 00:00Z', '2026-11-29 11:00Z', '1 hour') h"
    )
    at(conn, utc("2026-11-29 12:00"))
    assert value(conn, "SELECT sweep_coverage(90)") == 30 * 24 + 12
    assert value(conn, "SELECT count(*) FROM coverage_health") == 90 * 24 + 1
    assert len(report(conn)["meta"]["history"]) == 48


def test_a_failing_statement_is_unknown_and_says_why(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    ticker(conn, "AAPL", "2026-11-27")
    value(conn, "SELECT coverage_snapshot()")
    with conn.transaction(force_rollback=True):
        conn.execute(
            "CREATE OR REPLACE FUNCTION coverage_indices() RETURNS jsonb LANGUAGE sql STABLE AS"
            " 'SELECT to_jsonb(1 / 0)'"
        )
        found = report(conn)
    assert found["status"]["label"] == "unknown"
    assert found["status"]["summary"] == (
        "coverage could not be computed: division by zero; the figures are of 2026-11-29 12:00:00+00"
    )
    assert (found["meta"]["source"], found["symbols"]) == ("cache", 1)
    assert found["daily"]["last"] == {"AAPL": "2026-11-27"}


def test_a_timeout_is_unknown_and_a_person_s_cancel_is_none(conn: Conn) -> None:
    conn.execute(
        "CREATE OR REPLACE FUNCTION coverage_indices() RETURNS jsonb LANGUAGE plpgsql STABLE AS"
        " 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'"
    )
    conn.execute("SET LOCAL statement_timeout = '200ms'")
    found = report(conn)
    assert found["status"]["label"] == "unknown"
    assert "took longer than 200ms" in found["status"]["summary"]
    assert found["symbols"] == 0
    conn.execute(
        "CREATE OR REPLACE FUNCTION coverage_indices() RETURNS jsonb LANGUAGE plpgsql STABLE AS"
        " 'BEGIN PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NULL; END'"
    )
    conn.execute("SET LOCAL statement_timeout = '30s'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        report(conn)


def test_the_label(conn: Conn) -> None:
    """Each rule of `label`, from figures."""

    def interval(fresh: int, behind: int, stale: int, missing: int) -> str:
        return json.dumps(
            {
                "count": fresh + behind,
                "freshness": {"<=24h": fresh},
                "stale_48h": stale,
                "missing": missing,
            }
        )

    for symbols, daily, m5, label in [
        (0, (0, 0, 0, 0), (0, 0, 0, 0), "idle"),
        (10, (10, 0, 0, 0), (0, 0, 0, 10), "ok"),
        (10, (5, 5, 0, 0), (0, 0, 0, 10), "ok"),
        (10, (9, 0, 1, 0), (0, 0, 0, 10), "degraded"),
        (10, (9, 0, 0, 1), (0, 0, 0, 10), "degraded"),
        (10, (10, 0, 0, 0), (0, 2, 0, 8), "degraded"),  # none of the last session
        (10, (10, 0, 0, 0), (2, 0, 0, 8), "ok"),
        (10, (10, 0, 0, 0), (2, 0, 1, 7), "warning"),
    ]:
        status = value(
            conn,
            "SELECT coverage_status(%s, %s::jsonb, %s::jsonb)",
            [symbols, interval(*daily), interval(*m5)],
        )
        assert status["label"] == label, (daily, m5)


def test_health_and_metrics_read_the_newest_snapshot(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    health = "SELECT state, message FROM reckoner_health() WHERE name = 'coverage'"
    assert conn.execute(health).fetchone() == {"state": "ok", "message": "no snapshot yet"}
    conn.execute("SELECT worker_heartbeat('w', 'host', 1, 'notify', 0, 60, NULL, NULL, true)")
    metrics = "SELECT label, other, value FROM reckoner_metrics('w') WHERE name = %s AND value > 0"
    assert conn.execute(metrics, ["coverage_state"]).fetchall() == []
    ticker(conn, "AAPL", "2026-11-27")
    ticker(conn, "OLD", "2026-11-02")
    value(conn, "SELECT coverage_snapshot()")
    conn.execute("DROP VIEW coverage_symbols CASCADE")  # nothing is computed anew
    assert conn.execute(health).fetchone() == {
        "state": "warn",
        "message": "daily bars of 1 of 2 symbols are fresh, 1 stale, 2026-11-29 12:00:00+00:"
        " python -m market coverage says which and why",
    }
    assert [tuple(row.values()) for row in conn.execute(metrics, ["coverage_state"])] == [
        ("degraded", None, 1)
    ]
    assert {tuple(row.values()) for row in conn.execute(metrics, ["coverage"])} == {
        ("1d", "<=24h", 1),
        ("1d", ">48h", 1),
        ("5m", "none", 2),
    }


# Five-minute bars: Thanksgiving week. The half day of Friday has room for 42.

FRIDAY = ("2026-11-27 14:30+00", 42)
WEDNESDAY = ("2026-11-25 14:30+00", 78)


def five_minutes(conn: Conn, symbol: str, opens: str, count: int) -> None:
    """Bars from an opening on, and what the store notes of them."""
    conn.execute(
        "SELECT intraday_partitions_ensure(%s::timestamptz, %s::timestamptz)", [opens, opens]
    )
    conn.execute(
        'INSERT INTO price_history_intraday (symbol, "interval", ts, close, source_provider, pulled_at)'
        " SELECT %s, '5m', %s::timestamptz + n * interval '5 minutes', 1, 'test', now()"
        " FROM generate_series(0, %s - 1) n",
        [symbol, opens, count],
    )
    conn.execute(
        "INSERT INTO intraday_symbols (symbol, last_bar, last_session, session_bars)"
        " SELECT %s, max(ts), max(ts)::date, count(*) FROM price_history_intraday"
        " WHERE symbol = %s AND ts >= %s ON CONFLICT (symbol) DO UPDATE SET last_bar = excluded.last_bar,"
        " last_session = excluded.last_session, session_bars = excluded.session_bars",
        [symbol, symbol, opens],
    )


def test_five_minute_bars_are_counted_in_sessions_too(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    for symbol in ("FULL", "PART", "ONE", "OLD", "NONE"):
        ticker(conn, symbol, "2026-11-27")
    assert report(conn)["status"]["label"] == "ok"  # nobody follows them
    five_minutes(conn, "ONE", *WEDNESDAY)
    found = report(conn)
    assert found["status"]["label"] == "degraded"
    assert found["status"]["summary"].endswith("; no five-minute bar of the last session")
    five_minutes(conn, "FULL", *FRIDAY)
    five_minutes(conn, "PART", FRIDAY[0], 12)
    assert report(conn)["status"]["label"] == "ok"
    five_minutes(conn, "OLD", "2026-11-24 14:30+00", 78)
    found = report(conn)
    assert found["status"]["label"] == "warning"
    assert found["m5"]["freshness"] == {"<=24h": 2, "24-48h": 1, ">48h": 1, "none": 1}
    assert found["m5"]["last"]["FULL"] == "2026-11-27T17:55:00+00:00"
    assert found["status"]["summary"] == (
        "daily bars of 5 of 5 symbols are fresh; five-minute bars of 2, 1 a session behind, 1 stale"
    )
    bars = {
        symbol: (row(conn, symbol)["m5_bars"], row(conn, symbol)["m5_expected"])
        for symbol in ("FULL", "PART", "ONE", "NONE")
    }
    assert bars == {"FULL": (42, 42), "PART": (12, 42), "ONE": (0, 42), "NONE": (0, 42)}


def test_bars_of_the_session_under_way_do_not_hide_a_missing_one(conn: Conn) -> None:
    at(conn, utc("2026-11-25 16:00"))  # New York trades; Tuesday's was the last finished session
    for symbol in ("BOTH", "TODAY"):
        ticker(conn, symbol, "2026-11-24")
    five_minutes(conn, "BOTH", "2026-11-24 14:30+00", 78)
    for symbol in ("BOTH", "TODAY"):
        five_minutes(conn, symbol, WEDNESDAY[0], 10)
    assert row(conn, "BOTH")["m5_bucket"] == "<=24h"
    assert row(conn, "BOTH")["m5_bars"] == row(conn, "BOTH")["m5_expected"] == 78
    assert row(conn, "TODAY")["m5_bucket"] == "24-48h"
    assert row(conn, "TODAY")["m5_bars"] == 0


# What it follows.


def test_members_and_holdings_are_followed_before_they_are_registered(conn: Conn) -> None:
    at(conn, utc("2026-11-29 12:00"))
    conn.execute(
        "INSERT INTO index_constituents (index_name, symbol, is_active, became_inactive_at) VALUES"
        " ('SP500', 'AAPL', true, NULL), ('SP500', 'GONE', false, reckoner_now() + interval '1 hour'),"
        " ('DOW30', 'AAPL', true, NULL)"
    )
    conn.execute("INSERT INTO holdings (symbol, quantity) VALUES ('HELD', 2), ('SOLD', 0)")
    found = report(conn)
    assert found["indices"] == {"SP500": 1, "NASDAQ100": 0, "DOW30": 1}
    assert found["symbols"] == found["tracked_count"] == 3
    rows = {each["symbol"]: each for each in conn.execute("SELECT * FROM coverage_stale()")}
    assert set(rows) == {"AAPL", "GONE", "HELD"}
    assert rows["HELD"]["reason"] == "not registered yet"
    job = value(conn, "SELECT job_start('stale', NULL, '2026-01-01', '2026-11-29', -10)")
    asked = "SELECT array_agg(symbol ORDER BY symbol) FROM price_job_symbols WHERE job_id = %s"
    assert value(conn, asked, [job]) == ["AAPL", "GONE", "HELD"]
    # A name that is not a symbol, in another program's registry, has no bars and is no fault.
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('not one')")
    found = report(conn)
    assert (found["symbols"], found["tracked_count"]) == (3, 4)


def reads(conn: Conn) -> dict[str, int]:
    """Blocks that coverage() reads, and rows of the tables of bars."""
    count = (
        "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint"
        " FROM pg_stat_xact_user_tables WHERE relname ~ '^(market_prices|price_history_intraday)'"
    )
    before = value(conn, count)
    plan = value(conn, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT coverage()")[0]["Plan"]
    return {
        "blocks": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        "rows": value(conn, count) - before,
    }


def test_its_reads_follow_the_symbols_and_not_the_bars(world: Conn) -> None:
    symbols = 300
    grow = (
        "INSERT INTO market_prices (symbol, date, close, source, fetched_at)"
        " SELECT 'R' || n, s.session, 1, 'test', now() FROM generate_series(1, %s) n"
        " JOIN market_sessions s ON s.calendar = 'XNYS' AND s.session > %s AND s.session <= %s"
    )
    with world.transaction(force_rollback=True):
        at(world, utc("2026-11-29 12:00"))
        world.execute(
            "INSERT INTO ticker_registry (symbol, calendar) SELECT 'R' || n, 'XNYS'"
            " FROM generate_series(1, %s) n",
            [symbols],
        )
        world.execute(grow.encode(), [symbols, "2026-11-20", "2026-11-27"])
        for n in range(1, 31):
            five_minutes(world, f"R{n}", *FRIDAY)
        for _ in range(7):  # the session settles for a plan while the tables are small
            assert reads(world)["rows"] == symbols
        world.execute(grow.encode(), [symbols, "2024-01-01", "2026-11-20"])
        for opens in ("2026-11-23 14:30+00", "2026-11-24 14:30+00", WEDNESDAY[0]):
            world.execute(
                'INSERT INTO price_history_intraday (symbol, "interval", ts, close, source_provider,'
                " pulled_at) SELECT 'R' || s, '5m', %s::timestamptz + n * interval '5 minutes', 1, 'test', now()"
                " FROM generate_series(0, 77) n, generate_series(1, 30) s",
                [opens],
            )
        assert value(world, "SELECT count(*) FROM market_prices WHERE symbol LIKE 'R%%'") > 200_000
        found = reads(world)
    assert found["rows"] == symbols
    assert found["blocks"] < 30 * symbols
