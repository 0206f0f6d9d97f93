"""A ticker is looked at again when time has passed: history that Yahoo rewrote, and how far.

One story at three moments, told once for the whole file: a worker drains the queue in the
middle of a session (THEN), minutes after a close a week later (SOON), and when that day has
settled (NOW). In between each symbol of the story meets something else.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import command
from tests.support.clock import set_clock, utc
from tests.support.db import Conn, connect, value
from tests.support.market import insert_prediction
from tests.support.queue import event
from tests.yahoo.listings import steady
from tests.yahoo.scenes import (
    FETCHED_FROM,
    LAST,
    MOMENT,
    NOW,
    SETTINGS,
    bars,
    check_outcome,
    database_living_at,
    expected_closes,
    trading_days,
)
from tests.yahoo.server import Entry, Yahoo

THEN, SOON = utc("2024-05-10 17:00"), utc("2024-05-17 20:10")
# MOMENT's outcomes are complete before anything happens.
EARLY = utc("2024-04-02 15:00")  # its T+30 is due between THEN and SOON
MIDDLE = utc("2024-04-29 15:00")  # its T+7 is the day that is revised
LATE = utc("2024-05-16 15:00")  # its T+1 is the day that settles between SOON and NOW
REVISED = dt.date(2024, 5, 8)
SPLIT = dt.date(2024, 5, 15)
BASES = {"SPLT": 4.0, "RSPL": 0.05, "BUST": 4.0}
HORIZONS = (1, 3, 7, 30)
SYMBOLS = (*BASES, "HALF", "REVS", "TINY", "VOLU", "SAME", "DIVI")


@dataclass(repr=False)
class Snapshot:
    """What was stored at one moment, and what had been asked on the way."""

    bars: dict[str, dict[dt.date, dict[str, Any]]]
    outcomes: dict[tuple[int, str], dict[str, Any]]
    writers: dict[str, int]
    asked: list[Entry]

    def asked_for(self, symbol: str) -> list[Entry]:
        return [entry for entry in self.asked if entry.symbol == symbol]

    def closes(self, symbol: str) -> dict[dt.date, float]:
        return {date: bar["close"] for date, bar in self.bars[symbol].items()}


@dataclass(repr=False)
class Story:
    """The three moments, and the predictions by their names."""

    conn: Conn
    yahoo: Yahoo
    predictions: dict[str, int] = field(default_factory=dict)
    then: Snapshot = field(init=False)
    soon: Snapshot = field(init=False)
    now: Snapshot = field(init=False)


def writers(conn: Conn, symbol: str) -> int:
    """How many transactions wrote what there is of a symbol: bars and outcomes."""
    return int(
        value(
            conn,
            "SELECT count(*) FROM (SELECT xmin::text FROM market_prices WHERE symbol = %s"
            " UNION SELECT xmin::text FROM prediction_outcomes WHERE symbol = %s) x",
            [symbol, symbol],
        )
    )


def drained(story: Story, url: str, moment: dt.datetime) -> Snapshot:
    """A worker works off what is due at a moment; what there is afterwards."""
    set_clock(story.conn, moment)
    story.yahoo.now = moment
    begun = len(story.yahoo.log)
    done = command(url, "worker", "run", "--drain", cwd=None, **SETTINGS, **story.yahoo.environment)
    assert done.returncode == 0, done.stderr
    rows = story.conn.execute("SELECT * FROM prediction_outcomes").fetchall()
    return Snapshot(
        bars={symbol: bars(story.conn, symbol) for symbol in SYMBOLS},
        outcomes={(row["prediction_id"], row["symbol"]): row for row in rows},
        writers={symbol: writers(story.conn, symbol) for symbol in SYMBOLS},
        asked=[entry for entry in story.yahoo.log[begun:] if entry.symbol],
    )


@pytest.fixture(scope="module")
def story(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("story")
    with (
        database_living_at(THEN, server_url, template) as url,
        Yahoo(folder, THEN) as yahoo,
        connect(url) as conn,
    ):
        days = trading_days(conn)
        for symbol in SYMBOLS:
            yahoo.listings[symbol] = steady(days)
        for symbol, ratio in BASES.items():
            yahoo.listings[symbol] = steady(days, splits={SPLIT: ratio})
        yahoo.listings["DIVI"].dividends[SPLIT] = 2.0
        yahoo.listings["SPY"] = steady(days)
        found = Story(conn, yahoo)
        impact = dict.fromkeys(SYMBOLS, "bullish")
        for name, moment in (("first", MOMENT), ("early", EARLY), ("middle", MIDDLE)):
            found.predictions[name] = insert_prediction(conn, list(SYMBOLS), impact, moment=moment)
        found.then = drained(found, url, THEN)

        yahoo.fail("HALF", "halved")
        yahoo.fail("REVS", "revised", date=REVISED, factor=1.02)
        yahoo.fail("TINY", "revised", date=REVISED, factor=1.0005)
        yahoo.fail("VOLU", "restated", date=REVISED, factor=3)
        yahoo.fail("BUST", "503", skip=1)  # the tail comes, the whole history does not
        found.predictions["late"] = insert_prediction(conn, list(SYMBOLS), impact, moment=LATE)
        found.soon = drained(found, url, SOON)

        yahoo.heal("BUST")
        conn.execute("UPDATE outbox SET available_at = '-infinity' WHERE key = 'BUST'")
        found.now = drained(found, url, NOW)
        yield found
        assert yahoo.errors == []


def factor(symbol: str, date: dt.date) -> float:
    """What became of a close since THEN besides splits that were announced."""
    if symbol == "HALF":
        return 0.5
    return {"REVS": 1.02, "TINY": 1.0005}.get(symbol, 1.0) if date == REVISED else 1.0


def wanted(story: Story, symbol: str) -> dict[dt.date, float]:
    listing = story.yahoo.listings[symbol]
    return {
        date: close * factor(symbol, date)
        for date, close in expected_closes(listing, FETCHED_FROM, LAST).items()
    }


def known_returns(row: dict[str, Any]) -> dict[int, float]:
    return {n: row[f"return_t{n}"] for n in HORIZONS if row[f"return_t{n}"] is not None}


def check_returns_kept(before: Snapshot, after: Snapshot, symbol: str) -> None:
    """Every return that was known is the same."""
    for key, row in before.outcomes.items():
        if key[1] == symbol:
            again = known_returns(after.outcomes[key])
            assert known_returns(row)
            for n, was in known_returns(row).items():
                assert again[n] == pytest.approx(was, abs=1e-9)


def asked_days(entry: Entry) -> float:
    return (entry.period2 - entry.period1) / 86_400


def test_the_bar_of_an_open_session_is_not_stored(story: Story) -> None:
    for symbol in SYMBOLS:
        assert max(story.then.bars[symbol]) == dt.date(2024, 5, 9)
        assert story.then.asked_for(symbol)[0].period2 > THEN.timestamp()  # it was served


def test_a_session_that_closed_minutes_ago_is_stored_once_it_has_settled(story: Story) -> None:
    assert max(story.soon.bars["SAME"]) == dt.date(2024, 5, 16)
    assert max(story.now.bars["SAME"]) == LAST


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_in_the_end_all_closes_and_outcomes_are_right(story: Story, symbol: str) -> None:
    prices = wanted(story, symbol)
    assert story.now.closes(symbol) == pytest.approx(prices, rel=1e-12)
    for number in story.predictions.values():
        check_outcome(story.conn, number, symbol, prices)


@pytest.mark.parametrize("symbol", ["SPLT", "RSPL", "HALF"])
def test_a_new_basis_changes_the_whole_history_and_no_return(story: Story, symbol: str) -> None:
    tail, whole = story.soon.asked_for(symbol)
    assert asked_days(tail) < 20
    assert asked_days(whole) > 70
    ratio = BASES.get(symbol, 2.0)
    for date, close in story.then.closes(symbol).items():
        assert story.soon.closes(symbol)[date] == pytest.approx(close / ratio, rel=1e-12)
    check_returns_kept(story.then, story.soon, symbol)
    split_days = [date for date, bar in story.soon.bars[symbol].items() if bar["has_split"]]
    assert split_days == ([SPLIT] if symbol in BASES else [])
    for name in ("first", "early"):  # one was complete before, one is since
        row = story.soon.outcomes[story.predictions[name], symbol]
        assert row["outcome_state"] == "complete"


@pytest.mark.parametrize("symbol", ["SPLT", "RSPL", "HALF"])
def test_bars_and_outcomes_change_their_basis_in_one_transaction(story: Story, symbol: str) -> None:
    assert story.soon.writers[symbol] == 1


def test_a_revised_close_has_the_whole_history_fetched_and_its_outcomes_follow(
    story: Story,
) -> None:
    assert len(story.soon.asked_for("REVS")) == 2
    key = story.predictions["middle"], "REVS"
    before, after = story.then.outcomes[key], story.soon.outcomes[key]
    assert after["price_t7"] == pytest.approx(before["price_t7"] * 1.02)
    assert after["return_t7"] != pytest.approx(before["return_t7"], abs=0.1)
    assert (after["return_t1"], after["return_t3"]) == (before["return_t1"], before["return_t3"])


def test_a_close_revised_within_rounding_is_taken_over_without_the_history(story: Story) -> None:
    assert len(story.soon.asked_for("TINY")) == 1
    key = story.predictions["middle"], "TINY"
    before, after = story.then.outcomes[key], story.soon.outcomes[key]
    assert after["price_t7"] == pytest.approx(before["price_t7"] * 1.0005)


def test_a_restated_volume_is_taken_over_and_changes_no_outcome(story: Story) -> None:
    assert len(story.soon.asked_for("VOLU")) == 1
    before, after = story.then.bars["VOLU"], story.soon.bars["VOLU"]
    assert (before[REVISED]["volume"], after[REVISED]["volume"]) == (4000, 12000)
    unchanged = {date: bar for date, bar in before.items() if date != REVISED}
    assert {date: after[date] for date in unchanged} == unchanged
    check_returns_kept(story.then, story.soon, "VOLU")


def test_where_nothing_changed_only_the_tail_is_asked_for(story: Story) -> None:
    (asked,) = story.soon.asked_for("SAME")
    assert asked_days(asked) < 20
    before, after = story.then.bars["SAME"], story.soon.bars["SAME"]
    assert {date: after[date] for date in before} == before
    check_returns_kept(story.then, story.soon, "SAME")


def test_a_new_dividend_changes_the_adjusted_closes_before_it_and_no_return(story: Story) -> None:
    listing = story.yahoo.listings["DIVI"]
    paid = 1 - 2.0 / listing.bars[SPLIT - dt.timedelta(days=1)].close
    for date, bar in story.now.bars["DIVI"].items():
        adjusted = bar["close"] * (paid if date < SPLIT else 1.0)
        assert bar["adjusted_close"] == pytest.approx(adjusted), date
    check_returns_kept(story.then, story.now, "DIVI")


def test_without_the_whole_history_nothing_changes_until_it_can_be_had(story: Story) -> None:
    assert story.soon.bars["BUST"] == story.then.bars["BUST"]
    for name in ("first", "early", "middle"):
        key = story.predictions[name], "BUST"
        for n in HORIZONS:
            assert (
                story.soon.outcomes[key][f"price_t{n}"] == story.then.outcomes[key][f"price_t{n}"]
            )
    # And then it could: everything of the new basis, and nothing left over.
    assert event(story.conn, "BUST") is None
    check_returns_kept(story.then, story.now, "BUST")
