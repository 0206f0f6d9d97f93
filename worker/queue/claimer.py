"""Claiming: leases events for the lanes from the claim cursor on, and hands back unconfirmed ones.

A claim is committed on the server before its answer arrives. When the answer is lost, events may be
leased to this worker that no thread works on.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence

import structlog

from sql.database import Database
from worker.metrics import Metrics, Stopwatch
from worker.queue import outbox
from worker.queue.claim_cursor import ClaimCursor
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner
from worker.queue.outbox import Claim

log = structlog.get_logger()


class Claimer:
    """Claims for one worker; used by its main thread only."""

    def __init__(
        self,
        database: Database,
        worker: str,
        lease_seconds: float,
        lanes: Sequence[LaneRunner],
        in_flight: InFlight,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._lanes = lanes
        self._in_flight = in_flight
        self._metrics = metrics
        self._cursor = ClaimCursor()
        self.since_wake = Stopwatch()

    @property
    def topics(self) -> list[str]:
        """The topics whose lanes have room now."""
        return [runner.lane.topic for runner in self._lanes if runner.claimable]

    def claim(self, topic: str, limit: int) -> list[Claim]:
        """Claim up to `limit` events; wakes other workers when there may be more."""
        began, started = self._cursor.position(topic), time.monotonic()
        with self._confirmed():
            claims = outbox.claim(
                self._database, topic, self._worker, limit, self._lease_seconds, began
            )
            if len(claims) == limit:
                with self._database.transaction(seconds=30) as conn:
                    conn.execute("SELECT doorbell_call(%s)", [self._worker])
        self._cursor.record(topic, claims, time.monotonic() - started, began)
        if claims:
            self.since_wake.claimed(self._metrics)
        for claim in claims:
            if claim.waited is not None:
                self._metrics.insert_to_claim.labels(topic).observe(claim.waited)
        return claims

    def claim_crashed(self) -> Claim | None:
        """Claim one crashed event of any topic."""
        with self._confirmed():
            return outbox.claim_crashed(self._database, self._worker, self._lease_seconds)

    def hand_back_unconfirmed(self) -> None:
        """Hand back events of unconfirmed claims: leased to this worker, and in no thread."""
        if self._in_flight.is_certain:
            return
        count = self._in_flight.unconfirmed_count
        with self._database.transaction(seconds=30) as conn:
            released = outbox.release(conn, self._worker, self._in_flight.leases)
        self._in_flight.handed_back(count)
        if released:
            log.warning("handed back unconfirmed claims", events=released[:20])

    def seconds_to_next(self) -> float | None:
        """Seconds until the next event that could be started is due; None: no event waits."""
        positions = {topic: self._cursor.position(topic) for topic in self.topics}
        with self._database.transaction(seconds=10) as conn:
            return outbox.seconds_to_next(conn, positions)

    def seconds_to_full_scan(self) -> float | None:
        """Seconds until the full scan that a topic still needs; None: none does."""
        return self._cursor.seconds_to_full_scan(self.topics)

    def scan_fully(self) -> None:
        """Make the next claim of every topic a full scan."""
        self._cursor.reset()

    @contextlib.contextmanager
    def _confirmed(self) -> Iterator[None]:
        """Mark a claim that fails as unconfirmed: it may have been committed."""
        try:
            yield
        except BaseException:
            self._in_flight.unconfirmed()
            raise
