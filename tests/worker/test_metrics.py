"""What a worker tells Prometheus: every metric is there, moves when it should, and names nobody."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from market.settings import PROVIDER_NAMES
from tests.support.db import Conn, value
from tests.support.hanging import HangingTicker
from tests.support.market import MOMENT, bars, insert_prediction, make_known, until_complete
from tests.support.process import (
    BELL_ONLY,
    BRISK,
    LASTING,
    ROOT,
    SHORT,
    Start,
    freeze,
    until_asleep,
)
from tests.support.queue import event, history, until_done, until_processing
from tests.support.waiting import until
from tests.worker.scrape import Port, Scrape, measured

# The first of each pair of job_tasks().
TASKS = set(
    re.findall(r"\('(\w+)', '[A-Z]", (ROOT / "sql" / "functions" / "66_runs.sql").read_text())
)
# Everything that may ever be a label's value; none of it grows with the data.
LABELS = {
    "topic": {"prediction", "ticker", "job", "alert", "webhook"},
    "verdict": {"done", "cancelled", "delayed", "failed", "dead", "merged", "lost"},
    "status": {"pending", "processing", "failed", "dead", "queued", "running", "ok"},
    "provider": set(PROVIDER_NAMES),
    "kind": {"ok", "empty", "unknown", "throttled", "plan", "bad_answer", "down"},
    "part": {
        "sequences",
        "forgotten",
        "changed",
        "closures",
        "restated",
        "snapshots",
        "computed",
        "due",
        "unfetched",
        "pruned",
        "records",
        "coverage",
        "partitions",
        "sync",
        "runs",
        "sessions",
        "alerts",
        "webhooks",
    },
    "rule": {
        "run_failed",
        "run_slow",
        "schedule_missing",
        "coverage_degraded",
        "events_dead",
        "no_worker",
        "provider_quota",
        "outcomes_overdue",
        "webhook_failing",
    },
    "task": TASKS,
    # Of schedules, and of coverage.
    "state": {"on", "off", "paused", "fault", "late", "waiting"}
    | {"idle", "ok", "warning", "degraded", "unknown"},
    "wake": {"ring", "poll", "call"},
    "mode": {"notify", "polling"},
    "index": {"SP500", "NASDAQ100", "DOW30"},
}


@pytest.fixture
def busy(conn: Conn, start_worker: Start, tmp_path: Path) -> Port:
    """A worker after a known ticker, an unknown one, a broken one, and a second prediction."""
    worker, port = measured(start_worker, **{**BRISK, "WORKER_MAX_ATTEMPTS": "1"})
    worker.ready()
    number = make_known(conn, tmp_path / "bars")
    (tmp_path / "bars" / "BROKEN.csv").write_text("no,such,columns\n")
    insert_prediction(conn, ["NOBODY", "BROKEN"])
    until("it is parked", lambda: (event(conn, "BROKEN") or {}).get("status") == "dead")
    until_done(conn, "NOBODY")
    until_done(conn, insert_prediction(conn, ["GOOD"], moment=MOMENT), "prediction")
    conn.execute("DELETE FROM predictions WHERE id = %s", [number])
    conn.execute("SELECT outbox_requeue(id) FROM outbox_history WHERE key = %s", [str(number)])
    until("it is cancelled", lambda: len(history(conn, number, "prediction")) == 2)
    # It counts after the COMMIT that others see.
    port.until("claims_ended_total", 1, topic="prediction", verdict="cancelled")
    port.until("claims_ended_total", 2, topic="ticker", verdict="done")
    port.until("claims_ended_total", 1, topic="ticker", verdict="dead")
    port.until("workers_alive", 1, mode="notify")
    until("it has swept", lambda: "reckoner_swept_total" in port.scrape().samples)
    conn.execute("SELECT run_task('daily_sync')")
    port.until("runs_ended_total", 1, task="daily_sync", status="ok")
    return port


def test_every_metric_is_there_and_has_moved(conn: Conn, busy: Port) -> None:
    got = busy.scrape()
    assert got.get("claims_ended_total", topic="prediction", verdict="done") == 3
    assert got.get("claims_ended_total", topic="ticker", verdict="done") == 2
    assert got.get("claims_ended_total", topic="ticker", verdict="dead") == 1
    assert got.get("claims_ended_total", verdict="lost") == 0
    for kind in ("ok", "unknown", "bad_answer"):
        assert got.get("provider_requests_total", provider="csv", kind=kind) == 1
    assert got.get("bars_written_total") == value(conn, "SELECT count(*) FROM market_prices")
    assert got.get("insert_to_claim_seconds_count", topic="prediction") == 4
    assert got.get("insert_to_claim_seconds_count", topic="ticker") == 3
    assert got.get("insert_to_outcome_seconds_count") == 3  # one was cancelled
    assert 0 < got.get("insert_to_outcome_seconds_sum") < 20
    assert got.get("lease_losses_total") == got.get("crashes_total") == 0
    assert got.get("listener_up") == 1
    assert abs(got.get("last_tick_timestamp_seconds") - time.time()) < 10
    assert got.get("events", topic="ticker", status="dead") == got.get("events") == 1
    assert got.get("oldest_ready_seconds") == 0
    assert got.get("workers_alive", mode="notify") == got.get("workers_alive") == 1
    assert got.get("provider_paused") == 0
    assert got.get("runs_ended_total") == got.get("claims_ended_total", topic="job") == 1
    assert abs(got.get("task_last_success_timestamp_seconds", task="daily_sync") - time.time()) < 60
    assert got.get("runs") == got.get("ticks_overdue_seconds") == 0
    assert got.get("schedules") == value(conn, "SELECT count(*) FROM schedules")
    assert got.get("tick_lateness_seconds_count") == 0  # WORKER_SCHEDULES=false

    conn.execute("SELECT provider_pause('yahoo', 600, 'a test')")
    busy.until("provider_paused", 1, provider="yahoo")
    conn.execute("UPDATE outbox SET available_at = now() - interval '1 hour' WHERE status = 'dead'")
    assert busy.scrape().get("oldest_ready_seconds") == 0  # what is parked is not ready


def test_a_wake_by_the_bell_is_counted_as_such(conn: Conn, start_worker: Start) -> None:
    worker, port = measured(start_worker, **BELL_ONLY)
    worker.ready()
    until_asleep(conn)
    until_done(conn, insert_prediction(conn, ["NOBODY"]), "prediction")
    port.until("wake_to_claim_seconds_count", 1, wake="ring")
    assert port.scrape().get("wake_to_claim_seconds_count", wake="poll") == 0


def test_no_label_holds_a_symbol_or_an_id(busy: Port) -> None:
    seen = {
        pair
        for samples in busy.scrape().samples.values()
        for labels in samples
        for pair in labels
        if pair[0] != "le"
    }
    assert {name for name, _ in seen} == set(LABELS)
    assert [pair for pair in seen if pair[1] not in LABELS[pair[0]]] == []


def expressions(path: Path) -> list[str]:
    """Every PromQL expression of the dashboard or of the alert rules."""
    text = path.read_text()
    if path.suffix == ".json":
        return [
            target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]
        ]
    found = re.findall(r"^ +expr: (?:\|\n((?:^ {10}.*\n)+)|(.*))", text, re.MULTILINE)
    return [block or line for block, line in found]


def test_what_the_dashboard_and_the_alerts_name_exists(busy: Port) -> None:
    got = busy.scrape().samples
    for path in (ROOT / "docs" / "grafana.json", ROOT / "docs" / "alerts.yaml"):
        named = [text for text in expressions(path) if "reckoner_" in text]
        assert len(named) == len(expressions(path)) > 5
        assert len(re.findall(r"\bexpr\b", path.read_text())) == len(named)
        for text in named:
            metrics = re.findall(r"\breckoner_\w+", text)
            assert set(metrics) <= set(got), text
            known = {name for each in metrics for labels in got[each] for name, _ in labels}
            used = ",".join(re.findall(r"by \(([^)]*)\)", text)).split(",")
            used += re.findall(r"(\w+)=[~\"]", text)
            assert {name.strip() for name in used} - {""} <= known, text


def test_a_crash_and_a_lost_lease_are_counted(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    frozen, frozens_port = measured(start_worker, **SHORT)
    frozen.ready()
    insert_prediction(conn, ["SLOW"])
    held = until_processing(conn, "SLOW")
    slow.until_asked()
    slow.replace(bars(conn, tmp_path, "SLOW"))
    freeze(conn, frozen)
    _, port = measured(start_worker, **{**SHORT, **LASTING, "WORKER_SWEEP_SECONDS": "86400"})
    until("another worker has done it", lambda: history(conn, "SLOW"), 60)
    port.until("crashes_total", 1)
    assert port.scrape().get("lease_losses_total") == 0

    frozen.signal(signal.SIGCONT)
    slow.answer(bars(conn, tmp_path, "OTHER", start=500.0).read_text())
    frozen.wait_for("ticker processed", id=held["id"], result="lease lost")

    frozens_port.until("lease_losses_total", 1)
    got = frozens_port.scrape()
    assert got.get("claims_ended_total", topic="ticker", verdict="lost") == 1
    assert got.get("claims_ended_total", topic="ticker") == 1
    assert got.get("bars_written_total") == 0


def test_a_crash_of_another_is_counted(conn: Conn, start_worker: Start) -> None:
    worker, port = measured(start_worker, **BRISK)
    worker.ready()
    conn.execute(
        "INSERT INTO outbox (topic, key, status, lease, leased_by, leased_until)"
        " VALUES ('ticker', 'X', 'processing', 1, 'dead', now() + interval '1 second')"
    )
    worker.wait_for("lease ended without a verdict")
    until_done(conn, "X")
    port.until("crashes_total", 1)


def test_what_a_sweep_finds_is_counted(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    worker, port = measured(start_worker, **BRISK)
    worker.ready()
    for _ in range(3):
        insert_prediction(conn, ["GOOD"])
    until_complete(conn, 3)
    port.until("swept_total", 3, part="forgotten")
    assert port.scrape().get("swept_total") == 3


def test_of_two_workers_only_the_elder_tells_of_the_queue(conn: Conn, start_worker: Start) -> None:
    workers = [measured(start_worker, **BELL_ONLY), measured(start_worker, **BELL_ONLY)]
    for worker, _ in workers:
        worker.ready()
    elder = value(conn, "SELECT pid FROM reckoner_workers ORDER BY started_at, name LIMIT 1")
    workers.sort(key=lambda pair: pair[0].process.pid != elder)
    (first, firsts_port), (_, seconds_port) = workers

    def tells(got: Scrape) -> bool:
        return "reckoner_events" in got.samples

    until("the elder tells", lambda: tells(firsts_port.scrape()))
    assert not tells(seconds_port.scrape())
    assert firsts_port.scrape().get("workers_alive") == 2
    assert "reckoner_last_tick_timestamp_seconds" in seconds_port.scrape().samples
    assert first.stop() == 0
    until("the other tells", lambda: tells(seconds_port.scrape()))


def test_an_elder_without_a_port_does_not_silence_the_others(start_worker: Start) -> None:
    start_worker(**BELL_ONLY).ready()
    worker, port = measured(start_worker, **BELL_ONLY)
    worker.ready()
    until("it tells of the queue", lambda: "reckoner_events" in port.scrape().samples)
