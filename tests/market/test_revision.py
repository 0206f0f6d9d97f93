"""Prices that change after they were stored: what the outcomes say, and when they say it."""

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from market import backfill
from market.providers import Answer, Bar, Kind, Request
from tests.market.desk import Desk, Told, never
from tests.market.helpers import (
    BACKFILL_DAYS,
    HORIZONS,
    FakeProvider,
    at,
    clock,
    day,
    outcome,
    ticker,
    utc,
)
from tests.support import Conn, connect, until, value

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


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def desk(url: str, remote: Remote) -> Desk:
    return Desk(url, remote)


@pytest.fixture
def prediction(desk: Desk) -> int:
    """A prediction of MOMENT, filled up to T+3."""
    number = desk.predict(AT_T3, "ACME", MOMENT)
    desk.turn(AT_T3)
    return number


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


# What the outcome says.


def test_what_is_filled_for_the_first_time_is_no_revision(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t3"], row["price_t7"]) == (traded(T3), None)
    assert row["revision"] is None
    for now in (AT_T7, utc("2024-06-26 22:00")):
        refresh(desk, now)
        assert outcome(conn, prediction, "ACME")["revision"] is None
    row = outcome(conn, prediction, "ACME")
    assert (row["outcome_state"], row["price_t7"]) == ("complete", remote.close(T7))


def test_a_hole_that_is_filled_later_is_no_revision(desk: Desk, conn: Conn, remote: Remote) -> None:
    remote.holes = {ENTRY, T3}
    number = desk.predict(AT_T3, "ACME", MOMENT)
    desk.turn(AT_T3)
    assert outcome(conn, number, "ACME")["price_t1"] == traded(T1)
    remote.holes = {T3}
    refresh(desk, utc("2024-05-18 12:00"))
    assert outcome(conn, number, "ACME")["price_at_prediction"] == traded(ENTRY)
    remote.holes = set()
    refresh(desk, utc("2024-05-20 22:00"))
    row = outcome(conn, number, "ACME")
    assert (row["price_t3"], row["revision"]) == (traded(T3), None)


def test_a_split_between_two_horizons_changes_all_prices_and_no_return(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    before = outcome(conn, prediction, "ACME")
    remote.split()
    told = refresh(desk, AT_T7)
    assert told["rebased"]
    after = outcome(conn, prediction, "ACME")
    for name in ("price_at_prediction", "price_t1", "price_t3"):
        assert after[name] == round(before[name] / 4, 2)
    # Cents at a quarter of the price: a hundredth of a percent point.
    assert returns(after)[:2] == pytest.approx(returns(before)[:2], abs=0.01)
    assert [after["correct_t1"], after["correct_t3"]] == [
        before["correct_t1"],
        before["correct_t3"],
    ]
    assert after["price_t7"] == remote.close(T7)
    assert after["return_t7"] == pytest.approx((traded(T7) / traded(ENTRY) - 1) * 100, abs=0.01)
    assert after["revision"] == "prices restated on 2024-05-22: returns unchanged"
    assert after["outcome_state"] == "maturing"
    days = value(conn, "SELECT array_agg(DISTINCT close * 4 > 200) FROM market_prices")
    assert days == [True]
    # And the next horizon is none either.
    refresh(desk, utc("2024-06-26 22:00"))
    last = outcome(conn, prediction, "ACME")
    assert (last["revision"], last["outcome_state"]) == (after["revision"], "complete")
    assert returns(last)[:3] == returns(after)[:3]


def test_a_split_reaches_complete_outcomes_too(desk: Desk, conn: Conn, remote: Remote) -> None:
    old = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    young = desk.predict(AT_T3, "ACME", MOMENT)
    desk.turn(AT_T3)
    before = outcome(conn, old, "ACME")
    assert before["is_complete"]
    remote.split()
    refresh(desk, AT_T7)
    after = outcome(conn, old, "ACME")
    assert after["price_t30"] == round(before["price_t30"] / 4, 2)
    assert returns(after) == pytest.approx(returns(before), abs=0.015)
    for number in (old, young):
        assert outcome(conn, number, "ACME")["revision"].endswith("returns unchanged")


def test_a_split_before_the_entry_changes_no_word(desk: Desk, conn: Conn, remote: Remote) -> None:
    """The split is in the history from the first fetch on."""
    remote.split()
    number = desk.predict(AT_T7, "ACME", "2024-05-21 15:00+00")
    desk.turn(AT_T7)
    row = outcome(conn, number, "ACME")
    assert (row["price_t1"], row["revision"]) == (remote.close(T7), None)


@pytest.mark.parametrize("factor", [1.02, 0.9, 1.0005])
def test_a_revised_horizon_names_the_return_that_was(
    desk: Desk, conn: Conn, prediction: int, remote: Remote, factor: float
) -> None:
    before = outcome(conn, prediction, "ACME")
    remote.revised[T3] = factor
    refresh(desk, AT_T7)
    after = outcome(conn, prediction, "ACME")
    assert after["price_t3"] == pytest.approx(before["price_t3"] * factor)
    assert after["return_t3"] != before["return_t3"]
    assert after["return_t1"] == before["return_t1"]
    was = round(before["return_t3"], 4)
    assert after["revision"] == f"prices restated on 2024-05-22: return_t3 was {was:.4f}"
    assert after["pnl_t3"] == pytest.approx(after["return_t3"] * 10)


def test_a_revised_entry_names_every_return_that_was(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    before = outcome(conn, prediction, "ACME")
    remote.revised[ENTRY] = 1.03
    refetch(desk, AT_T3 + dt.timedelta(hours=1))
    after = outcome(conn, prediction, "ACME")
    assert after["price_at_prediction"] == pytest.approx(before["price_at_prediction"] * 1.03)
    was = [f"return_{name} was {before[f'return_{name}']:.4f}" for name in ("t1", "t3")]
    assert after["revision"] == f"prices restated on 2024-05-16: {', '.join(was)}"


def test_a_close_revised_by_less_than_rounding_is_restated_without_news(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    remote.revised[T3] = 1.00005
    told = refresh(desk, AT_T7)
    assert (told["revised"], told["rebased"]) == (1, False)
    row = outcome(conn, prediction, "ACME")
    assert row["price_t3"] == pytest.approx(traded(T3) * 1.00005)
    assert row["revision"] == "prices restated on 2024-05-22: returns unchanged"


def test_a_bar_that_was_taken_back_names_the_return_that_was(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    """A new history without the session: the price is not known any more, and the row says so."""
    before = outcome(conn, prediction, "ACME")
    remote.split()
    remote.holes = {T3}
    refresh(desk, AT_T7)
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t3"], row["return_t3"]) == (None, None)
    assert row["revision"].endswith(f": return_t3 was {before['return_t3']:.4f}")


def test_a_later_split_does_not_hide_that_a_return_changed(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    before = outcome(conn, prediction, "ACME")
    remote.revised[T1] = 1.05
    refetch(desk, AT_T3 + dt.timedelta(hours=1))
    remote.split()
    refresh(desk, AT_T7)
    assert (
        f"return_t1 was {before['return_t1']:.4f}" in outcome(conn, prediction, "ACME")["revision"]
    )


def test_a_prediction_that_is_processed_again_is_no_revision(
    desk: Desk, conn: Conn, prediction: int
) -> None:
    with clock(desk.url, AT_T3) as database, at(database) as inside:
        inside.execute("SELECT outbox_requeue_prediction(%s)", [prediction])
    desk.turn(AT_T3)
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t3"], row["revision"]) == (traded(T3), None)


def test_what_another_program_wrote_before_is_no_revision(desk: Desk, conn: Conn) -> None:
    """Its early values are wrong; ours take their place as if nothing had been there."""
    conn.execute(
        "INSERT INTO prediction_outcomes (prediction_id, symbol, prediction_date,"
        " price_at_prediction, price_t1, return_t1, is_complete, created_at, updated_at)"
        " VALUES (1, 'ACME', '2024-05-13', 7, 8, 14.3, false, now(), now())"
    )
    number = desk.predict(AT_T3, "ACME", MOMENT)
    assert number == 1
    desk.turn(AT_T3)
    row = outcome(conn, 1, "ACME")
    assert (row["price_at_prediction"], row["price_t1"]) == (traded(ENTRY), traded(T1))
    assert row["revision"] is None


# What is written, and when others see it.


OUTCOMES = "SELECT string_agg(DISTINCT xmin::text, ' ') FROM prediction_outcomes"
BARS = "SELECT string_agg(DISTINCT xmin::text, ' ') FROM market_prices"


def test_restated_volume_changes_bars_and_no_outcome(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    row, written = outcome(conn, prediction, "ACME"), value(conn, OUTCOMES)
    remote.volume = 2345
    told = refetch(desk, AT_T3 + dt.timedelta(hours=1))
    bars = value(conn, "SELECT count(*) FROM market_prices")
    assert (told["updated"], told["revised"], told["inserted"]) == (bars, 0, 0)
    assert value(conn, "SELECT array_agg(DISTINCT volume) FROM market_prices") == [2345]
    assert outcome(conn, prediction, "ACME") == row
    assert value(conn, OUTCOMES) == written


def test_volume_restated_in_the_overlap_changes_only_those_bars(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    before = outcome(conn, prediction, "ACME")
    remote.volume = 2345
    told = refresh(desk, AT_T7)
    assert (told["rebased"], told["revised"]) == (False, 0)
    assert value(conn, "SELECT count(*) FROM market_prices WHERE volume = 2345") < 20
    row = outcome(conn, prediction, "ACME")
    assert returns(row)[:2] == returns(before)[:2]
    assert row["revision"] is None


def test_equal_bars_are_not_written_again(desk: Desk, conn: Conn, prediction: int) -> None:
    bars, row = value(conn, BARS), value(conn, OUTCOMES)
    told = refetch(desk, AT_T3 + dt.timedelta(hours=1))
    assert (told["inserted"], told["updated"], told["outcomes"]) == (0, 0, 0)
    assert value(conn, BARS) == bars
    assert value(conn, OUTCOMES) == row
    assert outcome(conn, prediction, "ACME")["revision"] is None


@contextmanager
def watched(url: str, look: str, parameters: list[Any]) -> Iterator[list[Any]]:
    """Another connection that takes snapshot after snapshot; yields what it saw."""
    seen: list[Any] = []
    over = threading.Event()

    def watch() -> None:
        with connect(url) as conn:
            while not over.is_set():
                row = conn.execute(look.encode(), parameters).fetchone()
                assert row is not None
                seen.append(tuple(row.values()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        until("somebody watches", lambda: seen)
        yield seen
        count = len(seen)
        until("the end is seen", lambda: len(seen) > count + 1)
    finally:
        over.set()
        thread.join(10)


def test_nobody_ever_sees_prices_without_their_outcomes(
    url: str, prediction: int, remote: Remote
) -> None:
    """The basis changes to and fro, while another connection compares in single snapshots."""
    look = (
        "SELECT o.price_at_prediction AS entry, e.close AS its_bar, o.price_t3 AS t3, h.close AS t3_bar,"
        " count(*) FILTER (WHERE p.close > 200) IN (0, count(*)) AS is_pure FROM prediction_outcomes o"
        " JOIN market_prices e ON e.symbol = o.symbol AND e.date = %s"
        " JOIN market_prices h ON h.symbol = o.symbol AND h.date = %s"
        " JOIN market_prices p ON p.symbol = o.symbol"
        " WHERE o.prediction_id = %s GROUP BY 1, 2, 3, 4"
    )
    with watched(url, look, [ENTRY, T3, prediction]) as seen, clock(url, AT_T3) as database:
        for turn in range(12):
            remote.shares = 4.0 if turn % 2 == 0 else 1.0
            with at(database) as conn:
                plan = backfill.plan(conn, "ACME", BACKFILL_DAYS, refetch=True)
            assert plan is not None
            verdict = backfill.fetch(database, [remote], plan, never)
            with at(database) as conn:
                backfill.store(conn, plan, verdict)
    torn = [row for row in seen if row[0] != row[1] or row[2] != row[3] or not row[4]]
    assert torn == []
    assert len({entry for entry, *_ in seen}) == 2


# A ticker that another program filled before us, on another basis.


def theirs(conn: Conn, closes: dict[dt.date, float], symbol: str = "ACME") -> None:
    """Bars as another program stores them, check-then-insert."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market_prices (symbol, date, open, high, low, close, adjusted_close, volume,"
            " source, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, 5, 'yfinance', now(), now())",
            [(symbol, date, *[close] * 5) for date, close in closes.items()],
        )


def auto_adjusted(conn: Conn, start: str, end: str) -> dict[dt.date, float]:
    """Closes adjusted for dividends that were still to come: some percent lower, ever less."""
    rows = conn.execute(
        "SELECT session FROM market_sessions WHERE calendar = 'XNYS' AND session BETWEEN %s AND %s",
        [start, end],
    ).fetchall()
    last = day(end)
    return {
        row["session"]: traded(row["session"]) * (0.99 - (last - row["session"]).days / 50_000)
        for row in rows
    }


@pytest.fixture
def filled(conn: Conn) -> dict[dt.date, float]:
    """ACME, registered and filled by another program since January of the year before last."""
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, price_data_start, price_data_end, created_at,"
        " updated_at) VALUES ('ACME', 'active', '2022-01-03', '2024-05-10', now(), now())"
    )
    conn.execute("DELETE FROM outbox")
    closes = auto_adjusted(conn, "2022-01-03", "2024-05-10")
    theirs(conn, closes)
    return closes


def test_it_is_fetched_anew_from_its_earliest_stored_bar(
    desk: Desk, conn: Conn, remote: Remote, filled: dict[dt.date, float]
) -> None:
    number = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    # Until then nothing of theirs is a price of ours.
    assert outcome(conn, number, "ACME")["price_at_prediction"] is None
    (told,) = desk.turn(AT_T3)
    assert told["rebased"]
    assert remote.asked[0].start == day("2022-01-03")
    assert len(remote.asked) == 1
    rows = conn.execute("SELECT date, close, source FROM market_prices ORDER BY date").fetchall()
    assert {row["source"] for row in rows} == {"remote"}
    assert all(row["close"] == traded(row["date"]) for row in rows)
    assert rows[0]["date"] == min(filled)
    row = outcome(conn, number, "ACME")
    assert row["return_t30"] == pytest.approx(
        (traded(day("2024-04-17")) / traded(day("2024-03-05")) - 1) * 100
    )
    assert (row["is_complete"], row["revision"]) == (True, None)
    assert ticker(conn, "ACME")["fetched_from"] == day("2022-01-03")


@pytest.mark.usefixtures("filled")
def test_a_bar_of_theirs_that_our_provider_lacks_goes_away(
    desk: Desk, conn: Conn, remote: Remote
) -> None:
    remote.holes = {day("2023-07-11"), day("2024-03-05"), day("2024-03-06")}
    number = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    desk.turn(AT_T3)
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == ["remote"]
    row = outcome(conn, number, "ACME")
    assert (row["price_at_prediction"], row["price_t1"]) == (None, None)
    assert row["outcome_state"] == "unresolvable"


@pytest.mark.usefixtures("filled")
def test_when_our_provider_has_nothing_theirs_are_no_prices_of_ours(
    desk: Desk, conn: Conn, remote: Remote
) -> None:
    """Asked often enough, it is settled that we have no bar; theirs are on another basis."""
    remote.holes = {ENTRY + dt.timedelta(days=n) for n in range(-900, 30)}
    number = desk.predict(AT_T3, "ACME", "2024-03-05 15:00+00")
    for minutes in (0, 2, 4):
        desk.turn(AT_T3 + dt.timedelta(minutes=minutes))
    assert outcome(conn, number, "ACME")["price_at_prediction"] is None


def today_of_theirs(conn: Conn, date: dt.date) -> None:
    """The other program stores what is there of a day that is not over."""
    theirs(conn, {date: 1.0})


def test_the_bar_of_an_unfinished_day_never_reaches_an_outcome(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    noon, evening = utc("2024-05-22 16:00"), utc("2024-05-22 20:31")
    with clock(desk.url, noon), connect(desk.url) as theirs_conn:
        today_of_theirs(theirs_conn, T7)
    for now in (noon, utc("2024-05-22 20:15"), evening):
        with clock(desk.url, now) as database, at(database) as inside:
            inside.execute("SELECT outcomes_fill_symbol('ACME', true)")
        row = outcome(conn, prediction, "ACME")
        assert row["price_t7"] is None
        # A prediction of the day finds no entry in it either.
        number = desk.predict(now, "ACME", "2024-05-22 15:00+00")
        assert outcome(conn, number, "ACME")["price_at_prediction"] is None
    desk.turn(evening)
    assert outcome(conn, prediction, "ACME")["price_t7"] == remote.close(T7)
    assert outcome(conn, number, "ACME")["price_at_prediction"] == remote.close(T7)
    assert value(conn, "SELECT count(*) FROM market_prices WHERE source = 'yfinance'") == 0
    assert outcome(conn, prediction, "ACME")["revision"] is None


@pytest.mark.parametrize("spoil", ["no bar", "a bar that is refused"])
def test_the_bar_of_an_unfinished_day_is_none_because_ours_is_late(
    desk: Desk, conn: Conn, prediction: int, remote: Remote, spoil: str
) -> None:
    """The provider answers for the day and has no close of it yet; theirs of noon stands there."""
    today_of_theirs(conn, T7)
    if spoil == "no bar":
        remote.holes = {T7}
    else:
        remote.revised[T7] = -1.0
    refresh(desk, utc("2024-05-22 20:31"))
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t7"], row["outcome_state"]) == (None, "awaiting_prices")
    remote.holes, remote.revised = set(), {}
    refresh(desk, LATER)
    row = outcome(conn, prediction, "ACME")
    assert (row["price_t7"], row["revision"]) == (remote.close(T7), None)


def test_what_they_stored_beyond_our_range_is_no_price_when_the_range_grows(
    desk: Desk, conn: Conn, prediction: int, remote: Remote
) -> None:
    """Finished days on their basis, of which our provider lacks those that count."""
    theirs(conn, auto_adjusted(conn, "2024-05-17", "2024-05-22"))
    remote.holes = {day("2024-05-21"), T7}
    refresh(desk, LATER)
    assert outcome(conn, prediction, "ACME")["price_t7"] is None
