"""The context that the lanes and handlers of one worker share.

A handler gets it as an argument, so that a unit test can build one and no handler reads settings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg

from market.providers import Provider
from market.settings import MarketSettings
from market.snapshots import Benchmark
from sql import blockers
from sql.away import is_away, is_locked
from sql.database import Database, is_external
from worker.faults import Faults
from worker.metrics import Metrics
from worker.retry import AWAY, TRIES, until_available
from worker.settings import AlertSettings
from worker.shutdown import Shutdown
from worker.tracing import Tracer

T = TypeVar("T")

# Less than half of PostgreSQL's deadlock_timeout: when Reckoner and another program wait for each
# other's rows, Reckoner gives up and tries again before PostgreSQL chooses one of the two to fail.
LOCK_SECONDS = 0.4


@dataclass(frozen=True)
class Context:
    """One worker's database, providers, settings and counters.

    max_attempts: failures after which an event is dead. max_symbols: how many symbols of one
    prediction are processed; the rest is skipped. tries: of a transaction that meets an error which
    may pass at once. lock_seconds: how long it waits for another session's lock. names_blockers:
    whether its first try already looks who that is. alerts: where alert messages go.
    """

    database: Database
    providers: Sequence[Provider]
    market: MarketSettings
    shutdown: Shutdown
    metrics: Metrics
    tracer: Tracer
    max_attempts: int
    benchmark: Benchmark
    max_symbols: int = 100
    faults: Faults = field(default_factory=Faults)
    tries: int = TRIES
    lock_seconds: float = LOCK_SECONDS
    names_blockers: bool = False
    alerts: AlertSettings = field(default_factory=AlertSettings)

    def retry(self, doing: str, action: Callable[[], T]) -> T:
        """Run an action until the database is available; see `worker/retry.py`.

        Also waits while another session has locked a whole table, which hits every event. Where a
        lock was not free, the error that is raised has a note that names its holder.
        """
        watches = self.names_blockers

        def attempt() -> T:
            return self._watched(action) if watches else action()

        def reason(error: Exception) -> str | None:
            nonlocal watches
            watches = watches or is_locked(error)
            why = self._why_waiting(error)
            self.faults.note(doing, why)
            return why

        try:
            return until_available(self.shutdown, doing, attempt, reason, tries=self.tries)
        finally:
            self.faults.note(doing, None)

    def _watched(self, action: Callable[[], T]) -> T:
        with blockers.watched(self.database) as blocker:
            try:
                return action()
            except psycopg.Error as error:
                if blocker.text:
                    error.add_note(blocker.text)
                raise

    def _why_waiting(self, error: Exception) -> str | None:
        if is_away(self.database, error):
            return AWAY
        if not is_locked(error):
            return None
        with blockers.watched(self.database) as blocker:
            second = self.rehearse()
        if second is None or not is_locked(second):
            return None
        holder = f": {blocker.text}" if blocker.text else ""
        return f"another session has locked a table, waiting for it{holder}"

    def rehearse(self) -> Exception | None:
        """Do for no event what the lanes do for each; returns the error where that fails too."""
        try:
            with self.database.transaction(seconds=10, lock_seconds=LOCK_SECONDS) as conn:
                conn.execute("SELECT worker_rehearsal()")
                conn.rollback()
        except Exception as error:
            if not is_external(error):
                raise
            return error
        return None

    def wait(self, seconds: float) -> None:
        """Sleep; raises ShutdownRequested when a shutdown is requested meanwhile."""
        self.shutdown.wait(seconds)
