"""The context that the lanes and handlers of one worker share.

A handler gets it as an argument, so that a unit test can build one and no handler reads settings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from market.providers import Provider
from market.settings import MarketSettings
from sql.database import Database
from worker.metrics import Metrics
from worker.retry import until_available
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
    prediction are processed; the rest is skipped.
    """

    database: Database
    providers: Sequence[Provider]
    market: MarketSettings
    shutdown: Shutdown
    metrics: Metrics
    tracer: Tracer
    max_attempts: int
    max_symbols: int = 100

    def retry(self, doing: str, action: Callable[[], T]) -> T:
        """Run an action until the database is available; see `worker/retry.py`."""
        return until_available(self.shutdown, doing, action)

    def wait(self, seconds: float) -> None:
        """Sleep; raises ShutdownRequested when a shutdown is requested meanwhile."""
        self.shutdown.wait(seconds)
