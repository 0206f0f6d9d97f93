"""Forty sessions in six markets at once: New York, Tokyo, London, a coin, gold and the euro.

A server whose clock moves from one settled close to the next, a real worker, and what each outcome
must say, from days and closing times that are written down here. Two predictions name all six: one on a
Tuesday morning, one on a Friday at 16:30 in New York, when shares have closed and gold has not.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from market.universe import sessions as calendars
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.clock import clock_at, day, use_clock, use_everywhere, utc
from tests.support.db import Conn, connect, server_folder, value
from tests.support.market import insert_prediction, write_csv
from tests.support.process import WorkerProcess, cleaned_up
from tests.support.waiting import until
from tests.system.forty_sessions import CLOCK, HORIZONS

FIRST, LAST = day("2025-10-20"), day("2026-02-13")
SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
MOMENTS = [utc("2025-11-04 10:00"), utc("2025-11-21 21:30")]
NEW_YEAR = {"2025-12-25", "2026-01-01"}


@dataclass(frozen=True)
class Market:
    """Whose clock, when it closes there, how long until the bar is settled, and when it is closed."""

    zone: str
    closes: str
    minutes: int
    closed: frozenset[str] = frozenset()
    early: dict[str, str] = field(default_factory=dict)
    weekends: bool = False

    def settled(self) -> dict[dt.date, tuple[dt.datetime, dt.datetime]]:
        """Each session with its close, and the moment from which its bar is used."""
        found = {}
        for number in range((LAST - FIRST).days):
            date = FIRST + dt.timedelta(days=number)
            if str(date) in self.closed or (date.weekday() > 4 and not self.weekends):
                continue
            time = self.early.get(str(date), self.closes)
            local = dt.datetime.fromisoformat(f"{date} {time.replace('24:00', '00:00')}")
            close = local.replace(tzinfo=ZoneInfo(self.zone)).astimezone(dt.UTC)
            if time == "24:00":
                close += dt.timedelta(days=1)
            found[date] = (close, close + dt.timedelta(minutes=self.minutes))
        return found


NEW_YORKS = frozenset({"2025-11-27", "2026-01-19", *NEW_YEAR})
MARKETS = {
    "ALFA": Market("America/New_York", "16:00", 30, NEW_YORKS,
                   {"2025-11-28": "13:00", "2025-12-24": "13:00"}),
    "7203.T": Market("Asia/Tokyo", "15:30", 30, frozenset(
        {"2025-11-03", "2025-11-24", "2025-12-31", "2026-01-01", "2026-01-02", "2026-01-12", "2026-02-11"})),
    "VOD.L": Market("Europe/London", "16:30", 30, frozenset({"2025-12-26", *NEW_YEAR}),
                    {"2025-12-24": "12:30", "2025-12-31": "12:30"}),
    "BTC-USD": Market("UTC", "24:00", 30, weekends=True),
    "GC=F": Market("America/New_York", "17:00", 90, NEW_YORKS,
                   {"2025-11-28": "13:15", "2025-12-24": "13:15"}),
    "EURUSD=X": Market("America/New_York", "17:00", 210),
}  # fmt: skip


def traded(symbol: str, date: dt.date) -> float:
    """The close of a day, of which no two in a row are alike."""
    return 50.0 + 25 * list(MARKETS).index(symbol) + (date.toordinal() * 5 % 13) / 4


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Conn]:
    """A database in the autumn of 2025, and a worker that reads these bars."""
    for symbol, market in MARKETS.items():
        rows = [
            {"date": date, **dict.fromkeys(("open", "high", "low", "close"), traded(symbol, date)), "volume": 1000}
            for date in market.settled()
        ]  # fmt: skip
        write_csv(tmp_path / "bars", symbol, rows)
    with (
        server_folder() as folder,
        embedded.use(folder, settings=SETTINGS) as url,
        connect(url) as conn,
    ):
        use_everywhere(conn, CLOCK)
        use_clock(conn, CLOCK)
        with Database(url) as database:
            migrate.migrate(database)
            clock_at(conn, MOMENTS[0], CLOCK)
            conn.execute("UPDATE reckoner_installation SET installed_at = reckoner_now()")
            calendars.ensure(database)
        workers: list[WorkerProcess] = []
        with cleaned_up(workers):
            settings = {
                "MARKET_PROVIDERS": "csv",
                "MARKET_CSV_DIR": str(tmp_path / "bars"),
                "BACKFILL_DAYS": "10",
                "WORKER_SWEEP_SECONDS": "0.2",
                "WORKER_POLL_SECONDS": "0.5",
                "WORKER_LEASE_SECONDS": "86400",
                "WORKER_DAILY_SYNC": "0",
            }
            worker = WorkerProcess(url, tmp_path / "worker.log", **settings)
            workers.append(worker)
            worker.ready()
            yield conn
            assert worker.process.poll() is None, "the worker died"
            assert worker.stop() == 0


Prices = dict[tuple[int, str], list[float | None]]


def expected(numbers: list[int], now: dt.datetime) -> Prices:
    """Entry and horizons of every outcome, as they must be now."""
    found: Prices = {}
    for number, moment in zip(numbers, MOMENTS, strict=False):
        for symbol, market in MARKETS.items():
            settled = list(market.settled().items())
            entry = next(n for n, (_, (close, _)) in enumerate(settled) if close >= moment)
            found[number, symbol] = [
                traded(symbol, settled[entry + n][0]) if settled[entry + n][1][1] <= now else None
                for n in (0, *HORIZONS)
            ]
    return found


def stored(conn: Conn) -> Prices:
    return {
        (row["prediction_id"], row["symbol"]): [
            row["price_at_prediction"], *(row[f"price_t{n}"] for n in HORIZONS)
        ]
        for row in conn.execute("SELECT * FROM prediction_outcomes").fetchall()
    }  # fmt: skip


def is_quiet(conn: Conn) -> bool:
    """Nothing is worked on, nothing is ready, and a sweep would find nothing due."""
    with conn.transaction(force_rollback=True):
        if value(conn, "SELECT sweep_due()"):
            return False
    busy = (
        "SELECT count(*) FROM outbox WHERE status = 'processing' OR available_at <= reckoner_now()"
    )
    return bool(value(conn, busy) == 0)


def turning_points() -> list[dt.datetime]:
    """A minute before and a minute after each close that an outcome needs is settled."""
    needed = set()
    for moment in MOMENTS:
        for market in MARKETS.values():
            settled = list(market.settled().values())
            entry = next(n for n, (close, _) in enumerate(settled) if close >= moment)
            needed |= {settled[entry + n][1] for n in (0, *HORIZONS)}
    minute = dt.timedelta(minutes=1)
    return sorted({at + step for at in needed for step in (-minute, minute)})


def test_each_market_has_its_own_days(conn: Conn) -> None:
    numbers: list[int] = []
    waiting = list(MOMENTS)
    for now in sorted(
        [*turning_points(), *(moment + dt.timedelta(minutes=1) for moment in MOMENTS)]
    ):
        clock_at(conn, now, CLOCK)
        while waiting and waiting[0] <= now:
            symbols = list(MARKETS)
            numbers.append(
                insert_prediction(
                    conn, symbols, dict.fromkeys(symbols, "bullish"), moment=waiting.pop(0)
                )
            )
        wanted = expected(numbers, now)
        until(f"{now} is as it must be", lambda: is_quiet(conn) and stored(conn) == wanted, 60)  # noqa: B023

    states = conn.execute(
        "SELECT DISTINCT outcome_state, revision FROM prediction_outcomes"
    ).fetchall()
    assert states == [{"outcome_state": "complete", "revision": None}]
    # Nothing was tried again, and nothing that was no session was taken for one.
    assert value(conn, "SELECT count(*) FROM outbox_history WHERE attempts > 0 OR crashes > 0") == 0
    assert value(conn, "SELECT count(*) FROM session_correction") == 0
    assert value(conn, "SELECT count(*) FROM market_price_revisions") == 0
