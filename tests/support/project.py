"""The development files: TOML, locks, and what modules import."""

import ast
import re
import tomllib
from typing import Any

from tests.support.forked import ROOT


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text())


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(entries: list[str]) -> set[str]:
    """The names in a list of requirements."""
    found = [re.match(r"[A-Za-z0-9._-]+", entry) for entry in entries]
    return {canonical(match.group()) for match in found if match}


def pins(name: str) -> dict[str, str]:
    """The versions that an exported lock pins, each with its hashes."""
    _, _, text = (ROOT / name).read_text().partition("\n")
    entries = re.split(r"\n(?=\S)", text.strip())
    pinned = {}
    for entry in entries:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", entry)
        assert match, entry[:80]
        assert "--hash=sha256:" in entry, match.group(1)
        pinned[canonical(match.group(1))] = match.group(2)
    return pinned


def imports(folder: str) -> dict[str, str]:
    """Top-level modules that a folder's files import, and a file that does."""
    found = {}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found.update({name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names})
    return found
