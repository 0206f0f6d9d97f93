"""Polls over a session with a moving clock: each bar once, final ones only, by one worker, within the quota."""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from market.prices.ingestion import Run
from market.prices.intraday import backfill
from market.providers import Answer, Kind
from market.providers.base import Intraday, IntradayRequest
from sql.database import Database
from tests.support.clock import use_clock, use_everywhere, utc, write_clock
from tests.support.context import context_of
from tests.support.db import Conn, connect, value
from tests.support.intraday import FIVE, FakeIntraday, everything, follow, given, hours, starts
from tests.support.market import put_bars
from worker.intraday import IntradayBars
from worker.settings import WorkerSettings

CLOCK = "polls"
SYMBOLS = ("AAA", "BBB", "CCC")
SETTLE = dt.timedelta(seconds=60)


class Day:
    """A database whose time a test moves, and a worker that polls it."""

    def __init__(self, conn: Conn, database: Database) -> None:
        self.conn = conn
        self.database = database
        self.now = utc("2026-11-27 14:00")

    def at(self, moment: dt.datetime) -> None:
        """Move the time."""
        self.now = moment
        write_clock(self.conn, CLOCK, stopped_at=moment)

    def poll(self, *providers: FakeIntraday, worker: str = "w", leaves: float = 0.0) -> int:
        """One poll of one worker; returns how many symbols had an answer."""
        how = backfill.How(worker, leaves=leaves, run=Run("poll"))
        done = backfill.poll(self.database, providers, lambda _: None, how)
        return sum(each.result == "fetched" for each in done)

    def night(self, *providers: FakeIntraday) -> list[str]:
        """The night's fetch; returns the symbols that had an answer."""
        how = backfill.How("w", run=Run("night"))
        done = backfill.night(self.database, providers, lambda _: None, how)
        return sorted(each.symbol for each in done if each.result == "fetched")

    def stored(self, symbol: str) -> list[dt.datetime]:
        """The starts of a symbol's stored bars."""
        rows = self.conn.execute(
            "SELECT ts FROM price_history_intraday WHERE symbol = %s ORDER BY ts", [symbol]
        )
        return [row["ts"].astimezone(dt.UTC) for row in rows]


@pytest.fixture
def day(url: str) -> Iterator[Day]:
    """The Friday after Thanksgiving, before its half session; three symbols are tracked."""
    with connect(url) as conn:
        use_everywhere(conn, write_clock(conn, CLOCK, stopped_at=utc("2026-11-27 14:00")))
        use_clock(conn, CLOCK)
        follow(conn, *SYMBOLS)
        with Database(url, name="reckoner test", size=8) as database:
            yield Day(conn, database)


def test_each_final_bar_of_a_half_day_is_stored_once_soon_after_it_is_final(day: Day) -> None:
    [session] = hours(day.conn, "2026-11-27")
    wanted = starts(session)
    yahoo = FakeIntraday(offer=Intraday(settle_seconds=60))
    written: Counter[str] = Counter()
    moment = session.opens_at - dt.timedelta(minutes=2)
    while moment < session.closes_at + dt.timedelta(minutes=4):
        day.at(moment)
        for worker in ("one", "two"):  # the second has nothing left to do
            before = len(yahoo.asked)
            day.poll(yahoo, worker=worker)
            written[worker] += len(yahoo.asked) - before
        final = [ts for ts in wanted if ts + FIVE + SETTLE <= moment]
        for symbol in SYMBOLS:
            assert day.stored(symbol) == final, moment
        moment += dt.timedelta(seconds=30)
    # A request for each final bar and symbol, and none besides.
    assert written == {"one": 42 * 3, "two": 0}
    assert max(Counter((each.symbol, each.since) for each in yahoo.asked).values()) == 1
    assert value(day.conn, "SELECT count(*) FROM ingestion_audit WHERE \"interval\" = '5m'") == 0
    # The next session is Monday's; nothing is polled until it opens.
    day.at(utc("2026-11-29 15:00"))
    assert day.poll(yahoo) == 0
    assert len(yahoo.asked) == 42 * 3


def test_an_outage_of_an_hour_is_caught_up(day: Day) -> None:
    [session] = hours(day.conn, "2026-11-27")
    down = Answer(Kind.DOWN, message="refused")
    is_down = False

    def says(request: IntradayRequest) -> Answer:
        return down if is_down else everything(request)

    yahoo = FakeIntraday("yahoo", says, canary="SPY")
    asked_while_down = 0
    for n in itertools.count():
        moment = session.opens_at + n * dt.timedelta(minutes=1)
        if moment > session.closes_at + SETTLE:
            break
        day.at(moment)
        is_down = dt.timedelta(hours=1) <= moment - session.opens_at < dt.timedelta(hours=2)
        before = len(yahoo.asked)
        day.poll(yahoo)
        asked_while_down += is_down * (len(yahoo.asked) - before)
        if moment - session.opens_at == dt.timedelta(
            hours=2, minutes=16
        ):  # a breaker's longest pause
            assert day.stored("AAA")[-1] + FIVE + SETTLE > moment - FIVE
    for symbol in SYMBOLS:
        assert day.stored(symbol) == starts(session)
    assert asked_while_down < 20  # the breaker, and not three symbols a minute


def test_a_provider_that_is_late_is_asked_again_with_pauses(day: Day) -> None:
    [session] = hours(day.conn, "2026-11-27")

    def late(request: IntradayRequest) -> Answer:
        shown = request.now - dt.timedelta(minutes=15)
        return given([ts for ts in starts(session) if request.since <= ts <= shown - FIVE])

    yahoo = FakeIntraday("yahoo", late)
    for n in range(2 * 60):
        day.at(session.opens_at + n * dt.timedelta(minutes=1))
        day.poll(yahoo)
    assert day.stored("AAA")[-1] >= day.now - dt.timedelta(minutes=26)
    assert day.stored("AAA") == starts(session)[: len(day.stored("AAA"))]
    assert len(yahoo.asked) <= 3 * 2 * 60 / 2
    assert value(day.conn, "SELECT max(misses) FROM intraday_symbols") > 0


def test_two_workers_share_the_symbols_and_none_asks_for_anothers(day: Day) -> None:
    [session] = hours(day.conn, "2026-11-27")
    day.at(session.opens_at + dt.timedelta(hours=1))
    others = FakeIntraday("yahoo")
    seen: list[str] = []

    def says(request: IntradayRequest) -> Answer:
        seen.append(request.symbol)
        if len(seen) == 1:
            # While this one is asked for, another worker polls: all are claimed.
            assert day.poll(others, worker="two") == 0
        return everything(request)

    assert day.poll(FakeIntraday("yahoo", says), worker="one") == 3
    assert sorted(seen) == sorted(SYMBOLS)
    assert others.asked == []


def test_the_claim_of_a_worker_that_died_ends(day: Day) -> None:
    [session] = hours(day.conn, "2026-11-27")
    day.at(session.opens_at + dt.timedelta(hours=1))
    claim = "SELECT intraday_claim('dead', 20, 300, 60, true, false)"
    assert len(day.conn.execute(claim.encode()).fetchall()) == 3
    yahoo = FakeIntraday()
    assert day.poll(yahoo) == 0
    day.at(day.now + dt.timedelta(seconds=299))
    assert day.poll(yahoo) == 0
    day.at(day.now + dt.timedelta(seconds=2))
    assert day.poll(yahoo) == 3
    # It may wake up: what it held has passed on.
    assert day.conn.execute("SELECT intraday_renew('dead', '{AAA}', 300)").fetchall() == []
    day.conn.execute("SELECT intraday_release('dead', '{AAA}')")


def test_polls_leave_a_part_of_each_quota_to_daily_bars(day: Day) -> None:
    day.conn.execute("DELETE FROM provider_quotas WHERE name = 'fmp'")
    day.conn.execute("INSERT INTO provider_quotas (name, per_day) VALUES ('fmp', 10)")
    [session] = hours(day.conn, "2026-11-27")
    fmp = FakeIntraday("fmp", canary="SPY")
    for n in range(1, 30):
        day.at(session.opens_at + n * FIVE + SETTLE)
        day.poll(fmp, leaves=backfill.LEAVES)
    assert len(fmp.asked) == 8
    used = "SELECT used FROM provider_quota_status WHERE name = 'fmp' AND per = 'day'"
    assert value(day.conn, used) == 8
    error = value(day.conn, "SELECT error FROM intraday_symbols WHERE error IS NOT NULL LIMIT 1")
    assert "8 of 10 requests of the day are used, and 20 % are left for daily bars" in error
    assert value(day.conn, "SELECT until FROM quota_reserve('fmp', 2)") is None
    # With a new day they go on.
    day.at(utc("2026-11-30 16:00"))
    day.poll(fmp, leaves=backfill.LEAVES)
    assert len(fmp.asked) == 11


def test_a_coin_is_polled_across_midnight(day: Day) -> None:
    follow(day.conn, "BTC-USD", calendar="24/7")
    coin = FakeIntraday("yahoo")
    for n in range(30):
        day.at(utc("2026-11-28 23:00") + n * FIVE + SETTLE)
        day.poll(coin)
    stored = day.stored("BTC-USD")
    assert stored[-1] == utc("2026-11-29 01:20")
    assert all(b - a == FIVE for a, b in itertools.pairwise(stored))


def test_the_night_fetches_the_session_whole_and_compares_it(day: Day) -> None:
    [session] = hours(day.conn, "2026-11-27")
    put_bars(day.conn, "AAA", {session.date: 90.0})
    day.conn.execute("UPDATE market_prices SET source = 'yahoo'")
    yahoo = FakeIntraday()
    day.at(session.opens_at + 10 * FIVE)
    day.poll(yahoo)
    day.at(session.closes_at + dt.timedelta(minutes=29))
    assert day.night(yahoo) == list(SYMBOLS)  # of the sessions before
    covered = 'SELECT max("to") FROM price_coverage WHERE "interval" = \'5m\''
    assert value(day.conn, covered) == dt.date(2026, 11, 25)
    assert value(day.conn, "SELECT count(*) FROM data_quality_log WHERE parts ? 'daily'") == 0
    day.at(session.closes_at + dt.timedelta(minutes=31))
    assert day.night(yahoo) == list(SYMBOLS)
    assert day.stored("AAA")[-42:] == starts(session)
    assert value(day.conn, "SELECT count(*) FROM data_quality_log WHERE parts ? 'daily'") == 1
    assert day.night(yahoo) == []


def test_a_worker_without_the_settings_has_no_such_thread_and_one_with_them_polls(day: Day) -> None:
    assert not IntradayBars.is_wanted(WorkerSettings())
    assert IntradayBars.is_wanted(WorkerSettings(intraday_nightly=True))
    settings = WorkerSettings(intraday_poll_seconds=30)
    assert IntradayBars.is_wanted(settings)
    [session] = hours(day.conn, "2026-11-27")
    day.at(session.opens_at + dt.timedelta(hours=1))
    day.conn.execute("UPDATE reckoner_providers SET spacing = '0'")
    context = context_of(day.database, [FakeIntraday()])
    bars = IntradayBars(context, settings, "w")
    assert (bars.poll(), bars.poll()) == (3, 0)
    assert len(day.stored("CCC")) == 11
    assert bars.night() == 3  # the sessions before


def test_health_names_what_has_no_answer(day: Day) -> None:
    def look() -> tuple[str, str]:
        query = "SELECT state, message FROM reckoner_health() WHERE name = 'intraday'"
        row = day.conn.execute(query).fetchone()
        assert row is not None
        return row["state"], row["message"]

    assert look() == ("ok", "nobody asks for them: INTRADAY_POLL_SECONDS, market backfill-5m")
    [session] = hours(day.conn, "2026-11-27")
    day.at(session.opens_at + dt.timedelta(hours=1))
    day.poll(FakeIntraday())
    assert look() == ("ok", "3 symbols have answers")
    bad = FakeIntraday(answers=lambda _: Answer(Kind.BAD_ANSWER, message="<html>"))
    for n in range(1, 4):
        day.at(day.now + n * FIVE)
        day.poll(bad)
    state, told = look()
    assert state == "warn"
    assert told == "3 of 3 symbols have no answer, such as AAA: yahoo: bad_answer <html>"
    day.conn.execute("DROP TABLE price_history_intraday_2026_11")
    assert (
        look()[1]
        == "price_history_intraday has no partition for this month: see the log of the sweep"
    )
