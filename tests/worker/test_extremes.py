"""Moments and confidences that a row may hold: none ends a command, a sweep or a report for the others."""

import datetime as dt
import json

import pytest

from market.settings import MarketSettings
from sql.database import Database
from tests.support.cli import command
from tests.support.db import Conn, value
from tests.support.providers import serving
from tests.worker.inline import Inline
from worker import sweep
from worker.queue.enqueue import enqueue, estimate
from worker.settings import WorkerSettings

EXTREMES = [
    ("infinity", "NaN"),
    ("-infinity", "Infinity"),
    ("4713-11-24 BC", "-Infinity"),
    ("0001-01-01", "1e308"),
    ("20082-03-05", "0.5"),
    ("294276-12-31 23:59", "-1e308"),
]
PRICES = serving(lambda day: 100.0 + (day - dt.date(2020, 1, 1)).days)
# Reads of everything, as a person or a dashboard makes them.
COMMANDS = [
    ["worker", "status"],
    ["worker", "health"],
    ["worker", "enqueue", "--all", "--dry-run"],
    ["worker", "enqueue", "--since", "2024-01-01", "--dry-run"],
    ["worker", "sweep", "--dry-run"],
]


@pytest.fixture
def extreme(conn: Conn) -> list[int]:
    """Predictions that no trigger saw: one of each extreme between two plain ones."""
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_inserted")
    rows = [("2024-03-05 15:00", "0.5"), *EXTREMES, ("2024-03-06 15:00", "0.5")]
    return [
        value(
            conn,
            "INSERT INTO predictions (assets, market_impact, confidence, post_timestamp)"
            """ VALUES ('["ACME", "BTC-USD"]', '{"ACME": "bullish"}', %s::float8, %s::timestamptz)"""
            " RETURNING id",
            [confidence, moment],
        )
        for moment, confidence in rows
    ]


def test_a_value_that_a_row_may_hold_ends_nothing(
    url: str, conn: Conn, database: Database, extreme: list[int]
) -> None:
    assert estimate(database, MarketSettings(), None).would_enqueue == len(extreme)
    since = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert estimate(database, MarketSettings(), since).would_enqueue == 5
    for arguments in COMMANDS:
        done = command(url, *arguments, MARKET_PROVIDERS="csv", MARKET_CSV_DIR="/nowhere")
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 3), done.stderr
    assert enqueue(database, None)["enqueued"] == len(extreme)
    Inline(database, PRICES).drain()
    found = sweep.once(database, WorkerSettings())
    assert found is not None
    assert None not in found.values(), found
    assert value(conn, "SELECT count(*) FROM outbox") == 0
    assert value(conn, "SELECT count(*) FROM prediction_outcomes WHERE is_complete") == 4
    for number in (extreme[1], extreme[3], extreme[5]):
        told = conn.execute("SELECT x::text FROM explain_prediction(%s) x", [number]).fetchall()
        assert len(told) > 3
        done = command(url, "worker", "explain", str(number), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    views = "SELECT viewname AS name FROM pg_views WHERE schemaname = 'public'"
    for view in conn.execute(views.encode()).fetchall():
        conn.execute(f'SELECT x::text FROM public."{view["name"]}" x'.encode()).fetchall()  # noqa: S608
    for call in ("processing_stages()", "watch_page(20)", "reckoner_health()"):
        conn.execute(f"SELECT x::text FROM {call} x".encode()).fetchall()  # noqa: S608
