"""Predictions of very many symbols: each transaction has its bound, and everybody else goes first."""

import json
from pathlib import Path

import pytest

from sql.database import Database
from tests.support.context import context_of
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, make_known
from tests.support.process import BELL_ONLY, SHORT, Start
from tests.support.waiting import until
from tests.worker.inline import Inline
from worker.context import Context
from worker.handlers import predictions
from worker.handlers.predictions import BUDGET
from worker.queue import outbox
from worker.queue.outbox import Claim

# Distinct symbols for each of these predictions, as an operator's program or a stranger writes them.
_HEAVY = """
INSERT INTO predictions (assets, confidence, analysis_status, post_timestamp)
SELECT (SELECT jsonb_agg('P' || p || '-' || s) FROM generate_series(1, %s) s), 0.5, 'completed', '2024-03-05 15:00+00'
FROM generate_series(1, %s) p
"""
_WAITING = "SELECT count(*) FROM outbox WHERE topic = 'prediction'"


def heavy(conn: Conn, count: int, symbols: int = 100) -> None:
    """So many predictions, in one statement."""
    conn.execute(_HEAVY, [symbols, count])


def claim(database: Database, limit: int = 500) -> list[Claim]:
    return outbox.claim(database, "prediction", "test", limit, 60)


@pytest.fixture
def context(database: Database) -> Context:
    """What the handlers work with."""
    return context_of(database)


def test_no_transaction_processes_more_than_its_share(
    database: Database, conn: Conn, context: Context
) -> None:
    heavy(conn, 60)
    done = []
    while claims := claim(database):
        done.append(predictions.process(context, claims))
    assert sum(counts["outcomes"] for counts in done) == 6_000
    assert BUDGET / 2 < max(counts["outcomes"] for counts in done) <= BUDGET
    ends = conn.execute(
        "SELECT max(attempts) AS attempts, max(crashes) AS crashes, count(*) AS n, count(DISTINCT key) AS keys,"
        " bool_and(trail IS NULL) AS plain FROM outbox_history"
    ).fetchone()
    assert ends == {"attempts": 0, "crashes": 0, "n": 60, "keys": 60, "plain": True}
    assert value(conn, _WAITING) == 0


def test_those_of_few_symbols_go_first(database: Database, conn: Conn, context: Context) -> None:
    heavy(conn, 30)
    plain = insert_prediction(conn, ["AAPL", "MSFT"])
    counts = predictions.process(context, claim(database))
    assert (counts["events"], counts["outcomes"], counts["deferred"]) == (1, 2, 30)
    assert value(conn, "SELECT array_agg(key) FROM outbox_history") == [str(plain)]
    # And so does one that comes while the others wait.
    second = insert_prediction(conn, ["AAPL", "MSFT"])
    assert [held.key for held in claim(database, 1)] == [str(second)]
    assert value(
        conn,
        "SELECT array_agg(DISTINCT priority) FROM outbox WHERE lease IS NULL AND topic = 'prediction'",
    ) == [-1]


def test_their_tickers_wait_for_everybody_elses(
    database: Database, conn: Conn, context: Context
) -> None:
    heavy(conn, 2)
    insert_prediction(conn, ["AAPL", "P1-1"])  # P1-1 is a heavy one's too
    while claims := claim(database):
        predictions.process(context, claims)
    rows = conn.execute(
        "SELECT priority, count(*) AS n, min(key) AS first FROM outbox WHERE topic = 'ticker'"
        " GROUP BY priority ORDER BY priority"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [(-1, 199, "P1-10"), (0, 2, "AAPL")]


def test_a_ticker_that_waits_already_is_not_set_behind(
    database: Database, conn: Conn, context: Context
) -> None:
    insert_prediction(conn, ["P1-1"])
    predictions.process(context, claim(database))
    heavy(conn, 1)
    while claims := claim(database):
        predictions.process(context, claims)
    assert value(conn, "SELECT priority FROM outbox WHERE key = 'P1-1'") == 0


def test_what_does_not_fit_keeps_its_place_where_it_is_small(
    database: Database, conn: Conn, context: Context
) -> None:
    heavy(conn, 250, symbols=12)
    counts = predictions.process(context, claim(database))
    assert 0 < counts["outcomes"] <= BUDGET
    assert (counts["deferred"], counts["bulk"], counts["lost"]) == (250 - counts["events"], 0, 0)
    assert value(
        conn, "SELECT array_agg(DISTINCT priority) FROM outbox WHERE topic = 'prediction'"
    ) == [0]
    predictions.process(context, claim(database))
    assert value(conn, _WAITING) == 0


def test_one_that_is_larger_than_a_share_is_processed_alone(database: Database, conn: Conn) -> None:
    conn.execute(
        "INSERT INTO predictions (assets, analysis_status, post_timestamp)"
        " SELECT %s, 'completed', '2024-03-05 15:00+00' FROM generate_series(1, 3)",
        [json.dumps([f"N{n}" for n in range(200_000)])],
    )
    context = context_of(database, max_symbols=2_000)
    done = []
    while claims := claim(database):
        done.append(predictions.process(context, claims))
    assert [counts["events"] for counts in done] == [0, 1, 1, 1]
    assert max(counts["outcomes"] for counts in done) == 2_000


def test_a_lost_lease_is_not_handed_back(database: Database, conn: Conn, context: Context) -> None:
    heavy(conn, 3)
    claims = claim(database)
    conn.execute(
        "UPDATE outbox SET lease = nextval('outbox_lease'), leased_by = 'other' WHERE id = %s",
        [claims[0].id],
    )
    counts = predictions.process(context, claims)
    assert (counts["events"], counts["deferred"], counts["lost"]) == (0, 2, 1)
    row = conn.execute(
        "SELECT status, leased_by, priority FROM outbox WHERE id = %s", [claims[0].id]
    ).fetchone()
    assert row == {"status": "processing", "leased_by": "other", "priority": 0}


def test_no_more_is_claimed_than_is_worked_on(database: Database, conn: Conn) -> None:
    """Claimed by the hundred, what waits behind the others would be handed back as often."""
    heavy(conn, 200)
    worker = Inline(database, lambda _: pytest.fail("nobody is asked"))
    lane = worker.lanes["prediction"]
    whole = lane.claimable
    lane.work(claim(database))  # sets all behind the others
    assert lane.claimable == whole
    lane.work(claim(database))
    fitting = 200 - int(value(conn, _WAITING))
    assert fitting < lane.claimable <= 3 * fitting
    while claims := claim(database, lane.claimable):
        lane.work(claims)
    assert value(conn, _WAITING) == 0
    assert lane.claimable == whole


def test_an_event_that_runs_alone_after_a_crash_ends_as_well(
    conn: Conn, start_worker: Start
) -> None:
    heavy(conn, 1)
    conn.execute("UPDATE outbox SET crashes = 1")
    start_worker(**SHORT)
    until("it is done", lambda: value(conn, "SELECT count(*) FROM prediction_outcomes") == 100, 60)
    until("and ended", lambda: value(conn, _WAITING) == 0, 60)


def test_a_worker_keeps_to_its_setting_and_ends_its_events(
    conn: Conn, start_worker: Start, tmp_path: Path
) -> None:
    """A real one, which nothing wakes but the bell and its own work."""
    start_worker(WORKER_MAX_SYMBOLS="40", **BELL_ONLY).ready()
    make_known(conn, tmp_path / "bars")
    heavy(conn, 120, symbols=60)
    plain = insert_prediction(conn, ["GOOD"])
    until("all are done", lambda: value(conn, _WAITING) == 0, 120)
    rows = conn.execute(
        "SELECT count(*) AS n FROM prediction_outcomes WHERE prediction_id <> %s GROUP BY prediction_id",
        [plain],
    ).fetchall()
    assert {row["n"] for row in rows if row["n"] > 1} == {40}
    first = value(
        conn,
        "SELECT finished_at FROM outbox_history WHERE topic = 'prediction' AND key = %s",
        [str(plain)],
    )
    heavies = "SELECT min(finished_at) FROM outbox_history WHERE topic = 'prediction' AND result ? 'skipped'"
    last = value(conn, heavies.replace("min", "max"))
    assert first < last


def test_a_string_of_megabytes_is_no_symbol_and_costs_no_memory(
    conn: Conn, context: Context
) -> None:
    """btrim() takes eight bytes for each: one of 200 MB failed eight times and was parked."""
    conn.execute(
        "INSERT INTO predictions (assets, analysis_status) SELECT to_jsonb(repeat('A', 140000000)), 'completed'"
    )
    assert predictions.process(context, claim(context.database))["deferred"] == 1  # behind others
    assert predictions.process(context, claim(context.database))["done"] == 1
    assert (
        value(conn, "SELECT result -> 'skipped' -> 0 ->> 'reason' FROM outbox_history")
        == "not a symbol"
    )
