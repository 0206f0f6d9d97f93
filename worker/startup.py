"""The check of the schema before a worker starts, and at each sweep.

A worker of another version would run statements that the schema does not fit.
"""

from typing import Any

import structlog

from sql.database import Database
from sql.errors import InvalidInput
from sql.schema import migrate
from sql.unreachable import ConnectionFailed
from worker.retry import away, until_available
from worker.shutdown import Shutdown

log = structlog.get_logger()


def expect_files(database: Database) -> None:
    """Raise migrate.SchemaMismatch when the tables and functions are no longer this version's."""
    with database.transaction(seconds=10) as conn:
        migrate.expect_files(conn)


def expect_schema(database: Database, shutdown: Shutdown) -> None:
    """Raise migrate.SchemaMismatch on a schema of another version; retries until available.

    Moves sequences of ours that are behind their table, and logs the others. A missing trigger is
    only logged: the sweep finds the predictions that it does not report.
    Raises ShutdownRequested when the deadline passes before the database is available, and
    InvalidInput where waiting cannot make it available: a wrong password, no such database.
    """

    def changes() -> list[migrate.Change]:
        left = min(15.0, max(0.0, shutdown.seconds_left))
        try:
            with database.transaction(seconds=10, connect_seconds=left) as conn:
                return migrate.expect(conn)
        except ConnectionFailed as error:
            if error.is_lasting:
                raise InvalidInput(str(error)) from None
            raise

    def mend() -> list[dict[str, Any]]:
        with database.transaction(seconds=30) as conn:
            conn.execute("SELECT sequences_mend()")
            return conn.execute("SELECT source, remedy FROM sequences_behind()").fetchall()

    for change in until_available(shutdown, "checking the schema", changes, away(database)):
        log.warning("the schema is incomplete: run python -m worker migrate", missing=change.name)
    for row in until_available(shutdown, "checking the sequences", mend, away(database)):
        log.warning("a sequence is behind its table", table=row["source"], remedy=row["remedy"])
