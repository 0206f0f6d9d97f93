"""Gaps and trend lines on series made by hand."""

from itertools import pairwise

import numpy as np
import pytest

from market.indicators import Bars, series
from market.indicators.bars import Floats
from tests.market.indicators import made

DAYS = 300


def day_by_day(high: Floats, low: Floats) -> Bars:
    return made.bars(((high + low) / 2).tolist(), high=high.tolist(), low=low.tolist())


def ranged(changed: dict[int, tuple[float, float]]) -> Bars:
    """Bars from 99 to 101, but from these on they are others: (low, high)."""
    low, high = np.full(DAYS, 99.0), np.full(DAYS, 101.0)
    for day, (bottom, top) in changed.items():
        low[day:], high[day:] = bottom, top
    return day_by_day(high, low)


def gaps(bars: Bars) -> tuple[Floats, Floats]:
    found = series(bars)
    return found["gaps_unfilled_up"], found["gaps_unfilled_down"]


def test_a_gap_counts_from_its_bar_until_it_is_120_bars_old() -> None:
    up, down = gaps(ranged({150: (103, 104)}))
    assert np.isnan(up[:120]).all()
    assert np.isnan(down[:120]).all()
    assert up[120:].tolist() == [0] * 30 + [1] * 120 + [0] * 30
    assert not down[120:].any()


def test_a_gap_down_likewise() -> None:
    up, down = gaps(ranged({150: (95, 97)}))
    assert down[120:].tolist() == [0] * 30 + [1] * 120 + [0] * 30
    assert not up[120:].any()


@pytest.mark.parametrize(("low", "counted"), [(101.505, 1), (101.504, 0), (101.0, 0)])
def test_half_a_percent_is_a_gap_and_less_is_none(low: float, counted: int) -> None:
    up, _ = gaps(ranged({150: (low, 104)}))
    assert up[150] == counted


def test_exactly_half_a_percent_is_a_gap_in_binary_too() -> None:
    assert 100.701 < 100.2 + 100.2 * 0.005
    up, _ = gaps(ranged({100: (99, 100.2), 150: (100.701, 104)}))
    assert up[150] == 1


def test_exactly_half_a_percent_down_is_a_gap() -> None:
    _, down = gaps(ranged({150: (95, 98.505)}))
    assert down[150] == 1


@pytest.mark.parametrize(("back", "left"), [(101.0, 0), (101.01, 1)])
def test_a_later_bar_that_comes_back_to_the_high_before_fills_it(back: float, left: int) -> None:
    up, _ = gaps(ranged({150: (103, 104), 160: (back, 104), 161: (103, 104)}))
    assert up[159:162].tolist() == [1, left, left]


def test_earlier_bars_fill_nothing() -> None:
    """Bars before the gap overlap it, which is what an older program took for filling."""
    up, _ = gaps(ranged({100: (90, 120), 101: (99, 101), 150: (103, 104)}))
    assert up[150] == 1


def test_several_gaps_are_counted_and_filled_one_by_one() -> None:
    up, down = gaps(ranged({150: (103, 104), 155: (106, 107), 160: (102, 106.4), 165: (110, 111)}))
    assert [up[day] for day in (150, 155, 160, 165)] == [1, 2, 1, 2]
    assert not down[120:].any()


def test_an_unknown_low_makes_the_counts_unknown_while_it_is_in_the_window() -> None:
    bars = ranged({200: (103, 104)})
    bars.low[150] = np.nan
    up, down = gaps(bars)
    for counts in (up, down):
        assert np.isnan(counts[150:271]).all()
        assert np.isfinite(counts[120:150]).all()
        assert np.isfinite(counts[271:]).all()
    assert up[271] == 1


def zigzag(lows: list[float]) -> Bars:
    """Falls and rises of 25 bars each to the highs, which are 100 above the lows before them."""
    points = [lows[0] + 100]
    for low in lows:
        points += [low, low + 100]
    price = np.concatenate([np.linspace(a, b, 25, endpoint=False) for a, b in pairwise(points)])
    return day_by_day(price + 1, price - 1)


def trends(lows: list[float]) -> tuple[int, int]:
    found = series(zigzag(lows))
    return int(found["trend_up_count"][-1]), int(found["trend_down_count"][-1])


@pytest.mark.parametrize(
    ("lows", "up", "down"),
    [
        ([100], 0, 0),
        ([100, 110], 1, 0),
        ([100, 110, 120, 130, 140, 150], 3, 0),
        ([150, 140, 130, 120, 110, 100], 0, 3),
        ([100, 110, 105, 120], 3, 1),
        ([100, 110, 120, 130, 90, 80], 1, 3),
        ([100, 100, 100, 100], 0, 0),
    ],
)
def test_pivots_that_a_higher_low_or_lower_high_follows(
    lows: list[float], up: int, down: int
) -> None:
    assert trends(lows) == (up, down)


def test_a_pivot_is_known_twenty_bars_later() -> None:
    bars = zigzag([100, 110, 120])
    found = series(bars)["trend_up_count"]
    second_low = 75
    assert bars.low[second_low] == 109
    assert found[second_low + 19 : second_low + 21].tolist() == [0, 1]
    assert np.isnan(found[:40]).all()
    assert found[40] == 0


def test_of_equal_lows_the_first_is_the_pivot() -> None:
    low = np.concatenate([np.linspace(130, 100, 30), np.full(5, 100.0), np.linspace(101, 130, 60)])
    found = series(day_by_day(low + 1, low))
    assert found["trend_up_count"][-1] == 0
    assert not np.isnan(found["trend_up_count"][-1])


def test_an_unknown_low_is_no_pivot_and_makes_none() -> None:
    bars = zigzag([100, 110, 120])
    bars.low[70] = np.nan  # beside the second low
    assert series(bars)["trend_up_count"][-1] == 1  # 100 before 120
