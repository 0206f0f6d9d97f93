"""A worker without a process: it claims and works in the test's own thread, one step at a time."""

from collections.abc import Callable

from market.providers import Answer, Request
from sql.database import Database
from tests.support.context import context_of
from tests.support.providers import FakeProvider
from worker.queue import outbox
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner
from worker.queue.outbox import Claim
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown
from worker.topics import lanes
from worker.tracing import Tracer


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
        shutdown: Shutdown | None = None,
    ) -> None:
        self.name = name
        self.provider = FakeProvider("csv", answers)
        self._database = database
        context = context_of(
            database,
            [self.provider],
            tracer=tracer,
            max_attempts=max_attempts,
            shutdown=shutdown,
        )
        self.faults = context.faults
        self.lanes = {
            lane.topic: LaneRunner(lane, context, InFlight(), lambda: None)
            for lane in lanes(WorkerSettings())
        }

    def claim(self, topic: str) -> list[Claim]:
        """Take everything of a topic that is ready."""
        return outbox.claim(self._database, topic, self.name, 500, 60)

    def step(self, topic: str) -> int:
        """Claim and work on what is ready of a topic; returns how many events that were."""
        claims = self.claim(topic)
        runner = self.lanes[topic]
        size = runner.lane.batch_size
        for first in range(0, len(claims), size):
            runner.work(claims[first : first + size])
        return len(claims)

    def drain(self) -> None:
        """Work until nothing is ready."""
        while self.step("prediction") + self.step("ticker"):
            pass
