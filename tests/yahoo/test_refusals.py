"""A Yahoo that refuses, is down or hangs, in a real worker: what pauses it, what costs no attempt.

yfinance asks again by itself, with another cookie, after any status of 400 and more, so one
try of ours is two requests for the chart; after a refused or reset connection we ask three
times. Requests are therefore counted in bounds.
"""

import datetime as dt
import time
from functools import partial

import pytest

from tests.support.db import value
from tests.support.market import provider_row, ticker
from tests.support.queue import history
from tests.support.waiting import until
from tests.yahoo.scenes import ASKED_TWICE, MOMENT, Town, bars, check_complete
from tests.yahoo.server import Network

LANES = 4


def pause(town: Town) -> float:
    """How many seconds nobody was to ask when that was decided."""
    query = (
        "SELECT extract(epoch FROM paused_until - last_error_at)::float8 FROM reckoner_providers"
    )
    return float(value(town.conn, f"{query} WHERE name = 'yahoo'"))


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
    assert pause(town) == pytest.approx(seconds, abs=20)
    # Those that were under way side by side when the first was refused; each asked twice.
    asked = len(town.yahoo.charts())
    assert asked <= LANES * ASKED_TWICE

    # In the pause nobody asks, not for a new symbol either.
    town.predict("LATE")
    town.until_tried("LATE")
    assert len(town.yahoo.charts()) == asked
    statuses = town.conn.execute("SELECT DISTINCT status, status_reason FROM ticker_registry")
    assert [tuple(row.values()) for row in statuses] == [("active", None)]

    town.recover(len(many) + 1)
    for symbol in many:
        check_complete(town, number, symbol)
        assert [done["attempts"] for done in history(town.conn, symbol)] == [0]


def test_a_refusal_that_says_how_long_is_believed(town: Town) -> None:
    town.list_("ACME")
    town.yahoo.fail("*", "999", retry_after=77)
    town.predict("ACME")
    town.until_tried("ACME")
    assert pause(town) == pytest.approx(77, abs=0.001)


# Down.


@pytest.mark.parametrize("kind", ["500", "502", "503", "reset", "truncated_http", "crumb"])
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

    town.recover()
    check_complete(town, number)
    assert [done["attempts"] for done in history(town.conn, "ACME")] == [0]
    assert provider_row(town.conn, "yahoo")["failures"] == 0


def test_a_stale_crumb_is_fetched_anew_and_pauses_nobody(town: Town) -> None:
    """Yahoo refuses cookie and crumb of a session now and then; yfinance's second try has the same fate."""
    town.list_("ACME")
    town.yahoo.fail("ACME", "crumb", times=ASKED_TWICE)
    number = town.predict("ACME")
    town.until_complete()
    check_complete(town, number)
    assert [entry.status for entry in town.yahoo.charts("ACME")] == [401, 401, 200]
    crumbs = [entry for entry in town.yahoo.log if entry.path == "/v1/test/getcrumb"]
    charts = town.yahoo.charts("ACME")
    assert any(charts[1].at <= each.at <= charts[2].at for each in crumbs)
    assert [done["attempts"] for done in history(town.conn, "ACME")] == [0]
    row = provider_row(town.conn, "yahoo")
    assert (row["failures"], row["paused_until"]) == (0, None)


@pytest.mark.parametrize("network", ["refuse", "503", "tls_abort"])
def test_a_broken_network_costs_no_attempt(town: Town, network: Network) -> None:
    town.list_("ACME")
    town.yahoo.cut(network)
    number = town.predict("ACME")
    (waiting,) = town.until_tried("ACME")

    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert town.status() == "active"
    assert town.yahoo.charts() == []

    town.recover()
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

    town.recover(2)
    row = provider_row(town.conn, "yahoo")
    assert (row["failures"], row["paused_until"]) == (0, None)


def _has_failed(town: Town, failures: int) -> bool:
    return bool(provider_row(town.conn, "yahoo")["failures"] == failures)


def test_a_yahoo_that_hangs_is_given_up_after_fifteen_seconds(town: Town) -> None:
    many = [f"ACME{number}" for number in range(3)]
    town.list_(*many)
    town.yahoo.fail("*", "hang")
    town.predict(*many)
    waiting = town.until_tried(*many)

    assert {(one["status"], one["attempts"], one["crashes"]) for one in waiting} == {
        ("pending", 0, 0)
    }
    # A timeout is tried once: each of the three met it, and so the circuit is open.
    assert len(town.yahoo.charts()) == 3
    assert town.paused()

    town.recover(3)


# The pace.


def test_the_pace_is_kept_by_all_lanes_together(town: Town) -> None:
    many = [f"ACME{number}" for number in range(4)]
    town.list_(*many)
    town.conn.execute("UPDATE reckoner_providers SET spacing = '0.5 s' WHERE name = 'yahoo'")
    began, start = time.monotonic(), value(town.conn, "SELECT reckoner_now()")
    town.predict(*many, moment=MOMENT)
    town.until_complete(4)

    # Four places were given away, one behind the other, and nobody came before its place: the
    # first one's may take as long as it likes on its way to us, and so is no measure.
    free = value(town.conn, "SELECT next_request_at FROM reckoner_providers WHERE name = 'yahoo'")
    assert free - start >= dt.timedelta(seconds=4 * 0.5)
    came = sorted(entry.at for entry in town.yahoo.charts())
    assert len(came) == 4
    for place, at in enumerate(came):
        assert at - began >= place * 0.5 - 0.05
