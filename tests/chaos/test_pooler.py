"""pgbouncer in transaction mode: LISTEN hears nothing through it, without any error."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from tests.chaos.world import World
from tests.support.db import connect, value
from tests.support.process import hears
from tests.support.waiting import until

_PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_CONFIG = """
[databases]
* = host={host}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
logfile = {folder}/log
pidfile = {folder}/pid
"""


@contextlib.contextmanager
def pooled(url: str) -> Iterator[str]:
    """Run pgbouncer in front of a server; yields the URL through it."""
    assert _PROGRAM is not None
    parts = conninfo.conninfo_to_dict(url)
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    (folder / "users").write_text(f'"{parts["user"]}" ""\n')
    (folder / "config").write_text(_CONFIG.format(host=parts["host"], folder=folder))
    nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if nobody is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, nobody, nobody)
    process = subprocess.Popen(
        [_PROGRAM, "--quiet", str(folder / "config")],
        user=nobody,
        group=nobody,
        extra_groups=None if nobody is None else [],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    through = conninfo.make_conninfo(url, host=str(folder), port=6432)

    def answers() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            connect(through).close()
            return True
        assert process.poll() is None, (folder / "log").read_text()
        return False

    try:
        until("pgbouncer answers", answers)
        yield through
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder)


@pytest.mark.skipif(_PROGRAM is None, reason="pgbouncer is not installed")
def test_a_worker_behind_a_transaction_pooler_polls_says_so_and_hears_beside_it(
    world: World,
) -> None:
    with pooled(world.url) as through:
        deaf = world.start(url=through)
        deaf.wait_for("notifications do not arrive", reason="echo overdue")
        until(
            "worker_status says so",
            lambda: value(world.conn, "SELECT max(mode) FROM worker_status") == "polling",
        )
        assert world.check_health()["listening"][0] == "warn"
        writer = world.writer()
        with writer.working():
            writer.until_more(40)
        world.settle()
        assert deaf.stop() == 0
        # All but LISTEN goes through the pooler: then it hears itself.
        hearing = world.start(url=through, LISTEN_DATABASE_URL=world.url).ready()
        with writer.working():
            writer.until_more(40)
        world.check(writer)
        until("it hears", lambda: hears(hearing))
        assert not hearing.saw("notifications do not arrive")
        assert hearing.stop() == 0
