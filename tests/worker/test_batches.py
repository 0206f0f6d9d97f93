"""Predictions in batches: one at a time, and two side by side while more wait than one."""

from pathlib import Path

import pytest

from tests.support.db import Conn, value
from tests.support.locks import locked
from tests.support.market import completed, insert_prediction, make_known, until_complete
from tests.support.process import BELL_ONLY, Start
from tests.support.queue import event
from tests.support.waiting import until

_SIZE = 5
_WAITING = """
SELECT count(DISTINCT a.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.relation = 'prediction_outcomes'::regclass
  AND a.application_name = 'reckoner worker' AND a.datname = current_database()
  AND a.query LIKE '%outcomes_process%' -- and not the sweep
"""
_PREDICT = """
INSERT INTO predictions (assets, market_impact, confidence, analysis_status, post_timestamp)
SELECT '["GOOD"]', '{"GOOD": "bullish"}', 0.5, 'completed', '2024-03-05 15:00+00'
FROM generate_series(1, %s)
"""


def _held(conn: Conn) -> int:
    return int(value(conn, "SELECT count(*) FROM outbox WHERE lease IS NOT NULL"))


@pytest.mark.parametrize(
    ("concurrency", "at_once", "held"),
    [
        ("1", 1, _SIZE),
        # The thread has one in hand and one behind it, the main thread a third.
        ("2", 2, 3 * _SIZE),
    ],
)
def test_a_backlog_is_worked_on_side_by_side_as_far_as_the_setting_says(
    conn: Conn, start_worker: Start, tmp_path: Path, concurrency: str, at_once: int, held: int
) -> None:
    settings = {"WORKER_PREDICTION_CONCURRENCY": concurrency, "WORKER_BATCH_SIZE": str(_SIZE)}
    start_worker(**settings, **BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")

    with locked(conn.info.dsn, "prediction_outcomes"):
        conn.execute(_PREDICT, [6 * _SIZE])
        until("as many batches wait", lambda: value(conn, _WAITING) == at_once, 60)
        assert _held(conn) == held

    until("the outbox is empty", lambda: value(conn, "SELECT count(*) FROM outbox") == 0)
    assert completed(conn) == 1 + 6 * _SIZE
    ends = (
        "SELECT count(*), count(DISTINCT key) AS keys, max(crashes) AS crashes,"
        " max(attempts) AS attempts FROM outbox_history"
    )
    row = conn.execute(f"{ends} WHERE topic = 'prediction'".encode()).fetchone()
    assert row is not None
    assert tuple(row.values()) == (1 + 6 * _SIZE, 1 + 6 * _SIZE, 0, 0)


def test_what_fills_no_batch_is_not_handed_to_a_thread(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    start_worker(WORKER_BATCH_SIZE=str(_SIZE), **BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")

    with locked(conn.info.dsn, "prediction_outcomes"):
        conn.execute(_PREDICT, [_SIZE - 1])
        until("a batch waits", lambda: value(conn, _WAITING) == 1)
        conn.execute(_PREDICT, [_SIZE])  # nobody is there to claim them
        assert _held(conn) == _SIZE - 1

    until_complete(conn, 2 * _SIZE)


def test_sigterm_hands_every_batch_back(conn: Conn, start_worker: Start, tmp_path: Path) -> None:
    settings = {"WORKER_BATCH_SIZE": str(_SIZE), "WORKER_DRAIN_SECONDS": "1"}
    worker = start_worker(**settings, **BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")

    with locked(conn.info.dsn, "prediction_outcomes"):
        conn.execute(_PREDICT, [6 * _SIZE])
        until("three batches are held", lambda: _held(conn) == 3 * _SIZE)
        assert worker.stop() == 0
        assert worker.saw("worker stopped", handed_back=3 * _SIZE)

    row = conn.execute(
        "SELECT count(*), max(crashes) AS crashes, max(attempts) AS attempts FROM outbox"
    ).fetchone()
    assert row is not None
    assert tuple(row.values()) == (6 * _SIZE, 0, 0)


def test_a_bad_event_in_a_threads_batch_fails_alone(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    worker = start_worker(WORKER_BATCH_SIZE=str(_SIZE), **BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")

    with conn.transaction():
        conn.execute("INSERT INTO outbox (topic, key) VALUES ('prediction', 'not a number')")
        conn.execute(_PREDICT, [_SIZE])
        insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"})

    until_complete(conn, 2 + _SIZE)
    until(
        "the bad one failed", lambda: (event(conn, "not a number", "prediction") or {})["attempts"]
    )
    bad = event(conn, "not a number", "prediction")
    assert bad is not None
    assert (bad["status"], bad["attempts"], bad["lease"]) == ("failed", 1, None)
    assert worker.saw("a batch failed, trying its events alone", events=_SIZE)
