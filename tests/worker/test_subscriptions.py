"""Outcome webhooks over the wire: order, batches, signatures, failures, kills, and who waits for whom."""

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest

from sql.database import Database
from tests.support.clock import use_clock, use_everywhere, write_clock
from tests.support.context import context_of
from tests.support.db import Conn, value
from tests.support.receiver import Post, Receiver, Reply
from worker import sweep
from worker.alerts import subscriptions
from worker.context import Context
from worker.queue import outbox
from worker.settings import WorkerSettings

_NOON = dt.datetime(2026, 7, 8, 12, 0, tzinfo=dt.UTC)
_SECRET = "a secret to sign with"  # noqa: S105 - of a test


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def clocked(conn: Conn) -> Conn:
    """The test's database at noon, where time stands still."""
    go_to(conn, 0)
    use_everywhere(conn, "here")
    use_clock(conn, "here")
    return conn


@pytest.fixture
def context(clocked: Conn, database: Database) -> Context:
    assert value(clocked, "SELECT reckoner_now()") == _NOON
    return context_of(database)


def go_to(conn: Conn, minutes: float) -> None:
    write_clock(conn, "here", stopped_at=_NOON + dt.timedelta(minutes=minutes))


def subscribe(conn: Conn, receiver: Receiver, path: str = "/hook") -> int:
    query = "SELECT subscription_create(%s, %s)"
    return int(value(conn, query, [f"{receiver.url}{path}/t0k3n-in-a-path", _SECRET]))


def mature(conn: Conn, count: int = 1, first: int = 1, column: str = "price_at_prediction") -> None:
    """As a fill of so many outcomes would leave it, and a look at it."""
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, engine_version)"
        " SELECT n, 'GOOD', '2026-07-01', 1 FROM generate_series(%s::int, %s::int) n ON CONFLICT DO NOTHING",
        [first, first + count - 1],
    )
    statement = (
        f"UPDATE prediction_outcomes SET {column} = 100 WHERE prediction_id BETWEEN %s AND %s"  # noqa: S608
    )
    conn.execute(statement.encode(), [first, first + count - 1])
    conn.execute(
        "INSERT INTO outcome_changes (prediction_id, symbol)"
        " SELECT n, 'GOOD' FROM generate_series(%s::int, %s::int) n WHERE outcomes_are_heard()",
        [first, first + count - 1],
    )
    conn.execute("SELECT outcomes_announce()")


def deliver(context: Context) -> int:
    claims = outbox.claim(context.database, "webhook", "w", 50, 60)
    for claim in claims:
        subscriptions.handle(context, [claim])
    return len(claims)


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [event for post in receiver.log for event in post.json["events"]]


def test_a_sweep_announces_and_a_signed_request_tells(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    number = subscribe(clocked, receiver)
    clocked.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date, engine_version, price_at_prediction)"
        " VALUES (7, 'GOOD', '2026-07-01', 1, 100)"
    )
    clocked.execute("INSERT INTO outcome_changes (prediction_id, symbol) VALUES (7, 'GOOD')")
    found = sweep.once(context.database, WorkerSettings())
    assert found is not None
    assert found["webhooks"] == 1
    assert deliver(context) == 1
    [post] = receiver.log
    name, moment = post.headers["webhook-id"], post.headers["webhook-timestamp"]
    signed = f"{name}.{moment}.".encode() + post.body
    digest = hmac.new(_SECRET.encode(), signed, hashlib.sha256).digest()
    assert post.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert (post.json["id"], post.json["subscription"]) == (name, number)
    [event] = post.json["events"]
    assert (event["type"], event["prediction_id"], event["entry_price"]) == (
        "prediction.entered", 7, 100,
    )  # fmt: skip
    assert value(clocked, "SELECT count(*) FROM outbox") == 0


def test_ten_thousand_at_once_go_in_batches_and_in_order(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    subscribe(clocked, receiver)
    mature(clocked, 10_000)
    while deliver(context):
        pass
    told = events(receiver)
    assert len(receiver.log) == 100
    assert [event["prediction_id"] for event in told] == [*range(1, 10_001)]
    assert len({event["id"] for event in told}) == 10_000


def test_a_receiver_that_fails_for_an_hour_hears_all_in_order(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    subscribe(clocked, receiver)
    receiver.says = Reply(503)
    mature(clocked, 3)
    for minutes in range(60):
        if minutes == 30:
            mature(clocked, 3, column="price_t1")
        go_to(clocked, minutes)
        deliver(context)
    failed = len(receiver.log)
    assert 5 < failed < 15
    row = clocked.execute("SELECT * FROM subscription_status").fetchone()
    assert row is not None
    assert (row["waiting"], row["failures"], row["failing_since"]) == (6, failed, _NOON)
    receiver.says = Reply()
    for minutes in range(60, 180, 10):
        go_to(clocked, minutes)
        deliver(context)
    told = [
        (event["prediction_id"], event["type"]) for event in receiver.log[failed].json["events"]
    ]
    assert len(receiver.log) == failed + 1
    assert told == [
        (n, kind) for kind in ("prediction.entered", "outcome.matured") for n in (1, 2, 3)
    ]


def test_after_a_day_messages_are_dead_and_the_next_ones_go_on(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    number = subscribe(clocked, receiver)
    receiver.says = Reply(404, "no t0k3n-in-a-path")
    mature(clocked)
    deliver(context)
    go_to(clocked, 23 * 60)
    mature(clocked, first=2)
    go_to(clocked, 24 * 60 + 1)
    deliver(context)
    row = clocked.execute("SELECT * FROM subscription_status").fetchone()
    assert row is not None
    assert (row["dead"], row["waiting"]) == (1, 1)
    assert "t0k3n" not in row["last_error"]
    assert value(clocked, "SELECT count(*) FROM outbox o WHERE o::text LIKE '%%t0k3n%%'") == 0
    receiver.says = Reply()
    go_to(clocked, 26 * 60)
    deliver(context)
    assert receiver.log[-1].json["events"][0]["prediction_id"] == 2
    clocked.execute("SELECT subscription_requeue(%s)", [number])
    clocked.execute("SELECT outcomes_announce()")
    deliver(context)
    assert receiver.log[-1].json["events"][0]["prediction_id"] == 1


def test_a_worker_that_dies_after_the_answer_repeats_the_same_ids(
    context: Context, clocked: Conn, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(clocked, receiver)
    mature(clocked, 2)
    with monkeypatch.context() as patch:

        def die(*_arguments: object, **_more: object) -> bool:
            raise KeyboardInterrupt

        patch.setattr(subscriptions, "_record", die)
        with pytest.raises(KeyboardInterrupt):
            deliver(context)
    go_to(clocked, 5)
    clocked.execute("SELECT outbox_expire(5)")
    # As the quarantine would take it: alone, whatever its crashes.
    clocked.execute("UPDATE outbox SET crashes = 0, available_at = '-infinity'")
    assert deliver(context) == 1
    first, second = receiver.log
    assert first.json == second.json
    assert value(clocked, "SELECT count(*) FROM subscription_messages WHERE sent_at IS NULL") == 0


def test_a_receiver_that_fails_delays_no_other(
    context: Context, clocked: Conn, receiver: Receiver
) -> None:
    def says(post: Post) -> Reply:
        return Reply(500 if post.path.startswith("/bad") else 200)

    receiver.says = says
    subscribe(clocked, receiver, "/bad")
    subscribe(clocked, receiver, "/good")
    mature(clocked, 250)
    assert deliver(context) == 2
    good = [post for post in receiver.log if post.path.startswith("/good")]
    assert [len(post.json["events"]) for post in good] == [100, 100, 50]
    assert len(receiver.log) == 4


def test_a_turn_ends_and_the_rest_waits_behind_the_others(
    context: Context, clocked: Conn, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "_TURN_SECONDS", 0.0)
    subscribe(clocked, receiver)
    mature(clocked, 150)
    assert deliver(context) == 1
    assert len(receiver.log) == 1
    assert value(clocked, "SELECT (lease IS NULL AND attempts = 0)::text FROM outbox") == "true"
    assert deliver(context) == 1
    assert len(events(receiver)) == 150
