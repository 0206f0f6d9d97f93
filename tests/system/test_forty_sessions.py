"""Forty sessions of predictions coming true, day by day, in a minute.

A server of its own whose clock is moved from close to close (two holidays, two early closes,
weekends), a real worker with the real Yahoo transport against our Yahoo, whose clock moves
along. The world, and what must be true in it each evening, is in forty_sessions.py.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from market.universe import sessions as calendars
from sql import embedded
from sql.database import Database
from sql.schema import migrate
from tests.support.clock import clock_at, day, use_clock, use_everywhere, utc
from tests.support.db import Conn, connect, server_folder, value
from tests.support.market import sessions
from tests.support.process import WorkerProcess, cleaned_up
from tests.support.waiting import until
from tests.system.forty_sessions import (
    CLOCK,
    EARLY,
    FIRST,
    GONE_FROM,
    LAST_DAY,
    OUTAGE,
    PREDICTED,
    SYMBOLS,
    TEN_PAST,
    Prices,
    World,
    holes_of,
    list_all,
    traded,
    what_happens,
)
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


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Migrated at noon of the first day, eight symbols listed, a worker listening."""
    start = utc(f"{FIRST} 17:00")
    with (
        server_folder() as folder,
        embedded.use(folder, settings=FAST) as url,
        connect(url) as conn,
    ):
        use_everywhere(conn, CLOCK)
        use_clock(conn, CLOCK)
        with Database(url) as database:
            migrate.migrate(database)
            clock_at(conn, start, CLOCK)
            conn.execute("UPDATE reckoner_installation SET installed_at = reckoner_now()")
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


def waiting(conn: Conn) -> dict[str, str]:
    """Symbols whose event waits for the provider, and why."""
    rows = conn.execute(
        "SELECT key, last_error FROM outbox WHERE topic = 'ticker' AND status = 'pending'"
        " AND attempts = 0 AND crashes = 0 AND available_at > reckoner_now()"
    ).fetchall()
    return {row["key"]: row["last_error"] for row in rows}


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
    # It has recent bars, so that it is asked once more, an hour later, before that is believed.
    loud = {"GONE", "SPY"} if number in {GONE_FROM, GONE_FROM + 1} else set()
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
            left = [row["key"] for row in world.conn.execute("SELECT key FROM outbox")]
            assert left == (["GONE"] if number == GONE_FROM else []), f"day {number}"

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
    if number > GONE_FROM:
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
    assert asked["GONE"] == len(world.due_days("GONE", GONE_FROM)) + 1  # a second time
    idle = [number for number, requests in world.requests.items() if not requests]
    assert len(idle) >= 5  # on such a day nothing was due, and nobody was asked
    assert not world.yahoo.strangers
