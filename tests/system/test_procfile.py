"""The Procfile as platforms run it: honcho starts, signals and ends its processes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.db import Conn, value
from tests.support.hanging import HangingTicker
from tests.support.market import MOMENT, bars, insert_prediction, until_complete
from tests.support.process import ROOT, environment
from tests.support.waiting import until

_BIN = Path(sys.executable).parent
# honcho kills five seconds after its SIGTERM, which a machine that stands still uses up. With
# twenty a worker is still killed that drains as long as it does by default.
_HONCHO = """
from honcho import command, manager
manager.KILL_WAIT = 20
command.main()
"""
_STARTED = re.compile(r"worker\.1 started \(pid=(\d+)\)")


def platform(url: str, folder: Path, **settings: str) -> dict[str, str]:
    """The environment in which `python` is this one, as on a platform."""
    path = f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    provider = {"MARKET_PROVIDERS": "csv", "MARKET_CSV_DIR": str(folder / "bars")}
    return environment(url, PATH=path, PYTHONUNBUFFERED="1", **{**provider, **settings})


def honcho(folder: Path, *arguments: str) -> list[str]:
    """A honcho command in a folder without a .env."""
    where = ["--app-root", str(folder), "--procfile", str(ROOT / "Procfile")]
    return [sys.executable, "-c", _HONCHO, arguments[0], *where, *arguments[1:]]


def finished(
    arguments: list[str], environ: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        arguments,
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Platform:
    """`honcho start worker`, and what it printed."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self._log = folder / "honcho.log"
        with self._log.open("wb") as file:
            self.process = subprocess.Popen(
                honcho(folder, "start", "worker"),
                env=environ,
                cwd=folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._log.read_text(errors="replace")

    def said(self, event: str) -> dict[str, Any] | None:
        """The worker's first log line of this event."""
        for line in self.text.splitlines(keepends=True):
            _, bar, entry = line.partition("worker.1 | ")
            if not line.endswith("\n"):
                continue  # it is just being written
            if bar and entry.startswith("{") and json.loads(entry)["event"] == event:
                return dict(json.loads(entry))
        return None

    def worker(self) -> int:
        """Wait until honcho says which process it started."""

        def probe() -> int | None:
            found = _STARTED.search(self.text)
            return int(found[1]) if found else None

        pid = until("honcho started the worker", probe)
        assert pid is not None
        return pid

    def end(self) -> None:
        """Kill what is left of it."""
        found = _STARTED.search(self.text)
        if found and alive(int(found[1])):  # or the number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(found[1]), signal.SIGKILL)  # honcho gave it a group of its own
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def alive(pid: int) -> bool:
    """Whether a process of this number runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Start `honcho start worker`; whatever is left of it is killed at the end."""
    started: list[Platform] = []

    def start(**settings: str) -> Platform:
        started.append(Platform(platform(url, tmp_path, **settings), tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_honcho_starts_a_worker_that_works_and_hands_back_at_sigterm(
    conn: Conn, start: Callable[..., Platform], tmp_path: Path
) -> None:
    bars(conn, tmp_path / "bars", "GOOD")
    HangingTicker(tmp_path / "bars")
    # Platforms kill some seconds after their SIGTERM; the worker must be done by then.
    running = start(WORKER_DRAIN_SECONDS="1")
    pid = running.worker()
    until("the worker hears itself", lambda: running.said("listening"), 30)
    # The shell became the worker: a signal to honcho's child is a signal to the worker.
    assert command_line(pid)[1:] == ["-m", "worker"]
    assert value(conn, "SELECT pid FROM worker_status") == pid
    insert_prediction(conn, ["GOOD"], moment=MOMENT)
    until_complete(conn, 1)
    insert_prediction(conn, ["SLOW"], moment=MOMENT)
    held = "SELECT count(*) FROM outbox WHERE key = 'SLOW' AND status = 'processing'"
    until("a lane hangs", lambda: value(conn, held))

    running.process.send_signal(signal.SIGTERM)

    assert running.process.wait(60) == 143  # honcho's own, for SIGTERM
    assert not alive(pid)
    assert "worker.1 stopped (rc=0)" in running.text
    assert "SIGKILL" not in running.text
    stopped = running.said("worker stopped")
    assert stopped is not None
    assert stopped["handed_back"] == 1
    [row] = conn.execute("SELECT * FROM outbox").fetchall()
    assert (row["key"], row["status"], row["attempts"]) == ("SLOW", "pending", 0)
    assert value(conn, "SELECT count(*) FROM worker_status") == 0


def test_the_release_phase_migrates(empty_url: str, tmp_path: Path) -> None:
    release = next(
        line.removeprefix("release: ")
        for line in (ROOT / "Procfile").read_text().splitlines()
        if line.startswith("release: ")
    )

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return finished(honcho(tmp_path, "run", *release.split(), *more), environ, tmp_path)

    environ = platform(empty_url, tmp_path)
    assert run("--check").returncode == 3
    for _ in range(2):  # every release runs it
        done = run()
        assert done.returncode == 0, done.stderr
    done = run("--check")
    assert (done.returncode, done.stdout) == (0, "action\tname\tsql\n")


def test_without_a_database_the_worker_refuses_in_one_line(url: str, tmp_path: Path) -> None:
    environ = platform(url, tmp_path)
    del environ["DATABASE_URL"]

    done = finished(honcho(tmp_path, "start", "worker"), environ, tmp_path)

    assert done.returncode == 2, done.stdout
    said = [line.partition("| ")[2] for line in done.stdout.splitlines() if "worker.1 | " in line]
    assert len(said) == 1, said
    assert said[0].startswith("error: DATABASE_URL: not set")
    assert "worker.1 stopped (rc=2)" in done.stdout
    assert not (tmp_path / ".reckoner").exists()
