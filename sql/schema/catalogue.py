"""What this version's database holds: recorded in `catalogue.json`, read from a live one.

The record is made from `sql/` itself (`./dev catalogue` applies it to an empty, private
PostgreSQL and looks), and a test makes it again and compares, so it cannot go stale; a DBA's
machine needs no server for it. Functions are recorded as digests: their text is in the files.
"""

import json
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sql import embedded
from sql.database import Connection, Database
from sql.schema.files import schema_files

HERE = Path(__file__).parent
RECORD = HERE / "catalogue.json"

_DEFINITION = re.compile(
    r"^CREATE OR REPLACE (?:FUNCTION (?P<function>\w+)\(.*?\$\$.*?\$\$;$|VIEW (?P<view>\w+) .*?;$)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Item:
    """One thing of the schema `public`.

    kind: column, constraint, index, trigger, function, view, sequence, rights. parent: its table;
    of a function its bare name; of rights what has them. detail: what is compared, see `catalogue.sql`.
    """

    kind: str
    parent: str
    name: str
    detail: dict[str, Any]

    @property
    def identity(self) -> tuple[str, str, str]:
        """What two items have in common that are the same thing."""
        return self.kind, self.parent, self.name


@dataclass(frozen=True)
class Definition:
    """The statement of a function or view, and the file of `sql/` that has it."""

    file: str
    statement: str


def describe(conn: Connection) -> list[Item]:
    """Everything in `public` of this database; sets the transaction's search_path."""
    conn.execute("SET LOCAL search_path = pg_catalog, public")
    rows = conn.execute((HERE / "catalogue.sql").read_bytes()).fetchall()
    items = [Item(**row) for row in rows]
    return sorted(items, key=lambda item: item.identity)


def recorded() -> list[Item]:
    """What this version expects of a database that it made alone."""
    return [Item(**row) for row in json.loads(RECORD.read_text(encoding="utf-8"))]


@cache
def definitions() -> dict[str, Definition]:
    """The functions and views by name; a CHECK's function is a migration's."""
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
    """The record's text: a line per item, so that two branches merge."""
    lines = ",\n".join(json.dumps(asdict(item), ensure_ascii=False) for item in items)
    return f"[\n{lines}\n]\n"


def _made_here() -> list[Item]:
    """What `sql/` makes of an empty database, on a private server that ends with this."""
    from sql.schema import migrate  # noqa: PLC0415 - only a developer makes the record

    with tempfile.TemporaryDirectory(prefix="reckoner-catalogue-") as folder:
        Path(folder).chmod(0o755)  # root's server is another user's
        with (
            embedded.use(Path(folder), settings={"fsync": "off"}) as url,
            Database(url) as database,
        ):
            migrate.migrate(database)
            with database.transaction() as conn:
                items = describe(conn)
        embedded.remove(Path(folder))
    return items


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m sql.schema.catalogue --write")
    RECORD.write_text(as_text(_made_here()), encoding="utf-8")
