"""Symbols that Yahoo does not know and answers that are bad, in a real worker: what makes a
ticker invalid, and what costs an attempt.

yfinance asks again by itself, with another cookie, after any status of 400 and more, so one
try of ours is two requests for the chart. Requests are therefore counted in bounds.
"""

from functools import partial

import pytest

from tests.support.market import outcome, ticker
from tests.support.queue import event, history, until_done
from tests.support.waiting import until
from tests.yahoo.scenes import ASKED_TWICE, Town, bars, check_complete

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

    town.recover()
    check_complete(town, number)
    assert [done["attempts"] for done in history(town.conn, "ACME")] == [1]


def test_an_empty_answer_where_sessions_were_is_no_verdict(town: Town) -> None:
    town.list_("ACME")
    town.yahoo.fail("ACME", "empty_range")
    number = town.predict("ACME")
    (failed,) = town.until_tried("ACME")

    assert (failed["status"], failed["attempts"]) == ("failed", 1)
    assert town.status() == "active"

    town.recover()
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
