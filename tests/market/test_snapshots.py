"""Snapshots: of the bars that are stored and no others, in every order of stores and crashes."""

import datetime as dt
import itertools
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market import snapshots
from market.indicators import COLUMNS, ENGINE_VERSION, Bars, latest
from market.prices import bars_table
from market.providers import Bar
from market.snapshots import Benchmark, refresh
from market.snapshots.stored import read, read_after
from sql.database import Database
from tests.support.backends import backends, until_waiting
from tests.support.clock import at
from tests.support.db import Conn, value
from tests.support.market import sessions
from tests.support.process import ROOT
from tests.support.providers import plain_bars

# Columns of market_snapshot that are no indicators.
ABOUT = (
    "symbol", "analysis_type", "as_of_date", "as_of_timestamp", "analysis_timestamp", "expiry_timestamp",
    "current_price", "bars", "bars_digest", "benchmark", "benchmark_as_of", "benchmark_digest",
    "engine_version", "name", "sector", "industry", "market_cap", "raw_analysis",
)  # fmt: skip
SPY = "SPY"


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """Two years of sessions; ACME, OTHER and SPY are registered, and nothing rings."""
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('ACME'), ('OTHER'), ('SPY')")
    conn.execute("DELETE FROM outbox")
    return sessions(conn, "2022-01-03", "2023-12-29")


def wavy(days: Sequence[dt.date], start: float = 100.0) -> list[Bar]:
    """Bars whose closes rise and fall."""
    return plain_bars(days, lambda n: round(start + 20 * np.sin(n / 9) + n / 10, 4))


def prepared(
    database: Database,
    symbol: str,
    bars: Sequence[Bar],
    *,
    rebased: bool = False,
    benchmark: Benchmark | None = None,
) -> snapshots.Snapshot:
    span, against = (bars[0].date, bars[-1].date), benchmark or Benchmark(SPY)
    with database.transaction() as conn:
        made = snapshots.prepare(conn, symbol, bars, *span, against, rebased=rebased)
    assert made is not None
    return made


def merge(conn: Any, symbol: str, bars: Sequence[Bar], *, rebased: bool = False) -> None:
    bars_table.store(conn, symbol, "test", bars, bars[0].date, bars[-1].date, rebased=rebased)


def store(database: Database, symbol: str, bars: Sequence[Bar], *, rebased: bool = False) -> None:
    """Store bars with their snapshot as market/prices/store.py does."""
    made = prepared(database, symbol, bars, rebased=rebased)
    with at(database) as conn:
        merge(conn, symbol, bars, rebased=rebased)
        assert snapshots.store(conn, [made]) == {}


def snapshot(conn: Conn, symbol: str = "ACME") -> dict[str, Any]:
    row = conn.execute("SELECT * FROM market_snapshot WHERE symbol = %s", [symbol]).fetchone()
    assert row is not None, symbol
    return row


def change(conn: Conn, symbol: str, day: dt.date) -> None:
    """Change a bar by hand, as an operator may."""
    conn.execute(
        "UPDATE market_prices SET close = close * 1.1 WHERE symbol = %s AND date = %s",
        [symbol, day],
    )


def due(conn: Conn) -> dict[str, str]:
    """The symbols that are due, and why."""
    rows = conn.execute("SELECT symbol, reason FROM market_snapshot_due ORDER BY 1").fetchall()
    return {row["symbol"]: row["reason"] for row in rows}


def check(conn: Conn) -> None:
    """Check the promise: a snapshot that is not due is of the bars that are stored."""
    wrong = conn.execute(
        "SELECT r.symbol FROM ticker_registry r LEFT JOIN market_snapshot s USING (symbol)"
        " WHERE s.bars_digest IS DISTINCT FROM bars_digest(r.symbol)"
        " AND r.symbol NOT IN (SELECT symbol FROM market_snapshot_due)"
    ).fetchall()
    assert wrong == []


def test_the_tables_have_just_the_columns_that_are_computed(conn: Conn) -> None:
    rows = conn.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_name IN ('market_snapshot', 'market_snapshot_history') ORDER BY ordinal_position"
    ).fetchall()
    of = {
        table: [(row["column_name"], row["data_type"]) for row in rows if row["table_name"] == table]
        for table in ("market_snapshot", "market_snapshot_history")
    }  # fmt: skip
    assert {name: kind for name, kind in of["market_snapshot"] if name not in ABOUT} == dict(
        COLUMNS
    )
    # In the same order: rows are copied whole.
    (first, _), *rest = of["market_snapshot_history"]
    assert (first, rest) == ("recorded_at", of["market_snapshot"])


def test_a_snapshot_has_what_the_indicators_say_of_the_stored_bars(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, SPY, wavy(days, 400))
    bars = wavy(days)
    store(database, "ACME", bars[:-1])
    store(database, "ACME", bars[-2:])
    row = snapshot(conn)

    def arrays(of: Sequence[Bar]) -> Bars:
        columns = [[bar[n] for bar in of] for n in (1, 2, 3, 4, 6)]
        dates = np.array([bar.date for bar in of], dtype="datetime64[D]")
        return Bars(dates, *(np.array(each, dtype=float) for each in columns))

    wanted = latest(arrays(bars), arrays(wavy(days, 400)))
    assert {name: row[name] for name in COLUMNS} == wanted
    assert sum(found is not None for found in wanted.values()) > 60
    session = "SELECT closes_at FROM market_sessions WHERE calendar = 'XNYS' AND session = %s"
    close = value(conn, session, [days[-1]])
    assert (row["as_of_date"], row["as_of_timestamp"], row["bars"]) == (days[-1], close, len(days))
    assert row["expiry_timestamp"] > close
    assert (row["benchmark"], row["benchmark_as_of"]) == (SPY, days[-1])
    assert (row["current_price"], row["engine_version"]) == (bars[-1].close, ENGINE_VERSION)
    assert due(conn) == {}
    check(conn)


def test_bars_as_they_will_be_are_those_that_a_merge_leaves(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    """Any bars over any others: new, revised, in between, with a new basis, and another program's."""
    days = days[:12]
    day = st.integers(0, 11)
    bar = st.tuples(st.sampled_from([90.0, 100.0, 101.5]), st.sampled_from([None, 0, 700]))
    some = st.dictionaries(day, bar, min_size=1)

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(stored=st.dictionaries(day, bar), theirs=st.sets(day), new=some, rebased=st.booleans())
    def meets(
        stored: dict[int, tuple[float, int | None]],
        theirs: set[int],
        new: dict[int, tuple[float, int | None]],
        *,
        rebased: bool,
    ) -> None:
        conn.execute("DELETE FROM market_prices")
        for n, (close, volume) in stored.items():
            conn.execute(
                "INSERT INTO market_prices (symbol, date, close, volume, fetched_at) VALUES ('ACME', %s, %s, %s, %s)",
                [days[n], close, volume, None if n in theirs else dt.datetime.now(dt.UTC)],
            )
        bars = [
            Bar(days[n], None, close, close, close, volume=volume)
            for n, (close, volume) in sorted(new.items())
        ]
        start, end = bars[0].date, days[11]
        with database.transaction() as inside:
            after = read_after(inside, "ACME", bars, start, end, rebased=rebased)
            bars_table.store(inside, "ACME", "test", bars, start, end, rebased=rebased)
            [found] = read(inside, ["ACME"])
        assert after == found
        assert after.digest == value(conn, "SELECT bars_digest('ACME')")

    meets()


ORDERS = [
    order
    for order in itertools.permutations(("a prepares", "a stores", "b prepares", "b stores"))
    if order.index("a prepares") < order.index("a stores")
    and order.index("b prepares") < order.index("b stores")
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_two_workers_store_bars_of_one_symbol_at_once(
    url: str, conn: Conn, database: Database, days: list[dt.date], order: tuple[str, ...], end: str
) -> None:
    """Or one of them dies before it commits: in every order a snapshot is of what is stored."""
    bars = wavy(days)
    store(database, "ACME", bars[:300])
    parts = {"a": bars[299:301], "b": bars[299:302]}
    made: dict[str, snapshots.Snapshot] = {}
    open_yet = None
    with backends(url, 2) as both:
        of = dict(zip("ab", both, strict=True))
        for step in order:
            who = step[0]
            if step.endswith("prepares"):
                if open_yet is not None and who != open_yet:
                    check(conn)
                made[who] = prepared(database, "ACME", parts[who])
                continue

            def work(backend: Conn, who: str = who) -> None:
                merge(backend, "ACME", parts[who])
                snapshots.store(backend, [made[who]])

            if open_yet is None:
                work(of[who].conn)
                open_yet = who
                continue
            last = of[who].start(work)
            until_waiting(conn, of[who], of[open_yet])
            of[open_yet].end(end)
            open_yet = None
            last.result(30)
        check(conn)
    last_of_all = order[-1][0] if order[-1].endswith("stores") else ""
    assert last_of_all
    check(conn)
    refresh.due(database, Benchmark(SPY))
    assert due(conn) == {}
    stored = value(conn, "SELECT max(date) FROM market_prices WHERE symbol = 'ACME'")
    assert snapshot(conn)["as_of_date"] == stored
    check(conn)


def test_what_changes_bars_otherwise_is_found_and_computed(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, "ACME", wavy(days))
    store(database, "OTHER", wavy(days, 50))
    change(conn, "ACME", days[99])
    conn.execute("DELETE FROM market_snapshot WHERE symbol = 'OTHER'")
    walk = "SELECT snapshots_walk(1, %s, 'SPY')"
    assert sum(value(conn, walk, [ENGINE_VERSION]) for _ in range(4)) == 2
    assert due(conn) == {
        "ACME": "it is of other bars than those stored",
        "OTHER": "it has bars and no snapshot",
    }
    refresh.due(database, Benchmark(SPY))
    assert due(conn) == {}
    check(conn)
    # Nothing is found twice; another version and another benchmark ask for all.
    assert sum(value(conn, walk, [ENGINE_VERSION]) for _ in range(5)) == 0
    conn.execute("UPDATE reckoner_installation SET snapshots_cursor = ''")
    assert value(conn, "SELECT snapshots_walk(9, 'newer', 'SPY')") == 2
    conn.execute("DELETE FROM market_snapshot_due")
    assert value(conn, "SELECT snapshots_walk(9, NULL, 'QQQ')") == 2


def test_without_bars_there_is_no_snapshot(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, "ACME", wavy(days))
    conn.execute("DELETE FROM market_prices")
    value(conn, "SELECT snapshots_walk(9, NULL, 'SPY')")
    refresh.due(database, Benchmark(SPY))
    assert value(conn, "SELECT count(*) FROM market_snapshot") == 0
    assert due(conn) == {}


def test_a_changed_benchmark_asks_for_those_that_compare_with_it(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    spy = wavy(days, 400)
    store(database, SPY, spy[:-5])
    store(database, "ACME", wavy(days))
    store(database, "OTHER", wavy(days, 50)[:-9])
    assert snapshot(conn)["benchmark_as_of"] == days[-6]
    # OTHER's last bar is older than those that come: nothing of it changes.
    store(database, SPY, spy[-6:])
    assert due(conn) == {"ACME": "the bars of SPY changed"}
    refresh.due(database, Benchmark(SPY))
    assert snapshot(conn)["benchmark_as_of"] == days[-1]
    assert value(conn, "SELECT snapshots_walk(9, NULL, 'SPY')") == 0
    change(conn, SPY, days[0])
    assert value(conn, "SELECT snapshots_walk(9, NULL, 'SPY')") == 3


def test_a_benchmark_bar_that_came_meanwhile_leaves_the_symbol_due(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    benchmark, spy, bars = Benchmark(SPY), wavy(days, 400), wavy(days)
    store(database, SPY, spy[:-1])
    made = prepared(database, "ACME", bars, benchmark=benchmark)
    store(database, SPY, spy[-2:])
    with at(database) as inside:
        merge(inside, "ACME", bars)
        assert list(snapshots.store(inside, [made])) == ["ACME"]
    assert refresh.due(database, benchmark).stored == 1
    assert snapshot(conn)["benchmark_as_of"] == days[-1]


def test_a_fault_of_one_symbol_stops_no_other_and_waits_an_hour(
    conn: Conn, database: Database, days: list[dt.date], monkeypatch: pytest.MonkeyPatch
) -> None:
    for symbol in ("ACME", "OTHER"):
        with at(database) as inside:
            merge(inside, symbol, wavy(days))

    def faulty(*_: object) -> dict[str, Any]:
        raise ZeroDivisionError("no such window")

    with monkeypatch.context() as patched:
        patched.setattr("market.indicators.latest", faulty)
        assert prepared_or_none(database, wavy(days)) is None
        done = refresh.due(database, Benchmark(SPY))
    assert (done.stored, set(done.failed)) == (0, {"ACME", "OTHER"})
    assert "no such window" in due(conn)["ACME"]
    assert refresh.due(database, Benchmark(SPY)).stored == 0
    conn.execute("ALTER TABLE market_snapshot ADD CHECK (symbol <> 'ACME')")
    conn.execute("UPDATE market_snapshot_due SET not_before = '-infinity'")
    done = refresh.due(database, Benchmark(SPY))
    assert (done.stored, list(done.failed)) == (1, ["ACME"])
    assert "check constraint" in due(conn)["ACME"]


def prepared_or_none(database: Database, bars: Sequence[Bar]) -> snapshots.Prepared:
    with database.transaction() as conn:
        return snapshots.prepare(
            conn, "ACME", bars, bars[0].date, bars[-1].date, Benchmark(SPY), rebased=False
        )


def test_the_version_is_whole_while_another_thread_imports_the_indicators() -> None:
    code = (
        "import threading, market.snapshots.refresh as r\n"
        "t = threading.Thread(target=__import__, args=['market.indicators'])\n"
        "t.start()\n"
        "while (found := r.engine_version()) is None: pass\n"
        "t.join(); print(found)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_worker_that_computes_nothing_starts_without_numpy() -> None:
    """It takes a tenth of a second and 30 MB."""
    loads = "import sys, worker.process; sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loads], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0


def test_the_company_comes_from_columns_that_the_registry_may_have(
    conn: Conn, database: Database, days: list[dt.date]
) -> None:
    store(database, "ACME", wavy(days))
    assert snapshot(conn)["name"] is None
    conn.execute(
        "ALTER TABLE ticker_registry ADD company_name varchar(255), ADD sector varchar(100), ADD market_cap bigint"
    )
    conn.execute(
        "UPDATE ticker_registry SET company_name = 'Acme', sector = 'Anvils', market_cap = 12"
    )
    refresh.these(database, Benchmark(SPY), ["ACME"])
    row = snapshot(conn)
    assert (row["name"], row["sector"], row["industry"], row["market_cap"]) == (
        "Acme",
        "Anvils",
        None,
        12,
    )
    conn.execute(
        "INSERT INTO index_constituents (index_name, symbol, name, sector, industry) VALUES"
        " ('SP500', 'ACME', 'Acme Inc.', 'Industrials', 'Traps')"
    )
    refresh.these(database, Benchmark(SPY), ["ACME"])
    row = snapshot(conn)
    assert (row["name"], row["sector"], row["industry"]) == ("Acme Inc.", "Industrials", "Traps")
