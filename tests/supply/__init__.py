"""What the product's packages bring along: their licences and known vulnerabilities.

`./dev lint` runs `python -m tests.supply`. What is accepted stands in pyproject.toml.
"""

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.support.process import ROOT

RUN_LOCK = ROOT / "run.lock"


def settings() -> dict[str, Any]:
    """Read the table `tool.reckoner` of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["reckoner"]
    return found


def packages(lock: Path) -> list[str]:
    """Name the packages that a lock installs on this machine."""
    lines = [line.rstrip("\\ ") for line in lock.read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line and line[0] not in "# "]
    return [each.name for each in wanted if each.marker is None or each.marker.evaluate()]
