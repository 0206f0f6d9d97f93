"""The world of the forty sessions: what is predicted, what is traded, and what must come true.

What every outcome must say on each evening is computed here from the closes as they were
traded, the splits so far and the days on which nobody answered.

SPLT splits 4:1, HALT does not trade for three days, GONE is delisted (404), MUTE falls
silent, and for two days nobody answers at all.
"""

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.support.clock import clock_at, day
from tests.support.db import Conn, value
from tests.support.market import insert_prediction
from tests.yahoo.listings import Listing, Traded
from tests.yahoo.server import Yahoo

HORIZONS = (1, 3, 7, 30)

# Sessions are counted from this Monday on; day 0 is the first evening.
FIRST, LAST_DAY = "2025-11-03", 44
EARLY = {18: day("2025-11-28"), 36: day("2025-12-24")}
SPLIT_DAY = 5
HALTED = (7, 8, 9)
GONE_FROM, MUTE_FROM = 12, 14
OUTAGE = (25, 26)
# On these days something is predicted, and looked at, ten minutes after the close.
TEN_PAST = (18, 23)

# Entry day of each prediction, and what it names; predicted on that day.
PREDICTED: dict[int, list[str]] = {
    0: ["ALFA", "BETA", "SPLT", "HALT", "GONE", "MUTE"],
    4: ["BETA"],
    9: ["CORA", "ALFA"],
    11: ["GONE"],
    15: ["DUNE"],
    18: ["CORA"],
    19: ["CORA"],
    22: ["ALFA"],
    23: ["DUNE"],
    25: ["BETA"],
    28: ["SPLT"],
    33: ["ALFA", "HALT"],
}
SYMBOLS = sorted({symbol for named in PREDICTED.values() for symbol in named})

# The clock by which the whole server lives; it is set again each evening.
CLOCK = "everyone"

Prices = dict[tuple[int, str], tuple[float | None, ...]]


def traded(symbol: str, number: int) -> float:
    """The close as traded, of the number-th day (negative: before the first)."""
    close = 64 + 16 * SYMBOLS.index(symbol) + (number * 5 % 13) / 4
    return close * 4 if symbol == "SPLT" and number < SPLIT_DAY else close


def is_traded(symbol: str, number: int) -> bool:
    return not (symbol == "HALT" and number in HALTED)


@dataclass
class World:
    """The server, our Yahoo and the worker, all on the same day."""

    conn: Conn
    yahoo: Yahoo
    days: list[dt.date]  # those before FIRST too
    zero: int  # the index of FIRST
    closes: dict[dt.date, dt.datetime]
    predictions: dict[int, int] = field(default_factory=dict)  # entry day -> id
    requests: dict[int, Counter[str]] = field(default_factory=dict)

    def date(self, number: int) -> dt.date:
        return self.days[self.zero + number]

    def go_to(self, number: int, minutes: int) -> dt.datetime:
        """It is so many minutes after this day's close, everywhere."""
        moment = self.closes[self.date(number)] + dt.timedelta(minutes=minutes)
        hours = 3.5 if number in EARLY else 6.5
        for listing in self.yahoo.listings.values():
            listing.length = dt.timedelta(hours=hours)
        # First: who asks is told what the day knows.
        self.yahoo.now = moment
        clock_at(self.conn, moment, CLOCK)
        return moment

    def predict(self, entry: int) -> None:
        """Insert what is predicted on a day, as of that day before its close."""
        named = PREDICTED[entry]
        moment = self.closes[self.date(entry)] - dt.timedelta(hours=2)
        self.predictions[entry] = insert_prediction(
            self.conn, named, dict.fromkeys(named, "bullish"), moment=moment
        )

    def prices(self) -> Prices:
        """Entry and horizons of every outcome, as the database has them; returns checked."""
        entries = {number: entry for entry, number in self.predictions.items()}
        found: Prices = {}
        for row in self.conn.execute("SELECT * FROM prediction_outcomes").fetchall():
            prices = (row["price_at_prediction"], *(row[f"price_t{n}"] for n in HORIZONS))
            found[entries[row["prediction_id"]], row["symbol"]] = prices
            for n, price in zip(HORIZONS, prices[1:], strict=True):
                change = row[f"return_t{n}"]
                if price is None:
                    assert (change, row[f"correct_t{n}"]) == (None, None)
                else:
                    assert change == (price / prices[0] - 1) * 100
                    assert row[f"correct_t{n}"] == (change > 0.5)
        return found

    def expected(self, today: int) -> Prices:
        """What they must be on the evening of a day."""
        return {
            (entry, symbol): tuple(
                self._price(symbol, entry, entry + n, today) for n in (0, *HORIZONS)
            )
            for entry in self.predictions
            for symbol in PREDICTED[entry]
        }

    def _price(self, symbol: str, entry: int, number: int, today: int) -> float | None:
        seen = OUTAGE[0] - 1 if today in OUTAGE else today
        if symbol == "GONE":
            seen = min(seen, GONE_FROM - 1)
        if symbol == "MUTE":
            seen = min(seen, MUTE_FROM - 1)
        if number > seen or entry > today or not is_traded(symbol, number):
            return None
        price = traded(symbol, number)
        if symbol == "SPLT" and number < SPLIT_DAY <= max(self.due_days("SPLT", seen)):
            price /= 4
        return price

    def due_days(self, symbol: str, until_day: int) -> list[int]:
        """The days on which something of a symbol is to be filled."""
        days = {
            entry + n
            for entry in self.predictions
            if symbol in PREDICTED[entry]
            for n in (0, *HORIZONS)
        }
        return sorted(number for number in days if number <= until_day)

    def outcome(self, entry: int, symbol: str) -> dict[str, Any]:
        row = self.conn.execute(
            "SELECT * FROM prediction_outcomes WHERE prediction_id = %s AND symbol = %s",
            [self.predictions[entry], symbol],
        ).fetchone()
        assert row is not None
        return row

    def is_quiet(self) -> bool:
        """Nothing is worked on, nothing is ready, and a sweep would find nothing due."""
        with self.conn.transaction(force_rollback=True):
            if value(self.conn, "SELECT sweep_due()"):
                return False
        # Afterwards, because what the worker's own sweep wrote is due no more.
        busy = "SELECT count(*) FROM outbox WHERE status = 'processing' OR available_at <= reckoner_now()"
        return bool(value(self.conn, busy) == 0)


def list_all(world: World) -> None:
    """Our Yahoo's listings: every day of the calendar, but for the halt."""
    for symbol in (*SYMBOLS, "SPY"):
        bars = {}
        for n, date in enumerate(world.days):
            close = 500.0 if symbol == "SPY" else traded(symbol, n - world.zero)
            if is_traded(symbol, n - world.zero):
                bars[date] = Traded(close - 0.25, close + 1, close - 1, close, 1000)
        splits = {world.date(SPLIT_DAY): 4.0} if symbol == "SPLT" else {}
        world.yahoo.listings[symbol] = Listing(bars, splits)


def what_happens(world: World, number: int) -> None:
    """Yahoo's side of a day."""
    if number == GONE_FROM:
        del world.yahoo.listings["GONE"]
    if number == MUTE_FROM:
        world.yahoo.fail("MUTE", "empty_range")
    if number == OUTAGE[0]:
        world.yahoo.fail("*", "503")
    if number == OUTAGE[-1] + 1:
        world.yahoo.heal("*")


def holes_of(number: int) -> set[str]:
    """What a hole makes wait: asked for ever more rarely, the last time after ten sessions."""
    holes = {"HALT"} if HALTED[0] < number <= HALTED[0] + 14 else set()
    return holes | ({"MUTE"} if 30 < number <= LAST_DAY else set())
