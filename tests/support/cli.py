"""Commands run as a user runs them, and what they print."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support import forked
from tests.support.forked import ROOT
from tests.support.process import environment


def command(
    url: str, *arguments: str, cwd: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` to its end, as a user would, in a folder of its own if given."""
    return forked.run(arguments, environment(url, **settings), cwd=cwd or ROOT)


Done = subprocess.CompletedProcess[str]


def document(done: Done) -> Any:
    """Stdout as the one JSON document that it must be."""
    return json.loads(done.stdout)


def table(done: Done) -> list[dict[str, str]]:
    """Stdout as TSV with a header."""
    return list(csv.DictReader(io.StringIO(done.stdout), delimiter="\t"))


def error_line(done: Done, code: int) -> str:
    """The one line on stderr of a command that failed."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def with_csv(url: str, folder: Path, *arguments: str) -> Done:
    return command(url, *arguments, MARKET_PROVIDERS="csv", MARKET_CSV_DIR=str(folder))
