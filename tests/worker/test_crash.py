"""Workers that die or freeze in the middle of an event: who notices, what it costs, what it changes."""

import signal
from pathlib import Path

from tests.support.db import Conn, value
from tests.support.hanging import HangingTicker
from tests.support.market import bars, everything, insert_prediction, make_known, until_complete
from tests.support.process import (
    LASTING,
    SHORT,
    Start,
    freeze_between_heartbeats,
)
from tests.support.queue import history, until_done, until_processing
from tests.support.waiting import until


def test_a_killed_workers_event_is_retried_alone(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    first = start_worker(**SHORT).ready()
    number = insert_prediction(conn, ["SLOW"], {"SLOW": "bullish"})
    held = until_processing(conn, "SLOW")
    second = start_worker(**SHORT).ready()

    first.kill()

    second.wait_for(
        "lease ended without a verdict",
        id=held["id"],
        topic="ticker",
        key="SLOW",
        leased_by=held["leased_by"],
        now="pending",
    )
    second.wait_for("retrying alone", id=held["id"], key="SLOW", crashes=1)
    again = until_processing(conn, "SLOW")
    assert (again["id"], again["crashes"], again["attempts"]) == (held["id"], 1, 0)
    assert again["lease"] > held["lease"]
    assert held["leased_by"] in again["last_error"]

    slow.answer(bars(conn, tmp_path, "OTHER").read_text())
    until_complete(conn, 1)
    until_done(conn, "SLOW")
    done = history(conn, "SLOW")
    assert [(row["id"], row["verdict"], row["crashes"]) for row in done] == [
        (held["id"], "done", 1)
    ]
    assert value(conn, "SELECT prediction_id FROM prediction_outcomes") == number


def test_an_event_that_kills_its_workers_is_parked_with_the_reason(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    insert_prediction(conn, ["SLOW"])
    settings = {**SHORT, "WORKER_MAX_CRASHES": "2"}
    workers = [start_worker(**settings).ready()]
    until_processing(conn, "SLOW")
    workers.append(start_worker(**settings).ready())
    workers[0].kill()
    workers[1].wait_for("retrying alone", key="SLOW", crashes=1)
    last = until_processing(conn, "SLOW")
    workers.append(start_worker(**settings).ready())
    workers[1].kill()

    dead = until(
        "it is parked",
        lambda: conn.execute("SELECT * FROM outbox WHERE status = 'dead'").fetchone(),
    )
    assert (dead["key"], dead["crashes"], dead["attempts"]) == ("SLOW", 2, 0)
    assert dead["last_error"] == (
        f"its worker died 2 times while processing it, last {last['leased_by']}"
    )
    assert "2 crashes" in value(conn, "SELECT reason FROM outbox_stuck WHERE status = 'dead'")

    # The survivor goes on with everything else, and once more with this when it is told to.
    bars(conn, tmp_path / "bars", "GOOD")
    insert_prediction(conn, ["GOOD"])
    until_complete(conn, 1)
    slow.replace(bars(conn, tmp_path, "SLOW"))
    assert value(conn, "SELECT outbox_requeue_dead('ticker', 'its worker died%%')") == 1
    until_complete(conn, 2)
    assert [row["crashes"] for row in history(conn, "SLOW")] == [0]


def test_an_innocent_event_of_a_killed_worker_loses_nothing(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    poison = HangingTicker(tmp_path / "bars", "POISON")
    innocent = HangingTicker(tmp_path / "bars", "INNOCENT")
    insert_prediction(conn, ["POISON", "INNOCENT"])
    first = start_worker(**SHORT).ready()
    until_processing(conn, "POISON")
    until_processing(conn, "INNOCENT")
    innocent.until_asked()
    poison.until_asked()
    innocent.replace(bars(conn, tmp_path, "INNOCENT"))
    poison.replace(bars(conn, tmp_path, "POISON"))

    first.kill()
    second = start_worker(**{**SHORT, **LASTING})

    # One after the other: while a suspect runs, nothing runs beside it.
    for key in ("POISON", "INNOCENT"):
        second.wait_for("retrying alone", key=key, crashes=1)
    until_complete(conn, 2)
    # What it says of an event comes after the COMMIT that others see.
    for key in ("POISON", "INNOCENT"):
        second.wait_for("ticker processed", key=key)
    lines = [entry for entry in second.events if entry.get("topic") == "ticker"]
    order = [entry["event"] for entry in lines if entry["event"] != "lease ended without a verdict"]
    assert order == ["retrying alone", "ticker processed"] * 2


def test_a_lease_that_its_worker_does_not_know_of_ends(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    """Its claim was committed after the worker had given up waiting for the answer."""
    bars(conn, tmp_path / "bars", "GOOD")
    start_worker(**SHORT).ready()
    insert_prediction(conn, ["GOOD"])
    until_done(conn, "GOOD")
    name = value(conn, "SELECT name FROM reckoner_workers")
    with conn.transaction():
        assert value(conn, "SELECT ticker_enqueue('{GOOD}', 0, true)") == 1
        conn.execute("SELECT outbox_claim('ticker', %s, 1, 4)", [name])
    until("it was taken up again", lambda: len(history(conn, "GOOD")) == 2)
    assert [row["crashes"] for row in history(conn, "GOOD")] == [0, 1]


def test_a_frozen_worker_changes_nothing_when_it_wakes(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    slow = HangingTicker(tmp_path / "bars")
    frozen = start_worker(**SHORT).ready()
    insert_prediction(conn, ["SLOW"], {"SLOW": "bullish"})
    held = until_processing(conn, "SLOW")
    slow.until_asked()
    slow.replace(bars(conn, tmp_path, "SLOW"))

    freeze_between_heartbeats(conn, frozen)
    other = start_worker(**{**SHORT, **LASTING})
    other.wait_for("retrying alone", id=held["id"], crashes=1)
    until_complete(conn, 1)
    until_done(conn, "SLOW")
    before = everything(conn)

    frozen.signal(signal.SIGCONT)
    # It had prices to store, and others than those that the second worker read.
    slow.answer(bars(conn, tmp_path, "OTHER", start=500.0).read_text())
    frozen.wait_for("ticker processed", id=held["id"], result="lease lost")

    assert everything(conn) == before
    done = history(conn, "SLOW")
    assert [(row["id"], row["verdict"], row["crashes"]) for row in done] == [
        (held["id"], "done", 1)
    ]
    assert done[0]["worker"] != held["leased_by"]
    # And it works on as if nothing had been.
    other.kill()
    make_known(conn, tmp_path / "bars")


def test_a_claim_is_not_lost_when_the_others_cannot_be_called(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    # A claim that took all that it may calls the other workers; here the first call fails as on
    # a server that has no connection left.
    conn.execute(
        "CREATE SEQUENCE calls; CREATE OR REPLACE FUNCTION doorbell_call(p_worker text) RETURNS void"
        " LANGUAGE plpgsql AS $$ BEGIN IF nextval('calls') = 1 THEN"
        " RAISE 'no connection left' USING ERRCODE = 'too_many_connections'; END IF; END $$"
    )
    bars(conn, tmp_path / "bars", "GOOD")
    worker = start_worker(WORKER_BATCH_SIZE="1").ready()
    number = insert_prediction(conn, ["GOOD"])
    worker.wait_for("the database is away, waiting for it")
    until_done(conn, number, "prediction")
    assert [row["verdict"] for row in history(conn, number, "prediction")] == ["done"]
