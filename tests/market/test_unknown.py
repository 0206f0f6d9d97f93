"""Tickers that nobody knows: invalid with the reason, and asked for again after a week."""

from typing import Any

from market.providers import Answer, Kind, Request
from tests.market.desk import Desk
from tests.market.silence import (
    DAY,
    FLAT,
    MINUTE,
    NOBODY,
    NOW,
    OLD,
    RECENT,
    STEP,
    Changing,
    ended,
    event,
    state,
)
from tests.support.clock import utc
from tests.support.db import Conn, value
from tests.support.market import outcome, ticker
from tests.support.providers import FakeProvider

# The tables of a ticker's verdict.
WITNESSED = ("market_prices", "ticker_registry", "prediction_outcomes")


def witness(conn: Conn) -> None:
    """Note from now on which transaction writes which row, whatever savepoint it is in."""
    conn.execute("CREATE TABLE writes (source name, key text, transaction xid8)")
    conn.execute(
        "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " INSERT INTO public.writes VALUES (TG_TABLE_NAME, concat_ws('/', NEW.symbol,"
        " to_jsonb(NEW) ->> 'date', to_jsonb(NEW) ->> 'prediction_id'), pg_current_xact_id());"
        " RETURN NULL; END$$"
    )
    for table in WITNESSED:
        conn.execute(
            f"CREATE TRIGGER witness AFTER INSERT OR UPDATE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION witness()".encode()
        )


def written(conn: Conn) -> set[tuple[str, str]]:
    """Table and last transaction of every row there is, each written since `witness`."""
    rows = conn.execute(
        "SELECT source, max(transaction::text::bigint)::text AS transaction FROM writes GROUP BY source, key"
    ).fetchall()
    counts = [value(conn, f"SELECT count(*) FROM {table}") for table in WITNESSED]  # noqa: S608 - constants
    assert len(rows) == sum(counts)
    return {(row["source"], row["transaction"]) for row in rows}


def test_an_unknown_ticker_ends_its_predictions_with_the_reason(url: str, conn: Conn) -> None:
    desk = Desk(url, FakeProvider("remote", NOBODY))
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    (told,) = desk.turn(NOW)
    assert (told["result"], told["outcomes"]) == ("unknown", 2)
    row = ticker(conn, "HUSH")
    assert (row["status"], ended(conn)) == ("invalid", [("done", 0)])
    assert "No data found" in row["status_reason"]
    for number in (old, recent):
        found = outcome(conn, number, "HUSH")
        assert found["outcome_state"] == "unresolvable"
        assert "No data found" in found["outcome_reason"]
        assert "HUSH is invalid" in found["outcome_reason"]
    assert desk.sweep(NOW + 30 * DAY) == 0  # left alone


def test_named_anew_within_the_week_it_is_not_asked_for(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", NOBODY)
    desk = Desk(url, provider)
    desk.predict(NOW, "HUSH", OLD)
    desk.turn(NOW)
    for days in (0, 1, 6):
        now = NOW + days * DAY + STEP
        number = desk.predict(now, "HUSH", now)
        assert desk.turn(now) == []
        row = outcome(conn, number, "HUSH")
        assert row["outcome_state"] == "unresolvable"
        assert "No data found" in row["outcome_reason"]
    assert len(provider.asked) == 1


def test_named_anew_after_a_week_it_may_turn_out_to_exist(url: str, conn: Conn) -> None:
    provider = Changing("remote", NOBODY)
    desk = Desk(url, provider)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    assert {state(conn, old), state(conn, recent)} == {"unresolvable"}
    provider.answer = FLAT
    later = NOW + 7 * DAY + STEP
    again = desk.predict(later, "HUSH", "2024-05-22 15:00+00")
    assert state(conn, again) == "unresolvable"
    witness(conn)
    (told,) = desk.turn(later)
    assert told["result"] == "fetched"

    row = ticker(conn, "HUSH")
    assert (row["status"], row["status_reason"], row["backfill_error"]) == ("active", None, None)
    assert state(conn, old) == "complete"
    assert {state(conn, recent), state(conn, again)} == {"maturing"}
    assert "invalid" not in outcome(conn, recent, "HUSH")["outcome_reason"]
    assert outcome(conn, old, "HUSH")["revision"] is None
    # Bars, the ticker and every prediction on it changed in one transaction.
    stamps = written(conn)
    assert {source for source, _ in stamps} == set(WITNESSED)
    assert len({transaction for _, transaction in stamps}) == 1


def test_named_anew_after_a_week_and_unknown_still_rests_another_week(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", NOBODY)
    desk = Desk(url, provider)
    desk.predict(NOW, "HUSH", OLD)
    desk.turn(NOW)
    for days, asked in ((8, 2), (10, 2), (14, 2), (16, 3)):
        now = NOW + days * DAY
        number = desk.predict(now, "HUSH", now)
        desk.turn(now)
        assert (len(provider.asked), state(conn, number)) == (asked, "unresolvable")
    assert ticker(conn, "HUSH")["status"] == "invalid"


def test_a_fault_a_week_later_leaves_it_invalid_and_is_tried_again(url: str, conn: Conn) -> None:
    provider = Changing("remote", NOBODY)
    desk = Desk(url, provider)
    old = desk.predict(NOW, "HUSH", OLD)
    desk.turn(NOW)
    provider.answer = Answer(Kind.BAD_ANSWER, message="half a page")
    later = NOW + 8 * DAY
    desk.predict(later, "HUSH", later)
    desk.turn(later)
    assert (ticker(conn, "HUSH")["status"], event(conn)) == ("invalid", ("failed", 1))
    provider.answer = FLAT
    desk.turn(later + MINUTE)
    assert (ticker(conn, "HUSH")["status"], state(conn, old)) == ("active", "complete")


def test_a_ticker_that_became_unknown_keeps_what_it_had(url: str, conn: Conn) -> None:
    provider = Changing("remote", FLAT)
    desk = Desk(url, provider)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    before = outcome(conn, old, "HUSH")
    provider.answer = NOBODY
    later = utc("2024-05-17 22:00")
    desk.sweep(later)
    desk.turn(later)
    desk.turn(later + STEP)
    assert outcome(conn, old, "HUSH") == before
    row = outcome(conn, recent, "HUSH")
    assert (row["outcome_state"], row["price_t1"], row["price_t3"]) == ("unresolvable", 100.0, None)
    assert "No data found" in row["outcome_reason"]
    assert value(conn, "SELECT count(*) FROM market_prices") > 200


def test_one_unknown_of_a_ticker_with_recent_bars_changes_nothing(url: str, conn: Conn) -> None:
    provider = Changing("remote", FLAT)
    desk = Desk(url, provider)
    recent = desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    before = (ticker(conn, "HUSH")["status"], state(conn, recent))
    provider.answer = NOBODY
    later = utc("2024-05-17 22:00")
    desk.sweep(later)
    (told,) = desk.turn(later)
    assert told["result"] == "later"
    assert "asked again: it has a bar of 2024-05-16" in told["reason"]
    assert (ticker(conn, "HUSH")["status"], state(conn, recent)) == before
    assert event(conn) == ("pending", 0)

    # Asked before the hour is over, by an operator's word, it is still the first time.
    conn.execute("SELECT outbox_requeue_ticker('HUSH')")
    conn.execute("UPDATE outbox SET available_at = '-infinity'")
    assert [told["result"] for told in desk.turn(later + 30 * MINUTE)] == ["later"]
    provider.answer = FLAT
    (told,) = desk.turn(later + STEP)
    assert told["result"] == "fetched"
    assert outcome(conn, recent, "HUSH")["price_t3"] == 100.0

    # Bars came since, so that the next one is a first time again, and after it there is a second.
    provider.answer = NOBODY
    later = utc("2024-05-23 22:00")
    desk.sweep(later)
    assert [told["result"] for told in desk.turn(later)] == ["later"]
    assert [told["result"] for told in desk.turn(later + STEP)] == ["unknown"]
    assert (ticker(conn, "HUSH")["status"], state(conn, recent)) == ("invalid", "unresolvable")


def test_a_second_unknown_is_believed_with_the_canary_alone(url: str, conn: Conn) -> None:
    """A provider that gave other symbols' bars a minute ago may have lost its canary since."""
    answers: dict[str, Any] = {"HUSH": FLAT, "SPY": FLAT, "ELSE": FLAT}

    def answer(request: Request) -> Answer:
        said = answers[request.symbol]
        return said if isinstance(said, Answer) else said(request)

    provider = FakeProvider("remote", answer, canary="SPY")
    desk = Desk(url, provider)
    desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    answers |= {"HUSH": NOBODY, "SPY": NOBODY}
    later = utc("2024-05-17 22:00")
    desk.predict(later, "ELSE", RECENT)
    desk.sweep(later)
    desk.turn(later)
    assert ticker(conn, "HUSH")["status"] == "active"
    desk.turn(later + STEP)
    assert ticker(conn, "HUSH")["status"] == "active"
    assert (event(conn) or ("none", 0))[0] == "failed"
    answers["SPY"] = FLAT
    for hours in (2, 3, 4):
        desk.turn(later + hours * STEP)
    assert ticker(conn, "HUSH")["status"] == "invalid"


def test_a_ticker_whose_bars_are_old_is_invalid_at_once(url: str) -> None:
    provider = Changing("remote", FLAT)
    desk = Desk(url, provider)
    desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    provider.answer = NOBODY
    later = NOW + 9 * DAY
    desk.sweep(later)
    assert [told["result"] for told in desk.turn(later)] == ["unknown"]


def test_an_inactive_ticker_is_not_asked_for_however_old_its_verdict(url: str, conn: Conn) -> None:
    provider = FakeProvider("remote", FLAT)
    desk = Desk(url, provider)
    conn.execute(
        "INSERT INTO ticker_registry (symbol, status, status_reason) VALUES ('HUSH', 'inactive', 'merged')"
    )
    number = desk.predict(NOW, "HUSH", OLD)
    assert desk.turn(NOW) == []
    assert provider.asked == []
    assert outcome(conn, number, "HUSH")["outcome_reason"] == "ticker HUSH is inactive: merged"
