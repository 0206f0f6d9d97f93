"""A real worker meets what no event is at fault for, or what one is: it says so, and goes on."""

from pathlib import Path

from tests.support.db import Conn, value
from tests.support.locks import locked
from tests.support.market import insert_prediction, make_known, until_complete
from tests.support.process import BRISK, Start
from tests.support.queue import event
from tests.support.waiting import until
from tests.worker.checks import look_from
from tests.worker.hindrances import owners_trigger, row_held


def fault(conn: Conn) -> str:
    return str(value(conn, "SELECT fault FROM worker_status") or "")


def test_a_worker_says_what_it_cannot_do_and_goes_on_when_it_is_mended(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker(**BRISK).ready()
    make_known(conn, tmp_path / "bars")

    conn.execute("ALTER FUNCTION outbox_claim RENAME TO gone")
    insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"})
    until("it says so", lambda: "claiming prediction events: UndefinedFunction" in fault(conn))
    state, told = look_from(conn, "progress")
    assert state == "warn"
    assert "outbox_claim" in told
    conn.execute("ALTER FUNCTION gone RENAME TO outbox_claim")
    until_complete(conn, 2)
    until("it has no fault any more", lambda: fault(conn) == "")

    # A whole table: every event would wait, so the batch stays in hand until it is free.
    with locked(url, "prediction_outcomes") as holder:
        insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"})
        words = (
            f"another session has locked a table, waiting for it: pid {holder.info.backend_pid} "
        )
        until("it names the holder", lambda: words in fault(conn))
        stuck = "SELECT count(*) FROM outbox_stuck WHERE topic = 'prediction' AND reason LIKE %s"
        assert value(conn, stuck, [f"%{words}%"]) == 1
    until_complete(conn, 3)
    until("it has no fault any more", lambda: fault(conn) == "")
    history = "SELECT max(attempts) AS attempts, max(crashes) AS crashes FROM outbox_history"
    row = conn.execute(history.encode()).fetchone()
    assert row == {"attempts": 0, "crashes": 0}
    assert worker.process.poll() is None


def test_one_events_error_and_one_rows_lock_stop_nothing(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    start_worker(**BRISK).ready()
    make_known(conn, tmp_path / "bars")
    held = int(value(conn, "SELECT max(id) FROM predictions"))
    owners_trigger(conn, "prediction_outcomes")
    with row_held(url, "prediction_outcomes", "GOOD") as holder:
        bad = str(insert_prediction(conn, ["TSLA"]))
        conn.execute("SELECT outbox_requeue_prediction(%s)", [held])
        for _ in range(3):
            insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"})
        until_complete(conn, 4)
        until("it is counted", lambda: (event(conn, bad, "prediction") or {}).get("attempts"))
        pid = holder.info.backend_pid
        stuck = "SELECT count(*) FROM outbox_stuck WHERE key = %s AND reason LIKE %s"
        until("the holder is named", lambda: value(conn, stuck, [str(held), f"%pid {pid} %"]))
        row = event(conn, str(held), "prediction")
        assert row is not None
        assert (row["attempts"], row["crashes"]) == (0, 0)
    until("it is done", lambda: event(conn, str(held), "prediction") is None, 30)
