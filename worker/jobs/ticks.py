"""Ticks: the loop looks at the schedules when the next one is due.

One statement writes all ticks that are due, under the row locks of their schedules, so that any
number of workers may look at once. Between two looks no statement is sent: the loop asks for the time
of the next tick when it rests, and a changed schedule rings the doorbell.
"""

import time

import structlog

from sql.database import Database
from worker.metrics import Metrics

log = structlog.get_logger()

# After a failed look.
_POSTPONED_SECONDS = 10.0
# At once, in one transaction. Further ones follow in the next turn of the loop.
_LIMIT = 1_000


class Ticks:
    """One worker's looks at the schedules; used by its main thread only."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._due_at = 0.0  # a moment of time.monotonic(); the first look is at the start

    @property
    def seconds(self) -> float:
        """Seconds until the next tick is due, as the database last said."""
        return self._due_at - time.monotonic()

    def ask(self) -> float:
        """Ask the database when the next tick is due; returns the seconds until then."""
        with self._database.transaction(seconds=10) as conn:
            row = conn.execute(
                "SELECT extract(epoch FROM schedules_next_at() - reckoner_now())::float8 AS seconds"
            ).fetchone()
        seconds = row["seconds"] if row and row["seconds"] is not None else float("inf")
        self._due_at = time.monotonic() + seconds
        return float(seconds)

    def postpone(self) -> None:
        """Look again in a while, because a look failed."""
        self._due_at = time.monotonic() + _POSTPONED_SECONDS

    def write_due(self) -> bool:
        """Write the ticks that are due; True when there were any."""
        if self.seconds > 0:
            return False
        with self._database.transaction(seconds=60) as conn:
            rows = conn.execute("SELECT * FROM schedules_tick(%s)", [_LIMIT]).fetchall()
        for row in rows:
            if row["run_id"] is not None:
                self._metrics.tick_lateness.observe(max(0.0, row["late"]))
            log.info(
                "tick",
                schedule=row["schedule"],
                at=row["tick_at"].isoformat(),
                verdict=row["verdict"],
                run=row["run_id"],
                reason=row["reason"],
            )
        if not rows:
            self.ask()  # only the next ticks were computed, or another worker wrote them
        return bool(rows)
