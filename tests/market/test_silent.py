"""Tickers for which every provider has nothing: asked again, and then decided."""

import datetime as dt
from collections.abc import Sequence

import pytest

from market.providers import Answer, Kind, Request
from tests.market.desk import Desk
from tests.market.silence import (
    DAY,
    FLAT,
    MINUTE,
    NOBODY,
    NOTHING,
    NOW,
    OLD,
    RECENT,
    STEP,
    Changing,
    ended,
    event,
    silence,
    state,
)
from tests.support.clock import at, clock, day, utc
from tests.support.db import Conn, value
from tests.support.market import insert_prediction, outcome, ticker
from tests.support.providers import FakeProvider


def test_silence_is_tried_again_and_then_decided(url: str, conn: Conn) -> None:
    providers = [FakeProvider("a", NOTHING), FakeProvider("b", NOTHING)]
    desk = Desk(url, *providers, max_attempts=3)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)

    for attempt in (1, 2):
        (told,) = desk.turn(NOW + attempt * MINUTE)
        assert (told["result"], told["verdict"]) == ("failed", "failed")
        assert event(conn) == ("failed", attempt)
        assert (state(conn, old), state(conn, recent)) == ("awaiting_prices", "awaiting_prices")
        row = ticker(conn, "HUSH")
        assert (row["status"], row["backfill_status"]) == ("active", "failed")
        assert "a: empty no bars in the range; b: empty" in row["backfill_error"]
        assert row["covered_to"] is None

    (told,) = desk.turn(NOW + 3 * MINUTE)
    assert (told["result"], told["bars"]) == ("fetched", 0)
    assert event(conn) is None
    assert ended(conn) == [("done", 2)]
    row = ticker(conn, "HUSH")
    assert (row["status"], row["backfill_status"], row["backfill_error"]) == (
        "active",
        "completed",
        None,
    )
    assert row["covered_to"] == NOW.date()
    assert [len(provider.asked) for provider in providers] == [3, 3]
    assert state(conn, old) == "unresolvable"
    reason = outcome(conn, old, "HUSH")["outcome_reason"]
    assert "the entry session 2024-03-05" in reason
    assert "no day at all" in reason
    assert state(conn, recent) == "awaiting_prices"
    assert "2024-05-14" in outcome(conn, recent, "HUSH")["outcome_reason"]


def test_what_is_recent_is_asked_for_at_growing_pauses_and_then_left_alone(
    url: str, conn: Conn
) -> None:
    provider = FakeProvider("remote", NOTHING)
    desk = Desk(url, provider)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    silence(desk)
    asked = len(provider.asked)

    asks: list[dt.datetime] = []
    now = NOW
    end = utc("2024-06-14 22:00")
    while now < end:
        now = next_ask(url, now, end)
        if now < end:
            desk.sweep(now)
            (told,) = desk.turn(now)  # and it ends at once, however often it was silent
            assert told["result"] == "fetched"
            asks.append(now)
            assert ticker(conn, "HUSH")["status"] == "active"
            expected = "unresolvable" if now >= utc("2024-05-29 20:30") else "awaiting_prices"
            assert state(conn, recent) == expected

    assert len(provider.asked) == asked + len(asks)  # one request each
    # Asked when another horizon is due, and between those at pauses that grow.
    dues = {(ask.month, ask.day) for ask in asks if ask.hour == 21}
    between = [ask for ask in asks if ask.hour != 21]
    assert {(5, 17), (5, 23)} <= dues
    pauses = [later - earlier for earlier, later in zip([NOW, *asks], asks, strict=False)]
    assert min(pauses) >= dt.timedelta(hours=2)
    assert len(between) <= 8
    assert len(asks) <= 12
    # The tenth session after the entry was over on the 29th, after Memorial Day.
    assert asks[-1] >= utc("2024-05-29 20:30")
    assert "the entry session 2024-05-14" in outcome(conn, recent, "HUSH")["outcome_reason"]
    assert state(conn, old) == "unresolvable"


def next_ask(url: str, now: dt.datetime, end: dt.datetime) -> dt.datetime:
    """The first hour at which a sweep would ask for a ticker."""
    with clock(url, now) as database:
        while now < end:
            now += STEP
            with at(database, now) as conn, conn.transaction(force_rollback=True):
                if value(conn, "SELECT sweep_due()"):
                    return now
    return end


def test_a_silent_ticker_that_is_named_anew_costs_one_request(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", NOTHING)
    desk = Desk(url, provider)
    desk.predict(NOW, "HUSH", OLD)
    silence(desk)
    before = len(provider.asked)
    later = NOW + DAY
    number = desk.predict(later, "HUSH", "2024-05-17 15:00+00")
    (told,) = desk.turn(later)
    assert told["result"] == "fetched"
    assert len(provider.asked) == before + 1
    assert ended(conn)[-1] == ("done", 0)
    assert (state(conn, number), ticker(conn, "HUSH")["status"]) == ("awaiting_prices", "active")


def test_a_silent_ticker_that_begins_to_trade_is_taken_as_it_comes(url: str, conn: Conn) -> None:
    provider = Changing("remote", NOTHING)
    desk = Desk(url, provider)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    silence(desk)
    provider.answer = FLAT
    later = NOW + DAY
    assert desk.sweep(later) == 1
    desk.turn(later)
    assert outcome(conn, recent, "HUSH")["price_at_prediction"] == 100.0
    assert state(conn, recent) == "maturing"
    # What was decided is decided, until a person asks for everything again.
    assert state(conn, old) == "unresolvable"
    with clock(url, later) as database, at(database) as inside:
        inside.execute("SELECT outbox_requeue_ticker('HUSH')")
    desk.turn(later)
    assert state(conn, old) == "complete"


@pytest.mark.parametrize("order", [(NOTHING, NOBODY), (NOBODY, NOTHING)])
def test_empty_and_unknown_together_are_silence(
    url: str, conn: Conn, order: Sequence[Answer]
) -> None:
    providers = [FakeProvider(f"p{n}", answer) for n, answer in enumerate(order)]
    desk = Desk(url, *providers)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    assert [told["result"] for told in silence(desk)] == ["failed", "failed", "fetched"]
    assert ended(conn) == [("done", 2)]
    row = ticker(conn, "HUSH")
    assert (row["status"], row["status_reason"]) == ("active", None)
    assert (state(conn, old), state(conn, recent)) == ("unresolvable", "awaiting_prices")
    # And once more it stays so.
    assert desk.sweep(NOW + DAY) == 1
    silence(desk, NOW + DAY)
    assert ticker(conn, "HUSH")["status"] == "active"
    assert ended(conn)[-1][0] == "done"
    assert state(conn, recent) == "awaiting_prices"


def test_silence_beside_a_fault_is_not_decided(url: str, conn: Conn) -> None:
    """Who answers badly may have the bars: then the event is parked, and nothing is settled."""
    desk = Desk(url, FakeProvider("a", NOTHING), FakeProvider("b", Answer(Kind.BAD_ANSWER)))
    old = desk.predict(NOW, "HUSH", OLD)
    for attempt in range(3):
        desk.turn(NOW + attempt * MINUTE)
    assert event(conn) == ("dead", 3)
    assert state(conn, old) == "awaiting_prices"
    assert ticker(conn, "HUSH")["covered_to"] is None


def test_silence_beside_a_pause_waits_for_the_paused(url: str, conn: Conn) -> None:
    desk = Desk(url, FakeProvider("a", NOTHING), FakeProvider("b", Answer(Kind.THROTTLED)))
    old = desk.predict(NOW, "HUSH", OLD)
    (told,) = desk.turn(NOW)
    assert told["result"] == "later"
    assert event(conn) == ("pending", 0)
    assert state(conn, old) == "awaiting_prices"


def test_a_prediction_of_many_suffers_for_none(url: str, conn: Conn) -> None:
    """One silent, one unknown, one known symbol in a single prediction."""

    def answer(request: Request) -> Answer:
        return {"HUSH": NOTHING, "NOBODY": NOBODY}.get(request.symbol) or FLAT(request)

    desk = Desk(url, FakeProvider("remote", answer))
    with clock(url, NOW) as database, at(database) as inside:
        number = insert_prediction(inside, ["HUSH", "NOBODY", "GOOD"], moment=OLD)
    silence(desk)
    assert [state(conn, number, symbol) for symbol in ("HUSH", "NOBODY", "GOOD")] == [
        "unresolvable",
        "unresolvable",
        "complete",
    ]
    assert outcome(conn, number, "GOOD")["entry_session"] == day("2024-03-05")
