"""What a handler works with, for tests that turn a lane by hand."""

from collections.abc import Sequence

from market.providers import Provider
from market.settings import MarketSettings
from market.snapshots import Benchmark
from sql.database import Database
from tests.support.waiting import never
from worker.context import Context
from worker.metrics import Metrics
from worker.shutdown import Shutdown
from worker.tracing import NoTracer, Tracer


class NoWaiting(Shutdown):
    """A shutdown during which nothing may have to wait."""

    def wait(self, seconds: float) -> None:
        never(seconds)


def context_of(
    database: Database,
    providers: Sequence[Provider] = (),
    *,
    market: MarketSettings | None = None,
    shutdown: Shutdown | None = None,
    tracer: Tracer | None = None,
    max_attempts: int = 8,
    max_symbols: int = 100,
) -> Context:
    return Context(
        benchmark=Benchmark("SPY"),
        database=database,
        providers=providers,
        market=market or MarketSettings(),
        shutdown=shutdown or Shutdown(),
        metrics=Metrics(),
        tracer=tracer or NoTracer(),
        max_attempts=max_attempts,
        max_symbols=max_symbols,
    )
