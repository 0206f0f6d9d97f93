"""ACME's provider that restates its prices, the days of one prediction, and asking again."""

import datetime as dt
from typing import Any

from market.providers import Answer, Bar, Kind, Request
from tests.market.desk import Desk, Told
from tests.support.clock import at, clock, day, utc
from tests.support.market import HORIZONS
from tests.support.providers import FakeProvider

ENTRY = day("2024-05-13")  # a Monday: T+1 is the 14th, T+3 the 16th, T+7 the 22nd
MOMENT = "2024-05-13 15:00+00"
AT_T3 = utc("2024-05-16 22:00")
SPLIT = day("2024-05-20")
AT_T7 = utc("2024-05-22 22:00")
LATER = utc("2024-05-23 22:00")
T1, T3, T7 = day("2024-05-14"), day("2024-05-16"), day("2024-05-22")


def traded(date: dt.date) -> float:
    """The close as traded: different on every day, with cents."""
    return 300 + date.toordinal() * 7 % 53 + date.day / 100


class Remote(FakeProvider):
    """A provider that adjusts for the splits until `today`, in cents, and may revise itself.

    revised: factor on the close of a day. holes: days without a bar. volume: of every bar.
    """

    def __init__(self) -> None:
        super().__init__("remote", self._answer)
        self.shares = 1.0
        self.revised: dict[dt.date, float] = {}
        self.holes: set[dt.date] = set()
        self.volume = 1000

    def split(self) -> None:
        """4:1 on SPLIT: from now on the history is another one."""
        self.shares = 4.0

    def close(self, date: dt.date) -> float:
        """The close that is shown of a day."""
        split = self.shares if date < SPLIT else 1.0
        now = traded(date) if date < SPLIT or self.shares == 1.0 else traded(date) / self.shares
        return round(now / split, 2) * self.revised.get(date, 1.0)

    def _answer(self, request: Request) -> Answer:
        bars = []
        for date in request.sessions:
            if date not in self.holes:
                close = self.close(date)
                is_split = date == SPLIT and self.shares != 1.0
                bars.append(Bar(date, None, None, None, close, close, self.volume, is_split))
        return Answer(Kind.OK if bars else Kind.EMPTY, bars)


def refresh(desk: Desk, now: dt.datetime) -> Told:
    """What is due is asked for; one ticker was."""
    assert desk.sweep(now) == 1
    (told,) = desk.turn(now)
    return told


def refetch(desk: Desk, now: dt.datetime) -> Told:
    """An operator asks for the whole range again."""
    with clock(desk.url, now) as database, at(database) as conn:
        conn.execute("SELECT outbox_requeue_ticker('ACME')")
    (told,) = desk.turn(now)
    return told


def returns(row: dict[str, Any]) -> list[float | None]:
    return [row[f"return_t{n}"] for n in HORIZONS]
