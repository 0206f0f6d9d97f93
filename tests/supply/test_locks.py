"""`./dev` installs what its locks say, in two stages, and a stale lock fails the lint."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT

LOCKS = ["run.lock", "dev.lock", "bench.lock"]


def folder_of_locks(folder: Path) -> Path:
    """A folder with `dev` and what it reads."""
    for name in ("dev", "pyproject.toml", "uv.lock", *LOCKS):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        ("pyproject.toml", '"httpx>=0.28"', '"httpx>=0.29"', LOCKS),
        ("pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=3.12"', LOCKS),
        ("pyproject.toml", '"hypothesis>=', '"hypothesis>', LOCKS),
        ("uv.lock", 'name = "httpx"', 'name = "httpy"', LOCKS),
        ("run.lock", "httpx==", "httpx==9.", ["run.lock"]),
        ("dev.lock", "hypothesis==", "hypothesis==9.", ["dev.lock"]),
        ("bench.lock", "asyncpg==", "asyncpg==9.", ["bench.lock"]),
    ],
)
def test_lint_names_a_stale_lock(
    tmp_path: Path, name: str, old: str, new: str, stale: list[str]
) -> None:
    path = folder_of_locks(tmp_path) / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    done = subprocess.run(
        [sys.executable, "dev", "lint"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    beside = "stale beside pyproject.toml and uv.lock; run ./dev lock"
    assert done.stderr == f"dev: {', '.join(stale)}: {beside}\n"
    assert not (tmp_path / ".venv").exists()


def test_a_lint_of_the_tools_settings_leaves_the_locks_fresh(tmp_path: Path) -> None:
    path = folder_of_locks(tmp_path) / "pyproject.toml"
    path.write_text(path.read_text().replace("line-length = 100", "line-length = 99"))
    code = "import runpy; print(runpy.run_path('dev')['stale']())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# Stands in for uv: writes down what it is asked to install, and fails while `broken` is there.
UV = """#!/bin/sh
for last; do :; done
echo "$(basename "$last")" >> "{folder}/asked"
test ! -e "{folder}/broken"
"""


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """A folder with `dev` and a uv that only writes down what it was asked for."""
    folder_of_locks(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV.format(folder=tmp_path))
    (tmp_path / "bin" / "uv").chmod(0o755)
    for package in ("worker", "pytest"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__main__.py").write_text("")
    return tmp_path


def installed_by(folder: Path, *arguments: str) -> list[str]:
    """Run `./dev` there; returns the locks that it installed."""
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    (folder / "asked").unlink(missing_ok=True)
    subprocess.run([sys.executable, "dev", *arguments], cwd=folder, env=environment, check=False)
    asked = folder / "asked"
    return asked.read_text().split() if asked.exists() else []


def test_the_tests_packages_are_added_on_top(installer: Path) -> None:
    assert installed_by(installer, "worker") == ["run.lock"]
    assert installed_by(installer, "worker") == []
    kept = installer / ".venv" / "kept"
    kept.write_text("")
    assert installed_by(installer, "test", "x") == ["dev.lock"]
    assert installed_by(installer, "test", "x") == []
    assert installed_by(installer, "worker") == []
    assert kept.exists()


def test_an_interrupted_install_is_done_again(installer: Path) -> None:
    broken = installer / "broken"
    broken.write_text("")
    assert installed_by(installer, "worker") == ["run.lock"]
    assert installed_by(installer, "worker") == ["run.lock"]
    broken.unlink()
    assert installed_by(installer, "test", "x") == ["run.lock", "dev.lock"]
    (installer / "dev.lock").write_text("# other\n")
    broken.write_text("")
    assert installed_by(installer, "test", "x") == ["dev.lock"]
    assert installed_by(installer, "test", "x") == ["dev.lock"]


def test_a_changed_lock_is_installed(installer: Path) -> None:
    assert installed_by(installer, "test", "x") == ["run.lock", "dev.lock"]
    kept = installer / ".venv" / "kept"
    kept.write_text("")
    (installer / "dev.lock").write_text("# other\n")
    assert installed_by(installer, "test", "x") == ["dev.lock"]
    assert kept.exists()
    (installer / "run.lock").write_text("# other\n")
    assert installed_by(installer, "worker") == ["run.lock"]
    # Made anew: what only the older lock brought is gone, and so are the tests' packages.
    assert not kept.exists()
    assert installed_by(installer, "test", "x") == ["dev.lock"]
