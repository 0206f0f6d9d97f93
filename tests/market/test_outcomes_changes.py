"""What happens to an outcome when its prediction, its prices or its owner change afterwards."""

import datetime as dt
import json
from typing import Any

import pytest

from market import outcomes
from sql.database import Database
from tests.support.db import Conn, value
from tests.support.market import (
    HORIZONS,
    fill,
    insert_prediction,
    outcome,
    process,
    put_bars,
    sessions,
    set_fetched,
)


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """The entry, 2024-03-05, and the sessions after it; ACME and BETA have all of them."""
    days = sessions(conn, "2024-03-05", "2024-06-28")
    for symbol in ("ACME", "BETA"):
        put_bars(conn, symbol, {date: 100.0 + n for n, date in enumerate(days)})
        set_fetched(conn, symbol, days[0], days[-1])
    return days


def update(conn: Conn, number: int, column: str, document: Any) -> None:
    statement = {
        "assets": "UPDATE predictions SET assets = %s WHERE id = %s",
        "market_impact": "UPDATE predictions SET market_impact = %s WHERE id = %s",
    }[column]
    conn.execute(statement, [json.dumps(document), number])


def prices(row: dict[str, Any]) -> list[Any]:
    return [row["price_at_prediction"], *(row[f"price_t{n}"] for n in HORIZONS)]


@pytest.mark.usefixtures("days")
def test_processing_again_changes_nothing(database: Database, conn: Conn) -> None:
    number = insert_prediction(conn, ["ACME"], {"ACME": "bullish"})
    process(database, number)
    before = outcome(conn, number, "ACME")
    process(database, number)
    after = outcome(conn, number, "ACME")
    for stamp in ("updated_at", "last_price_update"):
        before.pop(stamp)
        after.pop(stamp)
    assert after == before


@pytest.mark.usefixtures("days")
def test_a_changed_sentiment_changes_the_verdicts_only(database: Database, conn: Conn) -> None:
    number = insert_prediction(conn, ["ACME"], {"ACME": "bullish"})
    process(database, number)
    before = outcome(conn, number, "ACME")
    assert before["correct_t30"] is True

    update(conn, number, "market_impact", {"ACME": "bearish"})
    process(database, number)

    after = outcome(conn, number, "ACME")
    assert after["prediction_sentiment"] == "bearish"
    assert [after[f"correct_t{n}"] for n in HORIZONS] == [False] * 4
    assert prices(after) == prices(before)
    assert after["id"] == before["id"]


@pytest.mark.usefixtures("days")
def test_a_removed_symbol_takes_its_outcome_along_and_a_new_one_gets_its_own(
    database: Database, conn: Conn
) -> None:
    number = insert_prediction(conn, ["ACME"])
    other = insert_prediction(conn, ["ACME"])
    process(database, number, other)

    update(conn, number, "assets", ["BETA"])
    process(database, number)

    rows = conn.execute("SELECT prediction_id, symbol FROM prediction_outcomes").fetchall()
    assert sorted((row["prediction_id"], row["symbol"]) for row in rows) == [
        (number, "BETA"),
        (other, "ACME"),
    ]


def test_a_changed_moment_brings_another_entry_and_its_prices(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    number = insert_prediction(conn, ["ACME"])
    process(database, number)
    conn.execute("UPDATE predictions SET post_timestamp = '2024-03-07 15:00+00'")
    process(database, number)

    row = outcome(conn, number, "ACME")
    assert row["entry_session"] == days[2]
    assert prices(row) == [102.0, 103.0, 105.0, 109.0, 132.0]


def test_a_changed_moment_leaves_no_price_of_the_old_entry(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    number = insert_prediction(conn, ["ACME"])
    process(database, number)
    conn.execute("UPDATE predictions SET post_timestamp = '2024-03-07 15:00+00'")
    conn.execute("DELETE FROM market_prices WHERE date = %s", [days[2]])
    process(database, number)

    row = outcome(conn, number, "ACME")
    assert prices(row) == [None, 103.0, 105.0, 109.0, 132.0]
    assert [row[f"return_t{n}"] for n in HORIZONS] == [None] * 4


@pytest.mark.parametrize("again", ["fill", "process"])
def test_an_outcome_says_what_the_bars_say_whatever_was_written_into_it(
    database: Database, conn: Conn, days: list[dt.date], again: str
) -> None:
    conn.execute("DELETE FROM market_prices WHERE date >= %s", [days[30]])
    number = insert_prediction(conn, ["ACME"])
    process(database, number)
    # Another program's early and wrong values, in a row that is still open.
    conn.execute(
        "UPDATE prediction_outcomes SET price_t1 = 5, return_t1 = 6, price_t30 = 7, return_t30 = 8,"
        " outcome_state = 'awaiting_prices'"
    )
    conn.execute("DELETE FROM market_prices WHERE date = %s", [days[3]])

    if again == "fill":
        fill(database, "ACME")
    else:
        process(database, number)

    row = outcome(conn, number, "ACME")
    assert prices(row) == [100.0, 101.0, None, 107.0, None]
    assert row["return_t1"] == pytest.approx(1.0)
    assert row["return_t30"] is None


def test_a_bar_that_no_provider_of_ours_gave_is_not_used(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    conn.execute("UPDATE market_prices SET fetched_at = NULL WHERE date > %s", [days[6]])
    number = insert_prediction(conn, ["ACME"])
    process(database, number)

    assert prices(outcome(conn, number, "ACME")) == [100.0, 101.0, 103.0, None, None]


def foreign_row(conn: Conn, number: int, symbol: str, *, complete: bool = True) -> None:
    """A row as another program writes it: made-up numbers, none of our columns."""
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, price_at_prediction,"
        " price_t1, return_t1, is_complete, created_at, updated_at)"
        " VALUES (%s, %s, '2024-03-05', 7, 8, 9, %s, now(), now())",
        [number, symbol, complete],
    )


@pytest.mark.usefixtures("days")
def test_a_row_that_another_program_completed_is_left_alone(database: Database, conn: Conn) -> None:
    number = insert_prediction(conn, ["ACME"])
    foreign_row(conn, number, "ACME")
    before = outcome(conn, number, "ACME")

    assert fill(database, "ACME") == 0
    with database.transaction() as inside:
        outcomes.fill_symbol(inside, "ACME", everything=True)
    outcomes.calculate(database, force=True, dry_run=False)
    assert outcome(conn, number, "ACME") == before

    # Another prediction of the same symbol is processed: still not ours.
    process(database, insert_prediction(conn, ["ACME"]))
    assert outcome(conn, number, "ACME") == before


@pytest.mark.usefixtures("days")
@pytest.mark.parametrize("complete", [True, False])
def test_a_row_of_another_program_becomes_ours_with_its_own_prediction(
    database: Database, conn: Conn, complete: bool
) -> None:
    number = insert_prediction(conn, ["ACME"], {"ACME": "bullish"})
    foreign_row(conn, number, "ACME", complete=complete)

    process(database, number)

    row = outcome(conn, number, "ACME")
    assert row["engine_version"] == 1
    assert prices(row) == [100.0, 101.0, 103.0, 107.0, 130.0]
    assert row["return_t1"] == pytest.approx(1.0)
    assert row["outcome_state"] == "complete"


@pytest.mark.usefixtures("days")
def test_another_programs_numbers_do_not_survive_as_ours(database: Database, conn: Conn) -> None:
    conn.execute("DELETE FROM market_prices")
    number = insert_prediction(conn, ["ACME"])
    foreign_row(conn, number, "ACME")
    process(database, number)
    row = outcome(conn, number, "ACME")
    assert prices(row) == [None] * 5
    assert row["return_t1"] is None
    assert row["is_complete"] is False


@pytest.mark.usefixtures("days")
def test_duplicates_make_one_row_and_words_make_none(database: Database, conn: Conn) -> None:
    number = insert_prediction(conn, ["ACME", "acme ", "not a ticker", 7, None, {"a": 1}, ""])
    batch = process(database, number)
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 1
    done = batch.predictions[number]
    assert done.symbols == ["ACME"]
    assert len(done.skipped) == 5


@pytest.mark.parametrize("status", ["pending", "error", "bypassed"])
def test_only_completed_predictions_are_processed(
    database: Database, conn: Conn, status: str
) -> None:
    number = insert_prediction(conn, ["ACME"], status=status)
    batch = process(database, number, 999_999)
    assert batch.predictions[number].reason is not None
    assert batch.predictions[999_999].reason == "the prediction no longer exists"
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 0


def test_calculate_with_force_repairs_what_somebody_changed_by_hand(
    database: Database, conn: Conn, days: list[dt.date]
) -> None:
    number = insert_prediction(conn, ["ACME"])
    process(database, number)
    conn.execute("UPDATE prediction_outcomes SET price_t1 = 5, return_t1 = 6")
    assert outcomes.calculate(database, force=False, dry_run=False).changed == {}
    assert outcomes.calculate(database, force=True, dry_run=True).changed == {"ACME": 1}
    assert outcome(conn, number, "ACME")["price_t1"] == 5
    assert outcomes.calculate(database, force=True, dry_run=False).changed == {"ACME": 1}
    assert outcome(conn, number, "ACME")["price_t1"] == 101.0
    assert len(days) > 30
