"""TD Sequential on series made by hand; FLIP is where each one's first setup begins."""

from collections.abc import Sequence

import numpy as np
import pytest

from market.indicators import Bars, series
from tests.market.indicators import made

RISE = [100, 101, 102, 103, 104]  # the fifth close is above the first: what a buy setup flips from
FLIP = len(RISE)


def fall(number: int, first: float = 99) -> list[float]:
    return [first - i for i in range(number)]


def shown(bars: Bars, name: str) -> list[object]:
    values = series(bars)[name]
    return [None if value is None or np.isnan(value) else value for value in values.tolist()]


def mirrored(bars: Bars) -> Bars:
    """The same series upside down: what a buy did, a sell does."""
    high, low = 200 - bars.low, 200 - bars.high
    return Bars(bars.dates, 200 - bars.open, high, low, 200 - bars.close, bars.volume)


BUY_TO_SELL = {"buy": "sell", "sell": "buy"}


@pytest.fixture(params=["buy", "sell"])
def side(request: pytest.FixtureRequest) -> str:
    side: str = request.param
    return side


def counts(
    side: str,
    kind: str,
    close: Sequence[float],
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
) -> list[object]:
    """A buy column of these bars, or the sell column of their mirror image."""
    bars = made.bars(close, high=high, low=low)
    name = f"td_perfect_{side}" if kind == "perfect" else f"td_{side}_{kind}"
    return shown(bars if side == "buy" else mirrored(bars), name)


def test_nine_closes_below_those_four_bars_before(side: str) -> None:
    close = RISE + fall(12)
    assert counts(side, "setup", close) == [None] * 5 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0]
    complete = counts(side, "complete", close)
    assert complete == [None] * 5 + [False] * 8 + [True] + [False] * 3


def test_without_a_flip_nothing_is_counted(side: str) -> None:
    assert counts(side, "setup", fall(20)) == [None] * 5 + [0] * 15


def test_an_equal_close_ends_a_setup_and_is_no_flip(side: str) -> None:
    close = [*RISE, 99, 98, 97, 96, 99, 95]
    assert counts(side, "setup", close)[FLIP:] == [1, 2, 3, 4, 0, 0]


def test_the_other_way_ends_it_too(side: str) -> None:
    close = [*RISE, 99, 98, 97, 110, 90]
    assert counts(side, "setup", close)[FLIP:] == [1, 2, 3, 0, 1]


LOWS = [*RISE, *fall(9)]
NINTH = FLIP + 8


@pytest.mark.parametrize(
    ("changed", "perfect"),
    [
        ({}, True),
        ({8: 93.6, 9: 93.5}, False),  # above the low of bar 7, 93
        ({8: 93.6, 9: 93.0}, True),  # bar 9 touches it
        ({8: 93.0, 9: 93.5}, True),  # so does bar 8
        ({6: 92.0, 8: 92.5, 9: 92.5}, False),  # below the low of bar 7 only
    ],
)
def test_a_perfect_setup_goes_below_bars_six_and_seven(
    side: str, changed: dict[int, float], perfect: bool
) -> None:
    close = LOWS + fall(3, 90)
    low = list(close)
    for bar, price in changed.items():
        low[FLIP + bar - 1] = price
    high = [max(a, b) for a, b in zip(close, low, strict=True)]
    found = counts(side, "perfect", close, low=low, high=high)
    assert found == [None] * 5 + [False] * 8 + [perfect] + [False] * 3


def test_a_countdown_begins_with_the_ninth_bar_and_ends_at_thirteen(side: str) -> None:
    found = counts(side, "countdown", RISE + fall(23))
    assert found == [None] * 5 + [0] * 8 + [*range(1, 14), 0, 0]


def test_bars_that_do_not_count_leave_the_countdown_where_it_is(side: str) -> None:
    close = [*RISE, *fall(9), 91.5, 91.6, 90, 89]
    # 91.5 is below the low two bars before, 92; 91.6 and 90 stand above and below 91 and 91.5.
    assert counts(side, "countdown", close)[NINTH:] == [1, 2, 2, 3, 4]


def test_the_thirteenth_waits_for_a_low_at_the_eighths_close(side: str) -> None:
    close = RISE + fall(20)
    # From the 9th on the closes stay above the 8th's, 84, and each is at the low two bars before.
    close += [85, 84.9, 84.8, 84.7, 84.6, 84.5, 84.4, 84.3, 84.2, 84.1, 84.0, 83.9]
    found = counts(side, "countdown", close)
    eighth = NINTH + 7
    assert close[eighth] == 84
    assert found[eighth] == 8
    done = close.index(84.0, eighth + 1)
    assert found[done - 1 : done + 2] == [12, 13, 0]
    assert found.count(12) > 1


def test_a_rise_above_the_setup_ends_a_countdown(side: str) -> None:
    close = [*RISE, *fall(9), 90, 120, 121, 80, 79, 78]
    # The highest true high of the nine bars is 104. The close of 120 had a true low of 90.
    assert counts(side, "countdown", close)[NINTH:] == [1, 2, 2, 0, 0, 0, 0]


def test_the_opposite_setup_ends_a_countdown(side: str) -> None:
    close = [*RISE, *fall(9), *(95 + 0.5 * i for i in range(12)), 80, 79, 78]
    bars = made.bars(close)
    opposite = shown(bars if side == "buy" else mirrored(bars), f"td_{BUY_TO_SELL[side]}_setup")
    ninth = opposite.index(9)
    found = counts(side, "countdown", close)
    assert found[ninth - 1 : ninth + 1] == [1, 0]
    assert set(found[ninth:]) == {0}


def test_another_setup_begins_the_countdown_anew(side: str) -> None:
    close = [*RISE, *fall(9), 90, 89, 97, 98, *fall(9, 88)]
    setup, found = counts(side, "setup", close), counts(side, "countdown", close)
    again = len(close) - 1
    assert setup[again] == 9
    assert found[again - 1 : again + 1] == [11, 1]


def test_unknown_lows_do_not_count(side: str) -> None:
    nan = float("nan")
    close = RISE + fall(15)
    assert counts(side, "countdown", close)[NINTH + 2 :] == [3, 4, 5, 6, 7]
    low = list(close)
    low[NINTH + 1] = nan  # what the bar after the next would be compared with
    found = counts(side, "countdown", close, low=low, high=low)
    assert found[NINTH + 2 :] == [3, 3, 4, 5, 6]
    assert counts(side, "setup", close, low=low, high=low) == counts(side, "setup", close)
