"""What this version's database holds: recorded in `catalogue.json`, read from a live one.

The record is made from `sql/` itself: `./dev sql` applies it to an empty, private PostgreSQL and
describes the result (record.py). So a DBA's machine needs no second server. The record begins with
a hash of the files that it was made from, by which `./dev lint` finds a stale one without a server.
Functions are recorded as digests: their text is in the files.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sql.database import Connection
from sql.schema.files import schema_files

HERE = Path(__file__).parent
RECORD = HERE / "catalogue.json"

_DEFINITION = re.compile(
    r"^CREATE OR REPLACE (?:FUNCTION (?P<function>\w+)\(.*?\$\$.*?\$\$;$|VIEW (?P<view>\w+) .*?;$)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Item:
    """One object of the schema `public`.

    kind: column, partitioned, constraint, index, trigger, function, view, sequence, rights. parent: its table;
    of a function its bare name; of rights the kind of object. detail: the compared values, see `catalogue.sql`.
    """

    kind: str
    parent: str
    name: str
    detail: dict[str, Any]

    @property
    def identity(self) -> tuple[str, str, str]:
        """The values by which two items are the same object."""
        return self.kind, self.parent, self.name


@dataclass(frozen=True)
class Definition:
    """The statement of a function or view, and the file of `sql/` that has it."""

    file: str
    statement: str


def describe(conn: Connection) -> list[Item]:
    """Return all objects in `public` of this database; sets the transaction's search_path."""
    conn.execute("SET LOCAL search_path = pg_catalog, public")
    rows = conn.execute((HERE / "catalogue.sql").read_bytes()).fetchall()
    items = [Item(**row) for row in rows]
    return sorted(items, key=lambda item: item.identity)


def recorded() -> list[Item]:
    """Return the objects that this version expects in a database that it made alone."""
    return [Item(**row) for row in json.loads(RECORD.read_text(encoding="utf-8"))["items"]]


def source() -> str:
    """Return a hash of everything that the record is made from."""
    files = [f"{file.name} {file.checksum}" for file in schema_files()]
    query = hashlib.sha256((HERE / "catalogue.sql").read_bytes()).hexdigest()
    return hashlib.sha256("\n".join([*files, query]).encode()).hexdigest()


def is_stale() -> bool:
    """Whether the record was made from other files than those that are there."""
    return bool(json.loads(RECORD.read_text(encoding="utf-8"))["source"] != source())


@cache
def definitions() -> dict[str, Definition]:
    """Return the functions and views by name, from the last file that defines each."""
    return {
        match["function"] or match["view"]: Definition(file.name, match[0])
        for file in schema_files()
        for match in _DEFINITION.finditer(file.text)
    }


@cache
def signatures() -> frozenset[str]:
    """The functions of this version, as `regprocedure` writes them where `public` is in the path.

    Another program may have one of the same name with other arguments, which is not ours.
    """
    return frozenset(item.name for item in recorded() if item.kind == "function")


def as_text(items: list[Item]) -> str:
    """Return the record's text: a line per item, so that two branches merge."""
    lines = ",\n".join(json.dumps(asdict(item), ensure_ascii=False) for item in items)
    return f'{{"source": "{source()}",\n"items": [\n{lines}\n]}}\n'
