"""The process: starts the threads, handles signals, and shuts down in order.

The main thread runs the loop (`loop`); each lane has threads (`queue/lanes`), one sends heartbeats
(`heartbeat`), one sweeps, some answer probes. The death of any thread ends the process with an
error, and so does a schema that changed under it.
"""

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from market.prices import sync
from market.providers import Provider
from market.settings import MarketSettings
from market.snapshots import Benchmark, refresh
from market.universe import sessions
from sql.database import Database, error_line, is_external
from sql.schema.migrate import MigrationError
from sql.settings import SettingsError, load
from worker import startup, sweep, topics
from worker.context import Context
from worker.daily_sync import DailySync
from worker.faults import Faults
from worker.heartbeat import Heartbeat
from worker.intraday import IntradayBars
from worker.jobs.ticks import Ticks
from worker.listening.doorbell import Doorbell
from worker.listening.idle_suspend import IdleSuspend
from worker.listening.sleeper import Sleeper
from worker.loop import Loop
from worker.metrics import Counted, Metrics, QueueCollector
from worker.probes import Probes
from worker.queue import outbox
from worker.queue.claimer import Claimer
from worker.queue.in_flight import InFlight
from worker.queue.lanes import LaneRunner
from worker.queue.quarantine import Quarantine
from worker.retry import away, until_available
from worker.settings import AlertSettings, WorkerSettings
from worker.shutdown import Shutdown, ShutdownRequested
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
        shutdown: Shutdown,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self._database = database
        self._settings = settings
        self._drain = listen_url is None
        self._signals_seen = 0
        self._interrupted = False
        self._dead_thread: str | None = None
        self._schema_mismatch: str | None = None  # why this version cannot work here any more
        self._sweeping = threading.Lock()
        self._faults = Faults()
        self._heartbeat_thread: threading.Thread | None = None
        self._shutdown = shutdown
        shutdown.tick = self._tick

        alerts = load(AlertSettings)
        self._channels = alerts.channels
        lanes = topics.lanes(settings)
        metrics = self._metrics = Metrics()
        in_flight = self._in_flight = InFlight()
        doorbell = self._doorbell = Doorbell(database, listen_url or database.url)
        self._heartbeat = Heartbeat(
            database,
            settings,
            self.name,
            None if self._drain else doorbell,
            [lane.topic for lane in lanes],
            shutdown,
            self._crashed,
            in_flight,
            self._faults,
        )
        self._benchmark = Benchmark(market.benchmark_symbol)
        context = Context(
            database=database,
            providers=[Counted(each, metrics) for each in providers],
            market=market,
            shutdown=shutdown,
            metrics=metrics,
            tracer=tracer(),
            max_attempts=settings.worker_max_attempts,
            benchmark=self._benchmark,
            max_symbols=settings.worker_max_symbols,
            faults=self._faults,
            alerts=alerts,
        )
        self._daily_sync: DailySync | None = None
        quiet = [self._heartbeat.quiet, self._sweeping]
        if settings.worker_daily_sync and sync.has_shortcut(
            providers, market.market_cross_check_sample
        ):
            self._daily_sync = DailySync(context)
            quiet.append(self._daily_sync.busy)
        self._intraday: IntradayBars | None = None
        if IntradayBars.is_wanted(settings):
            self._intraday = IntradayBars(context, settings, self.name)
            quiet.append(self._intraday.busy)
        self._lanes = [LaneRunner(lane, context, in_flight, doorbell.wake) for lane in lanes]
        idle_suspend = self._idle_suspend = IdleSuspend(
            database, settings, self.name, doorbell, quiet
        )
        claimer = Claimer(
            database, self.name, settings.worker_lease_seconds, self._lanes, in_flight, metrics
        )
        self._loop = Loop(
            self._lanes,
            claimer,
            Quarantine(claimer, self._lanes, in_flight),
            Ticks(database, metrics) if settings.worker_schedules else None,
            Sleeper(doorbell, claimer, idle_suspend, shutdown, settings.worker_poll_seconds),
            doorbell,
            idle_suspend,
            in_flight,
            shutdown,
            lambda: sweep.once(database, settings, faults=self._faults, channels=self._channels),
            self._faults,
            drain=self._drain,
        )
        metrics.listener_up.set_function(lambda: float(doorbell.mode == "notify"))
        metrics.registry.register(
            QueueCollector(database, self.name, lambda: not idle_suspend.active)
        )

    def run(self) -> int:
        """Run until shutdown (draining: until nothing is ready); returns the exit code."""
        structlog.contextvars.bind_contextvars(worker=self.name)
        log.info(
            "worker started",
            database=self._database.place,
            lanes={runner.lane.topic: runner.lane.concurrency for runner in self._lanes},
            drain=self._drain,
        )
        with self._signals(), self._probes():
            try:
                self._start()
                self._loop.run()
                if self._drain and not self._shutdown.is_due():
                    self._compute()
            except ShutdownRequested:
                pass
            finally:
                self._shutdown.requested.set()
            return self._leave()

    def _start(self) -> None:
        """Prepare what the loop and the threads need, retrying until available; start the threads."""
        steps: list[tuple[str, Callable[[], object]]] = [
            ("loading sessions", lambda: sessions.ensure_common(self._database)),
            ("sending the first heartbeat", self._heartbeat.send),
        ]
        if self._drain:
            steps.append(("sweeping", self._sweep_once))
        for doing, action in steps:
            until_available(self._shutdown, doing, action, away(self._database))
        if not self._drain:
            until_available(self._shutdown, "listening", self._doorbell.probe, away(self._database))
        self._start_threads()

    def _compute(self) -> None:
        """Compute the snapshots that are due; no later sweep of this process does."""
        until_available(
            self._shutdown,
            "computing snapshots",
            lambda: refresh.due(self._database, self._benchmark, seconds=sweep.SNAPSHOTS_SECONDS),
            away(self._database),
        )

    def _leave(self) -> int:
        """Finish or hand back events in flight; returns the exit code."""
        deadline = time.monotonic() + self._settings.worker_drain_seconds
        while len(self._in_flight) and not self._shutdown.forced.is_set() and not self._dead_thread:
            if time.monotonic() >= deadline:
                break
            self._tick()
            self._doorbell.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        self._shutdown.forced.set()
        if self._heartbeat_thread is not None:
            self._heartbeat_thread.join(
                5
            )  # otherwise a late heartbeat would insert the worker's row again
        released: list[int] = []
        try:
            with self._database.transaction(seconds=5) as conn:
                released = outbox.release(conn, self.name)
                conn.execute("SELECT worker_leave(%s)", [self.name])
        except Exception as error:
            if not is_external(error):
                raise
            log.warning(
                "could not hand back, the leases will end by themselves", error=error_line(error)
            )
        self._doorbell.close()
        log.info("worker stopped", handed_back=len(released), events=released[:20])
        if self._dead_thread:
            log.error("worker failed", thread=self._dead_thread)
            return 1
        if self._schema_mismatch:
            log.error("worker and schema do not fit", reason=self._schema_mismatch)
            return 3
        return 130 if self._interrupted else 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def count(_number: int, _frame: object) -> None:
            # Nothing else here: a handler may interrupt itself, or code that holds a lock.
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
        """Show that the loop turns, and check for signals; called at every turn and while waiting."""
        if threading.current_thread() is threading.main_thread():
            self._heartbeat.tick()  # a waiting lane thread does not prove that the loop turns
            self._metrics.last_tick.set_to_current_time()
        if self._signals_seen and not self._shutdown.requested.is_set():
            log.info("stopping", in_flight=len(self._in_flight))
            self._shutdown.requested.set()
        if self._signals_seen > 1:
            self._shutdown.forced.set()
            self._interrupted = True

    def _crashed(self, count: int) -> None:
        self._metrics.crashes.inc(count)
        self._loop.crashes_found()

    # Probes.

    @contextlib.contextmanager
    def _probes(self) -> Iterator[None]:
        if not self._settings.worker_metrics_port:
            yield
            return
        host, port = self._settings.worker_metrics_host, self._settings.worker_metrics_port
        registry = self._metrics.registry
        try:
            probes = Probes(host, port, registry, self._heartbeat.stuck, self._unready)
        except socket.gaierror as error:
            raise SettingsError(f"WORKER_METRICS_HOST: {host}: {error.strerror}") from None
        except OSError as error:
            raise SettingsError(
                f"WORKER_METRICS_PORT: {host} port {port}: {os.strerror(error.errno or 0)}"
            ) from None
        probes.start()
        try:
            yield
        finally:
            probes.stop()

    def _unready(self) -> str | None:
        if self._shutdown.requested.is_set():
            return self._schema_mismatch or "stopping"
        if self._heartbeat_thread is None:
            return "starting"
        if self._idle_suspend.active:
            return None  # a query would wake the database
        try:
            with self._database.transaction(seconds=2, connect_seconds=2) as conn:
                conn.execute("SELECT 1")
        except Exception as error:
            if not is_external(error):
                raise
            return f"the database does not answer: {error_line(error)}"
        return None

    # Threads.

    def _start_threads(self) -> None:
        self._heartbeat_thread = self._thread("heartbeat", self._heartbeat.run)
        for runner in self._lanes:
            for number in range(runner.lane.threads):
                self._thread(f"{runner.lane.topic}-{number + 1}", runner.run)
        if not self._drain:
            self._thread("sweep", self._sweeper)
            if self._daily_sync:
                self._thread("daily", self._daily_sync.run)
            if self._intraday:
                self._thread("intraday", self._intraday.run)

    def _thread(self, name: str, body: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            structlog.contextvars.bind_contextvars(worker=self.name)
            try:
                body()
            except BaseException as error:
                # Otherwise the worker would go on without this thread, and nothing would show it.
                log.exception("a thread died", thread=name, error=error_line(error))
                self._dead_thread = name
                self._shutdown.requested.set()
                self._doorbell.wake()

        def start() -> threading.Thread:
            thread = threading.Thread(target=guarded, name=name, daemon=True)
            thread.start()
            return thread

        return until_available(self._shutdown, f"starting the thread {name}", start, lambda _: None)

    def _sweep_once(self) -> object:
        return sweep.once(
            self._database,
            self._settings,
            benchmark=self._benchmark,
            channels=self._channels,
        )

    def _sweeper(self) -> None:
        while not self._shutdown.requested.is_set():
            try:
                with self._sweeping:
                    startup.expect_files(self._database)
                    found = sweep.once(
                        self._database,
                        self._settings,
                        sync=self._daily_sync is None,
                        faults=self._faults,
                        benchmark=self._benchmark,
                        channels=self._channels,
                    )
                if self._daily_sync:
                    self._daily_sync.start()
                if found:
                    sweep.report(found, self._metrics)
            except MigrationError as error:
                # A newer version migrated the schema: end before statements of this one do harm.
                self._schema_mismatch = str(error)
                self._shutdown.requested.set()
                self._doorbell.wake()
            except Exception as error:
                if not is_external(error):
                    raise
                log.warning("sweep postponed", error=error_line(error))
            self._shutdown.requested.wait(self._settings.worker_sweep_seconds)
