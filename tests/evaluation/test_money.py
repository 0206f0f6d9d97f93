"""Drawdown and turnover of the calls, by hand and against pandas."""

import math

import numpy as np
import pandas as pd
import pytest

from market.evaluation import money
from market.evaluation.money import trades


def days(*offsets: int) -> np.ndarray:
    """Days after a first one."""
    return np.datetime64("2024-01-01") + np.array(offsets, dtype=np.int64)


def test_by_hand() -> None:
    # Long, short, nothing, long: of -100, -50, 900 and 30 dollars, closed on days 1, 0, 1 and 2.
    direction, long_pnl = np.array([1.0, -1, 0, 1]), np.array([-100.0, -50, 900, 30])
    found = trades(direction, long_pnl, days(1, 0, 1, 2))
    assert found.count == 3
    assert found.pnl_usd == -100 + 50 + 30
    # 1,000 in each, and 900, 950 and 1,030 out.
    assert found.turnover_usd == 3000 + 900 + 950 + 1030
    # 50, then -50, then -20: from its peak of 50 it falls by 100.
    assert found.drawdown_usd == 100
    assert found.breakeven_bps == pytest.approx(1e4 * -20 / 5880)


def test_a_fall_from_the_beginning_counts_and_a_rise_is_none() -> None:
    assert money.drawdown(np.array([-5.0, -3.0, 10.0]), days(0, 1, 2)) == 8
    assert money.drawdown(np.array([5.0, 3.0]), days(0, 1)) == 0
    # What ends on one day is one sum: its order within the day is nobody's.
    assert money.drawdown(np.array([-5.0, 7.0]), days(0, 0)) == 0
    assert math.isnan(money.drawdown(np.zeros(0), days()))
    assert math.isnan(trades(np.zeros(2), np.array([1.0, 2]), days(0, 1)).breakeven_bps)


def test_an_exit_that_is_not_known_is_in_no_drawdown() -> None:
    exits = np.array(["2024-01-01", "NaT"], "datetime64[D]")
    assert money.drawdown(np.array([1.0, -50.0]), exits) == 0


def test_the_drawdown_is_that_of_pandas() -> None:
    generator = np.random.default_rng(4)
    for size in (1, 30, 400):
        pnl, exits = generator.normal(0, 30, size), days(*generator.integers(0, 90, size))
        line = pd.Series(pnl).groupby(exits).sum().cumsum()
        line = pd.concat([pd.Series([0.0]), line], ignore_index=True)
        assert money.drawdown(pnl, exits) == pytest.approx((line.cummax() - line).max())
