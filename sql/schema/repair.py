"""Run the additive statements of an audit, and no others: `market db repair --apply`.

Each statement is a transaction with short waits for locks, so that no program waits behind it; an index
is built without locking writers out. A statement that fails is reported, and the next ones run.
"""

from collections.abc import Sequence

import psycopg

from sql.database import Database, error_line
from sql.schema import indexes, own, rights
from sql.schema.audit import audit
from sql.schema.catalogue import recorded
from sql.schema.drift import Difference, missing_index
from sql.schema.locks import MILLISECONDS, until_free


def apply(database: Database, found: Sequence[Difference]) -> dict[str, str]:
    """Run the additive ones; returns for each object `done` or why it failed."""
    told = {}
    names = {missing_index(item).object: item.name for item in recorded() if item.kind == "index"}
    for each in (each for each in found if each.additive):
        try:
            if each.object in names:
                indexes.concurrently(database, names[each.object], each.sql)
            else:
                until_free(lambda sql=each.sql: _run(database, sql))  # type: ignore[misc]
            told[each.object] = "done"
        except psycopg.Error as error:
            told[each.object] = f"failed: {error_line(error)}"
    return told


def _run(database: Database, sql: str) -> None:
    with database.transaction(seconds=300, lock_seconds=MILLISECONDS / 1000) as conn:
        # A function may name an object that a later statement creates.
        conn.execute("SET LOCAL check_function_bodies = off; SET LOCAL search_path = public")
        conn.execute(sql.encode())
        own.mark(conn)
        rights.restrict(conn)  # a function that was created anew has no grants to roles


def script(found: Sequence[Difference]) -> str:
    """Return all statements as a script for psql, the additive ones first."""
    lines = [
        "SET search_path = public;",
        "SET lock_timeout = '3s';",
        "SET check_function_bodies = off;",
    ]
    for title, additive in (("Additive", True), ("Read before you run it", False)):
        chosen = [each for each in found if each.additive is additive]
        if chosen:
            lines.append(f"\n-- {title}.")
        for each in chosen:
            lines += [f"-- {each.object} {each.difference}: {each.risk}", each.sql]
    return "\n".join(lines)


def look(database: Database) -> list[Difference]:
    """Run the audit in a transaction of its own. Raises migrate.MigrationError."""
    with database.transaction(seconds=120) as conn:
        return audit(conn)
