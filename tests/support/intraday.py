"""Sessions of five-minute bars, and a provider of them that a test moves through time."""

import datetime as dt
from collections.abc import Callable, Sequence

from market.providers import Answer, Capabilities, Kind, Request
from market.providers.base import Intraday, IntradayBar, IntradayRequest, Session
from tests.support.clock import AnyConn
from tests.support.market import cover, sessions

FIVE = dt.timedelta(minutes=5)


def hours(
    conn: AnyConn, first: str, last: str | None = None, calendar: str = "XNYS"
) -> list[Session]:
    """The sessions of a range with their hours in UTC."""
    rows = conn.execute(
        "SELECT session, opens_at, closes_at FROM market_sessions WHERE calendar = %s"
        " AND session BETWEEN %s AND %s ORDER BY session",
        [calendar, first, last or first],
    ).fetchall()
    return [
        Session(
            row["session"], row["opens_at"].astimezone(dt.UTC), row["closes_at"].astimezone(dt.UTC)
        )
        for row in rows
    ]


def starts(session: Session) -> list[dt.datetime]:
    """The starts of all bars of a session."""
    count = (session.closes_at - session.opens_at) // FIVE
    return [session.opens_at + n * FIVE for n in range(count)]


def five(ts: dt.datetime, close: float = 100.0, volume: int | None = 1000) -> IntradayBar:
    """A good bar around a close."""
    return IntradayBar(ts, close, close * 1.001, close * 0.999, close, volume)


def follow(conn: AnyConn, *symbols: str, calendar: str = "XNYS") -> None:
    """Register symbols as ones that were fetched before, so that they are tracked."""
    days = sessions(conn, "2024-01-02", "2024-01-10")
    for symbol in symbols:
        conn.execute(
            "INSERT INTO ticker_registry (symbol, status, calendar, last_backfill)"
            " VALUES (%s, 'active', %s, now())",
            [symbol, calendar],
        )
        cover(conn, symbol, days[0], days[-1])
    conn.execute("DELETE FROM outbox")


class FakeIntraday:
    """A provider of five-minute bars: answers by script, remembers what it was asked.

    answers: of a request; None: every bar of its sessions, also such as are not final.
    """

    def __init__(
        self,
        name: str = "yahoo",
        answers: Callable[[IntradayRequest], Answer] | None = None,
        *,
        canary: str | None = None,
        offer: Intraday | None = None,
    ) -> None:
        self.name = name
        self.canary = canary
        self.capabilities = Capabilities(intraday=offer or Intraday(settle_seconds=60))
        self.asked: list[IntradayRequest] = []
        self.answers = answers or everything

    def fetch(self, request: Request) -> Answer:
        """No daily bars."""
        raise AssertionError(request)

    def fetch_intraday(self, request: IntradayRequest) -> Answer:
        """Answer as scripted."""
        self.asked.append(request)
        return self.answers(request)


def everything(request: IntradayRequest) -> Answer:
    """All bars of the sessions, whose close is the minute of the session; the last has begun."""
    return given([ts for each in request.sessions for ts in starts(each) if ts <= request.now])


def given(times: Sequence[dt.datetime], close: float = 100.0) -> Answer:
    """An answer with bars at these times."""
    bars = [five(ts, close) for ts in times]
    return Answer(Kind.OK if bars else Kind.EMPTY, (), "as scripted", intraday=bars)
