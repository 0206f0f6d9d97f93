"""Build indexes on tables that other programs fill, without locking their writers out.

CREATE INDEX blocks writes while it reads the table. On a large table the runner builds a migration's
indexes CONCURRENTLY before it applies the migration, which then finds them. That cannot be part of a
transaction, so the files of sql/ cannot do it.
"""

import contextlib
import re

import psycopg

from sql.database import Connection, Database, one
from sql.schema.files import SchemaFile

# A table larger than this is large.
_LARGE_BYTES = 8 * 2**20
# A build waits for older transactions of the whole database, and then reads the table.
_WAIT_SECONDS, _BUILD_SECONDS = 60, 3600

_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX IF NOT EXISTS (?P<name>\w+) ON (?P<table>\w+)[^;]+;")


def build(database: Database, file: SchemaFile) -> None:
    """Build a migration's indexes on large tables before it is applied."""
    for match in _INDEX.finditer(file.text):
        with database.transaction() as conn:
            is_there = _exists(conn, match["name"])
            is_large = _is_large(conn, match["table"])
        if is_large and not is_there:
            statement = match[0].replace(
                "INDEX IF NOT EXISTS", "INDEX CONCURRENTLY IF NOT EXISTS", 1
            )
            concurrently(database, match["name"], statement.replace(" ON ", " ON public.", 1))


def _exists(conn: Connection, name: str) -> bool:
    row = one(conn, "SELECT to_regclass('public.' || %s::text) IS NOT NULL AS yes", [name])
    return bool(row["yes"])


def _is_large(conn: Connection, table: str) -> bool:
    size = one(
        conn, "SELECT pg_relation_size(to_regclass('public.' || %s::text)) AS bytes", [table]
    )
    return (size["bytes"] or 0) > _LARGE_BYTES


def concurrently(database: Database, name: str, statement: str) -> None:
    """Run a CREATE INDEX CONCURRENTLY; remove the invalid index of a failed one."""
    with (
        contextlib.closing(database.connect()) as conn,
        database.deadline(conn, _BUILD_SECONDS),
    ):
        conn.execute(f"SET lock_timeout = '{_WAIT_SECONDS}s'")
        try:
            conn.execute(statement.encode())
        except psycopg.Error:
            # Another process may have built it meanwhile: only an invalid index is removed.
            invalid = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
            if conn.execute(invalid, [f"public.{name}"]).fetchone():
                conn.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{name}".encode())
            raise
        finally:
            conn.execute("RESET lock_timeout")
