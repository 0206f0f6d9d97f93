"""Five indicators against another program's numbers, on every bar of the warm-up too (golden.md)."""

import numpy as np
import pytest

from market.indicators import averages, series
from tests.market.indicators.golden import BARS, column

NAMES = {
    "rsi": "rsi",
    "atr_value": "atr",
    "plus_di": "plus_di",
    "minus_di": "minus_di",
    "adx": "adx",
    "macd": "macd",
    "macd_signal": "macd_signal",
    "macd_histogram": "macd_histogram",
}


@pytest.mark.parametrize(("ours", "theirs"), NAMES.items())
def test_every_bar_is_the_golden_one(ours: str, theirs: str) -> None:
    np.testing.assert_allclose(series(BARS)[ours], column(theirs), rtol=0, atol=1e-9)


def test_so_is_an_ema_of_20() -> None:
    found = averages.exponential(BARS.close, 20)
    np.testing.assert_allclose(found, column("ema_20"), rtol=0, atol=1e-9)


def test_the_warm_up_is_part_of_it() -> None:
    """The first bars with a value are those of the golden numbers, and are asserted above."""
    firsts = {
        name: int(np.flatnonzero(np.isfinite(column(name)))[0]) + 1 for name in NAMES.values()
    }
    assert firsts == {
        "rsi": 15, "atr": 15, "plus_di": 15, "minus_di": 15, "adx": 28,
        "macd": 26, "macd_signal": 34, "macd_histogram": 34,
    }  # fmt: skip
