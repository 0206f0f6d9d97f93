"""Many outcomes at once: a symbol's closes are read once for all, and nothing else is different."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

from market import outcomes
from sql.database import Database
from tests.support.clock import day
from tests.support.db import Conn, connect, value
from tests.support.market import (
    HORIZONS,
    insert_prediction,
    outcome,
    process,
    put_bars,
    sessions,
    set_fetched,
)
from tests.support.waiting import until

ENTRIES = 60
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)


@pytest.fixture
def days(conn: Conn) -> list[dt.date]:
    """Sessions from 2024-03-05 on; ACME and BETA have all bars of them but the fiftieth's."""
    days = sessions(conn, "2024-03-05", "2024-09-27")
    for symbol in ("ACME", "BETA"):
        put_bars(conn, symbol, {date: 100.0 + n for n, date in enumerate(days) if n != 50})
        set_fetched(conn, symbol, days[0], days[-1])
    return days


@pytest.fixture
def numbers(database: Database, conn: Conn, days: list[dt.date]) -> list[int]:
    """A prediction of both symbols for each of the first sessions, processed one by one."""
    numbers = [
        insert_prediction(
            conn,
            ["ACME", "BETA"],
            {"ACME": "bullish"},
            moment=f"{days[n]} 15:00+00",
            confidence=0.7,
        )
        for n in range(ENTRIES)
    ]
    for number in numbers:
        process(database, number)
    return numbers


def restate(conn: Conn) -> None:
    conn.execute("UPDATE market_prices SET close = close / 2 + date_part('day', date) / 100")


def looks(conn: Conn) -> int:
    """How often this transaction looked bars up by symbol and date."""
    return int(
        value(
            conn,
            "SELECT idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'market_prices'",
        )
    )


def test_a_symbols_closes_are_read_once_where_many_entries_ask(
    conn: Conn, numbers: list[int]
) -> None:
    restate(conn)
    with conn.transaction():
        before = looks(conn)
        assert value(conn, "SELECT outcomes_fill_symbol('ACME', true)") == len(numbers)
        assert looks(conn) - before == 1
    with conn.transaction():
        before = looks(conn)
        conn.execute("SELECT outcomes_fill(%s, ARRAY['BETA'])", [numbers[:1]])
        assert looks(conn) - before == 1 + len(HORIZONS)


def test_what_is_computed_at_once_is_what_is_computed_one_by_one(
    conn: Conn, numbers: list[int]
) -> None:
    restate(conn)
    conn.execute("SELECT outcomes_fill_symbol('ACME', true)")
    for number in numbers:
        conn.execute("SELECT outcomes_fill(ARRAY[%s]::integer[], ARRAY['BETA'])", [number])
    states = set()
    for number in numbers:
        at_once, single = outcome(conn, number, "ACME"), outcome(conn, number, "BETA")
        for name in at_once:
            if name.startswith(("price_", "return_", "pnl_", "outcome_", "due_", "is_")):
                assert at_once[name] == single[name], (number, name)
        assert (at_once["revision"] is None) == (single["revision"] is None)
        states.add(at_once["outcome_state"])
    assert states == {"complete", "unresolvable"}


@pytest.mark.parametrize("size", [1, 2])
def test_batches_and_connections_make_no_difference(
    database: Database,
    conn: Conn,
    numbers: list[int],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    restate(conn)
    monkeypatch.setattr(outcomes, "_BATCH", 1)  # one symbol in each
    with Database(database.url, name="reckoner test", size=size) as narrow:
        tried = outcomes.calculate(narrow, force=True, dry_run=True)
        assert tried.changed == {"ACME": ENTRIES, "BETA": ENTRIES}
        assert value(conn, "SELECT count(*) FROM prediction_outcomes WHERE revision <> ''") == 0
        done = outcomes.calculate(narrow, force=True, dry_run=False)
        assert done == tried
        assert done.after == done.before
        assert outcomes.calculate(narrow, force=True, dry_run=False).changed == {
            "ACME": 0,
            "BETA": 0,
        }
    assert value(conn, "SELECT count(*) FROM prediction_outcomes WHERE revision <> ''") > ENTRIES
    assert len(numbers) == ENTRIES


def test_a_dry_run_counts_what_would_be(database: Database, conn: Conn, numbers: list[int]) -> None:
    conn.execute("DELETE FROM market_prices WHERE symbol = 'BETA'")
    tried = outcomes.calculate(database, force=True, dry_run=True)
    assert tried.changed["ACME"] == 0
    assert tried.after["complete"] == tried.before["complete"] / 2
    assert +tried.after == +outcomes.calculate(database, force=True, dry_run=False).after
    assert value(conn, "SELECT count(*) FROM prediction_outcomes") == 2 * len(numbers)


def test_a_row_that_moves_while_it_is_waited_for_is_filled_where_it_is_then(
    url: str, conn: Conn, numbers: list[int]
) -> None:
    restate(conn)
    with connect(url) as other, ThreadPoolExecutor(1) as threads:
        with conn.transaction():
            # The second is no longer where it was, the third no longer of this entry.
            conn.execute(
                "UPDATE prediction_outcomes SET prediction_sentiment = 'bearish',"
                " entry_session = CASE prediction_id WHEN %s THEN %s ELSE entry_session END"
                " WHERE symbol = 'ACME' AND prediction_id = ANY (%s)",
                [numbers[2], day("2024-03-05"), numbers[1:3]],
            )
            filling = threads.submit(value, other, "SELECT outcomes_fill_symbol('ACME', true)")
            until("it waits for these rows", lambda: value(conn, WAITING))
        assert filling.result(30) == len(numbers)
    first, second, third = (outcome(conn, number, "ACME") for number in numbers[:3])
    assert third["price_at_prediction"] == first["price_at_prediction"]
    assert third["price_t30"] == first["price_t30"]
    assert second["correct_t1"] is (second["return_t1"] < -0.5)
    assert second["price_at_prediction"] != 101.0


def test_other_programs_rows_and_duplicates_keep_to_themselves(
    conn: Conn, numbers: list[int]
) -> None:
    conn.execute(
        "ALTER TABLE prediction_outcomes DROP CONSTRAINT prediction_outcomes_prediction_id_symbol_key"
    )
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, entry_session,"
        " prediction_sentiment, outcome_state, engine_version)"
        " SELECT prediction_id, symbol, prediction_date, entry_session, s, 'awaiting_prices', e"
        " FROM prediction_outcomes, (VALUES ('bearish', 1), ('neutral', NULL)) AS v(s, e)"
    )
    restate(conn)
    assert value(conn, "SELECT outcomes_fill_symbol('ACME', true)") == 2 * len(numbers)
    rows = conn.execute(
        "SELECT prediction_sentiment, price_at_prediction, correct_t1, return_t1 FROM prediction_outcomes"
        " WHERE symbol = 'ACME' AND prediction_id = %s ORDER BY 1",
        [numbers[0]],
    ).fetchall()
    bearish, bullish, neutral = rows
    assert bearish["price_at_prediction"] == bullish["price_at_prediction"]
    assert (bearish["correct_t1"], bullish["correct_t1"]) == (
        bearish["return_t1"] < -0.5,
        bullish["return_t1"] > 0.5,
    )
    assert neutral["price_at_prediction"] is None
