"""The embedded server's data is found again by its link, and nothing deletes it unasked."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sql import embedded
from sql.embedded import data
from sql.errors import EmbeddedError
from tests.support.cli import command
from tests.support.process import ROOT
from tests.support.waiting import until
from tests.system.servers import (
    STOP_SECONDS,
    begin_user,
    end,
    family,
    postmaster,
    running,
    supervisor,
    until_gone,
    url_of,
)

# Data moves between a project and root's own folder by a rename: both on one disk.
_DISK = "/tmp"  # noqa: S108 - only as the parent of folders with fresh names
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server keeps its data apart")


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder for projects that any user can reach."""
    yield from _top(0o755)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder for projects that only we can open, as /root is."""
    yield from _top(0o700)


def _top(mode: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="reckoner-data-", dir=_DISK))
    folder.chmod(mode)
    before = set(data.APART.glob("data-*")) if os.geteuid() == 0 else set()
    yield folder
    for path in folder.glob("*/.reckoner"):
        assert embedded.wait_until_stopped(path, STOP_SECONDS)
    for origin in data.APART.glob("*/origin") if os.geteuid() == 0 else ():
        # What this test made, whatever became of its project.
        if origin.parent not in before and origin.read_text().startswith(f"{folder}/"):
            shutil.rmtree(origin.parent)
    shutil.rmtree(folder)


def project(folder: Path, name: str) -> Path:
    """The embedded folder of a project that is not there yet."""
    (folder / name).mkdir()
    return folder / name / ".reckoner"


def keep(path: Path, answer: int = 42) -> None:
    """Start the server, write something, and stop it."""
    with embedded.use(path) as url, psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT %s::int AS answer", [answer])
    assert embedded.wait_until_stopped(path, STOP_SECONDS)


def kept(path: Path) -> int:
    """What was written, read by a server that is started for it."""
    with embedded.use(path) as url:
        answer = read(url)
    assert embedded.wait_until_stopped(path, STOP_SECONDS)
    return answer


def read(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT answer FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def refused(path: Path) -> str:
    """Why no server starts."""
    with pytest.raises(EmbeddedError) as refusal, embedded.use(path):
        pass
    return str(refusal.value)


@as_root
def test_data_below_a_closed_folder_moves_with_its_project(closed: Path) -> None:
    path = project(closed, "before")
    keep(path)
    apart = path.joinpath("data").resolve()
    assert apart.is_relative_to(data.APART)
    moved = path.parent.rename(closed / "after") / ".reckoner"
    # Another project's start, which used to remove what it could not find.
    keep(project(closed, "another"), 7)
    assert (apart / "PG_VERSION").exists()
    assert kept(moved) == 42
    assert (moved / "data").resolve() == apart
    # And a new project where the old one was has a database of its own.
    with embedded.use(project(closed, "before")) as url, psycopg.connect(url) as conn:
        assert conn.execute("SELECT to_regclass('kept')").fetchone() == (None,)
    assert kept(moved) == 42


@as_root
def test_a_project_whose_disk_is_away_keeps_its_data(closed: Path, top: Path) -> None:
    path = project(closed, "on a disk")
    keep(path)
    # Unmounted: neither the project nor its link is anywhere.
    hidden = path.parent.rename(closed / "hidden")
    (hidden / ".reckoner").rename(top / "away")
    keep(project(closed, "another"), 7)
    (top / "away").rename(hidden / ".reckoner")
    hidden.rename(path.parent)
    assert kept(path) == 42


@pytest.mark.parametrize("where", ["top", pytest.param("closed", marks=as_root)])
def test_a_project_that_is_renamed_while_its_server_runs_keeps_it(
    where: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(where)
    path = project(folder, "before")
    with embedded.use(path) as url:
        with psycopg.connect(url) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        moved = path.parent.rename(folder / "after") / ".reckoner"
        with embedded.use(moved) as again:
            assert again == url
            assert read(again) == 42
    assert embedded.wait_until_stopped(moved, STOP_SECONDS)
    assert kept(moved) == 42


@as_root
def test_a_copy_of_a_link_is_refused_and_the_data_stays(closed: Path) -> None:
    path = project(closed, "original")
    keep(path)
    copy = closed / "copy"
    subprocess.run(["cp", "-a", path.parent, copy], check=True)
    assert "lead to the same database" in refused(copy / ".reckoner")
    with embedded.use(path) as url:
        assert embedded.running(copy / ".reckoner") is None
        assert "lead to the same database" in refused(copy / ".reckoner")
        assert read(url) == 42
    # Throwing the copy away is not throwing the original's data away.
    embedded.remove(copy / ".reckoner")
    assert not (copy / ".reckoner").exists()
    assert kept(path) == 42
    # The last of them is no copy any more.
    subprocess.run(["cp", "-a", path.parent, copy / "project"], check=True)
    shutil.rmtree(path.parent)
    assert kept(copy / "project" / ".reckoner") == 42
    apart = (copy / "project" / ".reckoner" / "data").resolve().parent
    moved = (copy / "project").rename(closed / "moved") / ".reckoner"
    embedded.remove(moved)
    assert not apart.exists()
    assert not moved.exists()


def test_a_copy_made_while_the_server_runs_does_not_lead_to_it(top: Path) -> None:
    path = project(top, "original")
    with embedded.use(path):
        subprocess.run(["cp", "-a", path.parent, top / "copy"], check=True)
        assert embedded.running(path) is not None
        assert embedded.running(top / "copy" / ".reckoner") is None


def test_one_data_folder_has_one_server(top: Path) -> None:
    path = project(top, "one")
    keep(path)
    other = project(top, "other")
    other.mkdir()
    (other / "data").symlink_to(path / "data")
    user = begin_user(path)
    url = url_of(user)
    with pytest.raises(EmbeddedError, match="another server uses"):
        data.claim(other / "data", 0.2)
    # The lock is the server's: it outlives a supervisor that is killed, and ends with the server.
    keeper = supervisor(path)
    server = postmaster(path)
    os.kill(server, signal.SIGSTOP)
    try:
        os.kill(keeper, signal.SIGKILL)
        until_gone({keeper})
        assert data.in_use(path)
    finally:
        os.kill(server, signal.SIGCONT)
    assert embedded.running(path) in {None, url}
    until("the data is free", lambda: not data.in_use(path), STOP_SECONDS)
    end(user)
    assert kept(other) == 42
    assert kept(path) == 42


@pytest.mark.parametrize("target", ["missing", "empty"])
def test_a_link_that_leads_to_no_database_is_said_and_kept(top: Path, target: str) -> None:
    path = project(top, "linked")
    keep(path)
    disk = top / "disk"
    disk.mkdir()
    (path / "data").rename(disk / "database")
    (path / "data").symlink_to(disk / "database")
    assert kept(path) == 42
    (disk / "database").rename(top / "unmounted")
    if target == "empty":
        (disk / "database").mkdir()
    message = refused(path)
    assert f"{path}/data leads to {disk}/database, where no database is" in message
    assert (path / "data").is_symlink()
    assert [entry.name for entry in disk.iterdir()] == (["database"] if target == "empty" else [])
    if target == "empty":
        (disk / "database").rmdir()
    (top / "unmounted").rename(disk / "database")
    assert kept(path) == 42


@as_root
def test_a_folder_apart_that_is_gone_is_said(closed: Path) -> None:
    path = project(closed, "lost")
    keep(path)
    apart = (path / "data").resolve().parent
    apart.rename(closed / "elsewhere")
    assert "where no database is" in refused(path)
    (closed / "elsewhere").rename(apart)
    (apart / "data").rename(apart / "renamed")
    assert "where no database is" in refused(path)
    (apart / "renamed").rename(apart / "data")
    assert kept(path) == 42


def test_files_without_a_version_are_left_alone(top: Path) -> None:
    path = project(top, "damaged")
    keep(path)
    (path / "data" / "PG_VERSION").unlink()
    before = sorted(entry.name for entry in (path / "data").iterdir())
    assert "PG_VERSION is missing" in refused(path)
    assert sorted(entry.name for entry in (path / "data").iterdir()) == before


@as_root
@pytest.mark.parametrize("interrupted", [False, True])
def test_data_moves_apart_when_its_project_comes_below_a_closed_folder(
    top: Path, closed: Path, *, interrupted: bool
) -> None:
    path = project(top, "project")
    keep(path)
    assert not (path / "data").is_symlink()
    moved = path.parent.rename(closed / "project") / ".reckoner"
    if interrupted:
        assert kept(moved) == 42
        (moved / "data").rename(moved / "data.link")
    assert kept(moved) == 42
    assert (moved / "data").is_symlink()


def entered(name: str) -> Callable[[Path], bool]:
    return lambda path: any(path.glob(name))


# What a start has reached, in order.
MOMENTS = {
    "nothing": entered("run/supervisor.lock"),
    "initdb": entered("data.new-*/PG_VERSION"),
    "data": entered("data/PG_VERSION"),
    "server": entered("data/postmaster.pid"),
    "ready": entered("run/server.json"),
}


@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        ("nothing", "supervisor"),
        ("initdb", "starter"),
        ("initdb", "supervisor"),
        ("initdb", "all"),
        ("data", "supervisor"),
        ("server", "supervisor"),
        ("server", "all"),
        ("ready", "all"),
    ],
)
def test_kill_9_at_each_moment_of_a_start_leaves_a_database_that_starts(
    top: Path, moment: str, victim: str
) -> None:
    path = project(top, "killed")
    starter = begin_user(path)
    try:
        until(f"the start has reached {moment}", lambda: MOMENTS[moment](path), STOP_SECONDS)
        processes = family(starter.pid)
        victims = {"starter": {starter.pid}, "supervisor": processes - {starter.pid}}.get(
            victim, processes
        )
        for pid in sorted(victims if victim == "all" else sorted(victims)[:1]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    finally:
        starter.kill()
        starter.communicate()
    assert embedded.wait_until_stopped(path, STOP_SECONDS)
    until_gone(processes)
    keep(path)
    assert kept(path) == 42


@as_root
def test_kill_9_during_initdb_apart_is_no_lost_database(closed: Path) -> None:
    path = project(closed, "killed")
    starter = begin_user(path)

    def making() -> bool:
        return any(data.APART.glob("data-*/data.new-*")) and (path / "data").is_symlink()

    until("initdb runs", making, STOP_SECONDS)
    processes = family(starter.pid)
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    starter.communicate()
    until_gone(processes)
    assert not (path / "data").exists()
    keep(path)
    assert kept(path) == 42


def test_a_killed_supervisor_leaves_no_socket_for_ever(top: Path) -> None:
    path = project(top, "killed")
    user = begin_user(path)
    url_of(user)
    socket_folder = Path(json.loads((path / "run" / "server.json").read_text())["socket_folder"])
    processes = family(supervisor(path))
    os.kill(supervisor(path), signal.SIGKILL)
    until_gone(processes)
    end(user)
    assert socket_folder.exists()
    with embedded.use(path):
        assert not socket_folder.exists()


def test_removing_waits_for_no_server_in_use(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    path = project(top, "used")
    user = begin_user(path)
    url_of(user)
    with pytest.raises(EmbeddedError, match="still runs"):
        embedded.remove(path)
    assert running({postmaster(path)})
    end(user)
    assert embedded.wait_until_stopped(path, STOP_SECONDS)
    embedded.remove(path)
    assert not path.exists()


def test_a_demo_does_not_delete_what_no_demo_made(top: Path) -> None:
    path = top / ".reckoner-demo"
    keep(path)
    done = command("embedded:unused", "worker", "demo", "--once", cwd=top, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "was not made by a demo" in done.stderr
    assert kept(path) == 42
