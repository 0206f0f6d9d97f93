"""One statement as a transaction of its own, there and back at once."""

import psycopg
import pytest
from psycopg.rows import tuple_row

from sql.database import Database
from tests.support.db import Conn, value


def test_what_runs_at_once_is_committed_and_returns_its_rows(
    conn: Conn, database: Database
) -> None:
    conn.execute("CREATE TABLE kept (text text)")
    odd = "it's; COMMIT -- \\ %s"

    rows = database.at_once(
        "INSERT INTO kept SELECT unnest(%s::text[]) RETURNING text", [[odd, "two"]], tuple_row
    )

    assert rows == [(odd,), ("two",)]
    assert value(conn, "SELECT count(*) FROM kept") == 2
    assert database.at_once("SELECT 1 WHERE false", [], tuple_row) == []


def test_what_fails_at_once_changes_nothing_and_leaves_the_connection_usable(
    conn: Conn, database: Database
) -> None:
    conn.execute("CREATE TABLE kept (n integer CHECK (n < 2))")
    with pytest.raises(psycopg.errors.CheckViolation):
        database.at_once("INSERT INTO kept VALUES (1), (%s)", [2], tuple_row)
    with pytest.raises(psycopg.errors.QueryCanceled):
        database.at_once("SELECT pg_sleep(30)", [], tuple_row, seconds=0.1)

    for _ in range(database.size + 1):
        settings = "SELECT current_setting('statement_timeout'), pg_current_xact_id_if_assigned()"
        assert database.at_once(settings, [], tuple_row, seconds=7) == [("7s", None)]
    assert value(conn, "SELECT count(*) FROM kept") == 0


def test_the_owners_default_isolation_is_not_ours(url: str, conn: Conn) -> None:
    name = psycopg.sql.Identifier(value(conn, "SELECT current_database()"))
    conn.execute(
        psycopg.sql.SQL(
            "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'"
        ).format(name)
    )
    asked = "SELECT current_setting('transaction_isolation') AS isolation"
    with Database(url) as database:
        with database.transaction() as ours:
            assert value(ours, asked) == "read committed"
        assert database.at_once(asked, [], tuple_row) == [("read committed",)]


def test_a_commit_that_fails_at_once_is_told(conn: Conn, database: Database) -> None:
    conn.execute("CREATE TABLE kept (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.at_once("INSERT INTO kept VALUES (1), (1) RETURNING n", [], tuple_row)
    assert value(conn, "SELECT count(*) FROM kept") == 0
