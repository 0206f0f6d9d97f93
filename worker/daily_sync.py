"""The thread of the daily sync, for providers that give many symbols at once.

A sweep starts a sync here and does not wait for it. Without such providers, and without a
cross-check, the sweep writes the events itself and this thread does not exist.
"""

import threading

import structlog

from market.prices import sync
from sql.away import is_away
from sql.database import error_line, is_external
from worker.context import Context
from worker.shutdown import ShutdownRequested

log = structlog.get_logger()


class DailySync:
    """One worker's sync after each session's close. busy: locked while a sync runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_due = threading.Event()
        self.busy = threading.Lock()

    def start(self) -> None:
        """Start a sync if one is due; called by the sweep."""
        self._is_due.set()

    def run(self) -> None:
        """Run syncs until a shutdown is requested; the thread's body."""
        while not self._context.shutdown.requested.is_set():
            if not self._is_due.wait(1):
                continue
            self._is_due.clear()
            try:
                with self.busy:
                    self._sync()
                self._context.faults.note("daily sync", None)
            except ShutdownRequested:
                return
            except Exception as error:  # noqa: BLE001 - events fetch what the sync could not
                if is_away(self._context.database, error):
                    log.warning("daily sync postponed", error=error_line(error))
                    continue
                # An event is one symbol's: what one of them cannot do stops no other.
                log.error("daily sync failed, writing events instead", error=error_line(error))
                self._by_events()

    def _by_events(self) -> None:
        note = self._context.faults.note
        try:
            sync.by_events(self._context.database)
            note("daily sync", None)
        except Exception as error:
            if not is_external(error):
                raise
            log.warning("daily sync postponed", error=error_line(error))
            note("daily sync", error_line(error))

    def _sync(self) -> None:
        context = self._context
        for done in sync.after_close(
            context.database,
            context.providers,
            context.market.market_cross_check_sample,
            context.wait,
            context.benchmark,
        ):
            log.info(
                "synchronised",
                calendar=done.calendar,
                at_once=done.topped_up,
                events=done.enqueued,
            )
