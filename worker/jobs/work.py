"""What a task gets: its parameters, the ways to database and providers, and `progress`.

`progress` is also how a run learns that it has to end: after its time, when somebody cancels it, or
when another worker runs it because this one stood still.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from market.providers import Provider
from market.settings import MarketSettings
from sql.database import Database, one
from worker.context import LOCK_SECONDS, Context
from worker.shutdown import ShutdownRequested

# A task may say how far it is as often as it likes; so often that is written.
_PROGRESS_SECONDS = 1.0


class RunEnded(Exception):
    """A run has to end before its task is done; the text is the reason."""


class Work:
    """One attempt of a run, as its task sees it."""

    def __init__(
        self, context: Context, worker: str, run: int, attempt: int, params: Mapping[str, Any]
    ) -> None:
        self._context = context
        self.worker = worker
        self.run = run
        self.attempt = attempt
        self._written_at = 0.0
        self.params = params
        self.counters: dict[str, Any] = {}

    @property
    def database(self) -> Database:
        """The way to the database."""
        return self._context.database

    @property
    def providers(self) -> Sequence[Provider]:
        """The providers that are configured."""
        return self._context.providers

    @property
    def market(self) -> MarketSettings:
        """The settings of the market."""
        return self._context.market

    def wait(self, seconds: float) -> None:
        """Sleep; raises RunEnded or ShutdownRequested when the run has to end meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._context.wait(min(left, _PROGRESS_SECONDS))
            self.progress()

    def count(self, counter: str) -> None:
        """Add one to a counter; the next `progress` records it."""
        self.counters[counter] = self.counters.get(counter, 0) + 1

    def progress(self, **counters: Any) -> None:
        """Record counters of this run; `done` and `total` give its end.

        Raises RunEnded when the run has to end, ShutdownRequested when the worker does.
        """
        self.counters.update(counters)
        if self._context.shutdown.requested.is_set():
            raise ShutdownRequested
        if time.monotonic() - self._written_at < _PROGRESS_SECONDS:
            return
        self._written_at = time.monotonic()

        def record() -> str | None:
            with self.database.transaction(10, lock_seconds=LOCK_SECONDS) as conn:
                query = "SELECT run_progress(%s, %s, %s) AS reason"
                row = one(conn, query, [self.run, self.attempt, Jsonb(self.counters)])
            return None if row["reason"] is None else str(row["reason"])

        if reason := self._context.retry("recording a run's progress", record):
            raise RunEnded(reason)
