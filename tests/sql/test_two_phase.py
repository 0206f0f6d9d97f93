"""A writer's PREPARE TRANSACTION, which is refused to whoever has sent a notification."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction
from tests.support.queue import arm


@pytest.fixture(scope="module")
def writer() -> Iterator[tuple[Conn, Conn]]:
    """A writer's connection and a sleeping worker's, on a server with room for prepared transactions."""
    folder = Path(tempfile.mkdtemp(prefix="reckoner-two-phase-"))
    folder.chmod(0o755)  # root's server runs under another id
    settings = {"fsync": "off", "max_prepared_transactions": "5"}
    try:
        with embedded.use(folder, settings=settings) as url:
            with Database(url) as database:
                migrate.migrate(database)
            with connect(url) as conn, connect(url) as sleeper:
                yield conn, sleeper
    finally:
        embedded.remove(folder)


def test_what_a_writer_prepares_is_kept_while_a_worker_sleeps(writer: tuple[Conn, Conn]) -> None:
    """It was refused at his PREPARE, and his prediction was gone."""
    conn, sleeper = writer
    assert arm(sleeper) == "armed"
    sleeper.execute("LISTEN reckoner")
    conn.execute("BEGIN")
    insert_prediction(conn, ["GOOD"])
    conn.execute("PREPARE TRANSACTION 'his'")
    conn.execute("COMMIT PREPARED 'his'")
    assert value(conn, "SELECT count(*) FROM outbox") == 1
    assert list(sleeper.notifies(timeout=0.2)) == []


def test_who_prepares_nothing_may_have_the_bell_rung(writer: tuple[Conn, Conn]) -> None:
    conn, sleeper = writer
    conn.execute("SET reckoner.ring = 'on'")
    insert_prediction(conn, ["GOOD"])
    assert len(list(sleeper.notifies(timeout=5, stop_after=1))) == 1
    conn.execute("BEGIN")
    insert_prediction(conn, ["GOOD"])
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        conn.execute("PREPARE TRANSACTION 'his'")
