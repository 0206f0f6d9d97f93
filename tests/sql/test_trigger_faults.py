"""Whatever is wrong with the queue, the writer's statement succeeds and the sweep mends it."""

import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from tests.support.db import Conn, collect_warnings, connect, value
from tests.support.market import insert_prediction

# What breaks the queue, and what mends it.
FAULTS = {
    "renamed": (
        "ALTER TABLE outbox RENAME TO outbox_away",
        "ALTER TABLE outbox_away RENAME TO outbox",
    ),
    "refusing": (
        "ALTER TABLE outbox ADD CONSTRAINT no CHECK (topic <> 'prediction') NOT VALID",
        "ALTER TABLE outbox DROP CONSTRAINT no",
    ),
    "no doorbell": (
        "ALTER FUNCTION doorbell_ring() RENAME TO doorbell_away",
        "ALTER FUNCTION doorbell_away() RENAME TO doorbell_ring",
    ),
    "no clock": (
        "ALTER FUNCTION reckoner_now() RENAME TO reckoner_away",
        "ALTER FUNCTION reckoner_away() RENAME TO reckoner_now",
    ),
    "a column is gone": (
        "ALTER TABLE outbox RENAME COLUMN available_at TO ready_at",
        "ALTER TABLE outbox RENAME COLUMN ready_at TO available_at",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_queue_is_a_warning_to_the_writer(conn: Conn, fault: str) -> None:
    breaks, mends = FAULTS[fault]
    waiting = insert_prediction(conn, ["A"], status="pending")
    changed = insert_prediction(conn, ["A"])
    before = value(conn, "SELECT count(*) FROM outbox")
    warnings = collect_warnings(conn)
    conn.execute(breaks.encode())

    number = insert_prediction(conn, ["A"])
    conn.execute("UPDATE predictions SET analysis_status = 'completed' WHERE id = %s", [waiting])
    conn.execute("UPDATE predictions SET assets = '[\"B\"]' WHERE id = %s", [changed])

    assert [text.startswith("reckoner: ") for text in warnings] == [True] * 3
    conn.execute(mends.encode())
    rows = conn.execute("SELECT id, analysis_status FROM predictions ORDER BY id").fetchall()
    assert [(row["id"], row["analysis_status"]) for row in rows] == [
        (waiting, "completed"),
        (changed, "completed"),
        (number, "completed"),
    ]
    assert value(conn, "SELECT count(*) FROM outbox") == before
    assert value(conn, "SELECT sweep_forgotten(1000)") == 2
    found = conn.execute("SELECT key FROM outbox ORDER BY key::int").fetchall()
    assert [int(row["key"]) for row in found] == [waiting, changed, number]
    assert value(conn, "SELECT sweep_forgotten(1000)") == 0


def test_the_rest_of_the_writers_transaction_is_kept(conn: Conn) -> None:
    conn.execute("ALTER TABLE outbox RENAME TO outbox_away")
    with conn.transaction():
        first = insert_prediction(conn, ["A"])
        second = insert_prediction(conn, ["B"])
    conn.execute("ALTER TABLE outbox_away RENAME TO outbox")
    assert [row["id"] for row in conn.execute("SELECT id FROM predictions ORDER BY 1")] == [
        first,
        second,
    ]
    assert value(conn, "SELECT sweep_forgotten(1000)") == 2


@pytest.mark.parametrize(
    "table", ["outbox", "reckoner_schema, reckoner_installation, outbox_history, outbox"]
)
def test_a_locked_queue_holds_up_nobody(url: str, conn: Conn, table: str) -> None:
    warnings = collect_warnings(conn)
    with connect(url) as other, other.transaction():
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        took = []
        for _ in range(3):
            began = time.monotonic()
            insert_prediction(conn, ["A"])  # returns although the lock is still held
            took.append(time.monotonic() - began)
    assert min(took) < 2  # the machine may stand still in one of them
    assert len(warnings) == 3
    assert all("lock" in text for text in warnings)
    assert value(conn, "SELECT count(*) FROM outbox") == 0
    assert value(conn, "SELECT sweep_forgotten(1000)") == 3


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
def test_the_writers_own_settings_are_its_own_afterwards(conn: Conn, setting: str) -> None:
    conn.execute(f"SET {setting} = '54321ms'".encode())
    insert_prediction(conn, ["A"])
    assert value(conn, f"SHOW {setting}") == "54321ms"
    assert value(conn, "SELECT count(*) FROM outbox") == 1


@pytest.fixture
def stranger(conn: Conn) -> Iterator[str]:
    """A role that may INSERT into predictions, and UPDATE their assets, and nothing else."""
    name = f"stranger_{uuid4().hex[:12]}"
    conn.execute(f"CREATE ROLE {name} LOGIN".encode())
    conn.execute(f"GRANT INSERT ON predictions TO {name}".encode())
    yield name
    conn.execute(b"RESET ROLE")
    conn.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_a_writer_with_nothing_but_insert_writes_events(
    url: str, conn: Conn, stranger: str
) -> None:
    with connect(url) as writer:
        writer.execute(f"SET SESSION AUTHORIZATION {stranger}".encode())
        warnings = collect_warnings(writer)
        writer.execute("INSERT INTO predictions (assets) VALUES ('[\"A\"]'), ('[\"B\"]')")
        assert warnings == []
        for table in ("outbox", "predictions", "reckoner_installation"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(f"SELECT FROM {table}".encode())
    assert value(conn, "SELECT count(*) FROM outbox") == 2


def test_a_writer_that_may_not_use_the_queues_functions_writes_events(
    url: str, conn: Conn, stranger: str
) -> None:
    conn.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    with connect(url) as writer:
        writer.execute(f"SET SESSION AUTHORIZATION {stranger}".encode())
        warnings = collect_warnings(writer)
        writer.execute("INSERT INTO predictions (assets) VALUES ('[\"A\"]')")
        assert warnings == []
    assert value(conn, "SELECT count(*) FROM outbox") == 1


HOSTILE = """
CREATE SCHEMA evil;
CREATE TABLE evil.outbox (LIKE public.outbox INCLUDING DEFAULTS INCLUDING IDENTITY);
CREATE TABLE evil.predictions_inserted ();
CREATE FUNCTION evil.has_assets(text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION evil.reckoner_now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''infinity''::timestamptz';
CREATE FUNCTION evil.doorbell_ring() RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''evil''; END';
CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''evil''; END';
CREATE FUNCTION evil.statement_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RAISE ''evil''; END';
CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''evil''; END';
CREATE FUNCTION evil.never(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''evil''; END';
CREATE OPERATOR evil.!~ (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.never);
CREATE TEMP TABLE outbox (LIKE public.outbox INCLUDING DEFAULTS INCLUDING IDENTITY);
CREATE TEMP TABLE added (id integer);
CREATE FUNCTION pg_temp.has_assets(text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
"""


@pytest.mark.parametrize(
    "path", ["evil, pg_temp, pg_catalog, public", "pg_temp, evil", "evil", "''"]
)
def test_a_hostile_search_path_changes_nothing(
    url: str, conn: Conn, stranger: str, path: str
) -> None:
    with connect(url) as writer:
        writer.execute(HOSTILE.encode())
        conn.execute(f"GRANT USAGE ON SCHEMA evil TO {stranger}".encode())
        conn.execute(f"GRANT UPDATE, SELECT ON predictions TO {stranger}".encode())
        warnings = collect_warnings(writer)
        writer.execute(f"SET SESSION AUTHORIZATION {stranger}; SET search_path = {path}".encode())
        writer.execute("INSERT INTO public.predictions (id, assets) VALUES (1, '[\"A\"]')")
        writer.execute("UPDATE public.predictions SET assets = '[\"B\"]'")
        assert warnings == []
        assert value(writer, "SHOW search_path") == path.replace("''", '""')
        writer.execute("RESET SESSION AUTHORIZATION")
        assert value(writer, "SELECT count(*) FROM evil.outbox") == 0
        assert value(writer, "SELECT count(*) FROM pg_temp.outbox") == 0
        events = conn.execute("SELECT key, status FROM public.outbox").fetchall()
        assert events == [{"key": "1", "status": "pending"}] * 2
        assert (
            len(conn.execute("SELECT * FROM outbox_claim('prediction', 'w', 9, 60)").fetchall())
            == 2
        )
