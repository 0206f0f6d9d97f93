"""The daily sync of providers that give many symbols at once: a thread, so that no sweep waits.

A sweep starts it. Without such providers, and without a cross-check, the sweep writes the events
itself and this thread does not exist.
"""

import threading

import structlog

from market.prices import sync
from sql.database import error_line, is_external
from worker.context import Context
from worker.shutdown import ShutdownRequested

log = structlog.get_logger()


class DailySync:
    """One worker's sync after each session's close. `busy` is held while it is under way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._look = threading.Event()
        self.busy = threading.Lock()

    def look(self) -> None:
        """There may be something to do; called by the sweep."""
        self._look.set()

    def run(self) -> None:
        """Body of the thread, until the worker stops."""
        while not self._context.shutdown.requested.is_set():
            if not self._look.wait(1):
                continue
            self._look.clear()
            try:
                with self.busy:
                    self._sync()
            except ShutdownRequested:
                return
            except Exception as error:  # noqa: BLE001 - events fetch what a provider could not give
                if is_external(error):
                    log.warning("daily sync postponed", error=error_line(error))
                    continue
                log.error("daily sync failed, events do it", error=error_line(error))
                self._by_events()

    def _by_events(self) -> None:
        try:
            sync.by_events(self._context.database)
        except Exception as error:
            if not is_external(error):
                raise
            log.warning("daily sync postponed", error=error_line(error))

    def _sync(self) -> None:
        context = self._context
        for done in sync.after_close(
            context.database,
            context.providers,
            context.market.market_cross_check_sample,
            context.wait,
        ):
            log.info(
                "synchronised",
                calendar=done.calendar,
                at_once=done.topped_up,
                events=done.enqueued,
            )
