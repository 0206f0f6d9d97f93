"""Every column is what a slow program, written from the definitions alone, says that it is."""

from typing import Any

import numpy as np
import pytest

from market.indicators import COLUMNS, Bars, averages, series
from tests.market.indicators import made, plain


def assert_same(found: dict[str, Any], expected: dict[str, list[Any]]) -> None:
    assert list(found) == list(COLUMNS)
    assert set(expected) == set(COLUMNS)
    for name, kind in COLUMNS.items():
        if kind in {"boolean", "text"}:
            assert found[name].tolist() == expected[name], name
            continue
        wanted = np.array([np.nan if x is None else x for x in expected[name]], dtype=float)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(2))
def test_every_column_is_its_definition(seed: int) -> None:
    bars = made.walk(seed, 520)
    benchmark = made.walk(seed + 100, 500)
    assert_same(series(bars, benchmark), plain.series(bars, benchmark))


@pytest.mark.parametrize("length", [8, 21, 200])
def test_an_average_over_many_blocks_is_the_plain_loop(length: int) -> None:
    close = made.walk(2, 9000).close
    expected = plain.ema(close.tolist(), length)
    found = averages.exponential(close, length)
    np.testing.assert_allclose(found[length - 1 :], np.array(expected[length - 1 :]), rtol=1e-12)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 6, 10, 14, 15, 34, 60, 121])
def test_so_is_it_on_few_bars(number: int) -> None:
    bars = made.walk(7, number)
    assert_same(series(bars), plain.series(bars))


def test_a_crypto_pair_beside_a_benchmark_of_weekdays() -> None:
    bars = made.walk(8, 500, made.every_day(500))
    benchmark = made.walk(9, 360)
    assert_same(series(bars, benchmark), plain.series(bars, benchmark))


@pytest.mark.parametrize("seed", range(2))
def test_missing_sessions_on_both_sides(seed: int) -> None:
    random = np.random.default_rng(seed)

    def halted(bars: Bars) -> Bars:
        kept = random.random(len(bars.close)) < 0.8
        begin = random.integers(50, 300)
        kept[begin : begin + 30] = False
        return bars.where(kept)

    bars, benchmark = halted(made.walk(seed + 20, 700)), halted(made.walk(seed + 30, 680))
    assert_same(series(bars, benchmark), plain.series(bars, benchmark))


def test_a_price_that_never_moves() -> None:
    bars = made.bars([73.31] * 400)
    assert_same(series(bars, bars), plain.series(bars, bars))
