"""The worker: claims what it can start now, hands it over, sleeps when there is nothing.

The main thread alone claims, and works the prediction lane; a few threads work the ticker
lane (`lanes`), one is the heartbeat (`pulse`), one the sweep. Because one thread claims, it
can stop claiming: at SIGTERM, and when an event is to run alone because an earlier worker
did not survive it.

The death of any thread ends the process loudly.
"""

import contextlib
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
import structlog

from market import sessions
from market.providers import Provider
from market.settings import MarketSettings
from sql.database import Database, error_line, is_away
from worker import outbox, sweep
from worker.doorbell import Doorbell
from worker.handlers import Context
from worker.lanes import Lanes
from worker.nap import Nap
from worker.patience import Patience, StoppingError
from worker.pulse import Pulse
from worker.settings import WorkerSettings

# How soon to look again after a commit that is under way, or an event whose key is busy.
_SHORTLY_SECONDS = 0.02
_BUSY_KEY_SECONDS = 0.25
_LONGEST_SLEEP_SECONDS = 60.0

log = structlog.get_logger()


class Worker:
    """One worker process. listen_url: None when it drains and exits instead of listening."""

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        market: MarketSettings,
        providers: Sequence[Provider],
        listen_url: str | None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self._database = database
        self._settings = settings
        self._drain = listen_url is None
        self._doorbell = Doorbell(database, listen_url or database.url)
        self._pulse = Pulse(
            database,
            settings,
            self.name,
            None if self._drain else self._doorbell,
            self._crashes_found,
        )
        self._sweeping = threading.Lock()
        self._nap = Nap(
            database, settings, self.name, self._doorbell, [self._pulse.quiet, self._sweeping]
        )
        self._patience = Patience(self._tick)
        context = Context(database, providers, market, self._patience.wait)
        self._lanes = Lanes(database, settings, context, self._patience, self._doorbell.wake)
        self._signals_seen = 0
        self._interrupted = False
        self._died: str | None = None
        self._deadline = math.inf
        self._suspects = True  # there may be some from before
        self._beating: threading.Thread | None = None

    # The process.

    def run(self, max_seconds: float | None = None) -> int:
        """Work until told to stop (or, draining, until nothing is ready); returns the exit code."""
        structlog.contextvars.bind_contextvars(worker=self.name)
        log.info(
            "worker started", lanes=self._settings.worker_ticker_concurrency, drain=self._drain
        )
        self._deadline = math.inf if max_seconds is None else time.monotonic() + max_seconds
        with self._signals():
            try:
                self._patience.insist("loading sessions", lambda: sessions.ensure(self._database))
                self._patience.insist("the first heartbeat", self._pulse.beat)
                if self._drain:
                    self._patience.insist(
                        "sweeping", lambda: sweep.once(self._database, self._settings)
                    )
                else:
                    self._doorbell.probe()
                self._start_threads()
                self._turn_until_stopped()
            except StoppingError:
                pass
            finally:
                self._patience.stop.set()
            return self._leave()

    def _turn_until_stopped(self) -> None:
        away = 0
        while True:
            self._tick()
            if self._patience.stop.is_set():
                return
            if time.monotonic() >= self._deadline:
                log.info("time is up")
                return
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

    def _leave(self) -> int:
        """Finish or hand back what is in flight; returns the exit code."""
        deadline = time.monotonic() + self._settings.worker_drain_seconds
        while self._lanes.in_flight and not self._patience.abandon.is_set() and not self._died:
            if time.monotonic() >= deadline:
                break
            self._tick()
            self._doorbell.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        self._patience.abandon.set()
        if self._beating is not None:
            self._beating.join(5)  # or it could enter the worker again after it left
        released: list[int] = []
        try:
            with self._database.transaction(seconds=5) as conn:
                released = outbox.release(conn, self.name)
                conn.execute("SELECT worker_leave(%s)", [self.name])
        except psycopg.Error as error:
            log.warning(
                "could not hand back, the leases will end by themselves", error=error_line(error)
            )
        self._doorbell.close()
        log.info("worker stopped", handed_back=len(released), events=released[:20])
        if self._died:
            log.error("worker failed", thread=self._died)
            return 1
        return 130 if self._interrupted else 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def count(_number: int, _frame: object) -> None:
            # Nothing more: a handler may interrupt itself, and whatever holds a lock.
            self._signals_seen += 1

        before = {
            number: signal.signal(number, count) for number in (signal.SIGTERM, signal.SIGINT)
        }
        descriptor = signal.set_wakeup_fd(self._doorbell.wake_fd, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _tick(self) -> None:
        """At every turn, and while waiting: we are alive, and have we been told to stop?"""
        if threading.current_thread() is threading.main_thread():
            self._pulse.tick()  # a lane that waits says nothing of the loop
        if self._signals_seen and not self._patience.stop.is_set():
            log.info("stopping", in_flight=self._lanes.in_flight)
            self._patience.stop.set()
        if self._signals_seen > 1:
            self._patience.abandon.set()
            self._interrupted = True

    # Turning and resting.

    def _turn(self) -> bool:
        """Claim and start what can be started now; True when that was anything."""
        found = self._run_suspects() if self._suspects else self._claim()
        if found or self._lanes.in_flight:
            self._nap.busy()
        return found

    def _rest(self) -> bool:
        """Sleep until there may be work; True when there never will be (draining, all done)."""
        if self._drain:
            if not self._lanes.in_flight:
                return True
            self._doorbell.sleep(0.5)
            return False
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
        seconds = self._settings.worker_poll_seconds
        if due is not None:
            seconds = min(seconds, max(due, _BUSY_KEY_SECONDS))
        if posture == "busy":
            seconds = min(seconds, _SHORTLY_SECONDS)
        # Not longer than the heartbeat thinks that a turn may take.
        seconds = min(seconds, _LONGEST_SLEEP_SECONDS, self._deadline - time.monotonic())
        self._doorbell.sleep(max(0.0, seconds))
        return False

    def _seconds_to_next(self) -> float | None:
        """Seconds until the next event that could be started is due; None: none waits."""
        topics: list[outbox.Topic] = (
            ["prediction", "ticker"] if self._lanes.free else ["prediction"]
        )
        with self._database.transaction(seconds=10) as conn:
            return outbox.seconds_to_next(conn, topics)

    def _take_nap(self) -> bool:
        """Let the database sleep if nothing is due for long; False when it was not the moment."""

        def is_over() -> bool:
            self._tick()
            return self._patience.stop.is_set() or time.monotonic() >= self._deadline

        seconds = self._nap.seconds(self._seconds_to_next())
        if seconds is None or not self._nap.take(seconds, is_over, self._seconds_to_next):
            return False
        if not is_over():
            # What became due meanwhile has no event yet.
            self._patience.insist("sweeping", lambda: sweep.once(self._database, self._settings))
        return True

    def _claim(self) -> bool:
        return self._claim_predictions() | self._claim_tickers()

    def _claim_predictions(self) -> bool:
        limit = self._settings.worker_batch_size
        with self._database.transaction(seconds=30) as conn:
            claims = outbox.claim(
                conn, "prediction", self.name, limit, self._settings.worker_lease_seconds
            )
        if not claims:
            return False
        if len(claims) == limit:
            self._call_others()
        self._lanes.predictions(claims)
        self._doorbell.get_up()
        return True

    def _claim_tickers(self) -> bool:
        free = self._lanes.free
        if free <= 0:
            return False
        with self._database.transaction(seconds=30) as conn:
            claims = outbox.claim(
                conn, "ticker", self.name, free, self._settings.worker_lease_seconds
            )
        for claim in claims:
            self._lanes.hand_over(claim)
        if len(claims) == free:
            self._call_others()
        if claims:
            self._doorbell.get_up()
        return bool(claims)

    def _call_others(self) -> None:
        """There may be more than we can take: wake workers that sleep."""
        with self._database.transaction(seconds=10) as conn:
            conn.execute("SELECT doorbell_call(%s)", [self.name])

    def _crashes_found(self) -> None:
        self._suspects = True
        self._doorbell.wake()

    def _run_suspects(self) -> bool:
        """Run events that a worker did not survive one at a time, with nothing else in flight."""
        if self._lanes.in_flight:
            return False
        with self._database.transaction(seconds=30) as conn:
            claim = outbox.claim_suspect(conn, self.name, self._settings.worker_lease_seconds)
        if claim is None:
            self._suspects = False
            return True
        log.info(
            "retrying alone", id=claim.id, topic=claim.topic, key=claim.key, crashes=claim.crashes
        )
        if claim.topic == "prediction":
            self._lanes.predictions([claim])
        else:
            self._lanes.hand_over(claim)  # and nothing is claimed until it ends
        return True

    # Threads.

    def _start_threads(self) -> None:
        self._beating = self._thread("pulse", lambda: self._pulse.run(self._patience.abandon))
        for number in range(self._settings.worker_ticker_concurrency):
            self._thread(f"ticker-{number + 1}", self._lanes.run_ticker_lane)
        if not self._drain:
            self._thread("sweep", self._sweeper)

    def _thread(self, name: str, body: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            structlog.contextvars.bind_contextvars(worker=self.name)
            try:
                body()
            except BaseException as error:
                # Nobody else would notice, and half a worker is worse than none.
                log.exception("a thread died", thread=name, error=error_line(error))
                self._died = name
                self._patience.stop.set()
                self._doorbell.wake()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _sweeper(self) -> None:
        while not self._patience.stop.is_set():
            try:
                with self._sweeping:
                    found = sweep.once(self._database, self._settings)
                if found and any(found.values()):
                    log.info("swept", **found)
            except psycopg.Error as error:
                log.warning("sweep postponed", error=error_line(error))
            self._patience.stop.wait(self._settings.worker_sweep_seconds)
