"""Tickers for which providers have nothing: silent ones, unknown ones, and other instruments."""

import datetime as dt
from collections.abc import Callable, Sequence

import pytest

from market.providers import Answer, Kind, Request
from tests.market.desk import Desk, Told
from tests.market.helpers import (
    FakeProvider,
    at,
    clock,
    day,
    outcome,
    plain_bars,
    serving,
    ticker,
    utc,
)
from tests.support import Conn, insert_prediction, value

# A Thursday evening; the session of the day is settled.
NOW = utc("2024-05-16 22:00")
OLD = "2024-03-05 15:00+00"
RECENT = "2024-05-14 15:00+00"  # two sessions before NOW
NOTHING = Answer(Kind.EMPTY, message="no bars in the range")
NOBODY = Answer(Kind.UNKNOWN, message="No data found, symbol may be delisted")
FLAT = serving(lambda _: 100.0)
STEP = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)
# The tables of a ticker's verdict.
WITNESSED = ("market_prices", "ticker_registry", "prediction_outcomes")


class Changing(FakeProvider):
    """A provider whose answer the test changes as time passes."""

    def __init__(self, name: str, answer: Answer | Callable[[Request], Answer]) -> None:
        super().__init__(name, self._answer)
        self.answer = answer

    def _answer(self, request: Request) -> Answer:
        return self.answer(request) if callable(self.answer) else self.answer


def event(conn: Conn, symbol: str = "HUSH") -> tuple[str, int] | None:
    """Status and attempts of the symbol's live event."""
    row = conn.execute(
        "SELECT status, attempts FROM outbox WHERE topic = 'ticker' AND key = %s", [symbol]
    ).fetchone()
    return (row["status"], row["attempts"]) if row else None


def ended(conn: Conn, symbol: str = "HUSH") -> list[tuple[str, int]]:
    """Verdict and attempts of the symbol's finished events, oldest first."""
    rows = conn.execute(
        "SELECT verdict, attempts FROM outbox_history WHERE topic = 'ticker' AND key = %s ORDER BY id",
        [symbol],
    )
    return [(row["verdict"], row["attempts"]) for row in rows]


def state(conn: Conn, number: int, symbol: str = "HUSH") -> str:
    return str(outcome(conn, number, symbol)["outcome_state"])


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


def silence(desk: Desk, now: dt.datetime = NOW) -> list[Told]:
    """Turn until the event of a silent ticker ended, its pauses skipped."""
    told = []
    for minutes in range(0, 60, 2):
        told += desk.turn(now + minutes * MINUTE)
        with clock(desk.url, now) as database, at(database) as conn:
            if value(conn, "SELECT count(*) FROM outbox") == 0:
                return told
    raise AssertionError(f"it never ended: {told}")


# Every provider has nothing.


def test_silence_is_tried_again_and_then_decided(url: str, conn: Conn) -> None:
    providers = [FakeProvider("a", NOTHING), FakeProvider("b", NOTHING)]
    desk = Desk(url, *providers, max_attempts=3)
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)

    for attempt in (1, 2):
        (told,) = desk.turn(NOW + attempt * MINUTE)
        assert (told["outcome"], told["verdict"]) == ("failed", "failed")
        assert event(conn) == ("failed", attempt)
        assert (state(conn, old), state(conn, recent)) == ("awaiting_prices", "awaiting_prices")
        row = ticker(conn, "HUSH")
        assert (row["status"], row["backfill_status"]) == ("active", "failed")
        assert "a: empty no bars in the range; b: empty" in row["backfill_error"]
        assert row["fetched_to"] is None

    (told,) = desk.turn(NOW + 3 * MINUTE)
    assert (told["outcome"], told["bars"]) == ("fetched", 0)
    assert event(conn) is None
    assert ended(conn) == [("done", 2)]
    row = ticker(conn, "HUSH")
    assert (row["status"], row["backfill_status"], row["backfill_error"]) == (
        "active",
        "completed",
        None,
    )
    assert row["fetched_to"] == NOW.date()
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
            assert told["outcome"] == "fetched"
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
    assert told["outcome"] == "fetched"
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
    assert [told["outcome"] for told in silence(desk)] == ["failed", "failed", "fetched"]
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
    assert ticker(conn, "HUSH")["fetched_to"] is None


def test_silence_beside_a_pause_waits_for_the_paused(url: str, conn: Conn) -> None:
    desk = Desk(url, FakeProvider("a", NOTHING), FakeProvider("b", Answer(Kind.THROTTLED)))
    old = desk.predict(NOW, "HUSH", OLD)
    (told,) = desk.turn(NOW)
    assert told["outcome"] == "later"
    assert event(conn) == ("pending", 0)
    assert state(conn, old) == "awaiting_prices"


# A slip: a ticker that has bars, and one empty answer.


@pytest.fixture
def slipping() -> Changing:
    """A provider that has every bar, until the test says otherwise."""
    return Changing("remote", FLAT)


def test_one_empty_slip_of_a_known_ticker_decides_nothing(
    url: str, conn: Conn, slipping: Changing
) -> None:
    desk = Desk(url, slipping)
    number = desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    slipping.answer = NOTHING
    later = utc("2024-05-17 22:00")
    assert desk.sweep(later) == 1
    desk.turn(later)
    row = outcome(conn, number, "HUSH")
    assert (row["outcome_state"], row["price_t1"], row["price_t3"]) == (
        "awaiting_prices",
        100.0,
        None,
    )
    assert ticker(conn, "HUSH")["status"] == "active"
    slipping.answer = FLAT
    desk.sweep(later + DAY)
    desk.turn(later + DAY)
    row = outcome(conn, number, "HUSH")
    assert (row["outcome_state"], row["price_t3"]) == ("maturing", 100.0)


@pytest.mark.parametrize(
    "later",
    [
        utc("2024-07-08 22:00"),  # T+30 is over for six sessions
        utc("2024-07-22 22:00"),  # every horizon is ten sessions old
    ],
)
def test_one_empty_slip_after_a_long_absence_decides_nothing(
    url: str, conn: Conn, slipping: Changing, later: dt.datetime
) -> None:
    """No worker for weeks: what is asked for then is older than ten sessions."""
    desk = Desk(url, slipping)
    number = desk.predict(NOW, "HUSH", RECENT)
    desk.turn(NOW)
    slipping.answer = NOTHING
    desk.sweep(later)
    desk.turn(later)
    assert state(conn, number) == "awaiting_prices"
    slipping.answer = FLAT
    for days in range(1, 8):
        desk.sweep(later + days * DAY)
        desk.turn(later + days * DAY)
    row = outcome(conn, number, "HUSH")
    assert [row[f"price_t{n}"] for n in (1, 3, 7, 30)] == [100.0] * 4
    assert row["outcome_state"] == "complete"


def test_a_hole_does_not_delay_the_horizons_behind_it(
    url: str, conn: Conn, slipping: Changing
) -> None:
    """The missing session is asked for at growing pauses, the next horizon on its day."""
    slipping.answer = serving(lambda date: None if date == day("2024-05-17") else 100.0)
    desk = Desk(url, slipping)
    number = desk.predict(NOW, "HUSH", RECENT)  # T+3 is the 17th, T+7 the 23rd
    desk.turn(NOW)
    for date in ("2024-05-17", "2024-05-20", "2024-05-21", "2024-05-22", "2024-05-23"):
        now = utc(f"{date} 20:31")
        desk.sweep(now)
        desk.turn(now)
    row = outcome(conn, number, "HUSH")
    assert (row["price_t1"], row["price_t3"], row["price_t7"]) == (100.0, None, 100.0)


def test_one_empty_slip_at_the_first_fetch_costs_an_attempt_only(
    url: str, conn: Conn, slipping: Changing
) -> None:
    desk = Desk(url, slipping)
    old = desk.predict(NOW, "HUSH", OLD)
    slipping.answer = NOTHING
    desk.turn(NOW)
    slipping.answer = FLAT
    desk.turn(NOW + MINUTE)
    assert state(conn, old) == "complete"
    assert ended(conn) == [("done", 1)]


# Nobody knows it.


def test_an_unknown_ticker_ends_its_predictions_with_the_reason(url: str, conn: Conn) -> None:
    desk = Desk(url, FakeProvider("remote", NOBODY))
    old, recent = desk.predict(NOW, "HUSH", OLD), desk.predict(NOW, "HUSH", RECENT)
    (told,) = desk.turn(NOW)
    assert (told["outcome"], told["outcomes"]) == ("unknown", 2)
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
    assert told["outcome"] == "fetched"

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
    assert outcome(conn, old, "HUSH") == before
    row = outcome(conn, recent, "HUSH")
    assert (row["outcome_state"], row["price_t1"], row["price_t3"]) == ("unresolvable", 100.0, None)
    assert "No data found" in row["outcome_reason"]
    assert value(conn, "SELECT count(*) FROM market_prices") > 200


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


# Bars under the right name that are another instrument's.


def instrument(asset_type: str, price: float = 100.0) -> Callable[[Request], Answer]:
    """A good answer for an instrument of this type."""
    return lambda request: Answer(
        Kind.OK, plain_bars(request.sessions, lambda _: price), asset_type=asset_type
    )


@pytest.mark.parametrize(
    ("symbol", "asset_type", "is_refused"),
    [
        ("BTC-USD", "stock", True),
        ("BTC-USD", "etf", True),
        ("BTC/USD", "stock", True),
        ("BTC", "crypto", True),
        ("AAPL", "crypto", True),
        ("BTC-USD", "crypto", False),
        ("BTC/USD", "crypto", False),
        ("BTC", "etf", False),
        ("AAPL", "stock", False),
        ("BRK.B", "stock", False),
        ("^GSPC", "index", False),
    ],
)
def test_another_instruments_answer_is_refused(
    url: str, conn: Conn, symbol: str, asset_type: str, is_refused: bool
) -> None:
    desk = Desk(url, FakeProvider("remote", instrument(asset_type)))
    number = desk.predict(NOW, symbol, OLD)
    (told,) = desk.turn(NOW)
    row = ticker(conn, symbol)
    assert row["status"] == "active"
    if is_refused:
        assert told["outcome"] == "failed"
        assert "another instrument" in told["reason"]
        assert asset_type in told["reason"]
        assert value(conn, "SELECT count(*) FROM market_prices") == 0
        assert row["asset_type"] != asset_type
        assert state(conn, number, symbol) == "awaiting_prices"
    else:
        assert told["outcome"] == "fetched"
        assert row["asset_type"] == asset_type
        assert state(conn, number, symbol) == "complete"


def test_the_next_provider_may_have_the_right_instrument(url: str, conn: Conn) -> None:
    wrong, right = instrument("stock", 3.0), instrument("crypto", 50_000.0)
    desk = Desk(url, FakeProvider("a", wrong), FakeProvider("b", right))
    number = desk.predict(NOW, "BTC-USD", OLD)
    desk.turn(NOW)
    assert value(conn, "SELECT array_agg(DISTINCT source) FROM market_prices") == ["b"]
    assert outcome(conn, number, "BTC-USD")["price_t30"] == 50_000.0


def test_another_instrument_beside_stored_bars_changes_none_of_them(url: str, conn: Conn) -> None:
    """The name was given to another: what is stored stays as it is, and no basis changed."""
    provider = Changing("remote", instrument("crypto", 50_000.0))
    desk = Desk(url, provider)
    number = desk.predict(NOW, "BTC-USD", OLD)
    desk.turn(NOW)
    before = outcome(conn, number, "BTC-USD")
    provider.answer = instrument("etf", 40.0)
    desk.predict(NOW + 3 * DAY, "BTC-USD", NOW + 2 * DAY)
    (told,) = desk.turn(NOW + 3 * DAY)
    assert "another instrument" in told["reason"]
    assert outcome(conn, number, "BTC-USD") == before
    assert value(conn, "SELECT min(close) FROM market_prices") == 50_000.0
    assert ticker(conn, "BTC-USD")["asset_type"] == "crypto"


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
