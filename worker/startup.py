"""The check of the schema before a worker starts, and at each sweep.

A worker of another version would run statements that the schema does not fit.
"""

import structlog

from sql.database import Database
from sql.schema import migrate
from worker.retry import away, until_available
from worker.shutdown import Shutdown

log = structlog.get_logger()


def expect_files(database: Database) -> None:
    """Raise migrate.SchemaMismatch when the tables and functions are no longer this version's."""
    with database.transaction(seconds=10) as conn:
        migrate.expect_files(conn)


def expect_schema(database: Database, shutdown: Shutdown) -> None:
    """Raise migrate.SchemaMismatch on a schema of another version; retries until available.

    A missing trigger is only logged: the sweep finds the predictions that it does not report.
    Raises ShutdownRequested when the deadline passes before the database is available.
    """

    def changes() -> list[migrate.Change]:
        with database.transaction(seconds=10) as conn:
            return migrate.expect(conn)

    for change in until_available(shutdown, "checking the schema", changes, away(database)):
        log.warning("the schema is incomplete: run python -m worker migrate", missing=change.name)
