"""Prices that change after they were stored: what the outcomes say."""

import datetime as dt

import pytest

from tests.market.desk import Desk
from tests.market.revision.remote import (
    AT_T3,
    AT_T7,
    ENTRY,
    MOMENT,
    T1,
    T3,
    T7,
    Remote,
    refetch,
    refresh,
    returns,
    traded,
)
from tests.support.clock import at, clock, utc
from tests.support.db import Conn, value
from tests.support.market import outcome


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
