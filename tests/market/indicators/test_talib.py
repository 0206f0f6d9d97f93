"""TA-Lib computes the same, apart from three warm-ups that it does in its own way.

1. PLUS_DI and MINUS_DI begin with sums of 13 movements and ranges, ours and Wilder's with 14.
2. ADX averages what follows from these.
3. MACD seeds its fast EMA from the 12 closes before the 26th instead of from the first 12, and says
   nothing before its signal does.

The first two are forgotten at a rate of 13/14 a bar, the third sooner. A flat RSI is 0 there and 50 here.
"""

import numpy as np
import pytest
import talib

from market.indicators import Bars, series
from market.indicators.averages import EMA, SMA
from market.indicators.bars import Floats
from market.indicators.performance import BARS as PERFORMANCE
from tests.market.indicators import made
from tests.market.indicators.golden import BARS as GOLDEN

WARM_UP = ("plus_di", "minus_di", "adx", "macd", "macd_signal", "macd_histogram")


def theirs(bars: Bars) -> dict[str, Floats]:
    high, low, close = bars.high, bars.low, bars.close
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    return {
        **{f"sma_{n}": talib.SMA(close, n) for n in SMA},
        **{f"ema_{n}": talib.EMA(close, n) for n in EMA},
        **{f"perf_{n}d": talib.ROC(close, n) for n in PERFORMANCE},
        "rsi": talib.RSI(close, 14),
        "atr_value": talib.ATR(high, low, close, 14),
        "atr_percent": talib.NATR(high, low, close, 14),
        "plus_di": talib.PLUS_DI(high, low, close, 14),
        "minus_di": talib.MINUS_DI(high, low, close, 14),
        "adx": talib.ADX(high, low, close, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": histogram,
    }


@pytest.mark.parametrize("bars", [GOLDEN, made.walk(3, 900)], ids=["golden", "walk"])
def test_talib_says_the_same(bars: Bars) -> None:
    found = series(bars)
    for name, values in theirs(bars).items():
        if name not in WARM_UP:
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-9, err_msg=name)
        else:
            after, within = (250, 1e-9) if name.startswith("macd") else (350, 1e-8)
            np.testing.assert_allclose(found[name][250:], values[250:], rtol=0, atol=1e-5)
            np.testing.assert_allclose(found[name][after:], values[after:], rtol=0, atol=within)


@pytest.mark.parametrize("name", WARM_UP)
def test_the_three_warm_ups_differ(name: str) -> None:
    """As the page says, so that a TA-Lib that mends one is noticed."""
    found, values = series(GOLDEN)[name], theirs(GOLDEN)[name]
    assert np.nanmax(np.abs(found - values)[:100]) > 0.02


def test_a_flat_rsi_is_in_the_middle() -> None:
    flat = made.bars([10.0] * 30)
    assert talib.RSI(flat.close, 14)[-1] == 0
    assert series(flat)["rsi"][-1] == 50
