"""The roles of least rights on another program's databases: its sequences, its sources."""

import datetime as dt

from tests.attach.scenes import insert_prediction
from tests.support.cli import command
from tests.support.db import connect, value
from tests.support.roles import roles


def test_a_worker_of_least_rights_processes_what_the_owner_inserts(
    migrated_url: str, generation: str
) -> None:
    moment = dt.datetime(2025, 3, 4, 15, tzinfo=dt.UTC)
    with connect(migrated_url) as conn, roles(migrated_url) as made:
        number = insert_prediction(conn, generation, '["ZZZZ", "btc-usd"]', published=moment)

        done = command(
            made.worker,
            "worker",
            "run",
            "--drain",
            "--max-seconds",
            "60",
            MARKET_PROVIDERS="sample",
        )

        assert done.returncode == 0, done.stderr
        states = "SELECT array_agg(outcome_state ORDER BY symbol) FROM prediction_outcomes WHERE prediction_id = %s"
        assert value(conn, states, [number]) == ["complete", "complete"]
        assert value(conn, "SELECT count(*) FROM outbox") == 0
        assert value(conn, "SELECT count(*) FROM market_snapshot") == 2
        assert value(conn, "SELECT count(*) FROM market_snapshot_due") == 0


def test_an_analyst_needs_the_sequence_of_a_serial_id(migrated_url: str, generation: str) -> None:
    columns = "assets, analysis_status, created_at, updated_at"
    values = "'[\"AAPL\"]', 'completed', now(), now()"
    if generation == "newer":
        columns, values = f"{columns}, signal_id", f"{values}, (SELECT '')"
    with roles(migrated_url) as made, connect(migrated_url) as conn:
        if generation == "newer":
            conn.execute("ALTER TABLE predictions DROP CONSTRAINT predictions_signal_id_fkey")
        with connect(made.analyst) as analyst:
            analyst.execute(f"INSERT INTO predictions ({columns}) VALUES ({values})".encode())  # noqa: S608
        assert value(conn, "SELECT count(*) FROM outbox WHERE topic = 'prediction'") == 1
