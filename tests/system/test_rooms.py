"""Every module below a command line works without typer and rich.

import-linter reads imports; this test runs them, so that a library cannot bring one in unseen.
"""

import pkgutil
import subprocess
import sys

import market
import sql
import worker
from tests.support.process import ROOT

# structlog imports rich where it is there, and does without it.
BLOCKED = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'typer', 'rich', 'click'}:
            raise ModuleNotFoundError(f'{name} is blocked', name=name)

sys.meta_path.insert(0, Blocked())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def below_the_command_lines() -> list[str]:
    found = [
        module.name
        for floor in (sql, market, worker)
        for module in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}.")
    ]
    return [name for name in found if not {"cli", "__main__"} & set(name.split("."))]


def test_nothing_below_a_command_line_loads_one() -> None:
    names = below_the_command_lines()
    assert {"worker.process", "worker.handlers.tickers", "market.backups.dump"} <= set(names)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *names],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
