"""The whole way of a prediction: inserted by plain SQL, answered by a real worker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.db import Conn
from tests.support.market import flat_bars, insert_prediction, sessions, write_csv
from tests.support.process import WorkerProcess
from tests.support.waiting import until


def test_a_prediction_gets_its_outcome(
    conn: Conn, start_worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    days = sessions(conn, "2023-01-01", "2024-12-31")
    write_csv(tmp_path / "bars", "ACME", flat_bars(days))
    start_worker().ready()
    entry = days.index(sessions(conn, "2024-03-05", "2024-03-05")[0])

    number = insert_prediction(conn, ["acme"], {"ACME": "bullish"}, moment="2024-03-05 15:00+00")

    row = until(
        "the outcome is complete",
        lambda: conn.execute(
            "SELECT * FROM prediction_outcomes WHERE prediction_id = %s AND is_complete", [number]
        ).fetchone(),
    )
    assert row["symbol"] == "ACME"
    assert row["entry_session"].isoformat() == "2024-03-05"
    assert row["price_at_prediction"] == 100 + entry
    for n in (1, 3, 7, 30):
        assert row[f"price_t{n}"] == 100 + entry + n
        expected = (row[f"price_t{n}"] / row["price_at_prediction"] - 1) * 100
        assert row[f"return_t{n}"] == pytest.approx(expected)
        assert row[f"pnl_t{n}"] == pytest.approx(expected * 10)
        assert row[f"correct_t{n}"] is (expected > 0.5)
    assert row["outcome_state"] == "complete"
    history = conn.execute("SELECT topic, verdict FROM outbox_history ORDER BY id").fetchall()
    assert [(event["topic"], event["verdict"]) for event in history] == [
        ("prediction", "done"),
        ("ticker", "done"),
    ]
