"""A new kind of work is one entry in the topic registry, and nothing else."""

from collections.abc import Sequence

import pytest
from psycopg import sql as psql

from market.settings import MarketSettings
from sql.database import Database
from tests.support.db import Conn, value
from tests.support.waiting import until
from worker import topics
from worker.context import Context
from worker.process import Worker
from worker.queue import outbox
from worker.queue.lanes import Lane
from worker.queue.outbox import Claim, End
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown


def note(context: Context, claims: Sequence[Claim]) -> None:
    """The handler of a topic that the product does not have."""
    with context.database.transaction() as conn:
        locked = outbox.lock(conn, claims)
        outbox.finish(conn, [End(claim, "done", {"noted": claim.key}) for claim in locked])


@pytest.fixture
def with_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry with one entry more."""
    known = topics.lanes
    lane = Lane(topic="note", handler=note, concurrency=2, batch_size=10)
    monkeypatch.setattr(topics, "lanes", lambda settings: (*known(settings), lane))


def drain(database: Database) -> None:
    settings = WorkerSettings()
    code = Worker(database, settings, MarketSettings(), [], None, Shutdown()).run()
    assert code == 0


def write_notes(conn: Conn, count: int) -> None:
    conn.execute(
        "INSERT INTO outbox (topic, key) SELECT 'note', n::text FROM generate_series(1, %s) n",
        [count],
    )


@pytest.mark.usefixtures("with_notes")
def test_a_topic_is_one_entry(database: Database, conn: Conn) -> None:
    write_notes(conn, 25)
    drain(database)
    done = "SELECT count(*) FROM outbox_history WHERE topic = 'note' AND result ->> 'noted' = key"
    assert value(conn, done) == 25
    assert value(conn, "SELECT count(*) FROM outbox") == 0


def test_an_event_of_a_topic_that_no_worker_knows_waits_and_is_named(
    database: Database, conn: Conn
) -> None:
    write_notes(conn, 1)
    drain(database)
    assert value(conn, "SELECT status FROM outbox") == "pending"
    conn.execute("UPDATE outbox SET available_at = reckoner_now() - interval '5 minutes'")
    conn.execute(
        "SELECT worker_heartbeat('w', 'host', 1, 'notify', 0, 60, NULL, p_topics => '{prediction,ticker}')"
    )
    reason = until("it is late", lambda: value(conn, "SELECT reason FROM outbox_stuck"))
    assert reason == "no worker alive works on the topic note: start one of a version that does"


@pytest.mark.parametrize("topic", ["", "Note", "two words", "x" * 31, "drop'table"])
def test_a_topic_is_a_plain_word(conn: Conn, topic: str) -> None:
    statement = psql.SQL("INSERT INTO outbox (topic, key) VALUES ({}, '1')")
    with pytest.raises(Exception, match="outbox_sound"):
        conn.execute(statement.format(psql.Literal(topic)))
