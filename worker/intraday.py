"""The thread of five-minute bars: polls sessions under way, and fetches finished ones at night.

All workers share the symbols by claims (`market/prices/intraday/claims.py`). Without
INTRADAY_POLL_SECONDS and INTRADAY_NIGHTLY this thread does not exist.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

import structlog

from market.prices.ingestion import Run
from market.prices.intraday import backfill
from market.prices.intraday.store import Stored
from market.providers import Provider
from sql.away import is_away
from sql.database import Database, error_line, is_external
from worker.context import Context
from worker.settings import WorkerSettings
from worker.shutdown import ShutdownRequested

log = structlog.get_logger()

_Wait = Callable[[float], None]
_Fetch = Callable[[Database, Sequence[Provider], _Wait, backfill.How], Iterator[Stored]]


class IntradayBars:
    """One worker's five-minute bars. busy: locked while bars are fetched."""

    def __init__(self, context: Context, settings: WorkerSettings, worker: str) -> None:
        self._context = context
        self._poll_seconds = settings.intraday_poll_seconds
        self._night_seconds = settings.worker_sweep_seconds
        self._worker = worker
        self._keep_days = settings.intraday_retention_days
        self.busy = threading.Lock()

    @staticmethod
    def is_wanted(settings: WorkerSettings) -> bool:
        """Tell whether a worker with these settings fetches five-minute bars."""
        return settings.intraday_poll_seconds > 0 or settings.intraday_nightly

    def run(self) -> None:
        """Poll and fetch until a shutdown is requested; the thread's body."""
        shutdown = self._context.shutdown.requested
        rest = self._poll_seconds or self._night_seconds
        until_night = 0.0
        while not shutdown.is_set():
            try:
                with self.busy:
                    if self._poll_seconds:
                        self.poll()
                    if until_night <= 0:
                        self.night()
                        until_night = self._night_seconds
                self._context.faults.note("five-minute bars", None)
            except ShutdownRequested:
                return
            except Exception as error:
                if not is_external(error):
                    raise
                log.warning("five-minute bars postponed", error=error_line(error))
                if not is_away(self._context.database, error):
                    self._context.faults.note("five-minute bars", error_line(error))
            until_night -= rest
            shutdown.wait(rest)

    def poll(self) -> int:
        """Fetch what became final in sessions under way; returns how many symbols had an answer."""
        return self._count("polled", backfill.poll, "poll-5m")

    def night(self) -> int:
        """Fetch sessions that have settled; returns how many symbols had an answer."""
        return self._count("fetched the night's", backfill.night, "night-5m")

    def _count(self, what: str, fetch: _Fetch, job: str) -> int:
        context = self._context
        how = backfill.How(
            worker=self._worker,
            keep_days=self._keep_days,
            by_merit=context.market.chooses,
            leaves=backfill.LEAVES,
            run=Run(job, context.market.raw_retention_days),
        )
        symbols = bars = 0
        for each in fetch(context.database, context.providers, context.wait, how):
            symbols += each.result == "fetched"
            bars += each.details.get("inserted", 0) + each.details.get("updated", 0)
            if each.result not in {"fetched", "up to date"}:
                log.info(
                    "no five-minute bars",
                    symbol=each.symbol,
                    result=each.result,
                    reason=each.details.get("reason"),
                )
        context.metrics.bars_written.inc(bars)
        if symbols:
            log.info(f"{what} five-minute bars", symbols=symbols, bars=bars)
        return symbols
