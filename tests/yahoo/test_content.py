"""Charts that arrive well and hold rows that cannot be: the bad bar is left out, the rest stays.

The bad bar is one that no horizon needs, so that the outcome shows that the others are right.
"""

import datetime as dt
import hashlib
import json
import zlib
from typing import Any

import pytest

from tests.support.clock import utc
from tests.support.db import value
from tests.support.market import outcome
from tests.support.queue import history, until_done
from tests.yahoo.scenes import (
    BETWEEN,
    ENTRY,
    FETCHED_FROM,
    LAST,
    Town,
    bars,
    check_outcome,
    closes,
    expected_closes,
)

BAD_ROWS = [
    ("null_row", 0.0),
    ("null_close", 0.0),
    ("nan_literal", 0.0),
    ("neg_price", 0.0),
    ("zero_price", 0.0),
]
# Their close is good, or a whole unit off.
MENDED = [("high_lt_low", 0.0), ("spike", 100.0), ("spike", 0.01)]


@pytest.mark.parametrize(("kind", "factor"), BAD_ROWS)
def test_a_bar_that_cannot_be_is_not_stored_and_the_rest_is(
    town: Town, kind: str, factor: float
) -> None:
    wanted = expected_closes(town.list_("ACME"), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", kind, date=BETWEEN, factor=factor)
    number = town.predict("ACME")
    town.until_complete()

    del wanted[BETWEEN]
    assert closes(town.conn) == wanted
    check_outcome(town.conn, number, "ACME", wanted)
    (done,) = history(town.conn, "ACME")
    # A row without any price is a session without trades.
    assert (done["attempts"], done["result"]["rejected"]) == (0, int(kind != "null_row"))
    assert str(BETWEEN) in value(town.conn, "SELECT notes[1] FROM data_quality_log")


@pytest.mark.parametrize(("kind", "factor"), MENDED)
def test_a_bar_with_a_good_close_is_stored(town: Town, kind: str, factor: float) -> None:
    wanted = expected_closes(town.list_("ACME"), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", kind, date=BETWEEN, factor=factor)
    number = town.predict("ACME")
    town.until_complete()

    assert closes(town.conn) == pytest.approx(wanted)
    check_outcome(town.conn, number, "ACME", wanted)
    bar = bars(town.conn)[BETWEEN]
    assert (bar["high"] is None) == (kind == "high_lt_low")
    (note,) = value(town.conn, "SELECT notes FROM data_quality_log")
    assert str(BETWEEN) in note


@pytest.mark.parametrize("kind", ["split_missed", "split_told_early", "split_told_late"])
@pytest.mark.parametrize("ratio", [2.0, 1 / 256])
def test_a_told_split_that_is_not_in_the_prices_changes_no_outcome(
    town: Town, kind: str, ratio: float
) -> None:
    """Also one of 1:256, by which the price of the entry would be a 256th."""
    wanted = expected_closes(town.list_("ACME", splits={BETWEEN: ratio}), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", kind)
    number = town.predict("ACME")
    town.until_complete()

    assert closes(town.conn) == wanted
    check_outcome(town.conn, number, "ACME", wanted)
    assert value(town.conn, "SELECT verdict FROM data_quality_log") == "flagged"


# Tomorrow tells whether the last day's other unit lasts.
@pytest.mark.parametrize(("kind", "factor"), [*BAD_ROWS, *MENDED[1:]])
def test_the_same_at_the_end_of_the_range(town: Town, kind: str, factor: float) -> None:
    wanted = expected_closes(town.list_("ACME"), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", kind, factor=factor)
    number = town.predict("ACME")
    town.until_complete()

    del wanted[LAST]
    assert closes(town.conn) == wanted
    check_outcome(town.conn, number, "ACME", wanted)


@pytest.mark.parametrize(
    "kind", ["dup_last", "unsorted", "future_bar", "saturday_bar", "zero_volume"]
)
def test_what_is_odd_and_harmless_costs_no_bar(town: Town, kind: str) -> None:
    wanted = expected_closes(town.list_("ACME"), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", kind)
    number = town.predict("ACME")
    town.until_complete()

    # Of two bars for the last day the later one is right.
    assert closes(town.conn) == wanted
    check_outcome(town.conn, number, "ACME", wanted)
    volume = bars(town.conn)[LAST]["volume"]
    assert volume == (0 if kind == "zero_volume" else 4000)


def test_without_adjusted_closes_they_are_unknown(town: Town) -> None:
    wanted = expected_closes(town.list_("ACME"), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", "no_adjclose")
    number = town.predict("ACME")
    town.until_complete()

    assert closes(town.conn) == wanted
    check_outcome(town.conn, number, "ACME", wanted)
    assert {bar["adjusted_close"] for bar in bars(town.conn).values()} == {None}


def test_a_chart_without_one_usable_bar_costs_an_attempt_and_no_ticker(town: Town) -> None:
    town.list_("ACME")
    for date in town.days:
        if FETCHED_FROM <= date <= LAST:
            bar = town.yahoo.listings["ACME"].bars[date]
            town.yahoo.listings["ACME"].bars[date] = bar._replace(close=-bar.close)
    number = town.predict("ACME")
    (failed,) = town.until_tried("ACME")

    assert (failed["status"], failed["attempts"]) == ("failed", 1)
    assert town.status() == "active"
    assert bars(town.conn) == {}

    town.list_("ACME")
    town.go_on()
    town.until_complete()
    wanted = expected_closes(town.yahoo.listings["ACME"], FETCHED_FROM, LAST)
    check_outcome(town.conn, number, "ACME", wanted)


def test_a_price_that_comes_late_is_awaited_and_taken(town: Town) -> None:
    wanted = expected_closes(town.list_("ACME"), FETCHED_FROM, LAST)
    town.yahoo.fail("ACME", "null_row", times=1)
    number = town.predict("ACME", moment=utc("2024-05-16 15:00"))  # its T+1 is the last session
    until_done(town.conn, "ACME")
    waiting = outcome(town.conn, number, "ACME")
    assert (waiting["outcome_state"], waiting["return_t1"]) == ("awaiting_prices", None)
    assert (
        waiting["price_at_prediction"]
        == wanted[min(d for d in wanted if d >= waiting["entry_session"])]
    )

    # As the sweep does when the price is due again.
    town.conn.execute("SELECT ticker_enqueue(ARRAY['ACME'], 0, false)")
    town.until_complete(0)
    recent = {date: close for date, close in wanted.items() if date > ENTRY}
    row = check_outcome(town.conn, number, "ACME", recent)
    assert (row["outcome_state"], row["price_t1"]) == ("maturing", wanted[LAST])
    assert closes(town.conn)[LAST] == wanted[LAST]


def test_bad_bars_of_many_symbols_do_not_mix(town: Town) -> None:
    symbols = {f"ACME{n}": fault for n, fault in enumerate(BAD_ROWS)}
    for n, (symbol, (kind, factor)) in enumerate(symbols.items()):
        town.list_(symbol, start=100.0 * (n + 1))
        town.yahoo.fail(symbol, kind, date=BETWEEN, factor=factor)
    number = town.predict(*symbols, "NOPE")
    town.until_complete(len(symbols))

    for symbol in symbols:
        wanted = expected_closes(town.yahoo.listings[symbol], FETCHED_FROM, LAST)
        del wanted[BETWEEN]
        assert closes(town.conn, symbol) == wanted
        check_outcome(town.conn, number, symbol, wanted)
    invalid = "SELECT array_agg(symbol::text) FROM ticker_registry WHERE status <> 'active'"
    assert value(town.conn, invalid) == ["NOPE"]


def payload(town: Town, kind: str) -> dict[str, Any]:
    """The kept answer of a class about ACME, its body unpacked."""
    query = "SELECT * FROM provider_payloads WHERE class = %s AND url LIKE '%%/ACME?%%' ORDER BY id DESC"
    row = town.conn.execute(query, [kind]).fetchone()
    assert row is not None
    return {**row, "body": zlib.decompress(row["body"])}


def test_a_bar_leads_to_the_chart_that_it_was_read_from(town: Town) -> None:
    ex, split = dt.date(2024, 3, 11), dt.date(2024, 4, 8)
    town.list_("ACME", dividends={ex: 4.0}, splits={split: 4.0})
    town.predict("ACME")
    town.until_complete()

    kept = payload(town, "ok")
    ids = value(town.conn, "SELECT array_agg(DISTINCT payload_id) FROM market_prices")
    assert ids == [kept["id"]]
    assert hashlib.sha256(kept["body"]).hexdigest() == kept["sha256"]
    chart = json.loads(kept["body"])["chart"]["result"][0]
    assert max(closes(town.conn).values()) in chart["indicators"]["quote"][0]["close"]
    assert (kept["status"], kept["provider"]) == (200, "yahoo")
    assert kept["url"].startswith("https://query2.finance.yahoo.com/v8/finance/chart/ACME?period1=")
    assert "crumb" not in kept["url"]
    told = town.conn.execute("SELECT date, kind, value, provider FROM corporate_actions ORDER BY 1")
    assert [tuple(row.values()) for row in told] == [
        (ex, "dividend", 4.0, "yahoo"),
        (split, "split", 4.0, "yahoo"),
    ]


def test_a_chart_of_another_form_is_kept_for_whoever_mends_the_adapter(town: Town) -> None:
    town.list_("ACME")
    town.yahoo.fail("ACME", "truncated_json")
    town.predict("ACME")
    town.until_tried("ACME")
    kept = payload(town, "bad_answer")
    assert b'"chart"' in kept["body"]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(kept["body"])
    (asked,) = value(town.conn, "SELECT asked FROM ingestion_audit ORDER BY id DESC LIMIT 1")
    assert (asked["class"], asked["payload_id"]) == ("bad_answer", kept["id"])


def test_a_day_to_come_is_told_of_and_not_stored(town: Town) -> None:
    town.list_("ACME")
    town.yahoo.fail("ACME", "future_bar")
    town.predict("ACME")
    town.until_complete()
    notes = value(town.conn, "SELECT notes FROM data_quality_log ORDER BY id DESC LIMIT 1")
    assert notes == ["2024-05-18: no finished session: too new"]
