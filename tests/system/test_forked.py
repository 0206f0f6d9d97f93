"""Forked processes behave as fresh interpreters do (tests/support/forked.py)."""

import os
import signal
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.process import environment

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="nothing is forked on this system"
)
NOWHERE = "embedded:/nowhere/at/all"


def ended(arguments: list[str], folder: Path, *, fresh: bool, **settings: str) -> tuple[int, str]:
    """The exit code of a process, and what it wrote."""
    path = folder / "written"
    with path.open("wb") as file:
        process = forked.spawn(
            arguments,
            environment(NOWHERE, **settings),
            stdout=file.fileno(),
            stderr=file.fileno(),
            cwd=folder,
            fresh=fresh,
        )
        assert isinstance(process, forked.Forked) is not fresh
        code = process.wait(60)
    return code, path.read_text()


@pytest.mark.parametrize(
    "arguments", [["worker", "status", "--json"], ["market", "backfill", "--start", "soon"]]
)
def test_it_says_and_ends_as_a_fresh_one(arguments: list[str], tmp_path: Path) -> None:
    fork, fresh = (ended(arguments, tmp_path, fresh=each) for each in (False, True))
    assert fork == fresh
    assert fork[0] == 2
    # Neither keeps what another was told.
    assert ended(["worker", "--help"], tmp_path, fresh=False)[0] == 0


def test_it_can_be_stopped_and_killed(url: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        process = forked.spawn(
            ["worker"], environment(url), stdout=file.fileno(), stderr=file.fileno()
        )
        assert isinstance(process, forked.Forked)
        assert os.getpgid(process.pid) != process.pid
        process.send_signal(signal.SIGSTOP)
        assert process.poll() is None
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        process.kill()  # nothing more


def test_settings_of_the_interpreter_need_a_fresh_one(tmp_path: Path) -> None:
    code, _ = ended(["worker", "--help"], tmp_path, fresh=False)
    assert code == 0
    with (tmp_path / "log").open("wb") as file:
        env = environment(NOWHERE, PYTHONUTF8="0")
        process = forked.spawn(
            ["worker", "--help"], env, stdout=file.fileno(), stderr=file.fileno()
        )
        assert not isinstance(process, forked.Forked)
        assert process.wait(60) == 0
