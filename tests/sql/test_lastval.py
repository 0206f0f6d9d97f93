"""A writer's session keeps its lastval() and currval(), whatever the triggers do."""

import psycopg
import pytest

from tests.support.db import Conn, collect_warnings, connect, value
from tests.support.roles import Roles, roles

_INSERT = (
    "INSERT INTO predictions (assets, market_impact) VALUES ('[\"A\"]', '{}'), ('[\"B\"]', '{}')"
)


@pytest.fixture(autouse=True)
def _other_numbers(conn: Conn) -> None:
    """Make the events' ids differ from all others."""
    conn.execute("ALTER SEQUENCE outbox_id_seq RESTART 1000")


def insert(conn: Conn) -> int:
    """Insert two predictions; returns the last one's id."""
    return int(conn.execute(f"{_INSERT} RETURNING id".encode()).fetchall()[-1]["id"])


def test_an_insert_leaves_its_own_id_as_lastval(conn: Conn) -> None:
    number = insert(conn)
    assert value(conn, "SELECT lastval()") == number
    assert value(conn, "SELECT currval('predictions_id_seq')") == number
    # Twice, because a session that used the outbox's sequence before takes another path.
    assert insert(conn) == value(conn, "SELECT lastval()")
    assert value(conn, "SELECT count(*) FROM outbox") == 4


def test_an_update_leaves_lastval(conn: Conn) -> None:
    number = insert(conn)
    conn.execute("UPDATE predictions SET assets = '[\"C\"]'")
    assert value(conn, "SELECT count(*) FROM outbox") == 4
    assert value(conn, "SELECT lastval()") == number


def test_a_registered_ticker_leaves_lastval(conn: Conn) -> None:
    conn.execute("INSERT INTO ticker_registry (symbol) VALUES ('A')")
    assert value(conn, "SELECT count(*) FROM outbox") == 1
    assert value(conn, "SELECT lastval()") == value(conn, "SELECT id FROM ticker_registry")


def test_a_number_of_another_sequence_is_kept(conn: Conn) -> None:
    conn.execute("CREATE SEQUENCE theirs MINVALUE -9 START -7 INCREMENT -1")
    conn.execute("SELECT nextval('theirs')")
    conn.execute("INSERT INTO predictions (id, assets) VALUES (5, '[\"A\"]')")
    assert value(conn, "SELECT lastval()") == -7
    assert value(conn, "SELECT nextval('theirs')") == -8
    assert value(conn, "SELECT key FROM outbox") == "5"


def test_a_session_without_lastval_gets_its_event(conn: Conn) -> None:
    warnings = collect_warnings(conn)
    conn.execute("INSERT INTO predictions (id, assets) VALUES (5, '[\"A\"]')")
    conn.execute("UPDATE predictions SET assets = '[\"B\"]'")
    conn.execute("INSERT INTO ticker_registry (id, symbol) VALUES (5, 'A')")
    assert warnings == []
    assert value(conn, "SELECT count(*) FROM outbox") == 3


def test_a_role_that_may_only_insert_gets_its_own_id(url: str, conn: Conn) -> None:
    with roles(url) as made, connect(made.analyst) as writer:
        assert_only_inserts(writer, made)
        writer.execute(_INSERT.encode())
        assert value(writer, "SELECT lastval()") == value(conn, "SELECT max(id) FROM predictions")
        assert value(conn, "SELECT count(*) FROM outbox") == 2


def assert_only_inserts(writer: Conn, made: Roles) -> None:
    assert "analyst" in made.analyst
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute("SELECT FROM predictions")


def test_two_writers_keep_each_its_own(url: str, conn: Conn) -> None:
    with connect(url) as other:
        mine = insert(conn)
        theirs = insert(other)
        assert value(conn, "SELECT lastval()") == mine
        assert value(other, "SELECT lastval()") == theirs
