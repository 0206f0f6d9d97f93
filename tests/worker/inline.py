"""A worker without a process: it claims and works in the test's own thread, one step at a time."""

from collections.abc import Callable

from market.providers import Answer, Request
from market.settings import MarketSettings
from sql.database import Database
from tests.market.helpers import FakeProvider
from worker.handlers import Context
from worker.metrics import Metrics
from worker.queue import outbox
from worker.queue.lanes import Lanes
from worker.queue.outbox import Claim, Topic
from worker.settings import WorkerSettings
from worker.shutdown import Patience
from worker.tracing import NoTracer, Tracer


class Inline:
    """The two lanes on a database. answers: what its one provider, called csv, says."""

    def __init__(
        self,
        database: Database,
        answers: Answer | Callable[[Request], Answer],
        *,
        name: str = "inline",
        tracer: Tracer | None = None,
        max_attempts: int = 8,
    ) -> None:
        self.name = name
        self.provider = FakeProvider("csv", answers)
        self._database = database
        patience = Patience(lambda: None)
        context = Context(database, [self.provider], MarketSettings(), patience.wait)
        settings = WorkerSettings(worker_max_attempts=max_attempts)
        self.lanes = Lanes(
            database, settings, context, patience, Metrics(), tracer or NoTracer(), lambda: None
        )

    def claim(self, topic: Topic) -> list[Claim]:
        """Take everything of a topic that is ready."""
        return outbox.claim(self._database, topic, self.name, 500, 60)

    def step(self, topic: Topic) -> int:
        """Claim and work on what is ready of a topic; returns how many events that were."""
        claims = self.claim(topic)
        if claims and topic == "prediction":
            self.lanes.predictions(claims)
        elif topic == "ticker":
            for claim in claims:
                self.lanes.ticker(claim)
        return len(claims)

    def drain(self) -> None:
        """Work until nothing is ready."""
        while self.step("prediction") + self.step("ticker"):
            pass
