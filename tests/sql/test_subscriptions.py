"""Outcome webhooks in SQL: what changed becomes messages, once and in order, and only for who asked."""

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from sql.database import Database
from tests.support.db import Conn, connect, value
from tests.support.market import MOMENT, fill, insert_prediction, process, put_bars, sessions
from tests.support.roles import roles

_SECRET = "sixteen characters"  # noqa: S105 - of a test


@pytest.fixture
def outcome(conn: Conn) -> Conn:
    """A prediction of GOOD whose prices are not there yet."""
    sessions(conn, "2024-01-02", "2024-03-28")
    conn.execute("INSERT INTO ticker_registry (symbol, calendar) VALUES ('GOOD', 'XNYS')")
    insert_prediction(conn, ["GOOD"], {"GOOD": "bullish"}, moment=MOMENT)
    return conn


def subscribe(conn: Conn, **fields: Any) -> int:
    number = int(value(conn, "SELECT subscription_create('https://h.example/x', %s)", [_SECRET]))
    for name, field in fields.items():
        statement = f"UPDATE subscriptions SET {name} = %s WHERE id = %s"  # noqa: S608
        conn.execute(statement.encode(), [field, number])
    return number


def write(conn: Conn, prediction: int = 1, **prices: float | None) -> None:
    """An outcome with these prices, written as the fill does: with its change."""
    columns = {
        "entry": "price_at_prediction",
        **{t: f"price_{t}" for t in ("t1", "t3", "t7", "t30")},
    }
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, engine_version)"
        " VALUES (%s, 'GOOD', '2024-01-05', 1) ON CONFLICT DO NOTHING",
        [prediction],
    )
    for name, price in prices.items():
        statement = f"UPDATE prediction_outcomes SET {columns[name]} = %s WHERE prediction_id = %s"  # noqa: S608
        conn.execute(statement.encode(), [price, prediction])
    conn.execute(
        "UPDATE prediction_outcomes SET is_complete = price_t30 IS NOT NULL WHERE prediction_id = %s",
        [prediction],
    )
    conn.execute(
        "INSERT INTO outcome_changes (prediction_id, symbol) SELECT %s, 'GOOD' WHERE outcomes_are_heard()",
        [prediction],
    )


def announce(conn: Conn) -> list[str]:
    """What one look writes, in its order."""
    last = value(conn, "SELECT coalesce(max(id), 0) FROM subscription_messages")
    count = value(conn, "SELECT outcomes_announce()")
    rows = conn.execute(
        "SELECT event, body FROM subscription_messages WHERE id > %s ORDER BY id", [last]
    ).fetchall()
    assert len(rows) == count
    return [row["event"] + " " + str(row["body"].get("horizon", "")) for row in rows]


def test_the_story_of_an_outcome_is_told_once_and_in_order(outcome: Conn) -> None:
    subscribe(outcome)
    write(outcome)
    assert announce(outcome) == []
    write(outcome, entry=100)
    assert announce(outcome) == ["prediction.entered "]
    write(outcome, t1=101, t3=102)
    write(outcome, t7=103)
    assert announce(outcome) == ["outcome.matured t1", "outcome.matured t3", "outcome.matured t7"]
    write(outcome)
    assert announce(outcome) == []
    write(outcome, t3=99, t30=110)
    assert announce(outcome) == ["outcome.revised ", "outcome.matured t30", "outcome.complete "]
    body = value(outcome, "SELECT body FROM subscription_messages WHERE event = 'outcome.revised'")
    assert body["changed"] == ["t3"]
    assert body["horizons"]["t3"]["price"] == 99


def test_without_a_subscription_nothing_is_written(outcome: Conn) -> None:
    write(outcome, entry=100)
    assert announce(outcome) == []
    assert value(outcome, "SELECT count(*) FROM outcome_changes") == 0


def test_the_functions_that_write_outcomes_leave_their_changes(
    outcome: Conn, database: Database
) -> None:
    subscribe(outcome)
    number = value(outcome, "SELECT max(id) FROM predictions")
    process(database, number)
    assert value(outcome, "SELECT count(*) FROM outcome_changes") == 1
    assert announce(outcome) == []
    days = sessions(outcome, "2024-01-02", "2024-03-28")
    put_bars(outcome, "GOOD", dict.fromkeys(days, 100.0))
    fill(database, "GOOD")
    assert announce(outcome)[0] == "prediction.entered "


def test_a_worker_s_role_without_rights_on_them_goes_on(outcome: Conn, url: str) -> None:
    subscribe(outcome)
    number = value(outcome, "SELECT max(id) FROM predictions")
    days = sessions(outcome, "2024-01-02", "2024-03-28")
    with roles(url) as made, Database(made.worker) as theirs:
        with connect(made.worker) as worker:
            role = value(worker, "SELECT current_user")
        outcome.execute(f"REVOKE ALL ON subscriptions, outcome_changes FROM {role}".encode())
        process(theirs, number)
        put_bars(outcome, "GOOD", dict.fromkeys(days, 100.0))
        assert fill(theirs, "GOOD") == 1
    assert value(outcome, "SELECT count(*) FROM outcome_changes") == 0


def test_a_filter_and_the_events_choose(outcome: Conn) -> None:
    subscribe(outcome, events=["outcome.complete"])
    subscribe(outcome, filter=Jsonb({"symbols": ["OTHER"]}))
    subscribe(outcome, filter=Jsonb({"symbols": ["GOOD"]}), events=["prediction.entered"])
    subscribe(outcome, active=False)
    write(outcome, entry=100, t1=100, t3=100, t7=100, t30=100)
    assert sorted(announce(outcome)) == ["outcome.complete ", "prediction.entered "]
    assert value(outcome, "SELECT count(*) FROM outbox WHERE topic = 'webhook'") == 2
    announce(outcome)
    assert value(outcome, "SELECT count(*) FROM outbox WHERE topic = 'webhook'") == 2


def test_what_is_rolled_back_is_told_by_the_next_look(outcome: Conn, url: str) -> None:
    subscribe(outcome)
    write(outcome, entry=100)
    with connect(url) as other, other.transaction(force_rollback=True):
        assert value(other, "SELECT outcomes_announce()") == 1
    assert announce(outcome) == ["prediction.entered "]


def test_ten_thousand_outcomes_are_announced_at_once(outcome: Conn) -> None:
    subscribe(outcome)
    outcome.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, engine_version, price_at_prediction)"
        " SELECT n, 'GOOD', '2024-01-05', 1, 100 FROM generate_series(1000, 10999) n"
    )
    outcome.execute(
        "INSERT INTO outcome_changes (prediction_id, symbol) SELECT n, 'GOOD' FROM generate_series(1000, 10999) n"
    )
    assert value(outcome, "SELECT outcomes_announce()") == 10_000
    row = outcome.execute("SELECT * FROM subscription_batch(1, 100)").fetchone()
    assert row is not None
    assert [each["prediction_id"] for each in row["messages"]] == [*range(1000, 1100)]


def test_what_waits_for_a_day_is_dead_and_can_be_requeued(outcome: Conn) -> None:
    number = subscribe(outcome)
    write(outcome, entry=100)
    announce(outcome)
    tried = "SELECT subscription_tried(%s, NULL, 'HTTP 500', 60)"
    assert value(outcome, tried, [number]) is not None
    outcome.execute(
        "UPDATE subscription_messages SET created_at = created_at - interval '25 hours'"
    )
    assert value(outcome, tried, [number]) is None
    row = outcome.execute("SELECT * FROM subscription_status").fetchone()
    assert row is not None
    assert (row["dead"], row["waiting"], row["failures"], row["host"]) == (1, 0, 2, "h.example")
    rules = (
        "SELECT array_agg(rule || ' ' || subject) FROM alerts_found() WHERE rule LIKE 'webhook%%'"
    )
    assert value(outcome, rules) == [f"webhook_failing subscription {number}"]
    assert value(outcome, "SELECT subscription_requeue(%s)", [number]) == 1
    outcome.execute("SELECT subscription_delete(%s)", [number])
    assert value(outcome, "SELECT count(*) FROM subscription_messages") == 0
    with pytest.raises(psycopg.errors.NoDataFound):
        outcome.execute("SELECT subscription_delete(%s)", [number])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("ftp://h/x", _SECRET, "{}"), "https://"),
        (("https://h/x", "short", "{}"), "16 characters"),
        (("https://h/x", _SECRET, '{"symbol": "A"}'), "a filter is"),
    ],
)
def test_a_wrong_subscription_is_refused_without_its_secret(
    conn: Conn, given: tuple[str, ...], said: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=said) as refused:
        conn.execute("SELECT subscription_create(%s, %s, filter => %s::jsonb)", given)
    assert "short" not in str(refused.value)
