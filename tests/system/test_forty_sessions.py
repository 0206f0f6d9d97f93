"""Forty sessions of predictions coming true, day by day, in a minute.

A server of its own whose clock is moved from close to close (two holidays, two early closes,
weekends), a real worker with the real Yahoo transport against our Yahoo, whose clock moves
along. What every outcome must say on each evening is computed here from the closes as they
were traded, the splits so far and the days on which nobody answered.

SPLT splits 4:1, HALT does not trade for three days, GONE is delisted (404), MUTE falls
silent, and for two days nobody answers at all.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from market import sessions as calendars
from sql import embedded, migrate
from sql.database import Database
from tests.conftest import server_folder
from tests.market.helpers import day, utc
from tests.support import (
    Conn,
    WorkerProcess,
    cleaned_up,
    connect,
    insert_prediction,
    sessions,
    until,
    value,
)
from tests.yahoo.listings import Listing, Traded
from tests.yahoo.server import Yahoo

FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
WORKER = {
    "MARKET_PROVIDERS": "yahoo",
    "BACKFILL_DAYS": "10",
    "WORKER_SWEEP_SECONDS": "0.2",
    "WORKER_POLL_SECONDS": "0.5",
    "WORKER_LEASE_SECONDS": "86400",  # days pass while a worker blinks
    "WORKER_MAX_ATTEMPTS": "1",  # silence is believed at once, retries would wait for days
    "WORKER_HEARTBEAT_SECONDS": "1",
    "WORKER_DAILY_SYNC": "0",  # what outcomes need is counted here, and no more
}
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
        set_clock(self.conn, moment)
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


def set_clock(conn: Conn, moment: dt.datetime) -> None:
    """Let it be `moment` for every connection to the server."""
    seconds = value(
        conn, "SELECT extract(epoch FROM %s::timestamptz - clock_timestamp())", [moment]
    )
    conn.execute(f"ALTER SYSTEM SET reckoner.clock_offset = '{seconds} seconds'".encode())
    conn.execute("SELECT pg_reload_conf()")
    # reckoner_now() may not be there yet.
    now = (
        "SELECT abs(extract(epoch FROM statement_timestamp() - %s::timestamptz)"
        " + extract(epoch FROM current_setting('reckoner.clock_offset', true)::interval)) < 60"
    )
    until(f"it is {moment}", lambda: value(conn, now, [moment]))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Migrated at noon of the first day, eight symbols listed, a worker listening."""
    start = utc(f"{FIRST} 17:00")
    with (
        server_folder() as folder,
        embedded.use(folder, settings=FAST) as url,
        connect(url) as conn,
    ):
        set_clock(conn, start)
        with Database(url) as database:
            migrate.migrate(database)
            calendars.ensure(database)
        conn.execute("UPDATE reckoner_providers SET spacing = '0'")
        days = sessions(conn, "2025-10-01", "2026-01-30")
        rows = conn.execute(
            "SELECT session, closes_at FROM market_sessions WHERE calendar = 'XNYS'"
        ).fetchall()
        world = World(
            conn=conn,
            yahoo=Yahoo(tmp_path, start),
            days=days,
            zero=days.index(day(FIRST)),
            closes={row["session"]: row["closes_at"] for row in rows},
        )
        list_all(world)
        workers: list[WorkerProcess] = []
        with world.yahoo, cleaned_up(workers):
            worker = WorkerProcess(
                url, tmp_path / "worker.log", **WORKER, **world.yahoo.environment
            )
            workers.append(worker)
            worker.ready()
            yield world
            assert worker.process.poll() is None, "the worker died"
            assert worker.saw("lease lost, nothing changed") is None
            assert worker.stop() == 0


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


def waiting(conn: Conn) -> dict[str, str]:
    """Symbols whose event waits for the provider, and why."""
    rows = conn.execute(
        "SELECT key, last_error FROM outbox WHERE topic = 'ticker' AND status = 'pending'"
        " AND attempts = 0 AND crashes = 0 AND available_at > reckoner_now()"
    ).fetchall()
    return {row["key"]: row["last_error"] for row in rows}


def holes_of(number: int) -> set[str]:
    """What a hole makes wait: asked for ever more rarely, the last time after ten sessions."""
    holes = {"HALT"} if HALTED[0] < number <= HALTED[0] + 14 else set()
    return holes | ({"MUTE"} if 30 < number <= LAST_DAY else set())


def check_requests(world: World, number: int) -> None:
    """The day's requests are those of the symbols that were due."""
    asked = world.requests[number]
    due = {symbol for symbol in SYMBOLS if number in world.due_days(symbol, number)}
    if number > GONE_FROM:
        due.discard("GONE")
    if number == OUTAGE[-1] + 1:  # what could not be had
        due |= {s for s in SYMBOLS if s != "GONE" and set(OUTAGE) & set(world.due_days(s, number))}
    if number in OUTAGE:
        return
    holes = holes_of(number)
    # An unknown symbol makes the transport try again, and the canary tell.
    loud = {"GONE", "SPY"} if number == GONE_FROM else set()
    assert due <= set(asked) <= due | holes | loud, f"day {number}: {asked}, due {due}"
    for symbol in set(asked) - loud:
        # The first fetch after a split is one of the tail, and one of everything.
        is_split = symbol == "SPLT" and number == 7
        most = 2 if is_split or symbol in holes else 1
        assert is_split <= asked[symbol] - 1 <= most - 1, f"day {number}: {asked}"


def test_forty_sessions_come_true_one_by_one(world: World) -> None:
    assert day("2025-11-27") not in world.closes
    assert day("2025-12-25") not in world.closes
    assert world.date(LAST_DAY) == day("2026-01-07")
    for number, date in EARLY.items():
        assert world.date(number) == date
        assert world.closes[date] == utc(f"{date} 18:00")

    filled: Prices = {}
    for number in range(LAST_DAY + 1):
        seen = len(world.yahoo.charts())
        what_happens(world, number)
        if number in TEN_PAST:
            ten_past(world, number, filled)
        world.go_to(number, minutes=31)
        if number in PREDICTED and number not in TEN_PAST:
            world.predict(number)
        expected = world.expected(number)
        if number in OUTAGE:
            until_put_off(world, number)
        until_as(world, number, expected)
        prices = world.prices()
        assert prices == expected
        check_filled_once(number, filled, prices)
        filled = prices
        world.requests[number] = Counter(str(entry.symbol) for entry in world.yahoo.charts()[seen:])
        check_requests(world, number)
        check_endings(world, number)
        if number not in OUTAGE:
            left = world.conn.execute("SELECT * FROM outbox").fetchall()
            assert left == [], f"day {number}"

    check_the_end(world)


def until_put_off(world: World, number: int) -> None:
    """Everything that was due waits for the provider."""
    wanted = {"ALFA", "BETA", "CORA"} if number == OUTAGE[-1] else {"ALFA", "BETA"}
    until(f"day {number}: they wait", lambda: set(waiting(world.conn)) >= wanted)
    assert all("503" in reason for reason in waiting(world.conn).values())


def until_as(world: World, number: int, expected: Prices) -> None:
    """The day's work is done, and no other was."""
    until(
        f"day {number} is as it must be",
        lambda: world.is_quiet() and world.prices() == expected,
        seconds=60,
    )


def ten_past(world: World, number: int, filled: Prices) -> None:
    """Ten minutes after a close its bar is not trusted, and nobody is asked for it."""
    before = len(world.yahoo.charts())
    world.go_to(number, minutes=10)
    world.predict(number)
    rows = "SELECT count(*) FROM prediction_outcomes WHERE prediction_id = %s"
    ours = [world.predictions[number]]
    until("the prediction has its rows", lambda: value(world.conn, rows, ours))
    until(f"day {number}, ten minutes past", world.is_quiet)
    prices = world.prices()
    assert prices == filled | {(number, symbol): (None,) * 5 for symbol in PREDICTED[number]}
    asked = {entry.symbol for entry in world.yahoo.charts()[before:]}
    assert asked <= holes_of(number)  # a hole's next ask may be due at any hour


def check_filled_once(number: int, before: Prices, now: Prices) -> None:
    """What was filled stays as it is, but for SPLT's prices when its split is noticed."""
    for key, prices in before.items():
        for old, new in zip(prices, now[key], strict=True):
            if old is not None:
                ratio = 4 if key == (0, "SPLT") and number == 7 else 1
                assert new == old / ratio, f"day {number}: {key} changed"


def check_endings(world: World, number: int) -> None:
    """Nothing is an attempt or a crash; what can never be is said on its day and not before."""
    faults = "SELECT count(*) FROM {} WHERE attempts > 0 OR crashes > 0"
    for table in ("outbox", "outbox_history"):
        assert value(world.conn, faults.format(table)) == 0
    rows = world.conn.execute(
        "SELECT symbol, prediction_id FROM prediction_outcomes WHERE outcome_state = 'unresolvable'"
    ).fetchall()
    lost = Counter(row["symbol"] for row in rows)
    wanted: Counter[str] = Counter()
    if number >= GONE_FROM:
        wanted["GONE"] = 2
    if number >= 30:  # T+30 is filled, and the halt is ten sessions old
        wanted["HALT"] = 1
    # Ten sessions after T+30, or when it was asked for the next time.
    if number >= LAST_DAY - 2 or (number >= 40 and lost["MUTE"]):
        wanted["MUTE"] = 1
    assert lost == wanted, f"day {number}"


def check_the_end(world: World) -> None:
    """The words, the states, and that requests followed what was due."""
    assert world.outcome(0, "ALFA")["outcome_state"] == "complete"
    assert world.outcome(9, "CORA")["outcome_state"] == "complete"
    assert world.outcome(15, "DUNE")["outcome_state"] == "maturing"
    split = world.outcome(0, "SPLT")
    assert (split["outcome_state"], split["is_complete"]) == ("complete", True)
    assert split["revision"] == f"prices restated on {world.date(7)}: returns unchanged"
    halt = world.outcome(0, "HALT")
    assert f"t7 on {world.date(7)}: a hole in the data" in halt["outcome_reason"]
    assert (halt["price_t7"], halt["price_t30"]) == (None, traded("HALT", 30))
    for entry in (0, 11):
        assert "No data found" in world.outcome(entry, "GONE")["outcome_reason"]
    mute = world.outcome(0, "MUTE")["outcome_reason"]
    assert f"t30 on {world.date(30)}: the last bar is of {world.date(7)}" in mute  # T+7's
    after = world.requests[LAST_DAY] + world.requests[LAST_DAY - 1]
    assert "MUTE" not in after
    status = world.conn.execute("SELECT symbol, status FROM ticker_registry").fetchall()
    invalid = [row["symbol"] for row in status if row["status"] != "active"]
    assert (len(status), invalid) == (len(SYMBOLS), ["GONE"])
    others = (
        "SELECT count(*) FROM prediction_outcomes WHERE revision IS NOT NULL AND symbol <> 'SPLT'"
    )
    assert value(world.conn, others) == 0
    # HALT's hole and MUTE's were asked for a few times, not daily; GONE never again.
    asked: Counter[str] = Counter()
    for number, requests in world.requests.items():
        if number not in OUTAGE:
            asked.update(requests.keys())
    holes = asked["HALT"] - len(world.due_days("HALT", LAST_DAY))
    assert 1 <= holes <= 8
    assert 1 <= asked["MUTE"] - len(world.due_days("MUTE", LAST_DAY)) <= 8
    assert asked["GONE"] == len(world.due_days("GONE", GONE_FROM))
    idle = [number for number, requests in world.requests.items() if not requests]
    assert len(idle) >= 5  # on such a day nothing was due, and nobody was asked
    assert not world.yahoo.strangers
