"""Runs what of an audit is additive, and nothing else: `market db repair --apply`.

Each statement is a transaction of its own that waits for locks in blinks, so that no program
waits behind it; an index is built without locking writers out. What fails is told and the
rest goes on.
"""

from collections.abc import Sequence

import psycopg

from sql.database import Database, error_line
from sql.schema import indexes, rights
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
        # A function may name what a later statement makes.
        conn.execute("SET LOCAL check_function_bodies = off; SET LOCAL search_path = public")
        conn.execute(sql.encode())
        rights.restrict(conn)  # a function that was made anew lost what roles may call


def script(found: Sequence[Difference]) -> str:
    """All of it as SQL for psql to read first and then to run, the additive before the rest."""
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
    """The audit, in a transaction of its own. Raises migrate.MigrationError."""
    with database.transaction(seconds=120) as conn:
        return audit(conn)
