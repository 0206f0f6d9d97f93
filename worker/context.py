"""What the lanes and handlers of one worker share."""

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

# Less than half of PostgreSQL's deadlock_timeout: where we and another program wait for each
# other's rows, it is we who give up and try again, long before one of the two is chosen to fail.
LOCK_SECONDS = 0.4


@dataclass(frozen=True)
class Context:
    """One worker's database, providers, settings and counters.

    max_attempts: failures after which an event is dead. max_symbols: of one prediction that are
    processed; the rest is skipped.
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
        """Do something, and again for as long as the database is away; see `worker/retry.py`."""
        return until_available(self.shutdown, doing, action)

    def wait(self, seconds: float) -> None:
        """Sleep; raises ShutdownRequested when the worker is to end meanwhile."""
        self.shutdown.wait(seconds)
