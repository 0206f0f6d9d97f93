"""A worker process from start to end: draining, stopping, handing back, bad events among good."""

import signal
from pathlib import Path

import pytest

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.hanging import HangingTicker
from tests.support.market import MOMENT, bars, insert_prediction, make_known
from tests.support.process import BELL_ONLY, SHORT, Start
from tests.support.queue import event, history, until_done, until_processing


def test_drain_processes_all_and_ends(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    for symbol in ("GOOD", "FINE", "BTC-USD"):
        bars(conn, tmp_path / "bars", symbol)
    for _ in range(3):
        insert_prediction(conn, ["GOOD", "FINE"], {"GOOD": "bullish"})
    insert_prediction(conn, ["good", "NOBODY", "no symbol"])

    worker = start_worker("run", "--drain")

    assert worker.process.wait(60) == 0
    assert value(conn, "SELECT count(*) FROM outbox") == 0
    states = conn.execute(
        "SELECT symbol, outcome_state, count(*) FROM prediction_outcomes GROUP BY 1, 2 ORDER BY 1"
    ).fetchall()
    assert [tuple(row.values()) for row in states] == [
        ("FINE", "complete", 3),
        ("GOOD", "complete", 4),
        ("NOBODY", "unresolvable", 1),
    ]
    verdicts = conn.execute(
        "SELECT topic, verdict, count(*) FROM outbox_history GROUP BY 1, 2 ORDER BY 1"
    ).fetchall()
    assert [tuple(row.values()) for row in verdicts] == [
        ("prediction", "done", 4),
        ("ticker", "done", 3),
    ]
    skipped = value(conn, "SELECT result -> 'skipped' FROM outbox_history WHERE result ? 'skipped'")
    assert [entry["reason"] for entry in skipped] == ["not a symbol"]
    assert value(conn, "SELECT count(*) FROM worker_status") == 0


def test_drain_of_nothing_ends(start_worker: Start) -> None:
    worker = start_worker("run", "--drain")

    assert worker.process.wait(30) == 0
    assert worker.saw("worker stopped", handed_back=0)


def test_drain_waits_for_what_is_in_flight(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    slow = HangingTicker(tmp_path / "bars")
    insert_prediction(conn, ["SLOW"])
    worker = start_worker("run", "--drain", **SHORT)
    until_processing(conn, "SLOW")
    assert worker.process.poll() is None

    slow.answer(bars(conn, tmp_path, "OTHER").read_text())

    assert worker.process.wait(30) == 0
    assert [done["verdict"] for done in history(conn, "SLOW")] == ["done"]


def test_max_seconds_bounds_an_idle_worker(start_worker: Start) -> None:
    worker = start_worker("run", "--max-seconds", "3", **BELL_ONLY).ready()

    assert worker.process.wait(20) == 0
    assert worker.saw("deadline reached")


def test_max_seconds_bounds_a_drain_that_hangs(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    HangingTicker(tmp_path / "bars")
    insert_prediction(conn, ["SLOW"])

    worker = start_worker("run", "--drain", "--max-seconds", "10", WORKER_DRAIN_SECONDS="0")

    assert worker.process.wait(30) == 0
    assert worker.saw("worker stopped", handed_back=1)
    handed_back = event(conn, "SLOW")
    assert handed_back is not None
    assert (handed_back["status"], handed_back["attempts"]) == ("pending", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_worker(
    conn: Conn, start_worker: Start, number: signal.Signals
) -> None:
    worker = start_worker(**BELL_ONLY).ready()
    assert value(conn, "SELECT count(*) FROM worker_status") == 1

    worker.signal(number)

    assert worker.process.wait(20) == 0  # and not after WORKER_DRAIN_SECONDS
    assert worker.saw("worker stopped", handed_back=0)
    assert value(conn, "SELECT count(*) FROM worker_status") == 0


def test_sigterm_hands_back_what_is_in_flight(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    HangingTicker(tmp_path / "bars")
    worker = start_worker(WORKER_DRAIN_SECONDS="1", **BELL_ONLY).ready()
    insert_prediction(conn, ["SLOW"])
    held = until_processing(conn, "SLOW")

    assert worker.stop() == 0

    assert worker.saw("worker stopped", handed_back=1, events=[held["id"]])
    back = event(conn, "SLOW")
    assert back is not None
    assert (back["status"], back["attempts"], back["crashes"]) == ("pending", 0, 0)
    assert (back["lease"], back["leased_by"], back["leased_until"]) == (None, None, None)
    assert value(conn, "SELECT available_at <= reckoner_now() FROM outbox")
    assert history(conn, "SLOW") == []


def test_sigterm_lets_what_is_in_flight_finish_and_claims_nothing_new(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    worker = start_worker(WORKER_DRAIN_SECONDS="60", **BELL_ONLY).ready()
    insert_prediction(conn, ["SLOW"])
    until_processing(conn, "SLOW")
    slow.until_asked()  # what no thread has begun yet would be handed back

    worker.signal(signal.SIGTERM)
    worker.wait_for("stopping", in_flight=1)
    late = insert_prediction(conn, ["LATE"])
    slow.answer(bars(conn, tmp_path, "OTHER").read_text())

    assert worker.process.wait(30) == 0
    assert worker.saw("worker stopped", handed_back=0)
    assert [done["verdict"] for done in history(conn, "SLOW")] == ["done"]
    left = event(conn, late, "prediction")
    assert left is not None
    assert left["status"] == "pending"


def test_a_second_signal_ends_at_once(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    slow = HangingTicker(tmp_path / "bars")
    worker = start_worker(WORKER_DRAIN_SECONDS="3600", **BELL_ONLY).ready()
    insert_prediction(conn, ["SLOW"])
    until_processing(conn, "SLOW")
    slow.until_asked()

    # Two different ones: the kernel merges two equal ones that are not taken yet.
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)

    assert worker.process.wait(30) == 130
    back = event(conn, "SLOW")
    assert back is not None
    assert (back["status"], back["attempts"], back["crashes"]) == ("pending", 0, 0)


@pytest.mark.parametrize("key", ["not a number", "99999999999", "-1", ""])
def test_a_bad_event_spoils_nothing_for_the_good_ones(
    conn: Conn, start_worker: Start, tmp_path: Path, key: str
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    good = [insert_prediction(conn, ["GOOD"]) for _ in range(2)]
    conn.execute("INSERT INTO outbox (topic, key) VALUES ('prediction', %s)", [key])
    good.append(insert_prediction(conn, ["GOOD"]))

    worker = start_worker("run", "--drain", WORKER_MAX_ATTEMPTS="1")

    assert worker.process.wait(30) == 0
    for number in good:
        assert [done["verdict"] for done in history(conn, number, "prediction")] == ["done"]
    bad = event(conn, key, "prediction")
    if bad is None:
        # A number that no prediction has is not the event's fault.
        assert [done["verdict"] for done in history(conn, key, "prediction")] == ["cancelled"]
    else:
        assert (bad["status"], bad["attempts"]) == ("dead", 1)
        assert bad["last_error"].startswith("after 1 attempts: ")


def test_a_bad_event_fails_then_is_parked_with_its_reason(conn: Conn, start_worker: Start) -> None:
    conn.execute("INSERT INTO outbox (topic, key) VALUES ('prediction', 'not a number')")

    first = start_worker("run", "--drain", WORKER_MAX_ATTEMPTS="2")
    assert first.process.wait(30) == 0
    failed = event(conn, "not a number", "prediction")
    assert failed is not None
    assert (failed["status"], failed["attempts"], failed["crashes"]) == ("failed", 1, 0)
    assert failed["available_at"] > failed["updated_at"]
    assert first.saw("event failed", id=failed["id"], key="not a number", now="failed")

    conn.execute("UPDATE outbox SET available_at = now()")
    second = start_worker("run", "--drain", WORKER_MAX_ATTEMPTS="2")
    assert second.process.wait(30) == 0
    dead = event(conn, "not a number", "prediction")
    assert dead is not None
    assert (dead["status"], dead["attempts"]) == ("dead", 2)
    assert dead["last_error"].startswith("after 2 attempts: ValueError")
    assert "parked after 2 attempts" in value(conn, "SELECT reason FROM outbox_stuck")


def test_a_prediction_that_was_deleted_is_cancelled(conn: Conn, start_worker: Start) -> None:
    number = insert_prediction(conn, ["GOOD"])
    conn.execute("DELETE FROM predictions WHERE id = %s", [number])

    assert start_worker("run", "--drain").process.wait(30) == 0

    done = history(conn, number, "prediction")
    assert [row["verdict"] for row in done] == ["cancelled"]
    assert done[0]["result"] == {"reason": "the prediction no longer exists"}
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 0


def test_one_after_the_other_is_answered_without_a_poll(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    start_worker(**BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")
    for _ in range(20):
        number = insert_prediction(conn, ["GOOD"], moment=MOMENT)
        until_done(conn, number, "prediction")


def test_a_database_that_was_not_migrated_is_refused(empty_url: str) -> None:
    done = command(empty_url, "worker", "run", "--drain", MARKET_PROVIDERS="sample")

    assert done.returncode == 3
    assert done.stdout == ""
    assert "python -m worker migrate" in done.stderr.splitlines()[-1]
