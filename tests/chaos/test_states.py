"""States of the server that are nobody's event's fault: full, read-only, crowded, impatient."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sql import embedded
from tests.chaos import world as worlds
from tests.chaos.backends import BACKENDS, terminate
from tests.chaos.server import serving
from tests.chaos.world import World
from tests.support.db import connect, server_folder, value
from tests.support.waiting import until

_AWAY = "the database is away, waiting for it"
_SEEN = (
    "SELECT FROM reckoner_workers WHERE last_seen_at > clock_timestamp() - interval '20 seconds'"
)
_SLOW_END = """
CREATE FUNCTION slow_end() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END';
CREATE TRIGGER slow_end BEFORE INSERT ON outbox_history
    FOR EACH STATEMENT EXECUTE FUNCTION slow_end()
"""


def said(world: World, words: str) -> bool:
    """Whether every worker logged an error with these words."""
    return all(any(words in str(entry) for entry in w.events) for w in world.workers)


def test_a_server_in_read_only_mode_is_waited_for(world: World) -> None:
    world.start_ready(2)
    writer = world.writer()
    with writer.working():
        writer.until_more(20)
        with altered(world, "default_transaction_read_only", "on"):
            until("both say so", lambda: said(world, "ReadOnlySqlTransaction"), 60)
            until("the writer is refused", lambda: writer.interrupted > 0, 60)
        writer.until_more(20)
    world.check(writer)


@contextlib.contextmanager
def altered(world: World, name: str, setting: str) -> Iterator[None]:
    """Change a setting of the whole server, and take it back."""
    with connect(world.url) as conn:
        conn.execute("SET default_transaction_read_only = off")
        conn.execute(f"ALTER SYSTEM SET {name} = '{setting}'".encode())
        conn.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            conn.execute(f"ALTER SYSTEM RESET {name}".encode())
            conn.execute("SELECT pg_reload_conf()")


def test_a_server_without_a_free_connection_is_waited_for(world: World) -> None:
    world.start_ready(2)
    writer = world.writer()
    with writer.working():
        writer.until_more(20)
        with crowded(world):
            # A pool asks for fifteen seconds before it gives up for the first time.
            until(
                "no heartbeat got through", lambda: world.conn.execute(_SEEN).fetchall() == [], 60
            )
            until("both say so", lambda: said(world, "the database is away"), 60)
        writer.until_more(20)
    world.check(writer)


@contextlib.contextmanager
def crowded(world: World) -> Iterator[None]:
    """Hold every connection that the server has but the writer's, those of the workers too."""
    size = int(world.ask("SELECT current_setting('max_connections')"))
    clients = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with contextlib.ExitStack() as stack:

        def take_all() -> bool:
            terminate(world, BACKENDS)
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(connect(world.url))
            taken = len(world.conn.execute(clients.encode()).fetchall())
            return taken >= size and not world.conn.execute(BACKENDS.encode()).fetchall()

        until("nobody else has a connection", take_all, 60)
        yield


def test_a_statement_timeout_of_the_database_is_not_the_workers(world: World) -> None:
    world.start_ready(2)
    writer = world.writer()
    with writer.working():
        writer.until_more(20)
        # What is short is much shorter than the timeout; to end an event takes longer.
        world.conn.execute(_SLOW_END)
        with connect(world.url) as conn:
            name = conn.info.dbname
            conn.execute(f"ALTER DATABASE {name} SET statement_timeout = '500ms'".encode())
            terminate(world, BACKENDS)
            since = value(world.conn, "SELECT clock_timestamp()")
            writer.until_more(20)
            ended = "SELECT count(*) FROM outbox_history WHERE finished_at > %s"
            until("events end all the same", lambda: value(world.conn, ended, [since]), 60)
            conn.execute(f"ALTER DATABASE {name} RESET statement_timeout".encode())
        world.conn.execute("DROP TRIGGER slow_end ON outbox_history")
        terminate(world, BACKENDS)
        writer.until_more(20)
    world.check(writer)


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    with server_folder() as folder, small_disk(folder):
        # WAL that is written in advance, and kept, leaves the data less of the disk.
        sizes = {"min_wal_size": "32MB", "max_wal_size": "48MB", "shared_buffers": "16MB"}
        with serving(folder, sizes) as server, worlds.made(server, tmp_path) as world:
            workers = world.start_ready(2)
            writer = world.writer()
            with writer.working():
                writer.until_more(20)
                fill(folder / "filler")
                until("the writer is refused", lambda: writer.interrupted > 3, 60)
                until("both say so", lambda: said(world, _AWAY) or said(world, "DiskFull"), 60)
                assert [worker.process.poll() for worker in workers] == [None, None]
                (folder / "filler").unlink()
                writer.until_more(20, 120)
            world.check(writer)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a small file system on a folder; skips where that is not allowed."""
    options = ["-t", "tmpfs", "-o", "size=200m,mode=755", "tmpfs", str(folder)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk needs root and the right to mount")
    try:
        yield
    finally:
        assert embedded.wait_until_stopped(folder, 30)
        unmount = ["umount", str(folder)]
        until(
            "its supervisor let go of the disk",
            lambda: subprocess.run(unmount, check=False, capture_output=True).returncode == 0,
        )


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
