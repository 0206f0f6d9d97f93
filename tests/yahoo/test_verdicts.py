"""Each class of answer and its consequence, in a real worker: what moves data, what makes a
ticker invalid, what costs an attempt, what pauses the provider.

yfinance asks again by itself, with another cookie, after any status of 400 and more, so one
try of ours is two requests for the chart; after a refused or reset connection we ask three
times. Requests are therefore counted in bounds.
"""

import datetime as dt
from functools import partial
from typing import Any

import pytest

from tests.market.helpers import outcome, provider_row, ticker
from tests.support import until, value
from tests.worker.scenes import event, history, until_done
from tests.yahoo.scenes import (
    ENTRY,
    FETCHED_FROM,
    LAST,
    MOMENT,
    NOW,
    Town,
    bars,
    check_outcome,
    closes,
    expected_closes,
)
from tests.yahoo.server import Network

ASKED_TWICE = 2
LANES = 4


def check_complete(town: Town, number: int, symbol: str = "ACME") -> dict[str, Any]:
    """All that the listing has is stored, and the outcome follows from it."""
    wanted = expected_closes(town.yahoo.listings[symbol], FETCHED_FROM, LAST)
    assert closes(town.conn, symbol) == wanted
    assert town.status(symbol) == "active"
    return check_outcome(town.conn, number, symbol, wanted)


# Good answers.


def test_bars_are_stored_adjusted_and_the_outcome_follows(town: Town) -> None:
    split, ex_day, eve = dt.date(2024, 3, 11), dt.date(2024, 4, 2), dt.date(2024, 4, 1)
    listing = town.list_(
        "ACME", splits={split: 4.0}, dividends={ex_day: 1.0}, kind="ETF", exchange="PCX"
    )
    number = town.predict("ACME")
    town.until_complete()

    check_complete(town, number)
    found = bars(town.conn)
    paid = 1 - 1.0 / listing.bars[eve].close
    for date, bar in found.items():
        traded, ratio = listing.bars[date], 4.0 if date < split else 1.0
        assert bar == {
            "open": traded.open / ratio,
            "high": traded.high / ratio,
            "low": traded.low / ratio,
            "close": traded.close / ratio,
            "adjusted_close": traded.close / ratio * (paid if date < ex_day else 1.0),
            "volume": 4000,
            "has_split": date == split,
            "has_dividend": date == ex_day,
            "source": "yahoo",
        }
    row = ticker(town.conn, "ACME")
    assert (row["asset_type"], row["exchange"]) == ("etf", "PCX")
    assert (row["price_data_start"], row["price_data_end"]) == (min(found), LAST)
    assert (row["total_price_records"], row["backfill_status"]) == (len(found), "completed")


def test_one_request_brings_a_ticker_and_later_predictions_need_none(town: Town) -> None:
    town.list_("ACME")
    town.predict("ACME")
    town.until_complete()
    for _ in range(5):
        town.predict("ACME")
    town.until_complete(6)

    (asked,) = town.yahoo.charts()
    assert (asked.host, asked.symbol, asked.status) == ("query2.finance.yahoo.com", "ACME", 200)
    first = dt.datetime.combine(FETCHED_FROM, dt.time(), dt.UTC).timestamp()
    assert asked.period1 <= first
    assert asked.period2 >= NOW.timestamp()


def test_a_coin_has_a_bar_for_each_day_that_is_over(town: Town) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(200)]
    town.days, trading = days, town.days
    town.list_(
        "BTC-USD",
        kind="CRYPTOCURRENCY",
        exchange="CCC",
        zone="UTC",
        opens=dt.time(),
        length=dt.timedelta(days=1),
    )
    town.days = trading
    number = town.predict("BTC-USD")
    town.until_complete()

    found = list(bars(town.conn, "BTC-USD"))
    # Today's bar was served, and is not over.
    assert found == [day for day in days if FETCHED_FROM <= day < LAST]
    assert outcome(town.conn, number, "BTC-USD")["entry_session"] == ENTRY
    assert ticker(town.conn, "BTC-USD")["asset_type"] == "crypto"


def test_a_newly_listed_company_has_bars_from_its_first_day(town: Town) -> None:
    first = dt.date(2024, 3, 15)
    listing = town.list_("ACME")
    listing.bars = {date: bar for date, bar in listing.bars.items() if date >= first}
    number = town.predict("ACME")
    until_done(town.conn, "ACME")

    assert min(bars(town.conn)) == first
    row = outcome(town.conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert "not yet listed" in row["outcome_reason"]
    assert town.status() == "active"


def test_a_delisted_company_keeps_its_bars_and_ends_its_outcomes(town: Town) -> None:
    last = dt.date(2024, 3, 8)
    listing = town.list_("ACME", delisted=True)
    listing.bars = {date: bar for date, bar in listing.bars.items() if date <= last}
    number = town.predict("ACME")
    until_done(town.conn, "ACME")

    assert max(bars(town.conn)) == last
    row = outcome(town.conn, number, "ACME")
    assert row["outcome_state"] == "unresolvable"
    assert "2024-03-08" in row["outcome_reason"]
    assert row["return_t3"] is not None
    assert town.status() == "active"


# Unknown.


def test_a_symbol_that_yahoo_does_not_know_is_invalid_once_it_knew_the_canary(town: Town) -> None:
    number = town.predict("NOPE")
    until_done(town.conn, "NOPE")

    row = ticker(town.conn, "NOPE")
    assert row["status"] == "invalid"
    assert "No data found" in row["status_reason"]
    assert len(town.yahoo.charts("SPY")) == 1
    lost = outcome(town.conn, number, "NOPE")
    assert lost["outcome_state"] == "unresolvable"
    assert "No data found" in lost["outcome_reason"]
    assert (lost["return_t1"], lost["is_complete"]) == (None, False)
    assert [done["attempts"] for done in history(town.conn, "NOPE")] == [0]


def test_whoever_knew_a_symbol_lately_is_not_asked_for_the_canary(town: Town) -> None:
    town.list_("ACME")
    town.predict("ACME")
    town.until_complete()
    town.predict("NOPE")
    until_done(town.conn, "NOPE")

    assert town.status("NOPE") == "invalid"
    assert town.yahoo.charts("SPY") == []


def test_a_yahoo_that_does_not_know_the_canary_makes_nothing_invalid(town: Town) -> None:
    spy = town.yahoo.listings.pop("SPY")
    number = town.predict("NOPE", "SPY")
    waiting = town.until_tried("NOPE", "SPY")

    assert [one["attempts"] for one in waiting] == [1, 1]
    assert (town.status("NOPE"), town.status("SPY")) == ("active", "active")
    assert outcome(town.conn, number, "NOPE")["outcome_state"] == "awaiting_prices"

    town.yahoo.listings["SPY"] = spy
    town.go_on()
    until_done(town.conn, "NOPE")
    town.until_complete()
    assert (town.status("NOPE"), town.status("SPY")) == ("invalid", "active")


@pytest.mark.parametrize("kind", ["429", "403", "500"])
def test_a_canary_that_cannot_be_asked_costs_the_symbol_neither_status_nor_attempt(
    town: Town, kind: str
) -> None:
    town.yahoo.fail("SPY", kind)
    town.predict("NOPE")
    (waiting,) = town.until_tried("NOPE")

    assert town.status("NOPE") == "active"
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)


# Throttled, and not allowed.


@pytest.mark.parametrize(
    ("kind", "seconds"), [("429", 300), ("999", 300), ("401", 3600), ("403", 3600)]
)
def test_a_refusal_pauses_everyone_costs_nothing_and_ends(
    town: Town, kind: str, seconds: int
) -> None:
    many = [f"ACME{number}" for number in range(8)]
    town.list_(*many, "LATE")
    town.yahoo.fail("*", kind)
    number = town.predict(*many)
    waiting = town.until_tried(*many)

    assert {(one["status"], one["attempts"], one["crashes"]) for one in waiting} == {
        ("pending", 0, 0)
    }
    assert all("paused" in one["last_error"] for one in waiting)
    left = value(
        town.conn,
        "SELECT extract(epoch FROM paused_until - reckoner_now())::float8 FROM reckoner_providers"
        " WHERE name = 'yahoo'",
    )
    assert left == pytest.approx(seconds, abs=20)
    # Those that were under way side by side when the first was refused; each asked twice.
    asked = len(town.yahoo.charts())
    assert asked <= LANES * ASKED_TWICE

    # In the pause nobody asks, not for a new symbol either.
    town.predict("LATE")
    town.until_tried("LATE")
    assert len(town.yahoo.charts()) == asked
    statuses = town.conn.execute("SELECT DISTINCT status, status_reason FROM ticker_registry")
    assert [tuple(row.values()) for row in statuses] == [("active", None)]

    town.yahoo.heal()
    town.go_on()
    town.until_complete(len(many) + 1)
    for symbol in many:
        check_complete(town, number, symbol)
        assert [done["attempts"] for done in history(town.conn, symbol)] == [0]


def test_a_refusal_that_says_how_long_is_believed(town: Town) -> None:
    town.list_("ACME")
    town.yahoo.fail("*", "999", retry_after=77)
    town.predict("ACME")
    town.until_tried("ACME")
    left = value(
        town.conn,
        "SELECT extract(epoch FROM paused_until - reckoner_now())::float8 FROM reckoner_providers"
        " WHERE name = 'yahoo'",
    )
    assert left == pytest.approx(77, abs=10)


# Bad answers.

BAD_ANSWERS = (
    "html200",
    "empty_body",
    "null_chart",
    "null_result",
    "truncated_json",
    "wrong_symbol",
    "404",
    "422",
)


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_a_bad_answer_costs_an_attempt_and_is_retried(town: Town, kind: str) -> None:
    town.list_("ACME")
    town.yahoo.fail("ACME", kind)
    number = town.predict("ACME")
    (failed,) = town.until_tried("ACME")

    assert (failed["status"], failed["attempts"], failed["crashes"]) == ("failed", 1, 0)
    assert failed["available_at"] > failed["updated_at"]
    row = ticker(town.conn, "ACME")
    assert (row["status"], row["status_reason"]) == ("active", None)
    assert row["backfill_status"] == "failed"
    assert bars(town.conn) == {}
    assert outcome(town.conn, number, "ACME")["outcome_state"] == "awaiting_prices"
    assert len(town.yahoo.charts()) <= ASKED_TWICE
    assert not town.paused()

    town.yahoo.heal()
    town.go_on()
    town.until_complete()
    check_complete(town, number)
    assert [done["attempts"] for done in history(town.conn, "ACME")] == [1]


def test_an_empty_answer_where_sessions_were_is_no_verdict(town: Town) -> None:
    town.list_("ACME")
    town.yahoo.fail("ACME", "empty_range")
    number = town.predict("ACME")
    (failed,) = town.until_tried("ACME")

    assert (failed["status"], failed["attempts"]) == ("failed", 1)
    assert town.status() == "active"

    town.yahoo.heal()
    town.go_on()
    town.until_complete()
    check_complete(town, number)


def test_one_symbol_with_bad_answers_keeps_no_other_waiting(town: Town) -> None:
    town.list_("ACME", "GOOD")
    town.yahoo.fail("ACME", "wrong_symbol")
    town.predict("ACME")
    for tries in (1, 2, 3):
        until(f"ACME was tried {tries} times", partial(_has_tried, town, tries))
        town.conn.execute("UPDATE outbox SET available_at = reckoner_now() WHERE key = 'ACME'")

    assert not town.paused()
    town.predict("GOOD")
    until_done(town.conn, "GOOD")


def _has_tried(town: Town, tries: int) -> bool:
    waiting = event(town.conn, "ACME")
    return bool(waiting and waiting["attempts"] == tries)


# Down.


@pytest.mark.parametrize("kind", ["500", "502", "503", "reset", "truncated_http"])
def test_a_server_that_is_down_costs_no_attempt(town: Town, kind: str) -> None:
    town.list_("ACME")
    town.yahoo.fail("ACME", kind)
    number = town.predict("ACME")
    (waiting,) = town.until_tried("ACME")

    assert (waiting["status"], waiting["attempts"], waiting["crashes"]) == ("pending", 0, 0)
    row = ticker(town.conn, "ACME")
    assert (row["status"], row["status_reason"]) == ("active", None)
    assert bars(town.conn) == {}
    assert provider_row(town.conn, "yahoo")["failures"] == 1
    assert not town.paused()

    town.yahoo.heal()
    town.go_on()
    town.until_complete()
    check_complete(town, number)
    assert [done["attempts"] for done in history(town.conn, "ACME")] == [0]
    assert provider_row(town.conn, "yahoo")["failures"] == 0


@pytest.mark.parametrize("network", ["refuse", "503", "tls_abort"])
def test_a_broken_network_costs_no_attempt(town: Town, network: Network) -> None:
    town.list_("ACME")
    town.yahoo.cut(network)
    number = town.predict("ACME")
    (waiting,) = town.until_tried("ACME")

    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert town.status() == "active"
    assert town.yahoo.charts() == []

    town.yahoo.heal()
    town.go_on()
    town.until_complete()
    check_complete(town, number)


def test_the_third_failure_in_a_row_opens_the_circuit_until_an_answer_closes_it(town: Town) -> None:
    town.list_("ACME", "LATE")
    town.yahoo.fail("*", "500")
    town.predict("ACME")
    for failures in (1, 2, 3):
        until(f"{failures} failures are noted", partial(_has_failed, town, failures))
        assert town.paused() == (failures == 3)
        if failures < 3:
            town.until_tried("ACME")
            town.go_on()
    asked = len(town.yahoo.charts())
    assert asked == 3 * ASKED_TWICE

    town.predict("LATE")
    (waiting,) = town.until_tried("LATE")
    assert "3 failures in a row" in waiting["last_error"]
    assert len(town.yahoo.charts()) == asked

    town.yahoo.heal()
    town.go_on()
    town.until_complete(2)
    row = provider_row(town.conn, "yahoo")
    assert (row["failures"], row["paused_until"]) == (0, None)


def _has_failed(town: Town, failures: int) -> bool:
    return bool(provider_row(town.conn, "yahoo")["failures"] == failures)


def test_a_yahoo_that_hangs_is_given_up_after_fifteen_seconds(town: Town) -> None:
    many = [f"ACME{number}" for number in range(3)]
    town.list_(*many)
    town.yahoo.fail("*", "hang")
    town.predict(*many)
    waiting = town.until_tried(*many, seconds=25)

    assert {(one["status"], one["attempts"], one["crashes"]) for one in waiting} == {
        ("pending", 0, 0)
    }
    # A timeout is tried once: each of the three met it, and so the circuit is open.
    assert len(town.yahoo.charts()) == 3
    assert town.paused()

    town.yahoo.heal()
    town.go_on()
    town.until_complete(3)


# The pace.


def test_the_pace_is_kept_by_all_lanes_together(town: Town) -> None:
    many = [f"ACME{number}" for number in range(4)]
    town.list_(*many)
    town.conn.execute("UPDATE reckoner_providers SET spacing = '0.5 s' WHERE name = 'yahoo'")
    town.predict(*many, moment=MOMENT)
    town.until_complete(4)

    came = sorted(entry.at for entry in town.yahoo.charts())
    assert len(came) == 4
    # A place is reserved to the moment; the way to us takes one or the other a little longer.
    assert came[-1] - came[0] >= 3 * 0.5 - 0.2
