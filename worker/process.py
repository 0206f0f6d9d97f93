"""The process: starts the threads, hears signals, and leaves in order.

The main thread runs the loop (`loop`); a few threads work the lanes (`lanes`), one is
the heartbeat (`pulse`), one the sweep, some answer probes. The death of any thread ends the
process loudly, and so does a schema that changed under it.
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

from market.prices import sync
from market.providers import Provider
from market.settings import MarketSettings
from market.universe import sessions
from sql.database import Database, error_line
from sql.schema.migrate import MigrationError
from sql.settings import SettingsError
from worker import startup, sweep
from worker.handlers import Context
from worker.heartbeat import Pulse
from worker.listening.doorbell import Doorbell
from worker.listening.idle_suspend import Nap
from worker.loop import Loop
from worker.metrics import Counted, Metrics, QueueCollector
from worker.probes import Probes
from worker.queue import outbox
from worker.queue.lanes import Lanes
from worker.settings import WorkerSettings
from worker.shutdown import Patience, StoppingError
from worker.sync import Daily
from worker.tracing import tracer

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
        max_seconds: float | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self._database = database
        self._settings = settings
        self._drain = listen_url is None
        self._signals_seen = 0
        self._interrupted = False
        self._died: str | None = None  # the thread that did
        self._unfit: str | None = None  # why this version cannot work on the schema any more
        self._sweeping = threading.Lock()
        self._beating: threading.Thread | None = None

        deadline = math.inf if max_seconds is None else time.monotonic() + max_seconds
        metrics = self._metrics = Metrics()
        doorbell = self._doorbell = Doorbell(database, listen_url or database.url)
        patience = self._patience = Patience(self._tick)
        self._pulse = Pulse(
            database,
            settings,
            self.name,
            None if self._drain else doorbell,
            self._crashed,
            self._held,
        )
        context = Context(
            database, [Counted(each, metrics) for each in providers], market, patience.wait
        )
        self._daily: Daily | None = None
        quiet = [self._pulse.quiet, self._sweeping]
        if settings.worker_daily_sync and sync.has_shortcut(
            providers, market.market_cross_check_sample
        ):
            self._daily = Daily(context, patience)
            quiet.append(self._daily.busy)
        nap = Nap(database, settings, self.name, doorbell, quiet)
        lanes = self._lanes = Lanes(
            database, settings, context, patience, metrics, tracer(), doorbell.wake
        )
        self._loop = Loop(
            database,
            settings,
            self.name,
            lanes,
            doorbell,
            nap,
            patience,
            metrics,
            drain=self._drain,
            deadline=deadline,
        )
        metrics.listener_up.set_function(lambda: float(doorbell.mode == "notify"))
        metrics.registry.register(QueueCollector(database, self.name, lambda: not nap.asleep))
        self._nap = nap

    def run(self) -> int:
        """Work until told to stop (or, draining, until nothing is ready); returns the exit code."""
        structlog.contextvars.bind_contextvars(worker=self.name)
        log.info(
            "worker started", lanes=self._settings.worker_ticker_concurrency, drain=self._drain
        )
        with self._signals(), self._probes():
            try:
                self._patience.insist(
                    "loading sessions", lambda: sessions.ensure_common(self._database)
                )
                self._patience.insist("the first heartbeat", self._pulse.beat)
                if self._drain:
                    self._patience.insist(
                        "sweeping", lambda: sweep.once(self._database, self._settings)
                    )
                else:
                    self._doorbell.probe()
                self._start_threads()
                self._loop.run()
            except StoppingError:
                pass
            finally:
                self._patience.stop.set()
            return self._leave()

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
        if self._unfit:
            log.error("worker and schema do not fit", reason=self._unfit)
            return 3
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
            self._metrics.last_tick.set_to_current_time()
        if self._signals_seen and not self._patience.stop.is_set():
            log.info("stopping", in_flight=self._lanes.in_flight)
            self._patience.stop.set()
        if self._signals_seen > 1:
            self._patience.abandon.set()
            self._interrupted = True

    def _crashed(self, count: int) -> None:
        self._metrics.crashes.inc(count)
        self._loop.crashes_found()

    def _held(self) -> list[int] | None:
        return self._loop.held()

    # Probes.

    @contextlib.contextmanager
    def _probes(self) -> Iterator[None]:
        if not self._settings.worker_metrics_port:
            yield
            return
        port = self._settings.worker_metrics_port
        try:
            probes = Probes(port, self._metrics.registry, self._pulse.stuck, self._unready)
        except OSError as error:
            raise SettingsError(f"WORKER_METRICS_PORT: {port}: {error.strerror}") from None
        probes.start()
        try:
            yield
        finally:
            probes.stop()

    def _unready(self) -> str | None:
        if self._patience.stop.is_set():
            return self._unfit or "stopping"
        if self._beating is None:
            return "starting"
        if self._nap.asleep:
            return None  # on purpose, and asking would wake the database
        try:
            with self._database.transaction(seconds=2, connect_seconds=2) as conn:
                conn.execute("SELECT 1")
        except psycopg.Error as error:
            return f"the database does not answer: {error_line(error)}"
        return None

    # Threads.

    def _start_threads(self) -> None:
        self._beating = self._thread("pulse", lambda: self._pulse.run(self._patience.abandon))
        for number in range(1, self._settings.worker_prediction_concurrency):
            self._thread(f"prediction-{number + 1}", self._lanes.run_prediction_lane)
        for number in range(self._settings.worker_ticker_concurrency):
            self._thread(f"ticker-{number + 1}", self._lanes.run_ticker_lane)
        if not self._drain:
            self._thread("sweep", self._sweeper)
            if self._daily:
                self._thread("daily", self._daily.run)

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
                    startup.expect_files(self._database)
                    found = sweep.once(self._database, self._settings, sync=self._daily is None)
                if self._daily:
                    self._daily.look()
                if found:
                    sweep.report(found, self._metrics)
            except MigrationError as error:
                # A deployment went ahead of us: leave before our statements do harm.
                self._unfit = str(error)
                self._patience.stop.set()
                self._doorbell.wake()
            except psycopg.Error as error:
                log.warning("sweep postponed", error=error_line(error))
            self._patience.stop.wait(self._settings.worker_sweep_seconds)
