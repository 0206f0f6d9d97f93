"""Predictions that were changed while no trigger saw it: the sweep compares what they say with their rows."""

import json
from typing import Any

import pytest

from sql.database import Database
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, process

ASSETS, IMPACT = ["AAPL", "TSLA"], {"AAPL": "bullish", "TSLA": "bearish"}


@pytest.fixture
def unseen(conn: Conn) -> Conn:
    """No trigger sees a change."""
    conn.execute("ALTER TABLE predictions DISABLE TRIGGER predictions_updated")
    return conn


def predict(conn: Conn, database: Database, assets: Any = ASSETS, impact: Any = IMPACT) -> int:
    """A prediction that has been processed."""
    number = insert_prediction(conn, assets, impact)
    work_off(conn, database)
    return number


def work_off(conn: Conn, database: Database) -> None:
    """Process the predictions that have an event, as a worker does."""
    keys = conn.execute(
        "DELETE FROM outbox WHERE topic = 'prediction' RETURNING key::int"
    ).fetchall()
    process(database, *(row["key"] for row in keys))


def change(conn: Conn, number: int, assets: Any = ASSETS, impact: Any = IMPACT) -> None:
    conn.execute(
        "UPDATE predictions SET assets = %s, market_impact = %s WHERE id = %s",
        [json.dumps(assets), json.dumps(impact), number],
    )


def says(conn: Conn) -> dict[str, str | None]:
    rows = conn.execute("SELECT symbol, prediction_sentiment FROM prediction_outcomes").fetchall()
    return {row["symbol"]: row["prediction_sentiment"] for row in rows}


CHANGES: dict[str, tuple[Any, Any, dict[str, str | None]]] = {
    "a symbol more": ([*ASSETS, "MSFT"], IMPACT, {**IMPACT, "MSFT": None}),
    "a symbol less": (["TSLA"], IMPACT, {"TSLA": "bearish"}),
    "another symbol": (["MSFT"], {"MSFT": "neutral"}, {"MSFT": "neutral"}),
    "another sentiment": (ASSETS, {**IMPACT, "TSLA": "bullish"}, {"AAPL": "bullish", "TSLA": "bullish"}),
    "no sentiment": (ASSETS, None, {"AAPL": None, "TSLA": None}),
    "no symbol at all": (["not a symbol!"], IMPACT, {}),
    "not a list": ({"AAPL": 1}, IMPACT, {}),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_no_trigger_saw_is_found_once(
    unseen: Conn, database: Database, what: str
) -> None:
    assets, impact, rows = CHANGES[what]
    other = predict(unseen, database)
    number = predict(unseen, database)
    unseen.execute("DELETE FROM prediction_outcomes WHERE prediction_id = %s", [other])
    change(unseen, number, assets, impact)

    assert value(unseen, "SELECT sweep_changed(1000)") == 1
    assert value(unseen, "SELECT sweep_changed(1000)") == 0  # its event is there
    assert value(unseen, "SELECT key FROM outbox WHERE topic = 'prediction'") == str(number)

    work_off(unseen, database)
    assert says(unseen) == rows
    assert value(unseen, "SELECT sweep_changed(1000)") == 0


SAME: dict[str, tuple[Any, Any]] = {
    "spelled otherwise": (["tsla", " AAPL ", "TSLA"], {"aapl": "BULLISH", "TSLA": "bearish"}),
    "what is no symbol": ([*ASSETS, "not a symbol!", 7, None], IMPACT),
    "a sentiment of another": (ASSETS, {**IMPACT, "MSFT": "bullish"}),
    "no assets any more": ([], None),
}


@pytest.mark.parametrize("what", SAME)
def test_what_changes_no_row_is_not_asked_for(unseen: Conn, database: Database, what: str) -> None:
    change(unseen, predict(unseen, database), *SAME[what])
    assert value(unseen, "SELECT sweep_changed(1000)") == 0


@pytest.mark.parametrize(
    "why",
    [
        "UPDATE predictions SET analysis_status = 'bypassed'",
        "UPDATE prediction_outcomes SET engine_version = NULL",
        "DELETE FROM prediction_outcomes",
        "UPDATE reckoner_installation SET last_prediction_id = 1000",
        "INSERT INTO outbox (topic, key, status) SELECT 'prediction', id, 'dead' FROM predictions",
    ],
    ids=["not completed", "another's rows", "no rows", "from before us", "its event is parked"],
)
def test_it_is_not_the_sweeps_business(unseen: Conn, database: Database, why: str) -> None:
    number = predict(unseen, database)
    change(unseen, number, ["MSFT"], {})
    unseen.execute(why.encode())
    assert value(unseen, "SELECT sweep_changed(1000)") == 0


def test_anothers_row_beside_ours_is_left_alone(unseen: Conn, database: Database) -> None:
    predict(unseen, database)
    unseen.execute(
        "UPDATE prediction_outcomes SET engine_version = NULL, prediction_sentiment = 'neutral'"
        " WHERE symbol = 'TSLA'"
    )
    assert value(unseen, "SELECT sweep_changed(1000)") == 0


def test_a_slow_walk_comes_to_every_prediction(unseen: Conn, database: Database) -> None:
    changed = predict(unseen, database)
    for _ in range(9):
        predict(unseen, database)
    for _ in range(2):  # the walk begins anew
        change(unseen, changed, ["MSFT"], {})
        found = [value(unseen, "SELECT sweep_changed(2)") for _ in range(5)]
        assert sum(found) == 1
        work_off(unseen, database)
        change(unseen, changed)
        found = [value(unseen, "SELECT sweep_changed(2)") for _ in range(5)]
        assert sum(found) == 1
        work_off(unseen, database)
