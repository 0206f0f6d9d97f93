"""What the tests against our Yahoo share: the day at which they live, and a town of three.

A `Town` is a database, our Yahoo and a worker between them; many tests live in one, because
a worker takes seconds to start. `fresh` makes it as new for the next test.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.support.clock import set_clock, utc
from tests.support.db import Conn, shared_database, value
from tests.support.market import insert_prediction, sessions, ticker
from tests.support.oracle import Oracle, Session
from tests.support.process import WorkerProcess
from tests.support.queue import event
from tests.support.waiting import until
from tests.yahoo.listings import Listing, steady
from tests.yahoo.server import Yahoo

# A Friday evening, its session over and settled, and a post whose T+30 is over by then.
NOW = utc("2024-05-17 22:00")
MOMENT = utc("2024-03-05 15:00")
ENTRY = dt.date(2024, 3, 5)
BETWEEN = dt.date(2024, 3, 12)  # no horizon of that post
LAST = NOW.date()
FETCHED_FROM = ENTRY - dt.timedelta(days=30)  # BACKFILL_DAYS
FIRST_DAY, LAST_DAY = "2024-01-02", "2024-07-31"

SETTINGS = {
    "MARKET_PROVIDERS": "yahoo",
    "BACKFILL_DAYS": "30",
    "WORKER_POLL_SECONDS": "0.2",
    "WORKER_SWEEP_SECONDS": "86400",
    "WORKER_MAX_ATTEMPTS": "50",  # `go_on` takes hours of backoff together in seconds
}
# yfinance asks again by itself, with another cookie, after a status of 400 and more.
ASKED_TWICE = 2
COLUMNS = "open, high, low, close, adjusted_close, volume, has_split, has_dividend"


def hold_back(conn: Conn) -> None:
    """Let what is put off wait for `go_on`, however long a test takes to look at it."""
    conn.execute(
        "CREATE FUNCTION held_back() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " NEW.available_at := NEW.available_at + interval '1 day'; RETURN NEW; END$$"
    )
    conn.execute(
        "CREATE TRIGGER held_back BEFORE UPDATE ON outbox FOR EACH ROW"
        " WHEN (OLD.lease IS NOT NULL AND NEW.lease IS NULL AND NEW.available_at > reckoner_now())"
        " EXECUTE FUNCTION held_back()"
    )


@contextmanager
def database_living_at(moment: dt.datetime, server_url: str, template: str) -> Iterator[str]:
    """A database for many tests, at a moment, in which nobody waits between two requests."""
    with shared_database(server_url, template) as conn:
        conn.execute("UPDATE reckoner_providers SET spacing = '0' WHERE name = 'yahoo'")
        name = value(conn, "SELECT current_database()")
        url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        set_clock(conn, moment)
        yield url


def bars(conn: Conn, symbol: str = "ACME") -> dict[dt.date, dict[str, Any]]:
    """What is stored for a symbol, by date."""
    found = conn.execute(
        f"SELECT date, source, {COLUMNS} FROM market_prices WHERE symbol = %s ORDER BY date",  # noqa: S608
        [symbol],
    ).fetchall()
    return {row.pop("date"): row for row in found}


def closes(conn: Conn, symbol: str = "ACME") -> dict[dt.date, float]:
    """The stored closes of a symbol, by date."""
    return {date: bar["close"] for date, bar in bars(conn, symbol).items()}


def expected_closes(listing: Listing, first: dt.date, last: dt.date) -> dict[dt.date, float]:
    """The closes of a `steady` listing once all its splits happened."""
    found = {}
    for date, traded in listing.bars.items():
        if first <= date <= last:
            later = [ratio for split, ratio in listing.splits.items() if date < split]
            close = traded.close
            for ratio in later:
                close /= ratio
            found[date] = close
    return found


def check_outcome(
    conn: Conn,
    prediction: int,
    symbol: str,
    prices: dict[dt.date, float],
    *,
    now: dt.datetime = NOW,
    sentiment: str = "bullish",
) -> dict[str, Any]:
    """Compare an outcome with what plain Python makes of these closes; returns the row."""
    days = [
        Session(row["session"], row["closes_at"])
        for row in conn.execute(
            "SELECT session, closes_at FROM market_sessions WHERE calendar = 'XNYS'"
            " AND session BETWEEN %s AND %s ORDER BY session",
            [FIRST_DAY, LAST_DAY],
        )
    ]
    row = conn.execute(
        "SELECT o.*, p.post_timestamp, v.covered_from, v.covered_to FROM prediction_outcomes o"
        " JOIN predictions p ON p.id = o.prediction_id CROSS JOIN LATERAL coverage_span(o.symbol, '1d') v"
        " WHERE o.prediction_id = %s AND o.symbol = %s",
        [prediction, symbol],
    ).fetchone()
    assert row is not None, (prediction, symbol)
    oracle = Oracle(days, row["post_timestamp"], sentiment, 0.5)
    wanted = oracle.look(now, prices, (row["covered_from"], row["covered_to"]))
    near = {
        name: pytest.approx(number, rel=1e-9) if type(number) is float else number
        for name, number in wanted.items()
    }
    assert {name: row[name] for name in wanted} == near
    return row


@dataclass(repr=False)
class Town:
    """A database that lives at NOW, our Yahoo, and a worker that knows nothing of either trick."""

    conn: Conn
    yahoo: Yahoo
    worker: WorkerProcess
    days: list[dt.date]

    def fresh(self) -> None:
        """Nothing known, nothing waiting, nothing broken; SPY is listed."""
        self.yahoo.heal()
        # An event that a worker holds is let go first.
        until("the outbox is empty", self._empty_outbox, 60)
        self.conn.execute(
            "DELETE FROM prediction_outcomes; DELETE FROM predictions; DELETE FROM market_prices;"
            " DELETE FROM ticker_registry; DELETE FROM outbox_history; DELETE FROM corporate_actions;"
            " DELETE FROM provider_payloads; DELETE FROM ingestion_audit; DELETE FROM data_quality_log;"
            " UPDATE reckoner_providers SET spacing = '0', next_request_at = '-infinity',"
            " paused_until = NULL, pause_reason = NULL, failures = 0, bad_symbol = NULL,"
            " last_ok_at = NULL, last_error = NULL WHERE name = 'yahoo'"
        )
        self.yahoo.listings.clear()
        self.yahoo.listings["SPY"] = steady(self.days, start=500.0, kind="ETF", exchange="PCX")
        self.yahoo.log.clear()

    def _empty_outbox(self) -> bool:
        self.conn.execute("DELETE FROM outbox WHERE status <> 'processing'")
        return bool(value(self.conn, "SELECT count(*) = 0 FROM outbox"))

    def list_(self, *symbols: str, **facts: Any) -> Listing:
        """List symbols, all alike; returns the last one's listing."""
        for symbol in symbols:
            self.yahoo.listings[symbol] = steady(self.days, **facts)
        return self.yahoo.listings[symbols[-1]]

    def predict(self, *symbols: str, moment: dt.datetime = MOMENT) -> int:
        """Insert one prediction, bullish for all of these."""
        impact = dict.fromkeys(symbols, "bullish")
        return insert_prediction(self.conn, list(symbols), impact, moment=moment)

    def until_tried(self, *symbols: str, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Wait until each symbol's event waits again, with its reason; returns the events."""

        def probe() -> list[dict[str, Any]] | None:
            found = [event(self.conn, symbol) for symbol in symbols]
            tried = [one for one in found if one and one["last_error"] and not one["lease"]]
            return tried if len(tried) == len(symbols) else None

        return until(f"the events of {symbols} were tried and wait", probe, seconds)

    def until_complete(self, count: int = 1, seconds: float = 60.0) -> None:
        """Wait until this many outcomes are complete and nothing is left to do."""

        state = (
            "SELECT (SELECT count(*) FROM prediction_outcomes WHERE is_complete) = %s"
            " AND NOT EXISTS (SELECT FROM outbox)"
        )
        what = f"{count} outcomes are complete and the outbox is empty"
        until(what, lambda: value(self.conn, state, [count]), seconds)

    def until_quiet(self, seconds: float = 60.0) -> None:
        """Wait until nothing is worked on and nothing is due."""
        busy = (
            "SELECT count(*) FROM outbox"
            " WHERE status = 'processing' OR (status <> 'dead' AND available_at <= reckoner_now())"
        )
        until("nothing is due", lambda: value(self.conn, busy) == 0, seconds)

    def go_on(self) -> None:
        """Lift the provider's pause, and let what waits be due now; its attempts stay."""
        self.conn.execute("UPDATE reckoner_providers SET paused_until = NULL WHERE name = 'yahoo'")
        self.conn.execute(
            "UPDATE outbox SET available_at = reckoner_now() WHERE status IN ('pending', 'failed')"
        )

    def recover(self, complete: int = 1) -> None:
        """Yahoo is well again: what waited goes on, and so many outcomes get complete."""
        self.yahoo.heal()
        self.go_on()
        self.until_complete(complete)

    def status(self, symbol: str = "ACME") -> str:
        """The ticker's status."""
        return str(ticker(self.conn, symbol)["status"])

    def paused(self) -> bool:
        """Whether nobody may ask the provider now."""
        return bool(
            value(
                self.conn,
                "SELECT coalesce(paused_until > reckoner_now(), false) FROM reckoner_providers"
                " WHERE name = 'yahoo'",
            )
        )


def trading_days(conn: Conn) -> list[dt.date]:
    """The sessions that the listings of these tests have bars for."""
    return sessions(conn, FIRST_DAY, LAST_DAY)


def check_complete(town: Town, number: int, symbol: str = "ACME") -> dict[str, Any]:
    """All that the listing has is stored, and the outcome follows from it."""
    wanted = expected_closes(town.yahoo.listings[symbol], FETCHED_FROM, LAST)
    assert closes(town.conn, symbol) == wanted
    assert town.status(symbol) == "active"
    return check_outcome(town.conn, number, symbol, wanted)
