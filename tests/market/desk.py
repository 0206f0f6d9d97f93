"""Both lanes of a worker turned by hand, at moments that a test sets, with providers of the test.

Everything is the product's own: claims, handlers, the transaction that ends an event. What a
test decides is when it is and what providers answer.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from market.providers import Provider
from market.settings import MarketSettings
from sql.database import Database
from tests.support.clock import stopped_clock
from tests.support.context import NoWaiting, context_of
from tests.support.db import connect, value
from tests.support.market import BACKFILL_DAYS, insert_prediction
from worker.context import Context
from worker.handlers import predictions
from worker.handlers.tickers import TickerWork
from worker.queue import outbox

Told = dict[str, Any]


class Desk:
    """A worker without threads. A ticker event fails for good at `max_attempts`.

    Time stands still within a turn: an event that failed in it is not ready again before its end.
    """

    def __init__(self, url: str, *providers: Provider, max_attempts: int = 3) -> None:
        self.url = url
        self.providers: Sequence[Provider] = providers
        self._max_attempts = max_attempts
        self._settings = MarketSettings.model_construct(
            backfill_days=BACKFILL_DAYS, market_providers=tuple(each.name for each in providers)
        )

    def predict(self, now: dt.datetime, symbol: str, moment: dt.datetime | str) -> int:
        """Insert a bullish prediction and turn the prediction lane; tickers are not asked for."""
        with stopped_clock(self.url, now) as database:
            with connect(self.url) as conn:
                number = insert_prediction(conn, [symbol], {symbol: "bullish"}, moment=moment)
            self._turn_predictions(database)
        return number

    def sweep(self, now: dt.datetime) -> int:
        """Write events for what is due; returns how many."""
        with stopped_clock(self.url, now), connect(self.url) as conn:
            return int(value(conn, "SELECT sweep_due() + sweep_unfetched()"))

    def turn(self, now: dt.datetime) -> list[Told]:
        """Work on whatever is ready; returns what was told of each ticker event.

        A few seconds later than `now`, so that what was written at `now` is ready.
        """
        told: list[Told] = []
        with stopped_clock(self.url, now + dt.timedelta(seconds=10)) as database:
            self._turn_predictions(database)
            context = self._context(database)
            for _ in range(20):
                claims = outbox.claim(database, "ticker", "desk", 1, 60)
                if not claims:
                    return told
                work = TickerWork(context, claims[0])
                work.fetch()
                told.append({"symbol": claims[0].key, **work.store()})
        raise AssertionError(f"always more to do: {told[-3:]}")

    def _turn_predictions(self, database: Database) -> None:
        claims = outbox.claim(database, "prediction", "desk", 100, 60)
        if claims:
            predictions.process(self._context(database), claims)

    def _context(self, database: Database) -> Context:
        return context_of(
            database,
            self.providers,
            market=self._settings,
            shutdown=NoWaiting(),
            max_attempts=self._max_attempts,
        )
