"""The daily sync: after a session's close, once, only what is missing, by whoever sweeps first."""

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from market.prices import sync
from market.providers import Capabilities, Request
from market.providers.base import Answer
from market.snapshots import Benchmark
from tests.support.cli import document, with_csv
from tests.support.clock import clock, stopped_clock, utc
from tests.support.context import context_of
from tests.support.db import Conn, connect, value
from tests.support.market import flat_bars, put_bars, sessions, set_fetched, write_csv
from tests.support.providers import FakeProvider, serving
from tests.support.waiting import until
from tests.worker.hindrances import owners_trigger, row_held
from worker import sweep
from worker.daily_sync import DailySync
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown

THURSDAY = "2024-06-13 22:00"
MIDDAY = "2024-06-13 17:00"


def stored(conn: Conn, *symbols: str, until: str, missing: str | None = None) -> None:
    """Tickers with bars of the weeks before, all that providers were asked for but `missing`."""
    days = sessions(conn, "2024-05-01", until)
    for symbol in symbols:
        set_fetched(conn, symbol, days[0], days[-1])
        put_bars(conn, symbol, {day: 100.0 for day in days if str(day) != missing})
        conn.execute(
            "UPDATE ticker_registry SET calendar = 'XNYS', backfill_status = 'completed',"
            " last_backfill = now(), price_data_end = %s WHERE symbol = %s",
            [days[-1], symbol],
        )
    conn.execute("DELETE FROM outbox")


def swept(url: str, moment: str, *, on: bool = True) -> dict[str, int]:
    with stopped_clock(url, utc(moment)) as database:
        found = sweep.once(database, WorkerSettings(worker_daily_sync=on))
        assert found is not None
        return found


def asked(conn: Conn) -> list[tuple[str, str, int]]:
    rows = conn.execute(
        "SELECT s.symbol, s.want_from::text AS since, o.priority FROM price_job_symbols s"
        " JOIN outbox o ON o.topic = 'ticker' AND o.key = s.symbol ORDER BY 1"
    )
    return [(row["symbol"], row["since"], row["priority"]) for row in rows]


def test_after_the_close_each_ticker_is_asked_for_once(url: str, conn: Conn) -> None:
    stored(conn, "AAA", "BBB", until="2024-06-12")
    assert swept(url, MIDDAY)["sync"] == 0  # Thursday's session is under way
    assert swept(url, THURSDAY)["sync"] == 2
    assert asked(conn) == [("AAA", "2024-06-13", -5), ("BBB", "2024-06-13", -5)]
    conn.execute("DELETE FROM outbox")
    assert swept(url, THURSDAY)["sync"] == 0


def test_a_hole_of_the_week_is_asked_for_again_and_an_older_one_is_not(
    url: str, conn: Conn
) -> None:
    stored(conn, "NEW", until="2024-06-13", missing="2024-06-10")
    stored(conn, "OLD", until="2024-06-13", missing="2024-05-20")
    assert swept(url, THURSDAY)["sync"] == 1
    assert asked(conn) == [("NEW", "2024-06-10", -5)]


def test_who_is_not_asked_for(url: str, conn: Conn) -> None:
    stored(conn, "GONE", "SLEEPY", "DEAD", "SILENT", until="2024-06-12")
    conn.execute("UPDATE ticker_registry SET status = 'invalid' WHERE symbol = 'GONE'")
    conn.execute("UPDATE ticker_registry SET status = 'inactive' WHERE symbol = 'SLEEPY'")
    conn.execute("INSERT INTO outbox (topic, key, status) VALUES ('ticker', 'DEAD', 'dead')")
    conn.execute("UPDATE ticker_registry SET price_data_end = '2024-05-02' WHERE symbol = 'SILENT'")
    # Another program's, never fetched by us.
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('THEIRS', 'XNYS')")
    conn.execute("DELETE FROM outbox WHERE key = 'THEIRS'")
    assert swept(url, THURSDAY)["sync"] == 0
    assert value(conn, "SELECT status FROM outbox WHERE key = 'DEAD'") == "dead"


def test_it_can_be_switched_off(url: str, conn: Conn) -> None:
    stored(conn, "AAA", until="2024-06-12")
    assert "sync" not in swept(url, THURSDAY, on=False)
    assert value(conn, "SELECT count(*) FROM market_syncs") == 0


class Batches(FakeProvider):
    """A provider that gives many symbols at once."""

    def __init__(self) -> None:
        super().__init__("fmp", serving(lambda _: 100.0), capabilities=Capabilities(batch=100))
        self.batches: list[list[str]] = []

    def credits_for(self, _requests: Sequence[Request]) -> int:
        return 1

    def fetch_many(self, requests: Sequence[Request]) -> list[Answer]:
        self.batches.append([request.symbol for request in requests])
        return [self.fetch(request) for request in requests]


def test_a_provider_with_batches_is_asked_once_for_all_and_the_rest_become_events(
    url: str, conn: Conn
) -> None:
    stored(conn, "AAA", "BBB", until="2024-06-12")
    stored(conn, "HOLE", until="2024-06-12", missing="2024-06-10")
    stored(conn, "LATE", until="2024-06-11")
    provider = Batches()
    with stopped_clock(url, utc(THURSDAY)) as database:
        done = sync.after_close(database, [provider], 0, lambda _: None)
        again = sync.after_close(database, [provider], 0, lambda _: None)
    assert [(each.topped_up, each.enqueued) for each in done] == [(3, 2)]
    assert again == []
    assert provider.batches == [["AAA", "BBB", "HOLE"]]
    assert [row[:2] for row in asked(conn)] == [("HOLE", "2024-06-10"), ("LATE", "2024-06-12")]


@pytest.mark.parametrize("fault", ["trigger", "lock"])
def test_a_symbol_that_cannot_be_stored_becomes_an_event_and_the_others_are_stored(
    url: str, conn: Conn, fault: str
) -> None:
    stored(conn, "AAA", "TSLA", "ZZZ", until="2024-06-12")
    with contextlib.ExitStack() as stack:
        if fault == "trigger":
            owners_trigger(conn, "market_prices")
        else:
            stack.enter_context(row_held(url, "ticker_registry", "TSLA"))
        database = stack.enter_context(stopped_clock(url, utc(THURSDAY)))
        done = sync.after_close(database, [Batches()], 0, lambda _: None)
    assert [(each.topped_up, each.enqueued) for each in done] == [(2, 1)]
    assert [row[:2] for row in asked(conn)] == [("TSLA", "2024-06-13")]


def test_a_top_up_stores_snapshots_that_compare_with_the_new_bar(url: str, conn: Conn) -> None:
    stored(conn, "AAA", "BBB", "CCC", "ZSPY", until="2024-06-12")
    with stopped_clock(url, utc(THURSDAY)) as database:
        sync.after_close(database, [Batches()], 0, lambda _: None, Benchmark("ZSPY"))
    rows = conn.execute("SELECT as_of_date::text, benchmark_as_of::text FROM market_snapshot")
    assert [tuple(row.values()) for row in rows] == [("2024-06-13", "2024-06-13")] * 4
    assert value(conn, "SELECT count(*) FROM market_snapshot_due") == 0


def test_an_error_of_one_symbol_ends_a_top_up_whichever_thread_has_it(
    url: str, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(conn, "AAA", "BBB", "CCC", until="2024-06-12")

    def failing(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr("market.prices.bulk.continuation", failing)
    monkeypatch.setattr("market.prices.bulk.is_away", lambda *_: True)
    with stopped_clock(url, utc(THURSDAY)) as database, pytest.raises(psycopg.OperationalError):
        sync.after_close(database, [Batches()], 0, lambda _: None)


def test_while_one_worker_asks_no_other_does(url: str, conn: Conn) -> None:
    stored(conn, "AAA", until="2024-06-12")
    with stopped_clock(url, utc(THURSDAY)) as database:
        with database.transaction() as claiming:
            assert claiming.execute("SELECT * FROM sync_claim(600)").fetchall()
        assert sync.after_close(database, [Batches()], 0, lambda _: None) == []
        found = sweep.once(database, WorkerSettings())
        assert found is not None
        assert found["sync"] == 0
    # It died: when its claim is over, the next does it.
    assert swept(url, "2024-06-13 22:11")["sync"] == 1


def test_the_command_fetches_what_is_missing_and_only_that(
    url: str, conn: Conn, tmp_path: Path
) -> None:
    # A Saturday: no session ends between two of the commands.
    with clock(url, utc("2024-06-15 12:00")):
        days = sessions(conn, "2024-04-15", "2024-06-14")
    folder = tmp_path / "bars"
    for symbol in ("FULL", "LACKS"):
        write_csv(folder, symbol, flat_bars(days, start=100, step=0))
    stored(conn, "FULL", until="2024-06-14")
    stored(conn, "LACKS", until="2024-06-14", missing=str(days[-2]))
    done = with_csv(url, folder, "market", "data-sync", "--no-wait", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = document(done)
    assert (row["kind"], row["symbols"], row["left"]) == ("sync", 1, 1)
    assert with_csv(url, folder, "worker", "run", "--drain").returncode == 0
    assert (
        value(
            conn,
            "SELECT count(*) FROM market_prices WHERE symbol = 'LACKS' AND date = %s",
            [days[-2]],
        )
        == 1
    )
    assert value(conn, "SELECT count(*) FROM ingestion_audit") == 1
    done = with_csv(url, folder, "market", "update-all-prices", "--json")
    (row,) = document(done)
    assert (row["kind"], row["symbols"]) == ("update", 0)
    with connect(url) as other:
        other.execute("INSERT INTO ticker_registry (symbol) VALUES ('NONE')")
    (row,) = document(
        with_csv(url, folder, "market", "backfill-all-missing", "--dry-run", "--json")
    )
    assert (row["kind"], row["symbols"], row["left"]) == ("missing", 1, 1)


class Broken(Batches):
    """A provider whose adapter has a fault of its own, or meets an error of the database."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def fetch_many(self, requests: Sequence[Request]) -> list[Answer]:
        raise self.error(f"a slip over {len(requests)} requests")


@pytest.mark.parametrize("error", [TypeError, psycopg.errors.SerializationFailure])
def test_a_fault_while_asking_for_all_leaves_it_to_events(
    url: str, conn: Conn, error: type[Exception]
) -> None:
    stored(conn, "AAA", until="2024-06-12")
    with stopped_clock(url, utc(THURSDAY)) as database:
        shutdown = Shutdown()
        daily = DailySync(context_of(database, [Broken(error)], shutdown=shutdown))
        thread = threading.Thread(target=daily.run)
        thread.start()
        daily.start()
        try:
            until("the event is written", lambda: asked(conn), 60)
            assert asked(conn) == [("AAA", "2024-06-13", -5)]
            assert thread.is_alive()
        finally:
            shutdown.requested.set()
            thread.join(60)
