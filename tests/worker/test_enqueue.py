"""`worker enqueue`: what old predictions will cost, events of low priority, stopping and going on."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import MOMENT, bars, insert_prediction
from tests.support.process import ROOT, Start, environment
from tests.support.queue import history
from tests.support.waiting import until

_MANY = 60_000


def enqueue(url: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """The row that `worker enqueue` prints, and what it says on stderr."""
    done = command(
        url,
        "worker",
        "enqueue",
        *arguments,
        "--json",
        MARKET_PROVIDERS="csv",
        MARKET_CSV_DIR="/nowhere",
    )
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    return dict(row), done.stderr


@pytest.fixture
def before_us(conn: Conn) -> Conn:
    """A database in which no insert writes an event."""
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    conn.execute("ALTER TABLE ticker_registry DISABLE TRIGGER registry_inserted")
    return conn


def register(
    conn: Conn, symbol: str, fetched_from: str | None = None, status: str = "active"
) -> None:
    """A ticker that is known, with its history from a day on."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, last_backfill) VALUES (%s, %s, reckoner_now())",
        [symbol, status],
    )
    if fetched_from:
        conn.execute(
            "SELECT coverage_add(%s, '1d', %s, '2026-01-01', 'test')", [symbol, fetched_from]
        )


def test_it_says_what_it_will_cost(url: str, before_us: Conn) -> None:
    conn = before_us
    conn.execute("UPDATE reckoner_providers SET spacing = '1500 milliseconds' WHERE name = 'csv'")
    # 365 days before 2024-03-05 is 2023-03-06.
    register(conn, "DEEPENOUGH", "2023-03-06")
    register(conn, "TOOSHALLOW", "2023-03-07")
    register(conn, "NOTFETCHED")
    register(conn, "INVALID", status="invalid")
    register(conn, "INACTIVE", status="inactive")
    insert_prediction(conn, ["DEEPENOUGH", "TOOSHALLOW"], moment=MOMENT)
    insert_prediction(conn, ["TOOSHALLOW", "DEEPENOUGH"], moment="2024-09-05 15:00+00")
    insert_prediction(conn, ["NOTFETCHED", "INVALID", "INACTIVE"], moment=MOMENT)
    insert_prediction(conn, ["new", "NEW", "no symbol at all", 17], moment=MOMENT)
    insert_prediction(conn, ["ALSONEW", "NEW"], moment=MOMENT)
    waiting = 5
    # Nobody waits for these, and nobody asks for their tickers.
    insert_prediction(conn, ["NEVER"], moment=MOMENT, status="error")
    insert_prediction(conn, [], moment=MOMENT)
    finished, evented, answered = (insert_prediction(conn, ["NEVER"]) for _ in range(3))
    conn.execute(
        "INSERT INTO outbox_history (id, topic, key, verdict, attempts, crashes, created_at, finished_at)"
        " VALUES (4711, 'prediction', %s, 'done', 0, 0, now(), now())",
        [str(finished)],
    )
    conn.execute("INSERT INTO outbox (topic, key) VALUES ('prediction', %s)", [str(evented)])
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date) VALUES (%s, 'NEVER', %s)",
        [answered, "2024-03-05"],
    )
    events = conn.execute("SELECT * FROM outbox").fetchall()

    row, said = enqueue(url, "--all", "--dry-run")

    assert row == {
        "dry_run": True,
        "predictions": 10,
        "would_enqueue": waiting,
        "tickers": 7,
        "new_tickers": 2,
        "requests": 4,  # TOOSHALLOW, NOTFETCHED, NEW, ALSONEW
        "provider": "csv",
        "seconds": 6.0,
        "enqueued": 0,
        "waiting_before": 1,
        "waiting_after": 1,
    }
    assert said == (
        "5 of 10 predictions wait; they name 7 tickers, 2 of them new:"
        " about 4 requests to csv, at least 0:00:06 at its pace\n"
    )
    assert conn.execute("SELECT * FROM outbox").fetchall() == events

    # A later date needs less history.
    row, _ = enqueue(url, "--since", "2024-03-06", "--dry-run")
    counts = {name: row[name] for name in ("would_enqueue", "tickers", "new_tickers", "requests")}
    assert counts == {"would_enqueue": 1, "tickers": 2, "new_tickers": 0, "requests": 0}


def test_the_worker_makes_as_many_requests_as_it_said(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    for symbol in ("KNOWN", "TOOSHALLOW", "NEW"):
        bars(conn, tmp_path / "bars", symbol)
    insert_prediction(conn, ["KNOWN", "INVALID"], moment=MOMENT)
    insert_prediction(conn, ["TOOSHALLOW"], moment="2024-03-06 15:00+00")
    # What the day's sync asks for is nobody's request here.
    quiet = {"WORKER_DAILY_SYNC": "0"}
    assert start_worker("run", "--drain", **quiet).process.wait(60) == 0
    asked = "SELECT key FROM outbox_history WHERE topic = 'ticker' AND id > %s ORDER BY key"
    last = value(conn, "SELECT max(id) FROM outbox_history")
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    for _ in range(3):
        insert_prediction(conn, ["KNOWN", "TOOSHALLOW", "INVALID", "NEW", "NEW"], moment=MOMENT)

    row, _ = enqueue(url, "--all")

    assert (row["enqueued"], row["tickers"], row["new_tickers"], row["requests"]) == (3, 4, 1, 2)
    assert start_worker("run", "--drain", **quiet).process.wait(60) == 0
    assert [entry["key"] for entry in conn.execute(asked, [last])] == ["NEW", "TOOSHALLOW"]


def test_old_predictions_come_after_new_ones(
    url: str, before_us: Conn, start_worker: Start, tmp_path: Path
) -> None:
    conn = before_us
    bars(conn, tmp_path / "bars", "GOOD")
    old = [insert_prediction(conn, ["GOOD"], moment=MOMENT) for _ in range(20)]
    row, _ = enqueue(url, "--all")
    assert row["enqueued"] == len(old)
    conn.execute("ALTER TABLE predictions ENABLE TRIGGER predictions_inserted")
    new = [insert_prediction(conn, ["GOOD"], moment=MOMENT) for _ in range(3)]
    found = conn.execute("SELECT key, priority FROM outbox").fetchall()
    assert {int(event["key"]): event["priority"] for event in found} == {
        **dict.fromkeys(old, -10),
        **dict.fromkeys(new, 0),
    }

    # One batch after the other: two side by side may end in any order.
    worker = start_worker(
        "run", "--drain", WORKER_BATCH_SIZE="5", WORKER_PREDICTION_CONCURRENCY="1"
    )
    assert worker.process.wait(60) == 0

    ends = {n: history(conn, n, "prediction")[0]["finished_at"] for n in (*old, *new)}
    # The first batch has room for two of the old ones.
    late = sorted(old, key=lambda n: ends[n])[2:]
    assert max(ends[n] for n in new) < min(ends[n] for n in late)
    assert value(conn, "SELECT count(*) FROM prediction_outcomes WHERE is_complete") == 23


def test_it_can_be_interrupted_and_started_again(url: str, before_us: Conn) -> None:
    conn = before_us
    conn.execute(
        "INSERT INTO predictions (assets, analysis_status, post_timestamp)"
        " SELECT '[\"GOOD\"]', 'completed', '2024-03-05 15:00+00' FROM generate_series(1, %s)",
        [_MANY],
    )
    # The first bite goes through, the second waits until the test lets it.
    conn.execute(
        "CREATE TABLE held (); CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM outbox) THEN"
        " WHILE to_regclass('held') IS NOT NULL LOOP PERFORM pg_sleep(0.01); END LOOP;"
        " END IF; RETURN NULL; END $$;"
        " CREATE TRIGGER held BEFORE INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION hold()"
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "enqueue", "--all", "--json"],
        env=environment(url, MARKET_PROVIDERS="csv", MARKET_CSV_DIR="/nowhere"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until("some are written", lambda: value(conn, "SELECT count(*) FROM outbox"), 60)
        running.send_signal(signal.SIGINT)
        printed, said = running.communicate(timeout=30)
        conn.execute("DROP TABLE held")
    finally:
        running.kill()

    assert running.returncode == 130
    assert printed == ""
    assert said.splitlines() == [
        f"{_MANY} of {_MANY} predictions wait; they name 1 tickers, 1 of them new: about 1 requests to csv"
    ]
    written = value(conn, "SELECT count(*) FROM outbox")
    assert 0 < written < _MANY
    assert written % 10_000 == 0  # whole bites

    row, said = enqueue(url, "--all")
    assert said.startswith(f"{_MANY - written} of {_MANY} predictions wait")
    assert (row["enqueued"], row["waiting_after"]) == (_MANY - written, _MANY)
    assert value(conn, "SELECT count(DISTINCT key) FROM outbox") == _MANY
    assert value(conn, "SELECT count(*) FROM outbox") == _MANY
    assert value(conn, "SELECT min(priority) + max(priority) FROM outbox") == -20
    row, _ = enqueue(url, "--all")
    assert row["enqueued"] == 0
