"""The sweep: what no event speaks of is found, once, and what is parked or paused is left alone."""

import datetime as dt
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sql.database import Connection, Database
from tests.support.clock import set_clock
from tests.support.db import Conn, connect, value
from tests.support.hanging import HangingTicker
from tests.support.market import bars, insert_prediction, until_complete
from tests.support.process import BRISK, Start
from tests.support.queue import event, history, until_done
from worker import sweep
from worker.settings import WorkerSettings


def swept(database: Database) -> dict[str, int]:
    found = sweep.once(database, WorkerSettings())
    assert found is not None
    assert None not in found.values(), found
    return found


def drain(start_worker: Start, **settings: str) -> None:
    assert start_worker("run", "--drain", **settings).process.wait(60) == 0


def test_predictions_that_no_trigger_saw_are_found(
    conn: Conn, database: Database, start_worker: Start, tmp_path: Path
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    forgotten = [insert_prediction(conn, ["GOOD"]) for _ in range(3)]
    insert_prediction(conn, ["GOOD"], status="bypassed")
    insert_prediction(conn, [])
    assert value(conn, "SELECT count(*) FROM outbox") == 0

    assert swept(database)["forgotten"] == 3
    assert swept(database)["forgotten"] == 0
    keys = conn.execute("SELECT key FROM outbox WHERE topic = 'prediction' ORDER BY id").fetchall()
    assert [int(row["key"]) for row in keys] == forgotten

    drain(start_worker)
    until_complete(conn, 3)
    assert swept(database)["forgotten"] == 0


def test_a_part_of_a_sweep_is_one_message(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BEGIN, a savepoint and COMMIT of a dozen parts were most of an idle worker's statements."""
    monkeypatch.delattr(sweep, "trying")
    began: list[float] = []
    transaction = database.transaction

    def counted(seconds: float = 60.0, **named: float) -> AbstractContextManager[Connection]:
        began.append(seconds)
        return transaction(seconds, **named)

    monkeypatch.setattr(database, "transaction", counted)
    swept(database)
    assert len(began) < 5  # of the calendars' sessions


def test_a_running_worker_sweeps(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    worker = start_worker(**BRISK).ready()

    insert_prediction(conn, ["GOOD"])

    until_complete(conn, 1)
    worker.wait_for("swept", forgotten=1)  # said when the whole sweep is over


def test_due_outcomes_are_filled_day_by_day_and_asked_for_once(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    set_clock(conn, "2024-03-05 15:05+00")
    with connect(url) as writer:
        insert_prediction(writer, ["GOOD"], {"GOOD": "bullish"}, moment="2024-03-05 15:00+00")
    # The clock, the columns that are known then, and the fetches that were needed so far.
    steps = [
        ("2024-03-05 15:06+00", [], 1),  # the history; the entry's session is open
        ("2024-03-05 21:20+00", [], 1),  # closed, not yet settled
        ("2024-03-05 21:40+00", ["price_at_prediction"], 2),
        ("2024-03-06 20:00+00", ["price_at_prediction"], 2),
        ("2024-03-06 22:00+00", ["price_at_prediction", "price_t1"], 3),
        ("2024-03-07 22:00+00", ["price_at_prediction", "price_t1"], 3),  # t2 is no horizon
        ("2024-03-08 22:00+00", ["price_at_prediction", "price_t1", "price_t3"], 4),
        ("2024-03-14 22:00+00", ["price_at_prediction", "price_t1", "price_t3", "price_t7"], 5),
        ("2024-04-17 22:00+00", None, 6),
        ("2024-05-17 22:00+00", None, 6),
    ]
    prices = ["price_at_prediction", "price_t1", "price_t3", "price_t7", "price_t30"]
    asked, row = set[int](), None
    for clock, known, fetches in steps:
        set_clock(conn, clock)
        drain(start_worker, WORKER_DAILY_SYNC="0")  # what outcomes need, and no more
        row = conn.execute("SELECT * FROM prediction_outcomes").fetchone()
        assert row is not None
        assert [name for name in prices if row[name] is not None] == (
            prices if known is None else known
        ), clock
        assert row["is_complete"] is (known is None), clock
        asked |= {event["id"] for event in history(conn, "GOOD")}  # the sweep prunes old ones
        assert len(asked) == fetches, clock
    assert row is not None
    assert row["entry_session"] == dt.date(2024, 3, 5)
    entry = row["price_at_prediction"]
    assert [row[name] - entry for name in prices] == [0, 1, 3, 7, 30]


def test_what_another_program_holds_is_registered(conn: Conn, database: Database) -> None:
    conn.execute("INSERT INTO holdings (symbol, quantity) VALUES ('brk.b', 3), ('SOLD', 0)")
    conn.execute("INSERT INTO index_constituents (index_name, symbol) VALUES ('DOW30', 'NVDA')")
    assert swept(database)["unfetched"] == 2
    assert swept(database)["unfetched"] == 0
    rows = conn.execute("SELECT key, priority FROM outbox ORDER BY key").fetchall()
    assert [tuple(row.values()) for row in rows] == [("BRK-B", -10), ("NVDA", -10)]


def test_of_two_sweeps_at_once_one_steps_back(conn: Conn, database: Database) -> None:
    with conn.transaction():
        conn.execute("SELECT sweep_turn()")
        assert sweep.once(database, WorkerSettings()) is None
    assert sweep.once(database, WorkerSettings()) is not None


@pytest.mark.parametrize("outlier", [2147483647, 1_000_000])
def test_an_id_far_from_the_others_hides_no_prediction(
    conn: Conn, database: Database, monkeypatch: pytest.MonkeyPatch, outlier: int
) -> None:
    """Whoever inserts chooses the id. By distance, the walk was months away from what lies behind it."""
    monkeypatch.setattr(sweep, "_FORGOTTEN_SPAN", 2)
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER USER")
    forgotten = [insert_prediction(conn, ["GOOD"]) for _ in range(7)]
    conn.execute(
        "INSERT INTO predictions (id, assets, analysis_status) OVERRIDING SYSTEM VALUE"
        " SELECT %s - n, '[]', 'pending' FROM generate_series(0, 4) n",
        [outlier],
    )
    for _ in range(8):
        swept(database)
    events = conn.execute("SELECT key FROM outbox WHERE topic = 'prediction'").fetchall()
    assert sorted(int(row["key"]) for row in events) == sorted(forgotten)


def test_long_predictions_make_no_sweep_longer_and_the_walk_passes_them(
    conn: Conn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 MB of rows that compress well took a sweep's whole minute, at each sweep."""
    monkeypatch.setattr(sweep, "_FORGOTTEN_SPAN", 100)
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER USER")
    first = insert_prediction(conn, ["GOOD"])
    conn.execute(
        "INSERT INTO predictions (assets, analysis_status)"
        " SELECT jsonb_build_array(repeat('x', 2000000)), 'pending' FROM generate_series(1, 20)"
    )
    last = insert_prediction(conn, ["GOOD"])
    stored = (
        "SELECT sum(pg_column_size(assets))::bigint FROM predictions WHERE id > %s AND id <= %s"
    )
    end = value(conn, "SELECT sweep_stretch(%s, 100)", [first])
    assert first < end < last - 1
    assert value(conn, stored, [first, end]) <= 100_000
    newest = value(conn, "SELECT sweep_newest(100)")
    assert first < newest < last
    assert value(conn, stored, [newest, last]) <= 100_000
    for _ in range(10):
        swept(database)
    events = conn.execute("SELECT key FROM outbox WHERE topic = 'prediction'").fetchall()
    assert sorted(int(row["key"]) for row in events) == [first, last]


def test_history_and_dead_workers_are_pruned_by_age(conn: Conn, database: Database) -> None:
    conn.execute(
        "INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at, finished_at)"
        " SELECT n, 'ticker', 'OLD' || n, 'done', 0, 0, now() - interval '1 year',"
        " now() - make_interval(days => n) FROM generate_series(25, 35) n"
    )
    conn.execute(
        "INSERT INTO reckoner_workers (name, host, pid, started_at, last_seen_at, mode)"
        " SELECT 'worker' || n, 'host', n, now(), now() - make_interval(hours => n), 'polling'"
        " FROM unnest(ARRAY[1, 23, 25, 100]) n"
    )

    assert swept(database)["pruned"] == 6  # 30 to 35 days

    left = conn.execute("SELECT id FROM outbox_history ORDER BY id").fetchall()
    assert [row["id"] for row in left] == [25, 26, 27, 28, 29]
    workers = conn.execute("SELECT pid FROM worker_status ORDER BY pid").fetchall()
    assert [row["pid"] for row in workers] == [1, 23]


def test_a_parked_ticker_is_left_alone_until_a_prediction_names_it(
    conn: Conn, database: Database, start_worker: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / "ODD.csv").write_text("not,a,price\n1,2,3\n")
    insert_prediction(conn, ["ODD"])
    assert start_worker("run", "--drain", WORKER_MAX_ATTEMPTS="1").process.wait(30) == 0
    dead = event(conn, "ODD")
    assert dead is not None
    assert dead["status"] == "dead"
    assert value(conn, "SELECT status FROM ticker_registry") == "active"

    found = swept(database)
    assert (found["due"], found["unfetched"]) == (0, 0)
    drain(start_worker)
    assert event(conn, "ODD") == dead

    bars(conn, folder, "ODD")
    insert_prediction(conn, ["odd"])
    drain(start_worker)
    assert event(conn, "ODD") is None
    until_complete(conn, 2)
    assert [row["id"] for row in history(conn, "ODD")] == [dead["id"]]


def test_a_paused_provider_delays_and_costs_no_attempt(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    # Were it asked, it would hang.
    slow = HangingTicker(tmp_path / "bars")
    conn.execute(
        "UPDATE reckoner_providers SET paused_until = now() + interval '1 hour', pause_reason = 'a test'"
        " WHERE name = 'csv'"
    )
    insert_prediction(conn, ["SLOW"])
    worker = start_worker(**BRISK).ready()
    delayed = worker.wait_for("ticker processed", key="SLOW", result="later")

    row = event(conn, "SLOW")
    assert row is not None
    assert row["id"] == delayed["id"]
    assert (row["status"], row["attempts"], row["crashes"]) == ("pending", 0, 0)
    assert row["available_at"] == value(
        conn, "SELECT paused_until FROM reckoner_providers WHERE name = 'csv'"
    )
    assert "a test" in value(conn, "SELECT reason FROM outbox_stuck")

    slow.replace(bars(conn, tmp_path, "OTHER"))
    conn.execute("UPDATE reckoner_providers SET paused_until = now()")
    conn.execute("UPDATE outbox SET status = 'pending'")
    until_done(conn, "SLOW")
    assert [(done["verdict"], done["attempts"]) for done in history(conn, "SLOW")] == [("done", 0)]
