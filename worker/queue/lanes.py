"""The two lanes in which claimed events are worked on.

Prediction events never touch the network; they are processed in batches, by whoever calls
`work_off`, and where more wait than a batch by lane threads beside it. Ticker events wait
for providers; each is fetched in one of a few lane threads. A fault of one event is counted
as its own and never loses another.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psycopg
import structlog

from sql.database import Database, error_line
from worker import handlers
from worker.handlers import Context
from worker.metrics import Metrics
from worker.queue import outbox
from worker.queue.outbox import Claim, Topic
from worker.settings import WorkerSettings
from worker.shutdown import Patience, StoppingError
from worker.tracing import Tracer

log = structlog.get_logger()


class Lanes:
    """Works on claims. on_end: called from a lane thread when it is free again."""

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        context: Context,
        patience: Patience,
        metrics: Metrics,
        tracer: Tracer,
        on_end: Callable[[], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._context = context
        self._patience = patience
        self._metrics = metrics
        self._tracer = tracer
        self._on_end = on_end
        self._batches: dict[Topic, queue.SimpleQueue[Sequence[Claim]]] = {
            "prediction": queue.SimpleQueue(),
            "ticker": queue.SimpleQueue(),
        }
        self._unended: dict[Topic, int] = {"prediction": 0, "ticker": 0}  # of these batches
        self._leases: set[int] = set()  # of the events that are worked on
        # Counts the times that something may have been leased to us that nobody here works on.
        self._doubts = 0
        self._in_flight_lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Events that are worked on, or were handed over, and did not end yet."""
        return len(self._leases)

    @property
    def leases(self) -> list[int]:
        """The leases of these events."""
        with self._in_flight_lock:
            return list(self._leases)

    @property
    def doubts(self) -> int:
        """How often events may have been leased to us that are in nobody's hands.

        A number and not a flag, because a doubt may come while an earlier one is cleared up.
        """
        return self._doubts

    def doubt(self) -> None:
        """Note that the answer to a claim, or the way to end one, was lost."""
        with self._in_flight_lock:
            self._doubts += 1

    @property
    def free(self) -> int:
        """Ticker events that can be started now."""
        return self._settings.worker_ticker_concurrency - self._unended["ticker"]

    def hand_over_batch(self, claims: Sequence[Claim]) -> bool:
        """Give a batch of prediction events to the lane threads; False when they have enough."""
        threads = self._settings.worker_prediction_concurrency - 1  # the caller is one more
        # For each one in hand and one behind it, so that no thread waits for a claim.
        if self._unended["prediction"] >= 2 * threads:
            return False
        self._hand_over("prediction", claims)
        return True

    def hand_over(self, claim: Claim) -> None:
        """Give a ticker event to the next free lane thread."""
        self._hand_over("ticker", [claim])

    def _hand_over(self, topic: Topic, claims: Sequence[Claim]) -> None:
        with self._in_flight_lock:
            self._unended[topic] += 1
            self._leases.update(claim.lease for claim in claims)
        self._batches[topic].put(claims)

    def run_prediction_lane(self) -> None:
        """Body of a lane thread: one batch after the other, until the process ends."""
        self._run_lane("prediction", self.predictions)

    def run_ticker_lane(self) -> None:
        """Body of a lane thread: one ticker event after the other, until the process ends."""
        self._run_lane("ticker", lambda claims: self.ticker(claims[0]))

    def _run_lane(self, topic: Topic, work: Callable[[Sequence[Claim]], None]) -> None:
        while True:
            claims = self._batches[topic].get()
            try:
                if not self._patience.stop.is_set():
                    work(claims)
            except StoppingError:
                pass  # handed back when the process leaves
            finally:
                with self._in_flight_lock:
                    self._unended[topic] -= 1
                    self._leases.difference_update(claim.lease for claim in claims)
                self._on_end()

    def work_off(self, claims: Sequence[Claim]) -> None:
        """Process a batch of prediction events in the caller's thread."""
        with self._in_flight_lock:
            self._leases.update(claim.lease for claim in claims)
        try:
            self.predictions(claims)
        finally:
            with self._in_flight_lock:
                self._leases.difference_update(claim.lease for claim in claims)

    def predictions(self, claims: Sequence[Claim]) -> None:
        """Process a batch of prediction events; a bad one among them spoils no other."""
        started = time.monotonic()
        try:
            with self._tracer.span("predictions", claims):
                counts = self._patience.insist(
                    "processing predictions", lambda: handlers.predictions(self._context, claims)
                )
        except StoppingError:
            raise
        except Exception as error:  # noqa: BLE001 - any fault of one event must not lose the others
            if len(claims) > 1:
                # One of them is bad: all others go through, each alone.
                log.warning(
                    "a batch failed, trying its events alone",
                    events=len(claims),
                    error=error_line(error),
                )
                for claim in claims:
                    self.predictions([claim])
            else:
                self._fail(claims[0], error)
            return
        log.info(
            "predictions processed",
            **counts,
            first_id=claims[0].id,
            last_id=claims[-1].id,
            topic="prediction",
            key=claims[0].key,
            milliseconds=round((time.monotonic() - started) * 1000, 1),
        )
        self._count_predictions(claims, counts, time.monotonic() - started)

    def _count_predictions(
        self, claims: Sequence[Claim], counts: Mapping[str, int], seconds: float
    ) -> None:
        for verdict in ("done", "cancelled", "lost"):
            self._metrics.count_end("prediction", verdict, counts[verdict])
        for claim in claims if counts["done"] == len(claims) else ():
            if claim.waited is not None:
                self._metrics.insert_to_outcome.observe(claim.waited + seconds)
        if counts["lost"]:
            log.warning("lease lost, nothing changed", events=counts["lost"], topic="prediction")

    def _fail(self, claim: Claim, error: BaseException) -> None:
        line = error_line(error)

        def fail() -> str | None:
            with self._database.transaction(seconds=10) as conn:
                return outbox.fail(conn, claim, line, self._settings.worker_max_attempts)

        try:
            status = self._patience.insist("noting a failure", fail)
        except psycopg.Error as second:
            log.error("could not note a failure", id=claim.id, error=error_line(second), first=line)
            with self._in_flight_lock:
                self._leases.discard(claim.lease)
            self.doubt()  # the loop hands it back
            return
        self._metrics.count_end(claim.topic, status or "lost")
        log.warning(
            "event failed",
            id=claim.id,
            topic=claim.topic,
            key=claim.key,
            now=status or "lease lost",
            error=line,
        )

    def ticker(self, claim: Claim) -> None:
        """Fetch and store one ticker, and end its event one way or the other."""
        started = time.monotonic()
        work = handlers.TickerWork(self._context, claim)
        try:
            with self._tracer.span("ticker", [claim]):
                self._patience.insist("planning a fetch", work.fetch)
                told = self._patience.insist(
                    "storing prices", lambda: work.store(self._settings.worker_max_attempts)
                )
        except StoppingError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of this event, counted as its own
            self._fail(claim, error)
            return
        self._metrics.count_end("ticker", told["verdict"])
        self._metrics.bars_written.inc(told.get("inserted", 0) + told.get("updated", 0))
        log.info(
            "ticker processed",
            id=claim.id,
            topic=claim.topic,
            key=claim.key,
            **told,
            milliseconds=round((time.monotonic() - started) * 1000, 1),
        )
