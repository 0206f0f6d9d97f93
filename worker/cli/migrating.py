"""What `worker migrate` prints, and its --remove."""

import sys
from dataclasses import asdict

import psycopg

from market.cli import console
from sql.database import Database
from sql.errors import ReckonerError
from sql.schema import remove
from sql.schema.migrate import Change


def tell(changes: list[Change], *, as_json: bool) -> None:
    """Print what was or would be done, and the SQL that resolves what is blocked."""
    if as_json or not sys.stdout.isatty():
        console.emit([asdict(change) for change in changes], as_json=as_json)
        return
    rows = [{"action": change.action, "name": change.name} for change in changes]
    console.emit(rows, as_json=False, empty="up to date")
    for change in changes:
        if change.sql:
            console.say(f"When you want that index, look at those rows, then:\n{change.sql}")


def remove_ours(database: Database, *, apply: bool, as_json: bool) -> None:
    """Print the SQL that takes our objects away, or run it. Raises ReckonerError."""
    if apply:
        try:
            lines = remove.apply(database)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise ReckonerError(
                "gave up waiting for a lock, so as not to hold up other programs;"
                " nothing was changed, try again"
            ) from None
        except psycopg.errors.DependentObjectsStillExist as error:
            detail = (error.diag.message_detail or "").splitlines()
            raise ReckonerError(
                f"something that is not ours is built on ours: {'; '.join(detail)}"
            ) from None
    else:
        with database.transaction() as conn:
            lines = remove.statements(conn)
    if as_json or apply:
        rows = [{"removed" if apply else "would_remove": line} for line in lines]
        console.emit(rows, as_json=as_json, empty="nothing of ours is here")
    elif lines:
        console.say(remove.script(lines).rstrip())
