"""Lanes: how many events of a topic are worked on at once, and by which handler.

A lane is one entry of the topic registry (`worker/topics.py`). Its threads take batches of claimed
events one after the other. The main thread works on batches of an inline lane itself, which saves
the hand-over to a thread. When a batch fails, it is split until the events at fault are alone
(`isolation.py`).
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.context import Context
from worker.queue.in_flight import InFlight
from worker.queue.isolation import Isolation
from worker.queue.outbox import Claim
from worker.shutdown import ShutdownRequested

Handler = Callable[[Context, Sequence[Claim]], int | None]


@dataclass(frozen=True)
class Lane:
    """How events of one topic are worked on.

    handler: processes a batch and ends its events in its own transaction; raises when it cannot.
    Returns how many events to claim next, where fewer than a batch fit; else None.
    concurrency: batches at once. batch_size: events in one batch. inline: the main thread is one
    of the threads that work on batches. is_long: an event takes so long that no crashed event of another
    lane waits for its end.
    """

    topic: str
    handler: Handler
    concurrency: int
    batch_size: int
    inline: bool = False
    is_long: bool = False

    @property
    def threads(self) -> int:
        """Threads of this lane besides the main thread."""
        return self.concurrency - 1 if self.inline else self.concurrency

    @property
    def capacity(self) -> int:
        """Batches that its threads take; for an inline lane one more waits behind each."""
        return 2 * self.threads if self.inline else self.threads


class LaneRunner:
    """Runs one lane. on_end: called by a lane thread when it is free again."""

    def __init__(
        self, lane: Lane, context: Context, in_flight: InFlight, on_end: Callable[[], None]
    ) -> None:
        self.lane = lane
        self._context = context
        self._in_flight = in_flight
        self._on_end = on_end
        self._batches: queue.SimpleQueue[Sequence[Claim]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unended = 0  # batches handed over and not ended
        self._fitting = lane.batch_size  # events to claim at once
        self._isolation = Isolation(lane.topic, self._handle, context, in_flight)

    @property
    def free(self) -> int:
        """Batches that can be handed over now."""
        return self.lane.capacity - self._unended

    @property
    def claimable(self) -> int:
        """Events that could be started now."""
        if self.lane.inline:
            return min(self._fitting, self.lane.batch_size)  # the main thread itself is free
        return max(0, self.free) * self.lane.batch_size

    def start(self, claims: Sequence[Claim]) -> None:
        """Work on claimed events, on the lane's threads or here.

        An inline lane uses its threads only for a full batch, because more may wait behind that.
        """
        size = self.lane.batch_size
        if self.lane.inline and (len(claims) < self.claimable or self.free <= 0):
            self.work_here(claims)
            return
        for first in range(0, len(claims), size):
            self.hand_over(claims[first : first + size])

    def hand_over(self, claims: Sequence[Claim]) -> None:
        """Give a batch to the next free thread."""
        self._in_flight.add(claims)
        with self._lock:
            self._unended += 1
        self._batches.put(claims)

    def run(self) -> None:
        """Work on one batch after the other until the process ends; a lane thread's body."""
        while True:
            claims = self._batches.get()
            try:
                if not self._context.shutdown.requested.is_set():
                    self.work(claims)
            except ShutdownRequested:
                pass  # handed back at shutdown
            finally:
                self._in_flight.remove(claims)
                with self._lock:
                    self._unended -= 1
                self._on_end()

    def work_here(self, claims: Sequence[Claim]) -> None:
        """Work on a batch in the caller's thread."""
        self._in_flight.add(claims)
        try:
            self.work(claims)
        finally:
            self._in_flight.remove(claims)

    def work(self, claims: Sequence[Claim]) -> None:
        """Run the handler on a batch; after an error isolate the events that cause it."""
        self._isolation.work(claims)

    def _handle(self, context: Context, claims: Sequence[Claim]) -> None:
        self._fitting = self.lane.handler(context, claims) or self.lane.batch_size
