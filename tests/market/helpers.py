"""What the market tests share: a clock that they set, bars written straight into the table, fakes."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from market import outcomes
from market.providers import Answer, Bar, Capabilities, Kind, Request
from sql.database import Connection, Database
from tests.clocks import AnyConn, clock_at, make_clock, use_clock, use_everywhere
from tests.copies import copy_of, drop
from tests.support import Conn, connect

BACKFILL_DAYS = 365
HORIZONS = (1, 3, 7, 30)


def never(seconds: float) -> None:
    """For who must not have to wait."""
    raise AssertionError(f"asked to wait for {seconds} s")


def utc(text: str) -> dt.datetime:
    """An ISO moment, UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def day(text: str) -> dt.date:
    """An ISO date."""
    return dt.date.fromisoformat(text)


@contextmanager
def shared_database(server_url: str, template: str) -> Iterator[Conn]:
    """A database for a whole file of tests that only look, or only add rows of their own."""
    url = copy_of(server_url, template, word="shared")
    with connect(url) as conn:
        yield conn
    drop(server_url, url)


@contextmanager
def at(database: Database, moment: dt.datetime | None = None) -> Iterator[Connection]:
    """A transaction in which it is `moment` (None: now)."""
    with database.transaction() as conn:
        if moment is not None:
            use_clock(conn, clock_at(conn, moment), local=True)
        yield conn


@contextmanager
def clock(url: str, moment: dt.datetime) -> Iterator[Database]:
    """A way to the database whose new connections all live at `moment`, and time goes on from there."""
    with connect(url) as conn:
        use_everywhere(conn, clock_at(conn, moment))
    with Database(url, name="reckoner test", size=8) as database:
        yield database


@contextmanager
def stopped_clock(url: str, moment: dt.datetime) -> Iterator[Database]:
    """A way to the database for whose new connections it stays `moment`, however long things take.

    Not for real workers: they wait for their clock to go on.
    """
    with connect(url) as conn:
        use_everywhere(conn, make_clock(conn, stopped_at=moment))
    with Database(url, name="reckoner test", size=8) as database:
        yield database


def standing_still(moment: dt.datetime) -> tuple[Any, Any]:
    """The fixtures `database` and `conn` for a module in whose tests it stays `moment`."""

    @pytest.fixture
    def database(url: str) -> Iterator[Database]:
        with stopped_clock(url, moment) as database:
            yield database

    @pytest.fixture
    def conn(url: str, database: Database) -> Iterator[Conn]:
        assert database.url == url  # it is stopped before anybody connects
        with connect(url) as conn:
            yield conn

    return database, conn


def put_bars(conn: AnyConn, symbol: str, closes: Mapping[dt.date, float]) -> None:
    """Write bars straight into market_prices, as if a provider had given them."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close,"
            " volume, source, fetched_at) VALUES (%s, %s, %s, %s, %s, %s, %s, 1000, 'test', now())"
            " ON CONFLICT (symbol, date) DO UPDATE SET close = excluded.close",
            [(symbol, date, *[close] * 5) for date, close in closes.items()],
        )


def set_fetched(conn: AnyConn, symbol: str, start: dt.date, end: dt.date) -> None:
    """Note which range providers answered for, and in the registry what bars there are."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol) VALUES (%s) ON CONFLICT DO NOTHING", [symbol]
    )
    conn.execute(
        "UPDATE ticker_registry SET"
        " price_data_start = (SELECT min(date) FROM market_prices WHERE symbol = %s),"
        " price_data_end = (SELECT max(date) FROM market_prices WHERE symbol = %s)"
        " WHERE symbol = %s",
        [symbol, symbol, symbol],
    )
    conn.execute("DELETE FROM price_coverage WHERE symbol = %s", [symbol])
    cover(conn, symbol, start, end)


def cover(conn: AnyConn, symbol: str, start: dt.date, end: dt.date, source: str = "test") -> None:
    """Note that a provider answered for a range."""
    conn.execute("SELECT coverage_add(%s, '1d', %s, %s, %s)", [symbol, start, end, source])


def uncover_after(conn: AnyConn, last: dt.date | str, symbol: str | None = None) -> None:
    """Let it be as if no provider had answered for later days, for one symbol or all."""
    conn.execute(
        'DELETE FROM price_coverage WHERE symbol = coalesce(%s, symbol) AND "from" > %s',
        [symbol, last],
    )
    conn.execute(
        'UPDATE price_coverage SET "to" = %s WHERE symbol = coalesce(%s, symbol) AND "to" > %s',
        [last, symbol, last],
    )


def process(
    database: Database, *predictions: int, moment: dt.datetime | None = None
) -> outcomes.Batch:
    """Process predictions as the worker does, at a moment."""
    with at(database, moment) as conn:
        return outcomes.process(conn, predictions, BACKFILL_DAYS)


def fill(database: Database, symbol: str, moment: dt.datetime | None = None) -> int:
    """Fill a symbol's open outcomes, at a moment; returns how many changed."""
    with at(database, moment) as conn:
        return outcomes.fill_symbol(conn, symbol)


def outcome(conn: Conn, prediction: int, symbol: str) -> dict[str, Any]:
    """The outcome row of one prediction and symbol."""
    row = conn.execute(
        "SELECT * FROM prediction_outcomes WHERE prediction_id = %s AND symbol = %s",
        [prediction, symbol],
    ).fetchone()
    assert row is not None, (prediction, symbol)
    return row


def ticker(conn: Conn, symbol: str) -> dict[str, Any]:
    """The registry's row of a symbol, with the first and last day that providers answered for."""
    row = conn.execute(
        "SELECT r.*, v.* FROM ticker_registry r"
        " CROSS JOIN LATERAL coverage_span(r.symbol, '1d') v WHERE r.symbol = %s",
        [symbol],
    ).fetchone()
    assert row is not None, symbol
    return row


def provider_row(conn: Conn, name: str) -> dict[str, Any]:
    """What all workers know of a provider."""
    row = conn.execute(
        "SELECT paused_until, pause_reason, failures, last_ok_at, last_error FROM reckoner_providers"
        " WHERE name = %s",
        [name],
    ).fetchone()
    assert row is not None, name
    return row


def plain_bars(
    days: Sequence[dt.date], price: Callable[[int], float] = lambda n: 100.0 + n
) -> list[Bar]:
    """A good bar for each day; the close is `price(n)` of the n-th."""
    return [
        Bar(date, price(n), price(n) * 1.01, price(n) * 0.99, price(n), price(n), 1000)
        for n, date in enumerate(days)
    ]


class FakeProvider:
    """A provider of the outside world: answers by script, remembers what it was asked.

    answers: one Answer for every request, or a function of the request.
    """

    def __init__(
        self,
        name: str,
        answers: Answer | Callable[[Request], Answer],
        *,
        canary: str | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.name = name
        self.canary = canary
        self.capabilities = capabilities or Capabilities()
        self.asked: list[Request] = []
        self._answers = answers

    def fetch(self, request: Request) -> Answer:
        """Answer as scripted."""
        self.asked.append(request)
        return self._answers(request) if callable(self._answers) else self._answers


def serving(price: Callable[[dt.date], float | None]) -> Callable[[Request], Answer]:
    """Answers with bars at `price(date)` for every session asked for; None leaves a hole."""

    def answer(request: Request) -> Answer:
        bars = []
        for date in request.sessions:
            close = price(date)
            if close is not None:
                bars.append(Bar(date, close, close, close, close, close, 1000))
        return Answer(Kind.OK if bars else Kind.EMPTY, bars, "as scripted")

    return answer
