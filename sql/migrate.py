"""Applies `migrations/` (once each, never edited) and `functions/` (whenever their text changes).

Both go in one transaction under a transaction-level advisory lock, so two processes may
migrate at once and a failure leaves nothing half done. Each file is a transaction of its
own for psql (`psql -f`) and ends with a statement that records its name and checksum, so
both ways leave the same trace; here the file's own BEGIN and COMMIT are dropped. The
recording statements are written by `python -m sql.migrate --stamp`.
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg

from sql.database import Connection, Database

ROOT = Path(__file__).parent

# The first number of every advisory lock of ours; 2 is "migrating".
_LOCK = (1380271947, 2)

_RECORD = re.compile(
    r"INSERT INTO reckoner_schema \(name, checksum\) VALUES\n"
    r"    \('(?P<name>[^']+)', '(?P<checksum>[0-9a-f]{64})'\)\n"
    r"ON CONFLICT \(name\) DO UPDATE SET checksum = excluded\.checksum, applied_at = now\(\);\n"
)


class MigrationError(Exception):
    """The database cannot be brought to the expected state; one line says why.

    code: the exit code, 3 when the database differs from what this code expects.
    """

    def __init__(self, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class SchemaFile:
    """One file of `sql/`: its recorded name, its checksum, and its text as psql reads it."""

    name: str
    checksum: str
    text: str

    @property
    def is_migration(self) -> bool:
        """Whether the file is applied once (else: whenever it changed)."""
        return self.name.startswith("migrations/")

    @property
    def body(self) -> str:
        """The statements between the file's BEGIN and COMMIT."""
        return self.text.removeprefix("BEGIN;\n").removesuffix("COMMIT;\n")


@dataclass(frozen=True)
class Change:
    """What migrating does, or would do: `apply` a new file, `replace` a changed one, `attach`."""

    action: str
    name: str


def schema_files() -> list[SchemaFile]:
    """All files in the order in which they apply."""
    paths = [*sorted(ROOT.glob("migrations/*.sql")), *sorted(ROOT.glob("functions/*.sql"))]
    files = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        files.append(SchemaFile(name, _checksum(text), text))
    return files


def _checksum(text: str) -> str:
    return hashlib.sha256(_RECORD.sub("", text).encode()).hexdigest()


def pending(conn: Connection) -> list[Change]:
    """What `migrate` would do to this database; empty when it is as this code expects it.

    Raises MigrationError when an applied migration's text is no longer the one that was applied.
    """
    applied = {}
    if _scalar(conn, "SELECT to_regclass('public.reckoner_schema') IS NOT NULL"):
        rows = conn.execute("SELECT name, checksum FROM public.reckoner_schema").fetchall()
        applied = {row["name"]: row["checksum"] for row in rows}
    changes = []
    for file in schema_files():
        recorded = applied.get(file.name)
        if recorded is None:
            changes.append(Change("apply", file.name))
        elif recorded != file.checksum:
            if file.is_migration:
                raise MigrationError(
                    f"{file.name} was changed after it was applied here (recorded {recorded[:12]},"
                    f" now {file.checksum[:12]}): restore its text and put the change into a new migration"
                )
            changes.append(Change("replace", file.name))
    if _scalar(conn, "SELECT to_regproc('public.source_missing') IS NOT NULL"):
        missing = conn.execute("SELECT source_missing AS text FROM public.source_missing()")
        changes += [Change("attach", row["text"]) for row in missing]
    return changes


def migrate(database: Database) -> list[Change]:
    """Bring the database to the state that this code expects; returns what was done.

    Raises MigrationError when a migration was edited, or when a lock on the owner's tables
    could not be had within three seconds: waiting longer would queue its inserts behind us.
    """
    try:
        with database.transaction(seconds=120) as conn:
            conn.execute("SET LOCAL lock_timeout = '60s'")
            conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)
            conn.execute("SET LOCAL lock_timeout = '3s'")
            version = _scalar(conn, "SELECT current_setting('server_version_num')::int")
            if version < 150000:
                raise MigrationError(
                    f"PostgreSQL 15 or newer is needed, this one is {version // 10000}"
                )
            changes = pending(conn)
            wanted = {change.name for change in changes}
            for file in schema_files():
                if file.name in wanted:
                    _apply(conn, file)
            conn.execute("SET LOCAL search_path = public")
            conn.execute("SELECT source_attach()")
            return changes
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            "gave up waiting for a lock after 3 s, so as not to hold up other programs:"
            " a long transaction or another migration holds it; nothing was changed, try again",
            code=1,
        ) from error


def _apply(conn: Connection, file: SchemaFile) -> None:
    if not _RECORD.search(file.text):
        raise MigrationError(f"{file.name} does not record itself: run ./dev stamp")
    try:
        conn.execute(file.body.encode())
    except psycopg.errors.LockNotAvailable:
        raise
    except psycopg.Error as error:
        raise MigrationError(f"{file.name}: {str(error).splitlines()[0]}", code=1) from error


def _scalar(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return next(iter(row.values())) if row else 0


def stamp(*, write: bool) -> list[str]:
    """Write each file's recording statement; returns the names of files that lacked the right one."""
    wrong = []
    for file in schema_files():
        record = (
            "INSERT INTO reckoner_schema (name, checksum) VALUES\n"
            f"    ('{file.name}', '{file.checksum}')\n"
            "ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();\n"
        )
        stamped = _RECORD.sub("", file.text).removesuffix("COMMIT;\n") + record + "COMMIT;\n"
        if stamped != file.text:
            wrong.append(file.name)
            if write:
                (ROOT / file.name).write_text(stamped, encoding="utf-8")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:] not in (["--stamp"], ["--check"]):
        sys.exit("usage: python -m sql.migrate --stamp | --check")
    _write = sys.argv[1] == "--stamp"
    _names = stamp(write=_write)
    sys.stdout.write("".join(f"{name}\n" for name in _names))
    sys.exit(1 if _names and not _write else 0)
