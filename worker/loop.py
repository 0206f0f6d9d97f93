"""The loop: claims what can be started now, hands it over, sleeps when there is nothing.

The main thread alone claims, and is the first of the prediction lane; the other threads of the
lanes get theirs from it. Because one thread claims, it can stop claiming: when the process is
to end, and when an event is to run alone because an earlier worker did not survive it.
"""

import contextlib
import time
from collections.abc import Iterator

import psycopg
import structlog

from sql.database import Database, error_line, is_away
from worker import sweep
from worker.listening.doorbell import Doorbell, Posture
from worker.listening.idle_suspend import Nap
from worker.metrics import Metrics, Stopwatch
from worker.queue import outbox
from worker.queue.claim_cursor import Frontier
from worker.queue.lanes import Lanes
from worker.queue.outbox import Claim, Topic
from worker.settings import WorkerSettings
from worker.shutdown import Patience

# How soon to look again after a commit that is under way, or an event whose key is busy.
_SHORTLY_SECONDS = 0.02
_BUSY_KEY_SECONDS = 0.25
_LONGEST_SLEEP_SECONDS = 60.0

log = structlog.get_logger()


class Loop:
    """One worker's main thread. drain: end when nothing is ready and nothing in flight.

    deadline: a moment of time.monotonic() at which to end.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        name: str,
        lanes: Lanes,
        doorbell: Doorbell,
        nap: Nap,
        patience: Patience,
        metrics: Metrics,
        *,
        drain: bool,
        deadline: float,
    ) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._lanes = lanes
        self._doorbell = doorbell
        self._nap = nap
        self._patience = patience
        self._metrics = metrics
        self._drain = drain
        self._deadline = deadline
        self._since_wake = Stopwatch()
        self._frontier = Frontier()
        self._cleared_up = 0  # of the lanes' doubts
        self._suspects = True  # there may be some from before

    def run(self) -> None:
        """Turn until told to stop, or until the deadline, or, draining, until all is done."""
        away = 0
        while not self._is_over():
            try:
                if self._turn() or not self._rest():
                    away = 0
                    continue
                return
            except psycopg.Error as error:
                if not is_away(error):
                    log.error("the queue answers with an error", error=error_line(error))
                elif away == 0:
                    log.warning("the database is away, waiting for it", error=error_line(error))
                away += 1
                self._patience.pause(away)
        if not self._patience.stop.is_set():
            log.info("time is up")

    def crashes_found(self) -> None:
        """Some lease ended without a verdict; called from the heartbeat's thread."""
        self._suspects = True
        self._doorbell.wake()

    def held(self) -> list[int] | None:
        """The leases that this worker is to keep; None, all of them, while it does not know which.

        All as well when it is to end: it hands back then what its lanes began no more. Called from
        the heartbeat's thread.
        """
        if self._patience.stop.is_set() or self._lanes.doubts > self._cleared_up:
            return None
        return self._lanes.leases

    def _is_over(self) -> bool:
        self._patience.tick()
        return self._patience.stop.is_set() or time.monotonic() >= self._deadline

    def _turn(self) -> bool:
        """Claim and start what can be started now; True when that was anything."""
        if self._lanes.doubts > self._cleared_up:
            self._hand_back_unknown()
        found = self._run_suspects() if self._suspects else self._claim_all()
        if found or self._lanes.in_flight:
            self._nap.busy()
        return found

    def _hand_back_unknown(self) -> None:
        """After an answer that was lost: what is leased to us and in nobody's hands goes back."""
        doubts = self._lanes.doubts
        with self._database.transaction(seconds=30) as conn:
            released = outbox.release(conn, self._name, self._lanes.leases)
        self._cleared_up = doubts
        if released:
            log.warning("handed back what a lost answer had leased to us", events=released[:20])

    def _claim_all(self) -> bool:
        return self._claim_predictions() | self._claim_tickers()

    def _rest(self) -> bool:
        """Sleep until there may be work; True when there never will be (draining, all done)."""
        if self._drain:
            if self._lanes.in_flight:
                self._doorbell.sleep(0.5)
                return False
            return self._looked_everywhere()
        if self._nap.tempting and self._take_nap():
            return False
        lay = self._doorbell.lying
        posture = self._doorbell.lie_down()
        if posture != "polling" and not (lay and self._doorbell.lying) and self._turn():
            # The second look, with the lock in hand, is what makes the first one safe; who
            # held it before the first one has no need of it.
            self._doorbell.get_up()
            return False
        due = self._seconds_to_next()
        if due is not None and due <= 0 and not self._lanes.in_flight:
            self._suspects = True  # whatever is ready and was not claimed may be one
        self._sleep(due, posture)
        return False

    def _sleep(self, due: float | None, posture: Posture) -> None:
        """Sleep until there is a reason to look for work; due: seconds until an event's time.

        The poll is a net beneath the bell, and asks one question: whether anything is due at all.
        """
        while True:
            wake = self._doorbell.sleep(self._seconds_to_sleep(due, posture))
            self._since_wake.woke(wake)
            if wake != "poll" or posture != "asleep" or self._nap.tempting or self._is_over():
                return
            posture = self._doorbell.lie_down()
            if posture != "asleep" or self._frontier.seconds_owed(self._claimable) is not None:
                return
            # Nothing is owed, so nothing lies before the places: all that waits is asked for.
            due = self._doorbell.ask(
                lambda conn: outbox.seconds_to_next(conn, {topic: {} for topic in self._claimable})
            )
            if due is not None and due <= 0:
                return

    def _seconds_to_sleep(self, due: float | None, posture: Posture) -> float:
        """How long to sleep at most; due: seconds until the next event's time."""
        seconds = self._settings.worker_poll_seconds
        if due is not None:
            seconds = min(seconds, max(due, _BUSY_KEY_SECONDS))
        if posture == "busy":
            seconds = min(seconds, _SHORTLY_SECONDS)
        owed = self._frontier.seconds_owed(self._claimable)
        if owed is not None:
            seconds = min(seconds, owed)
        # Not longer than the heartbeat thinks that a turn may take.
        seconds = min(seconds, _LONGEST_SLEEP_SECONDS, self._deadline - time.monotonic())
        return max(0.0, seconds)

    def _seconds_to_next(self) -> float | None:
        """Seconds until the next event that could be started is due; None: none waits."""
        places = {topic: self._frontier.places(topic) for topic in self._claimable}
        with self._database.transaction(seconds=10) as conn:
            return outbox.seconds_to_next(conn, places)

    @property
    def _claimable(self) -> list[Topic]:
        """The topics of which something could be started now."""
        return ["prediction", "ticker"] if self._lanes.free > 0 else ["prediction"]

    def _looked_everywhere(self) -> bool:
        """Whether the last claims began at the beginning; if not, the next ones do."""
        if self._frontier.seconds_owed(self._claimable) is None:
            return True
        self._frontier.forget()
        return False

    def _take_nap(self) -> bool:
        """Let the database sleep if nothing is due for long; False when it was not the moment."""
        seconds = self._nap.seconds(self._seconds_to_next())
        if seconds is None or not self._nap.take(seconds, self._is_over, self._seconds_to_next):
            return False
        if not self._is_over():
            # What became due meanwhile has no event yet.
            self._patience.insist("sweeping", lambda: sweep.once(self._database, self._settings))
        return True

    def _claim(self, topic: Topic, limit: int) -> list[Claim]:
        """Claim, and wake others when there may be more than we can take."""
        began, started = self._frontier.places(topic), time.monotonic()
        with self._answered():
            claims = outbox.claim(
                self._database, topic, self._name, limit, self._settings.worker_lease_seconds, began
            )
            if len(claims) == limit:
                with self._database.transaction(seconds=30) as conn:
                    conn.execute("SELECT doorbell_call(%s)", [self._name])
        self._frontier.claimed(topic, claims, time.monotonic() - started, began)
        if claims:
            self._since_wake.claimed(self._metrics)
        for claim in claims:
            if claim.waited is not None:
                self._metrics.insert_to_claim.labels(topic).observe(claim.waited)
        return claims

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """A claim that fails may have been committed: then it is leased to us, unknown to us."""
        try:
            yield
        except BaseException:
            self._lanes.doubt()
            raise

    def _claim_predictions(self) -> bool:
        limit = self._settings.worker_batch_size
        claims = self._claim("prediction", limit)
        if claims:
            # A full batch may leave others behind it: a thread takes it, and we claim on.
            if len(claims) < limit or not self._lanes.hand_over_batch(claims):
                self._lanes.work_off(claims)
            self._doorbell.get_up()
        return bool(claims)

    def _claim_tickers(self) -> bool:
        if self._lanes.free <= 0:
            return False
        claims = self._claim("ticker", self._lanes.free)
        for claim in claims:
            self._lanes.hand_over(claim)
        if claims:
            self._doorbell.get_up()
        return bool(claims)

    def _run_suspects(self) -> bool:
        """Run events that a worker did not survive one at a time, with nothing else in flight."""
        if self._lanes.in_flight:
            return False
        with self._answered():
            claim = outbox.claim_suspect(
                self._database, self._name, self._settings.worker_lease_seconds
            )
        if claim is None:
            self._suspects = False
            return True
        log.info(
            "retrying alone", id=claim.id, topic=claim.topic, key=claim.key, crashes=claim.crashes
        )
        if claim.topic == "prediction":
            self._lanes.work_off([claim])
        else:
            self._lanes.hand_over(claim)  # and nothing is claimed until it ends
        return True
