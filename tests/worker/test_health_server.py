"""`worker health` on what the server does to the queue: vacuum held back, dead rows, notifications."""

import contextlib
import re

from tests.support.db import Conn, connect, value
from tests.worker.checks import look_from

# The server's own views, in which every transaction is two minutes older, and what is hard to have.
SHADOW = """
CREATE SCHEMA shadow;
CREATE VIEW shadow.pg_stat_activity AS
    SELECT pid, usesysid, usename, application_name, datname, backend_xmin, backend_xid, backend_start, state,
           xact_start - interval '2 minutes' AS xact_start FROM pg_catalog.pg_stat_activity
    WHERE pid <> pg_backend_pid();
CREATE FUNCTION shadow.pg_notification_queue_usage() RETURNS float8
    LANGUAGE sql AS 'SELECT 0.3::float8';
ALTER FUNCTION reckoner_health() SET search_path = shadow, pg_catalog, public
"""


def test_a_transaction_that_holds_vacuum_back(url: str, conn: Conn) -> None:
    with contextlib.closing(connect(url)) as reader:
        reader.execute("SET application_name = 'a report'")
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM outbox")
        assert look_from(conn, "vacuum") == ("ok", "nothing holds it back")
        conn.execute(SHADOW)  # two minutes later
        pid = reader.info.backend_pid
        state, told = look_from(conn, "vacuum")
        assert state == "warn"
        assert told.startswith(f"a transaction of pid {pid} (a report) holds vacuum back since 20")
        [mend] = re.findall(r"SELECT pg_terminate_backend\(\d+\)", told)
        assert value(conn, mend) is True
    conn.execute("ALTER FUNCTION reckoner_health() SET search_path = public")
    assert look_from(conn, "vacuum")[0] == "ok"


def test_an_idle_writer_holds_vacuum_back_too(url: str, conn: Conn) -> None:
    with connect(url) as writer:
        writer.execute("BEGIN")
        # Without parameters, as psql and psycopg2 send it: then no portal keeps a snapshot.
        writer.execute("INSERT INTO predictions (assets) VALUES ('[\"GOOD\"]')")
        conn.execute(SHADOW)
        state, told = look_from(conn, "vacuum")
        assert state == "warn"
        assert f"pid {writer.info.backend_pid} " in told


def test_a_notification_queue_that_fills(conn: Conn) -> None:
    conn.execute(SHADOW)
    state, told = look_from(conn, "notifications")
    assert state == "warn"
    assert told.startswith("the queue of NOTIFY is 30 % full: a listener sits in a transaction")


def test_dead_rows_in_the_outbox(conn: Conn) -> None:
    conn.execute("ALTER TABLE outbox SET (autovacuum_enabled = false)")
    conn.execute(
        "INSERT INTO outbox (topic, key) SELECT 'prediction', n FROM generate_series(1, 100001) n"
    )
    conn.execute("DELETE FROM outbox")
    conn.execute("SELECT pg_stat_force_next_flush()")
    state, told = look_from(conn, "bloat")
    assert state == "warn"
    assert told == "outbox has 100001 dead rows: see vacuum above, then VACUUM outbox"
    conn.execute("VACUUM outbox")
    assert look_from(conn, "bloat")[0] == "ok"
