"""What the tests of tickers without prices share: HUSH, its days, and answers that hold nothing."""

import datetime as dt
from collections.abc import Callable

from market.providers import Answer, Kind, Request
from tests.market.desk import Desk, Told
from tests.support.clock import at, clock, utc
from tests.support.db import Conn, value
from tests.support.market import outcome
from tests.support.providers import FakeProvider, serving

# A Thursday evening; the session of the day is settled.
NOW = utc("2024-05-16 22:00")
OLD = "2024-03-05 15:00+00"
RECENT = "2024-05-14 15:00+00"  # two sessions before NOW
NOTHING = Answer(Kind.EMPTY, message="no bars in the range")
NOBODY = Answer(Kind.UNKNOWN, message="No data found, symbol may be delisted")
FLAT = serving(lambda _: 100.0)
STEP = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)


class Changing(FakeProvider):
    """A provider whose answer the test changes as time passes."""

    def __init__(self, name: str, answer: Answer | Callable[[Request], Answer]) -> None:
        super().__init__(name, self._answer)
        self.answer = answer

    def _answer(self, request: Request) -> Answer:
        return self.answer(request) if callable(self.answer) else self.answer


def event(conn: Conn, symbol: str = "HUSH") -> tuple[str, int] | None:
    """Status and attempts of the symbol's live event."""
    row = conn.execute(
        "SELECT status, attempts FROM outbox WHERE topic = 'ticker' AND key = %s", [symbol]
    ).fetchone()
    return (row["status"], row["attempts"]) if row else None


def ended(conn: Conn, symbol: str = "HUSH") -> list[tuple[str, int]]:
    """Verdict and attempts of the symbol's finished events, oldest first."""
    rows = conn.execute(
        "SELECT verdict, attempts FROM outbox_history WHERE topic = 'ticker' AND key = %s ORDER BY id",
        [symbol],
    )
    return [(row["verdict"], row["attempts"]) for row in rows]


def state(conn: Conn, number: int, symbol: str = "HUSH") -> str:
    return str(outcome(conn, number, symbol)["outcome_state"])


def silence(desk: Desk, now: dt.datetime = NOW) -> list[Told]:
    """Turn until the event of a silent ticker ended, its pauses skipped."""
    told = []
    for minutes in range(0, 60, 2):
        told += desk.turn(now + minutes * MINUTE)
        with clock(desk.url, now) as database, at(database) as conn:
            if value(conn, "SELECT count(*) FROM outbox") == 0:
                return told
    raise AssertionError(f"it never ended: {told}")
