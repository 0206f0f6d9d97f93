"""What this version makes in a database, and what releases before marks made: by name.

The first comes from the catalogue and the files of `sql/`. The second is a list that no release adds to
(`unmarked.txt`), for installations whose objects bear no mark (own.py).
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sql.schema.catalogue import Item, recorded
from sql.schema.files import SHARED, schema_files

_HERE = Path(__file__).parent
_MADE = re.compile(
    r"CREATE (?:TABLE IF NOT EXISTS|(?:UNIQUE )?INDEX(?: IF NOT EXISTS)?|(?:UNLOGGED )?SEQUENCE IF NOT EXISTS|TYPE"
    r"|OR REPLACE FUNCTION) (\w+)"
)
_TYPE = re.compile(r"CREATE TYPE (\w+) AS \(([^;]+)\);")
_BEFORE_MARKS = re.compile(r"^(0001|0013|kept) (\w+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Wanted:
    """An object that this version makes. is_key: the index of a constraint."""

    kind: str
    parent: str | None
    content: Any
    is_key: bool = False


@cache
def wanted() -> dict[tuple[str, str], Wanted]:
    """Return what this version makes, by `function` or `relation` and name."""
    found: dict[tuple[str, str], Wanted] = {}
    columns: dict[str, list[str]] = {}
    for item in recorded():
        if item.kind == "function":
            found["function", item.name] = Wanted("function", None, item.detail["digest"])
        elif item.kind == "view":
            found["relation", item.name] = Wanted("view", None, item.detail["columns"])
        elif item.kind == "sequence":
            found["relation", item.name] = Wanted("sequence", None, None)
        elif item.kind == "index":
            definition = item.detail["definition"]
            found["relation", item.name] = Wanted("index", item.parent, definition)
        elif item.kind == "constraint" and _is_key(item):
            found["relation", item.name] = Wanted("index", item.parent, None, is_key=True)
        elif item.kind == "column" and item.parent not in SHARED:
            columns.setdefault(item.parent, []).append(item.name)
    for table, names in columns.items():
        found["relation", table] = Wanted("table", None, names)
    for file in schema_files():
        for name, body in _TYPE.findall(file.text):
            names = [part.split()[0] for part in body.split(",")]
            found["relation", name] = Wanted("type", None, names)
    return found


def _is_key(item: Item) -> bool:
    return item.parent not in SHARED and item.detail["definition"].startswith(("PRIMARY", "UNIQUE"))


@cache
def made_by() -> dict[str, str]:
    """Return for each name the first migration that makes it."""
    return {
        name: file.name
        for file in reversed(schema_files())
        if file.is_migration
        for name in _MADE.findall(file.text)
    }


@cache
def checksums() -> dict[str, str]:
    """Return the checksum of each file of `sql/`."""
    return {file.name: file.checksum for file in schema_files()}


@cache
def before_marks() -> frozenset[tuple[str, str, str]]:
    """Return the functions and views of releases before marks, by first migration, kind and name."""
    text = (_HERE / "unmarked.txt").read_text(encoding="utf-8")
    return frozenset(match for match in _BEFORE_MARKS.findall(text) if match[0] != "kept")


@cache
def kept() -> dict[str, set[str]]:
    """Return the columns of each table that a removal by a release before marks left behind."""
    text = (_HERE / "unmarked.txt").read_text(encoding="utf-8")
    names = [name for since, _, name in _BEFORE_MARKS.findall(text) if since == "kept"]
    return {
        name.partition("(")[0]: set(name.partition("(")[2].rstrip(")").split(",")) for name in names
    }
