"""What a worker checks before it starts: that the database is the one this version expects."""

import time

import psycopg
import structlog

from sql.database import Database, error_line, is_away
from sql.schema import migrate

log = structlog.get_logger()


def expect_files(database: Database) -> None:
    """Raise migrate.MigrationError when the tables and functions are no longer this version's."""
    with database.transaction(seconds=10) as conn:
        migrate.expect_files(conn)


def expect_schema(database: Database) -> None:
    """Refuse to work on a schema of another version; a database that is away is waited for.

    Raises migrate.MigrationError. A missing trigger is only logged: the sweep finds what it
    does not tell.
    """
    tries = 0
    while True:
        try:
            with database.transaction(seconds=10) as conn:
                changes = migrate.expect(conn)
            break
        except psycopg.Error as error:
            if not is_away(error):
                raise
            if tries == 0:
                log.warning("the database is away, waiting for it", error=error_line(error))
            tries += 1
            time.sleep(min(5.0, 0.2 * 2 ** min(tries, 5)))
    for change in changes:
        log.warning("the schema is incomplete: run python -m worker migrate", missing=change.name)
