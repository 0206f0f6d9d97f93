"""`./dev sql` records what follows from sql/, and `./dev lint` names what is stale, without a server."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT

ONE_LINE = Path("sql/functions/32_outbox_end.sql")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "sql", tmp_path / "sql", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def record(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sql.schema.record", *arguments],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_the_records_of_this_tree_are_not_stale() -> None:
    done = record(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_edit_that_was_not_recorded_is_named_until_it_is(tree: Path) -> None:
    edit(tree / ONE_LINE, "'\\s+', ' ', 'g')), 500)", "'\\s+', ' ', 'g')), 400)")
    stale = record(tree, "--check")
    assert stale.returncode == 1
    assert stale.stderr.splitlines() == [
        f"{ONE_LINE} is stale: run ./dev sql",
        "sql/schema/catalogue.json is stale: run ./dev sql",
    ]
    before = (tree / "sql/schema/catalogue.json").read_text()
    done = record(tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"recorded {ONE_LINE}",
        "recorded sql/schema/catalogue.json",
    ]
    assert record(tree, "--check").returncode == 0
    after = (tree / "sql/schema/catalogue.json").read_text()
    lines = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(lines) == 2, "the hash, and the digest of one_line()"
    assert '"one_line(text)"' in lines[1]


def test_a_checksum_alone_does_not_hide_a_stale_catalogue(tree: Path) -> None:
    edit(
        tree / "sql/schema/catalogue.sql",
        "-- What a database holds",
        "-- All that a database holds",
    )
    stale = record(tree, "--check")
    assert stale.returncode == 1
    assert stale.stderr == "sql/schema/catalogue.json is stale: run ./dev sql\n"


def test_another_argument_is_wrong_usage(tree: Path) -> None:
    assert record(tree, "--stamp").returncode == 2
