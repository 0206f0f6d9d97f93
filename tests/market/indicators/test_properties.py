"""What holds for every history: no bar knows a later one, and money's unit does not matter."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from market.indicators import COLUMNS, Bars, latest, series
from tests.market.indicators import made

# What is a price, or a difference of prices; everything else is a ratio, a count or a word.
PRICES = {
    name for name in COLUMNS if name.startswith(("sma_", "ema_", "macd")) or name == "atr_value"
}
numbers = st.integers(1, 450)
seeds = st.integers(0, 2**32 - 1)


def cut(bars: Bars, number: int) -> Bars:
    return bars.where(np.arange(len(bars.close)) < number)


def scaled(bars: Bars, factor: float) -> Bars:
    dates, *prices, volume = bars
    opened, high, low, close = (each * factor for each in prices)
    return Bars(dates, opened, high, low, close, volume / factor)


def with_holes(bars: Bars, seed: int) -> Bars:
    """Some prices of some bars unknown, closes too."""
    random = np.random.default_rng(seed)
    count = len(bars.close)

    def holed(values: Any) -> Any:
        return np.where(random.random(count) < random.choice([0, 0.01, 0.1]), np.nan, values)

    return Bars(bars.dates, *(holed(each) for each in bars[1:]))


def benchmark_of(bars: Bars, seed: int) -> Bars:
    """A benchmark over the same time, with sessions of its own."""
    other = made.walk(seed, len(bars.close) + 30)
    return other.where(np.random.default_rng(seed).random(len(other.close)) < 0.9)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in COLUMNS:
        if found[name].dtype == object:
            assert found[name].tolist() == expected[name].tolist(), name
        else:
            assert np.array_equal(found[name], expected[name], equal_nan=True), name


@settings(deadline=None, max_examples=40)
@given(seed=seeds, number=numbers, share=st.floats(0, 1), holes=st.booleans())
def test_a_longer_history_changes_no_earlier_value(
    seed: int, number: int, share: float, holes: bool
) -> None:
    """To the last bit, whether the benchmark goes on or ends on the same day."""
    bars, shorter = made.walk(seed, number), int(number * share)
    bars = with_holes(bars, seed) if holes else bars
    benchmark = benchmark_of(bars, seed + 1)
    whole = {name: values[:shorter] for name, values in series(bars, benchmark).items()}
    assert_equal(series(cut(bars, shorter), benchmark), whole)
    if shorter:
        until = benchmark.where(benchmark.dates <= bars.dates[shorter - 1])
        assert_equal(series(cut(bars, shorter), until), whole)


def test_nor_does_one_longer_than_the_blocks_of_the_averages() -> None:
    bars = made.walk(1, 9000)
    found = series(bars)
    for shorter in (700, 1500, 3100, 6000):
        kept = {name: values[:shorter] for name, values in found.items()}
        assert_equal(series(cut(bars, shorter)), kept)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, number=numbers, holes=st.booleans())
def test_the_latest_is_the_series_last(seed: int, number: int, holes: bool) -> None:
    bars = made.walk(seed, number)
    bars = with_holes(bars, seed) if holes else bars
    benchmark = benchmark_of(bars, seed + 1)
    found, last = series(bars, benchmark), latest(bars, benchmark)
    assert list(last) == list(COLUMNS)
    for name, kind in COLUMNS.items():
        value = found[name][-1]
        if kind in {"boolean", "text"}:
            assert last[name] is value, name
        else:
            expected = None if np.isnan(value) else value
            assert last[name] == expected, name
            assert (
                isinstance(last[name], int if kind == "integer" else float | None)
                or last[name] is None
            )


@settings(deadline=None, max_examples=30)
@given(seed=seeds, number=numbers, power=st.integers(-8, 8))
def test_a_power_of_two_scales_prices_to_the_last_bit(seed: int, number: int, power: int) -> None:
    bars = made.walk(seed, number)
    found = series(scaled(bars, 2.0**power), bars)
    expected = series(bars, bars)
    for name in PRICES:
        expected[name] = expected[name] * 2.0**power
    assert_equal(found, expected)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, number=numbers, ratio=st.sampled_from([3, 7, 10, 20, 1 / 3, 1 / 8, 1 / 15, 1.1]))
def test_a_split_changes_prices_and_nothing_else(seed: int, number: int, ratio: float) -> None:
    """Adjusting the whole history for a later split divides prices; ratios, counts, words stay."""
    bars, benchmark = made.walk(seed, number), made.walk(seed + 1, number)
    found, expected = series(scaled(bars, 1 / ratio), benchmark), series(bars, benchmark)
    for name in COLUMNS:
        if found[name].dtype == object:
            assert found[name].tolist() == expected[name].tolist(), name
        else:
            factor = ratio if name in PRICES else 1
            np.testing.assert_allclose(
                found[name] * factor, expected[name], rtol=1e-9, atol=1e-9, err_msg=name
            )


@settings(deadline=None, max_examples=40)
@given(seed=seeds, number=numbers)
def test_every_value_is_in_its_range(seed: int, number: int) -> None:
    found = series(made.walk(seed, number), made.walk(seed + 1, number))
    limits = dict.fromkeys(
        ("rsi", "adx", "plus_di", "minus_di", "volatility_percentile"), (0.0, 100.0)
    )
    limits |= {name: (0.0, 100.0) for name in COLUMNS if name.startswith("range_pos")}
    limits |= {
        "td_buy_setup": (0, 9),
        "td_sell_setup": (0, 9),
        "trend_up_count": (0, 3),
        "trend_down_count": (0, 3),
    }
    limits |= {"td_buy_countdown": (0, 13), "td_sell_countdown": (0, 13)}
    for name, (least, most) in limits.items():
        known = found[name][~np.isnan(found[name])]
        assert ((known >= least - 1e-9) & (known <= most + 1e-9)).all(), name
    assert not np.any((found["td_buy_setup"] > 0) & (found["td_sell_setup"] > 0))
