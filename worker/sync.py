"""The daily sync where it has to ask providers itself: a thread of its own, so that no sweep waits.

A sweep says when to look; without providers that give many symbols at once, and without a
cross-check, the sweep writes the events itself and this thread does not exist.
"""

import threading

import psycopg
import structlog

from market.prices import sync
from sql.database import error_line
from worker.handlers import Context
from worker.shutdown import Patience, StoppingError

log = structlog.get_logger()


class Daily:
    """One worker's sync after each session's close. `busy` is held while it is under way."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience
        self._look = threading.Event()
        self.busy = threading.Lock()

    def look(self) -> None:
        """There may be something to do; called by the sweep."""
        self._look.set()

    def run(self) -> None:
        """Body of the thread, until the worker stops."""
        while not self._patience.stop.is_set():
            if not self._look.wait(1):
                continue
            self._look.clear()
            try:
                with self.busy:
                    self._sync()
            except StoppingError:
                return
            except psycopg.Error as error:
                log.warning("daily sync postponed", error=error_line(error))
            except Exception as error:  # noqa: BLE001 - what one provider cannot do, events can
                log.error("daily sync failed, events do it", error=error_line(error))
                self._by_events()

    def _by_events(self) -> None:
        try:
            sync.by_events(self._context.database)
        except psycopg.Error as error:
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
