"""Real workers beside a calendar that cannot be computed: they stay, and start, and go on."""

import datetime as dt
from pathlib import Path

from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.market import bars, flat_bars, insert_prediction, write_csv
from tests.support.market import sessions as session_dates
from tests.support.process import ROOT, Start
from tests.support.queue import until_done
from tests.support.waiting import until
from tests.worker.checks import look_from

# Loaded by Python itself before the worker: from then on Tel Aviv raises while the file is there.
_BREAKING = """
import pathlib
from market.universe import calendars

compute = calendars.compute

def broken(name, until):
    if name == "XTAE" and pathlib.Path({flag!r}).exists():
        raise NotImplementedError("implemented by subclasses")
    return compute(name, until)

calendars.compute = broken
"""


def test_a_ticker_of_tel_aviv_has_its_outcome(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker().ready()
    today = value(conn, "SELECT current_date")
    days = session_dates(conn, str(today - dt.timedelta(days=400)), str(today))
    write_csv(tmp_path / "bars", "TEVA.TA", flat_bars(days))
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('TEVA.TA')")
    until_done(conn, "TEVA.TA")
    state = value(conn, "SELECT state FROM market_calendars WHERE calendar = 'XTAE'")
    assert state == "loaded"
    assert worker.stop() == 0


def test_a_calendar_that_raises_ends_no_worker_and_its_tickers_go_on_later(
    url: str, conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    (tmp_path / "sitecustomize.py").write_text(_BREAKING.format(flag=str(flag)))
    settings = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "WORKER_SWEEP_SECONDS": "0.3"}
    folder = tmp_path / "bars"
    bars(conn, folder, "GOOD")

    worker = start_worker(**settings).ready()
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('TEVA.TA')")
    number = insert_prediction(conn, ["TEVA.TA", "GOOD"], {"TEVA.TA": "bullish", "GOOD": "bullish"})
    reason = "sessions of XTAE cannot be computed: NotImplementedError: implemented by subclasses"
    waiting = "SELECT last_error FROM outbox WHERE key = 'TEVA.TA' AND attempts = 0 AND crashes = 0"
    until("the ticker waits", lambda: value(conn, f"SELECT ({waiting}) = '{reason}'"))
    done = "SELECT count(*) FROM prediction_outcomes WHERE symbol = 'GOOD' AND is_complete"
    until("the other is complete", lambda: value(conn, done) == 1)
    told = "SELECT outcome_reason FROM prediction_outcomes WHERE symbol = 'TEVA.TA'"
    until("its outcome says why", lambda: value(conn, told) == reason)
    assert worker.stop() == 0

    # Nor does it keep another from starting.
    worker = start_worker(**settings).ready()
    state, message = look_from(conn, "calendars")
    assert (state, reason in message) == ("warn", True)
    assert reason in command(url, "worker", "health").stdout

    flag.unlink()
    conn.execute("UPDATE market_calendars SET retry_at = now() WHERE calendar = 'XTAE'")
    until("it is loaded", lambda: session_dates(conn, "2024-01-01", "2024-06-30", "XTAE"))
    days = session_dates(conn, "2024-01-01", "2024-06-30", "XTAE")
    write_csv(folder, "TEVA.TA", flat_bars(days))
    conn.execute("SELECT outbox_requeue_ticker('TEVA.TA')")
    complete = "SELECT count(*) FROM prediction_outcomes WHERE prediction_id = %s AND is_complete"
    until("both are complete", lambda: value(conn, complete, [number]) == 2, 30)
    row = conn.execute(
        "SELECT entry_session, price_at_prediction FROM prediction_outcomes WHERE symbol = 'TEVA.TA'"
    ).fetchone()
    assert row is not None
    assert row["price_at_prediction"] == 100.0 + days.index(row["entry_session"])
    assert worker.stop() == 0
