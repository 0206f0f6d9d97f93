"""Storing five-minute bars: once, set-based, what changes is flagged, and they fit the daily bar."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from market.prices.ingestion import Run
from market.prices.intraday import backfill
from market.prices.intraday.plan import IntradayPlan
from market.prices.intraday.store import Good, store_bars
from market.providers import Answer, Kind
from market.providers.base import Intraday, IntradayRequest
from sql.database import Database
from tests.support.clock import standing_still, utc
from tests.support.db import Conn, connect, value
from tests.support.intraday import FakeIntraday, five, follow, given, hours, starts
from tests.support.market import put_bars

NOW = utc("2026-11-27 19:00")  # Friday, an hour after an early close
database, conn = standing_still(NOW)
HOW = backfill.How("test", run=Run("test"))


def at_once(_seconds: float) -> None:
    """A place in a provider's queue, on a clock that stands still."""


def run(
    database: Database, *providers: FakeIntraday, symbols: Sequence[str] = ("SPY",), **options: Any
) -> dict[str, dict[str, Any]]:
    done = backfill.run(database, providers, symbols, at_once, HOW, **options)
    return {each.symbol: {"result": each.result, **each.details} for each in done}


def stored(conn: Conn, symbol: str = "SPY") -> list[dt.datetime]:
    rows = conn.execute(
        "SELECT ts FROM price_history_intraday WHERE symbol = %s ORDER BY ts", [symbol]
    )
    return [row["ts"].astimezone(dt.UTC) for row in rows]


def coverage(conn: Conn, symbol: str = "SPY") -> list[tuple[str, str, str]]:
    rows = conn.execute(
        'SELECT "from"::text AS a, "to"::text AS b, source FROM price_coverage'
        " WHERE symbol = %s AND \"interval\" = '5m' ORDER BY 1",
        [symbol],
    )
    return [(row["a"], row["b"], row["source"]) for row in rows]


def test_the_newest_sessions_are_stored_once(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    yahoo = FakeIntraday()
    done = run(database, yahoo, n_days=3)
    # A full Tuesday and Wednesday, no Thursday, half a Friday.
    assert done["SPY"] == {
        "result": "fetched", "provider": "yahoo", "from": "2026-11-24", "to": "2026-11-27",
        "bars": 198, "inserted": 198, "updated": 0, "missing": 0, "rejected": 0,
    }  # fmt: skip
    assert stored(conn) == [
        ts for each in hours(conn, "2026-11-24", "2026-11-27") for ts in starts(each)
    ]
    assert coverage(conn) == [("2026-11-24", "2026-11-27", "yahoo")]
    row = conn.execute("SELECT * FROM intraday_symbols").fetchone()
    assert row is not None
    assert (row["last_session"], row["session_bars"], row["provider"]) == (
        dt.date(2026, 11, 27),
        42,
        "yahoo",
    )
    assert (row["last_bar"], row["answered_to"]) == (
        utc("2026-11-27 17:55"),
        utc("2026-11-27 18:00"),
    )
    assert (row["claimed_by"], row["misses"], row["error"]) == (None, 0, None)
    # Again: nobody is asked.
    assert run(database, yahoo, n_days=3)["SPY"]["result"] == "up to date"
    assert len(yahoo.asked) == 1
    # And one that is asked again changes no row.
    before = conn.execute("SELECT xmin, ctid, * FROM price_history_intraday ORDER BY ts").fetchall()
    done = run(database, yahoo, n_days=3, refetch=True)
    assert (done["SPY"]["inserted"], done["SPY"]["updated"]) == (0, 0)
    assert (
        conn.execute("SELECT xmin, ctid, * FROM price_history_intraday ORDER BY ts").fetchall()
        == before
    )


def test_a_new_session_is_asked_for_alone(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    yahoo = FakeIntraday()
    run(database, yahoo, n_days=3)
    conn.execute("SELECT coverage_remove('SPY', '5m', ARRAY['2026-11-25'::date])")
    conn.execute("DELETE FROM price_history_intraday WHERE ts < '2026-11-26' AND ts > '2026-11-25'")
    done = run(database, yahoo, n_days=3)
    assert [each.date for each in yahoo.asked[-1].sessions] == [dt.date(2026, 11, 25)]
    assert done["SPY"]["inserted"] == 78
    assert coverage(conn) == [("2026-11-24", "2026-11-27", "yahoo")]


def test_a_changed_final_bar_is_replaced_and_flagged(database: Database, conn: Conn) -> None:
    follow(conn, "SPY", "QQQ")
    run(database, FakeIntraday(), symbols=["QQQ", "SPY"], n_days=1)

    def restated(request: IntradayRequest) -> Answer:
        times = [ts for each in request.sessions for ts in starts(each)]
        bars = [
            five(ts, 100.5 if n in {3, 4} else 100.0, 999 if n == 7 else 1000)
            for n, ts in enumerate(times)
        ]
        return Answer(Kind.OK, (), "", intraday=bars)

    done = run(database, FakeIntraday(answers=restated), n_days=1, refetch=True)
    assert (done["SPY"]["inserted"], done["SPY"]["updated"], done["SPY"]["revised"]) == (0, 3, 2)
    assert done["SPY"]["first_revised"] == "2026-11-27 14:45: close 100.5, 100 was stored"
    row = conn.execute("SELECT * FROM data_quality_log ORDER BY id DESC LIMIT 1").fetchone()
    assert row is not None
    assert (row["symbol"], row["interval"], row["verdict"]) == ("SPY", "5m", "flagged")
    assert row["notes"] == ["2 stored closes changed", done["SPY"]["first_revised"]]
    assert (
        value(
            conn,
            "SELECT count(*) FROM price_history_intraday WHERE close = 100.5 AND symbol = 'SPY'",
        )
        == 2
    )
    assert (
        value(
            conn,
            "SELECT count(*) FROM price_history_intraday WHERE close <> 100 AND symbol = 'QQQ'",
        )
        == 0
    )


def test_one_batch_has_new_and_stored_symbols_and_failures(database: Database, conn: Conn) -> None:
    follow(conn, "AAA", "BBB", "CCC", "DDD")
    run(database, FakeIntraday(), symbols=["AAA"], n_days=1)

    def says(request: IntradayRequest) -> Answer:
        times = [ts for each in request.sessions for ts in starts(each)]
        answers = {
            "AAA": given(times, 101.0),
            "BBB": given(times[:-2]),
            "CCC": Answer(Kind.BAD_ANSWER, message="HTTP 200: <html>"),
            "DDD": Answer(Kind.UNKNOWN, message="HTTP 404"),
        }
        return answers[request.symbol]

    done = run(
        database,
        FakeIntraday(answers=says),
        symbols=["AAA", "BBB", "CCC", "DDD"],
        n_days=1,
        refetch=True,
    )
    assert {name: row["result"] for name, row in done.items()} == {
        "AAA": "fetched", "BBB": "fetched", "CCC": "failed", "DDD": "unknown",
    }  # fmt: skip
    assert (done["AAA"]["updated"], done["BBB"]["inserted"], done["BBB"]["missing"]) == (42, 40, 2)
    rows = conn.execute(
        "SELECT symbol, error, next_at > reckoner_now() AS waits FROM intraday_symbols ORDER BY 1"
    ).fetchall()
    assert [(row["symbol"], row["error"], row["waits"]) for row in rows] == [
        ("AAA", None, None),
        ("BBB", None, None),
        ("CCC", "yahoo: bad_answer HTTP 200: <html>", True),
        ("DDD", "yahoo: unknown HTTP 404", True),
    ]
    # Nothing of it makes a ticker invalid, which only daily bars can.
    assert value(conn, "SELECT count(*) FROM ticker_registry WHERE status <> 'active'") == 0
    audit = conn.execute(
        "SELECT symbol, outcome, rows, job FROM ingestion_audit WHERE \"interval\" = '5m' ORDER BY id DESC LIMIT 4"
    ).fetchall()
    assert sorted(tuple(row.values()) for row in audit) == [
        ("AAA", "fetched", 42, "test"), ("BBB", "fetched", 40, "test"),
        ("CCC", "failed", 0, "test"), ("DDD", "unknown", 0, "test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("daily", "fields"),
    [
        ((100.0, 100.1, 99.9, 100.0), []),
        ((100.1, 100.1, 99.9, 100.0), []),  # rounding
        ((101.0, 101.0, 99.9, 100.0), ["open", "high"]),
        ((100.0, 100.1, 99.0, 99.0), ["low", "close"]),
    ],
)
def test_a_mismatch_with_the_daily_bar_is_a_flag_with_both(
    database: Database, conn: Conn, daily: tuple[float, ...], fields: list[str]
) -> None:
    follow(conn, "SPY")
    friday = dt.date(2026, 11, 27)
    put_bars(conn, "SPY", {friday: daily[3]})
    conn.execute(
        "UPDATE market_prices SET open = %s, high = %s, low = %s, close = %s, source = 'yahoo'",
        daily,
    )
    for refetch in (False, True):  # told once
        run(database, FakeIntraday(), n_days=1, refetch=refetch)
    rows = conn.execute("SELECT * FROM data_quality_log WHERE parts ? 'daily'").fetchall()
    assert len(rows) == bool(fields)
    for row in rows:
        assert (row["symbol"], row["provider"], row["range_from"]) == ("SPY", "yahoo", friday)
        assert (row["verdict"], row["flagged"]) == ("flagged", 2)
        assert [note.split()[1] for note in row["notes"]] == fields
        assert "five-minute bars 100" in row["notes"][-1]


def test_only_the_same_providers_daily_bar_is_compared_and_high_and_low_of_whole_sessions(
    database: Database, conn: Conn
) -> None:
    follow(conn, "SPY")
    put_bars(conn, "SPY", {dt.date(2026, 11, 27): 120.0})  # of `test`
    run(database, FakeIntraday(), n_days=1)
    assert value(conn, "SELECT count(*) FROM data_quality_log WHERE parts ? 'daily'") == 0
    conn.execute("UPDATE market_prices SET source = 'yahoo', open = 100, close = 100")
    conn.execute("DELETE FROM price_history_intraday WHERE ts = '2026-11-27 15:00Z'")
    assert value(conn, "SELECT intraday_compare('{SPY}', '2026-11-27', '2026-11-27')") == 0
    conn.execute("UPDATE market_prices SET close = 101")
    assert value(conn, "SELECT intraday_compare('{SPY}', '2026-11-27', '2026-11-27')") == 1


def test_an_older_month_is_made_where_it_is_needed(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    done = run(database, FakeIntraday(offer=Intraday(span_days=30)), n_days=45)
    assert done["SPY"]["inserted"] == 45 * 78 - 36
    months = conn.execute("SELECT name FROM intraday_partitions ORDER BY 1").fetchall()
    assert [row["name"][-7:] for row in months] == ["2026_09", "2026_10", "2026_11"]


def test_sixty_days_back_are_said_and_not_asked(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    yahoo = FakeIntraday("yahoo", offer=Intraday(days=60))
    run(database, yahoo, n_days=60)
    [asked] = yahoo.asked
    assert asked.sessions[0].opens_at > NOW - dt.timedelta(days=60)
    assert len(asked.sessions) == 43
    assert coverage(conn)[0][0] == str(asked.sessions[0].date)  # no older session
    done = run(database, yahoo, n_days=60)
    assert done["SPY"]["result"] == "failed"
    assert (
        done["SPY"]["reason"]
        == "yahoo has five-minute bars of the last 60 days, not of 60 days ago"
    )
    assert len(yahoo.asked) == 1
    # Another provider is asked for what the first cannot have.
    other = FakeIntraday("polygon")
    done = run(database, yahoo, other, n_days=60)
    assert done["SPY"]["provider"] == "polygon"
    assert [each.end for each in other.asked] == [asked.sessions[0].date - dt.timedelta(days=1)]


def test_bars_that_retention_drops_are_not_fetched(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    yahoo = FakeIntraday()
    how = backfill.How("test", keep_days=7)
    list(backfill.run(database, [yahoo], ["SPY"], at_once, how, n_days=60))
    assert yahoo.asked[0].start == dt.date(2026, 11, 20)


def test_a_long_range_is_asked_for_in_parts(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    polygon = FakeIntraday("polygon", offer=Intraday(span_days=7))
    done = run(database, polygon, n_days=10)
    assert sum(len(each.sessions) for each in polygon.asked) == 10
    assert len(polygon.asked) == 3
    assert all((each.until - each.sessions[0].opens_at).days < 7 for each in polygon.asked)
    assert done["SPY"]["inserted"] == 9 * 78 + 42


def test_the_next_provider_is_asked_where_bars_are_missing(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")

    def some(request: IntradayRequest) -> Answer:
        return given([ts for each in request.sessions for ts in starts(each)][:30])

    done = run(database, FakeIntraday("fmp", some), FakeIntraday("yahoo"), n_days=1)
    assert (done["SPY"]["provider"], done["SPY"]["bars"]) == ("yahoo", 42)
    asked = value(conn, "SELECT asked FROM ingestion_audit ORDER BY id DESC LIMIT 1")
    assert [each["provider"] for each in asked] == ["fmp", "yahoo"]


def test_a_plan_without_five_minute_bars_pauses_them_and_no_daily_bar(
    database: Database, conn: Conn
) -> None:
    follow(conn, "AAA", "BBB")
    fmp = FakeIntraday(
        "fmp", lambda _: Answer(Kind.PLAN, message="HTTP 402: Restricted"), canary="SPY"
    )
    done = run(database, fmp, symbols=["AAA", "BBB"], n_days=1)
    assert [row["result"] for row in done.values()] == ["later", "later"]
    assert len(fmp.asked) == 1
    paused = conn.execute("SELECT name, reason FROM provider_limits").fetchall()
    assert [tuple(row.values()) for row in paused] == [("fmp 5m", "plan: HTTP 402: Restricted")]
    assert value(conn, "SELECT paused_until FROM provider_acquire('fmp', 1)") is None
    conn.execute("SELECT provider_resume('fmp 5m')")
    run(database, fmp, symbols=["AAA"], n_days=1)
    assert len(fmp.asked) == 2


def test_two_sessions_that_store_the_same_bars_store_them_once(url: str, conn: Conn) -> None:
    follow(conn, "SPY")
    [friday] = hours(conn, "2026-11-27")
    plan = IntradayPlan("SPY", "XNYS", "stock", None)
    bars = [five(ts) for ts in starts(friday)]
    good = Good(plan, "yahoo", bars, [])
    conn.execute("SELECT intraday_partitions_ensure('2026-11-27', '2026-11-27')")
    with connect(url) as one, connect(url) as two:
        one.autocommit = two.autocommit = False
        [first] = store_bars(one, [good]).values()
        two.execute("SET statement_timeout = '200ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):  # waits for the first
            store_bars(two, [good])
        two.rollback()
        one.commit()
        two.execute("SET statement_timeout = 0")
        [second] = store_bars(two, [good]).values()
    assert (first["inserted"], second["inserted"], second["updated"]) == (42, 0, 0)


def test_other_systems_read_both_intervals_under_their_names(
    database: Database, conn: Conn
) -> None:
    follow(conn, "SPY")
    put_bars(conn, "SPY", {dt.date(2026, 11, 27): 100.0})
    conn.execute(
        "INSERT INTO market_prices (symbol, date, close) VALUES ('SPY', '2026-11-26', 1)"
    )  # not ours
    run(database, FakeIntraday(), n_days=1)
    columns = {
        "price_data": "symbol date interval open_price high_price low_price close_price adjusted_close"
        " volume data_source is_adjusted",
        "price_history_daily": "symbol date open high low close adjusted_close volume source_provider"
        " raw_hash pulled_at",
        "price_history_intraday": "symbol interval ts open high low close volume source_provider"
        " raw_hash pulled_at",
    }
    for name, wanted in columns.items():
        found = conn.execute(f"TABLE {name} LIMIT 0".encode())
        assert [column.name for column in found.description or ()] == wanted.split()
    counts = conn.execute(
        'SELECT "interval", count(*) AS n FROM price_data GROUP BY 1 ORDER BY 1'
    ).fetchall()
    assert [tuple(row.values()) for row in counts] == [("1d", 1), ("5m", 42)]
    assert value(conn, "SELECT count(*) FROM price_history_daily") == 1


@pytest.mark.parametrize("read", ["SELECT * FROM price_data", "SELECT * FROM price_history_daily"])
def test_a_reader_of_one_symbol_reads_no_other_by_these_names(conn: Conn, read: str) -> None:
    conn.execute("SELECT intraday_partitions_ensure('2026-11-01', '2026-11-01')")
    conn.execute("SET enable_seqscan = off")
    query = f"EXPLAIN (FORMAT JSON) {read} WHERE symbol = 'SPY' AND date >= '2026-11-27'"
    [found] = value(conn, query)
    text = str(found)
    assert "Function Scan" not in text
    assert "Seq Scan" not in text
    assert "Index Cond" in text


def test_the_owner_may_change_the_type_of_a_price(conn: Conn) -> None:
    """As before these views: they read the columns through a function."""
    conn.execute("ALTER TABLE market_prices ALTER volume TYPE integer, ALTER open TYPE numeric")
    put_bars(conn, "SPY", {dt.date(2026, 11, 27): 100.0})
    assert value(conn, "SELECT open FROM price_history_daily") == 100.0


def test_a_session_that_turns_out_to_have_been_is_asked_for(database: Database, conn: Conn) -> None:
    follow(conn, "SPY")
    yahoo = FakeIntraday()
    run(database, yahoo, n_days=3)
    conn.execute(
        "SELECT session_correction('XNYS', '2026-11-26', 'no holiday', '2026-11-26 14:30Z', '2026-11-26 21:00Z')"
    )
    done = run(database, yahoo, n_days=3)
    assert [each.date for each in yahoo.asked[-1].sessions] == [dt.date(2026, 11, 26)]
    assert done["SPY"]["inserted"] == 78
