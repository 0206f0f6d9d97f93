"""A bad night: every kind of fault at random, again and again, then peace, and all is right."""

import itertools
import random
import time

from tests.support.clock import utc
from tests.support.db import value
from tests.yahoo.scenes import (
    BETWEEN,
    FETCHED_FROM,
    LAST,
    MOMENT,
    Town,
    check_outcome,
    closes,
    expected_closes,
)

SECONDS = 6.0
ROUNDS = 6  # at least, on a machine however slow
NETWORK_ROUND = 2  # takes seconds, because a refused connection is tried three times
SYMBOLS = [f"ACME{number}" for number in range(10)]
MOMENTS = [MOMENT, utc("2024-03-06 15:00")]
REFUSALS = ("401", "403", "429", "999")
FAULTS = (
    *("404", "422", "429", "500", "502", "503"),
    *("html200", "empty_body", "null_chart", "null_result", "truncated_json"),
    *("wrong_symbol", "empty_range", "dup_last", "unsorted", "future_bar", "zero_volume"),
)
# Of a day that no horizon needs, so that it stays a hole and spoils no outcome.
BAD_ROWS = ("null_row", "null_close", "nan_literal", "neg_price", "high_lt_low", "spike")


def meet_faults(town: Town, dice: random.Random, number: int) -> None:
    """Symbols, or all of them, meet something for a few requests."""
    if number % 3 == 0:
        # As many as four lanes with two requests each can meet: one of them is refused for good.
        town.yahoo.fail("*", dice.choice(REFUSALS), times=8)
    if number % 4 == 1:
        town.yahoo.fail(dice.choice(SYMBOLS), dice.choice(["reset", "truncated_http"]), times=1)
    for _ in range(6):
        symbol = dice.choice([*SYMBOLS, *SYMBOLS, "SPY", "*"])
        town.yahoo.fail(symbol, dice.choice(FAULTS), times=dice.choice([1, 2, 2, 4]))
        town.yahoo.fail(dice.choice(SYMBOLS), dice.choice(BAD_ROWS), times=1, date=BETWEEN)
    if number == NETWORK_ROUND:
        town.yahoo.cut("refuse")


def check_that_nobody_asks(town: Town, newcomer: str) -> None:
    """In a pause a new symbol does not make anybody ask either."""
    town.list_(newcomer)
    asked = len(town.yahoo.charts())
    town.predict(newcomer)
    (waiting,) = town.until_tried(newcomer)
    assert "paused" in waiting["last_error"]
    assert len(town.yahoo.charts()) == asked


def test_after_a_night_of_faults_every_outcome_is_right(town: Town) -> None:
    dice = random.Random(20240517)  # noqa: S311 - the same night each time
    for number, symbol in enumerate(SYMBOLS):
        town.list_(symbol, start=50.0 * (number + 1))
    predictions: list[tuple[int, list[str]]] = []
    pauses = 0
    end = time.monotonic() + SECONDS
    for round_ in itertools.count():
        meet_faults(town, dice, round_)
        chosen = [*dice.sample(SYMBOLS, 3), *dice.choice([[], ["NOPE"]])]
        number = town.predict(*chosen, moment=dice.choice(MOMENTS))
        predictions.append((number, chosen))
        # Known ones too are asked for again.
        for symbol in chosen:
            town.conn.execute("SELECT outbox_requeue_ticker(%s)", [symbol])
        town.until_quiet()
        if town.paused():
            check_that_nobody_asks(town, f"LATE{pauses}")
            pauses += 1
        town.yahoo.cut("up")
        town.go_on()
        if time.monotonic() > end and round_ >= ROUNDS:
            break
    assert pauses > 0
    assert len({entry.status for entry in town.yahoo.charts()}) > 1

    town.until_quiet()
    town.yahoo.heal()
    town.go_on()
    known = [(n, symbol) for n, chosen in predictions for symbol in chosen if symbol != "NOPE"]
    town.until_complete(len(known) + pauses)

    states = town.conn.execute(
        "SELECT array_agg(symbol::text) AS symbols FROM ticker_registry WHERE status <> 'active'"
    ).fetchone()
    assert states == {"symbols": ["NOPE"]}
    lost = "SELECT array_agg(DISTINCT outcome_state) FROM prediction_outcomes WHERE symbol = 'NOPE'"
    assert value(town.conn, lost) == ["unresolvable"]
    for symbol in {symbol for _, symbol in known}:
        wanted = expected_closes(town.yahoo.listings[symbol], FETCHED_FROM, LAST)
        stored = closes(town.conn, symbol)
        assert stored.items() <= wanted.items()
        assert wanted.keys() - stored.keys() <= {BETWEEN}
    for number, symbol in known:
        wanted = expected_closes(town.yahoo.listings[symbol], FETCHED_FROM, LAST)
        check_outcome(town.conn, number, symbol, wanted)
