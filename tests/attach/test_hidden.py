"""Predictions that a worker cannot see: row-level security and missing rights are never a deletion."""

import uuid
from collections.abc import Iterator

import pytest
from psycopg import sql as psql

from sql.database import Database
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, process
from tests.support.process import Start
from tests.support.queue import event, history
from tests.worker.checks import look

GONE = "the prediction no longer exists"


@pytest.fixture
def owner(conn: Conn) -> Iterator[str]:
    """A role without SUPERUSER that owns predictions and the view; its name."""
    name = f"reckoner_owner_{uuid.uuid4().hex[:8]}"
    conn.execute(f"CREATE ROLE {name}".encode())
    try:
        conn.execute(
            f"GRANT USAGE, CREATE ON SCHEMA public TO {name}; ALTER TABLE predictions OWNER TO {name};"
            f" ALTER VIEW prediction_inputs OWNER TO {name}".encode()
        )
        yield name
    finally:
        conn.execute(
            psql.SQL(
                "REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}; DROP ROLE {0}"
            ).format(psql.Identifier(name))
        )


def force(conn: Conn) -> None:
    conn.execute(
        "ALTER TABLE predictions ENABLE ROW LEVEL SECURITY; ALTER TABLE predictions FORCE ROW LEVEL SECURITY"
    )


def test_a_hidden_prediction_is_not_a_deleted_one(
    database: Database, conn: Conn, owner: str
) -> None:
    number = insert_prediction(conn, ["AAPL"])
    force(conn)
    batch = process(database, number)
    assert batch.predictions[number].reason is None
    assert "row-level security" in batch.hidden[number]
    assert f"ALTER ROLE {owner} BYPASSRLS" in batch.hidden[number]
    state, told = look(database, "source")
    assert (state, told) == ("fail", batch.hidden[number])

    conn.execute(f"ALTER ROLE {owner} BYPASSRLS".encode())
    assert look(database, "source")[0] == "ok"
    # The session's plans are still those that row-level security filters.
    assert "plans of this session" in process(database, number).hidden[number]
    with database.transaction() as transaction:
        transaction.execute("DISCARD PLANS")
    assert process(database, number).predictions[number].symbols == ["AAPL"]
    assert process(database, 999).predictions[999].reason == GONE


@pytest.mark.parametrize(
    ("policy", "proven"),
    [
        ("FOR SELECT TO {} USING (true)", True),
        ("USING (true)", True),
        ("FOR SELECT TO {} USING (id < 1000)", False),
        ("FOR UPDATE TO {} USING (true)", False),
        ("AS RESTRICTIVE FOR SELECT USING (true)", False),
    ],
)
def test_what_a_policy_proves(
    database: Database, conn: Conn, owner: str, policy: str, proven: bool
) -> None:
    force(conn)
    conn.execute(f"CREATE POLICY theirs ON predictions {policy.format(owner)}".encode())
    batch = process(database, 999)
    assert (batch.predictions[999].reason == GONE) is proven
    assert (999 in batch.hidden) is not proven


def test_row_security_that_does_not_concern_the_views_owner(database: Database, conn: Conn) -> None:
    """Here a superuser owns the view."""
    force(conn)
    assert look(database, "source")[0] == "ok"
    assert process(database, 999).predictions[999].reason == GONE


def test_a_worker_delays_what_it_cannot_see_and_does_the_rest(
    conn: Conn, owner: str, start_worker: Start
) -> None:
    hidden, seen = insert_prediction(conn, ["GOOD"]), insert_prediction(conn, ["GOOD"])
    force(conn)
    conn.execute(
        f"CREATE POLICY theirs ON predictions FOR SELECT TO {owner} USING (id = {seen})".encode()
    )
    worker = start_worker("run", "--drain")
    worker.wait_for("predictions cannot be seen", events=1)
    assert worker.process.wait(60) == 0
    assert [row["verdict"] for row in history(conn, seen, "prediction")] == ["done"]
    waiting = event(conn, hidden, "prediction")
    assert waiting is not None
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert waiting["last_error"].startswith("the prediction cannot be seen: role")
    assert "row-level security" in value(
        conn, "SELECT reason FROM outbox_stuck WHERE topic = 'prediction'"
    )
