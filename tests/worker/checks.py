"""A worker that is only a row, and one check of `worker health`."""

from sql.database import Database
from tests.support.cli import command
from tests.support.db import Conn
from worker.queue import status as report

BEAT = "SELECT worker_heartbeat('{0}', 'host', 42, '{1}', 0, 60, NULL, clock_timestamp() + interval '{2}')"


# All checks, in their order.
CHECKS = [
    "database", "schema", "workers", "listening", "backlog", "progress", "schedules", "dead", "providers", "calendars",
    "intraday", "coverage", "constituents", "triggers", "source", "ids", "sequences", "sweep", "locks", "creators",
    "vacuum", "bloat", "notifications", "clocks", "alerts",
]  # fmt: skip


def beat(conn: Conn, name: str = "w", mode: str = "notify", clock: str = "0") -> None:
    """A heartbeat of a worker whose own clock is `clock` ahead."""
    conn.execute(BEAT.format(name, mode, clock).encode())


def look(database: Database, check: str) -> tuple[str, str]:
    """State and sentence of one check."""
    found = {each.check: each for each in report.health(database)}
    return found[check].state, found[check].message


def look_from(conn: Conn, check: str) -> tuple[str, str]:
    """The same on a connection of the test's own."""
    row = conn.execute("SELECT * FROM reckoner_health() WHERE name = %s", [check]).fetchone()
    assert row is not None
    return row["state"], row["message"]


def exit_code(url: str) -> int:
    """Of `worker health`."""
    return command(url, "worker", "health").returncode
