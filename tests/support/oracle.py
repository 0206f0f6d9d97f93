"""Section 6 of the contract once more, in plain Python, one outcome at a time.

It shares nothing with the product: no SQL, no ordinals, no sets; loops over a list of sessions.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HORIZONS = (1, 3, 7, 30)
SETTLING = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Session:
    """One session of a calendar, closing at this moment."""

    date: dt.date
    closes_at: dt.datetime


@dataclass
class Oracle:
    """What one outcome must say; `prices` are those of the last look by horizon."""

    sessions: Sequence[Session]
    moment: dt.datetime
    sentiment: str | None
    confidence: float | None
    prices: dict[int, float] = field(default_factory=dict)

    def entry(self) -> int | None:
        """The index of the first session that closes at or after the moment."""
        for number, session in enumerate(self.sessions):
            if session.closes_at >= self.moment:
                return number
        return None

    def look(
        self, now: dt.datetime, closes: Mapping[dt.date, float], fetched: tuple[dt.date, dt.date]
    ) -> dict[str, Any]:
        """Every column of the row, with these bars stored, at this time.

        fetched: the first and the last date for which providers answered.
        """
        entry = self.entry()
        assert entry is not None, "the oracle's moments lie inside its sessions"
        settled = [session.closes_at + SETTLING <= now for session in self.sessions]
        last = max((n for n, is_over in enumerate(settled) if is_over), default=-1)
        self.prices = {}
        missing: list[int] = []
        hopeless: list[int] = []
        over: list[int] = []
        for n in (0, *HORIZONS):
            date = self.sessions[entry + n].date
            if settled[entry + n] and date in closes:
                self.prices[n] = closes[date]
                continue
            missing.append(n)
            if settled[entry + n]:
                asked = fetched[0] <= date <= fetched[1]
                (hopeless if asked and entry + n <= last - 10 else over).append(n)
        if not missing:
            state = "complete"
        elif 0 in hopeless or missing == hopeless:
            state = "unresolvable"
        elif over:
            state = "awaiting_prices"
        else:
            state = "maturing"
        row: dict[str, Any] = {
            "prediction_date": self.moment.astimezone(dt.UTC).date(),
            "prediction_sentiment": self.sentiment,
            "prediction_confidence": self.confidence,
            "entry_session": self.sessions[entry].date,
            "price_at_prediction": self.prices.get(0),
            "is_complete": not missing,
            "outcome_state": state,
            "engine_version": 1,
        }
        for n in HORIZONS:
            row |= self._horizon(n)
        return row

    def _horizon(self, n: int) -> dict[str, Any]:
        price, base = self.prices.get(n), self.prices.get(0)
        change = correct = pnl = None
        if price is not None and base is not None:
            change = (price / base - 1) * 100
            pnl = change / 100 * 1000
            if self.sentiment == "bullish":
                correct = change > 0.5
            elif self.sentiment == "bearish":
                correct = change < -0.5
            elif self.sentiment == "neutral":
                correct = -0.5 <= change <= 0.5
        return {
            f"price_t{n}": price,
            f"return_t{n}": change,
            f"correct_t{n}": correct,
            f"pnl_t{n}": pnl,
        }
