"""README and tutorial as a reader follows them: every block, in order, on a database of its own.

A shell block runs in bash in a folder with `./dev`, a SQL block in psql. A comment before a block
says what is different: `<!-- not run: why -->`, `<!-- exit N -->`, and
`<!-- in a second terminal -->` for what goes on. A text block right after a SQL block is its output.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sql import embedded
from tests.support.db import connect, value
from tests.support.process import ROOT
from tests.support.waiting import until

BLOCK = re.compile(
    r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
# Pages, and how many of their blocks cannot run here: a real host, the end of the tutorial.
PAGES = {"README.md": 1, "docs/tutorial.md": 1}
SECOND_TERMINAL = "in a second terminal"
# As ./dev, whose installing tests/supply and test_dev.py look at.
DEV = f"""#!/bin/sh
[ "$1" = demo ] && set -- worker "$@"
exec '{sys.executable}' -m "$@"
"""


@dataclass(frozen=True)
class Block:
    """A fenced block, its language, the comment before it, and the text block right after it."""

    comment: str
    language: str
    text: str
    output: str


def blocks(page: str) -> list[Block]:
    return [Block(*match) for match in BLOCK.findall((ROOT / page).read_text())]


class Reader:
    """Somebody who types a page's blocks into a shell and into psql."""

    def __init__(self, folder: Path, url: str, psql: str) -> None:
        self.folder = folder
        self.url = url
        self.terminals: list[subprocess.Popen[bytes]] = []
        (folder / "dev").write_text(DEV)
        (folder / "dev").chmod(0o755)
        path = f"{Path(psql).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            "PATH": path,
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "MARKET_PROVIDERS": "sample",
        }

    def run(self, block: Block) -> None:
        if block.language == "sql":
            self.sql(block.text, block.output)
        elif block.comment == SECOND_TERMINAL:
            self.second_terminal(block.text)
        else:
            wanted = re.fullmatch(r"exit (\d+)", block.comment)
            self.shell(block.text, int(wanted[1]) if wanted else 0)

    def shell(self, text: str, wanted: int) -> None:
        """Run a block in bash; what it exports holds for the blocks after it."""
        kept = self.folder / "environment"
        script = f"set -eu\ntrap 'env -0 > {kept}' EXIT\n{text}"
        done = self.finished(["bash", "-c", script])
        assert done.returncode == wanted, f"{text}\n{done.stdout}\n{done.stderr}"
        pairs = kept.read_text().strip("\0").split("\0")
        self.environment = dict(pair.split("=", 1) for pair in pairs)

    def sql(self, text: str, output: str) -> None:
        """Run a block in psql, a query again until it gives what the page shows."""
        psql = ["psql", "-X", "-v", "ON_ERROR_STOP=1", self.url, "-c", text]
        if not output:
            done = self.finished(psql)
            assert done.returncode == 0, f"{text}\n{done.stderr}"
            return
        seen = ""

        def shows() -> bool:
            nonlocal seen
            seen = self.finished(psql).stdout
            return cells(seen) == cells(output)

        try:
            until("the output that the page shows", shows)
        except AssertionError:
            raise AssertionError(f"{text}\ngives\n{seen}\nand the page says\n{output}") from None

    def second_terminal(self, text: str) -> None:
        """Start what goes on, and wait until it is there."""
        command = ["bash", "-c", text]
        terminal = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, start_new_session=True
        )
        self.terminals.append(terminal)
        with connect(self.url) as conn:
            alive = "SELECT count(*) FROM worker_status WHERE alive AND mode = 'notify'"
            until("a worker listens", lambda: value(conn, alive) == 1, 60)

    def finished(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def close(self) -> None:
        for terminal in self.terminals:
            os.killpg(terminal.pid, signal.SIGTERM)
            terminal.wait(60)


def cells(text: str) -> list[list[str]]:
    """The cells of psql's output, without its rules and its count of rows."""
    lines = [line for line in text.splitlines() if not re.fullmatch(r"[-+]*|\(\d+ rows?\)", line)]
    return [[cell.strip() for cell in line.split("|")] for line in lines]


@contextlib.contextmanager
def reader(psql: str) -> Iterator[Reader]:
    # Not pytest's folder: as root the server is another user's, who cannot reach that one.
    folder = Path(tempfile.mkdtemp(prefix="reckoner-reader-"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, folder)
        cleanup.callback(embedded.remove, folder / ".reckoner-demo")
        cleanup.callback(embedded.remove, folder / ".reckoner")
        url = cleanup.enter_context(embedded.use(folder / ".reckoner"))
        someone = Reader(folder, url, psql)
        cleanup.callback(someone.close)
        yield someone


@pytest.mark.parametrize("page", PAGES)
def test_every_block_works_in_its_order(page: str, psql_program: str) -> None:
    skipped = 0
    with reader(psql_program) as someone:
        for block in blocks(page):
            if block.comment.startswith("not run: "):
                skipped += 1
            elif block.language in {"sh", "sql"}:
                someone.run(block)
    assert skipped == PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    known = re.compile(rf"|exit \d+|not run: .+|{SECOND_TERMINAL}")
    for block in blocks(page):
        assert block.language in {"sh", "sql", "text"}, block
        assert known.fullmatch(block.comment), block


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10_000
