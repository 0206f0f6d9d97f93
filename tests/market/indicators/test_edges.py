"""Few bars, no movement, unknown prices, prices of zero and below: NULL, and never NaN or infinity."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from market.indicators import COLUMNS, ENGINE_VERSION, Bars, columns, latest, series
from tests.market.indicators import made
from tests.market.indicators.plain_patterns import finished_weeks


def test_a_columns_first_value_is_on_its_first_bar() -> None:
    """What docs/indicators.md says, on a history without a hole."""
    bars, benchmark = made.walk(11, 420), made.walk(12, 420)
    found = series(bars, benchmark)
    dates = bars.dates.tolist()
    for name, column in columns.COLUMNS.items():
        known = np.array([str(value) not in {"None", "nan"} for value in found[name].tolist()])
        first = int(known.argmax())
        assert known[first:].all(), name
        if name.startswith("perf_") and name.endswith("td"):
            continue  # tests of months are in test_calendar.py
        if column.weekly:
            first = len(finished_weeks(dates, dates[first])) - 1
        assert first + 1 == column.first, name


def test_a_ticker_ten_bars_old() -> None:
    found = latest(made.walk(1, 10), made.walk(2, 600))
    assert {name for name, value in found.items() if value is not None} == {
        "sma_5", "sma_8", "sma_10", "ema_8", "ema_10", "perf_1d", "perf_3d", "perf_5d", "pct_dist_ema8",
        *(name for name in COLUMNS if name.startswith("td_")), "ma_bucket", "stage_label",
    }  # fmt: skip
    assert found["ma_bucket"] == found["stage_label"] == "UNKNOWN"


def test_no_bars_at_all() -> None:
    none = made.bars([])
    assert latest(none) == dict.fromkeys(COLUMNS)
    assert {len(values) for values in series(none, none).values()} == {0}


def test_a_price_that_never_moves() -> None:
    found = latest(made.bars([10.01] * 400), made.bars([7.3] * 400))
    expected = {
        "rsi": 50, "atr_value": 0, "atr_percent": 0, "macd": pytest.approx(0, abs=1e-12), "perf_252d": 0, "perf_ytd": 0,
        "ma_aligned": True, "ma_bucket": "NEUTRAL", "td_buy_setup": 0, "gaps_unfilled_up": 0, "trend_up_count": 0,
        "stage_label": "1", "rs_mansfield_pct": pytest.approx(0, abs=1e-12), "volatility_level": "MEDIUM",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    for name in (
        "atr_distance",
        "atr_dist_ema8",
        "adx",
        "plus_di",
        "range_pos_20d",
        "volatility_trend",
    ):
        assert found[name] is None, name


def test_only_gains_and_only_losses() -> None:
    assert latest(made.bars(list(range(1, 40))))["rsi"] == 100
    assert latest(made.bars(list(range(40, 1, -1))))["rsi"] == 0


def test_a_movement_without_a_direction_has_no_dx() -> None:
    """Outside and inside bars by turns, with rises of high and falls of low that are equal."""
    wide = [1.0 if day % 2 else 2.0 for day in range(60)]
    bars = made.bars([100.0] * 60, high=[100 + x for x in wide], low=[100 - x for x in wide])
    found = latest(bars)
    assert (found["plus_di"], found["minus_di"], found["adx"]) == (0, 0, 0)


def test_prices_of_zero_and_below_divide_nothing() -> None:
    closes = made.walk(3, 400).close
    closes[250], closes[300] = 0, -37.63
    found = series(
        made.bars(closes.tolist(), high=(closes + 1).tolist(), low=(closes - 1).tolist())
    )
    assert np.isnan(found["perf_1d"][[251, 301]]).all()
    assert np.isnan(found["atr_percent"][[250, 300]]).all()
    assert found["perf_1d"][250] == -100
    assert np.isfinite(found["sma_50"][300])
    assert np.isfinite(found["rsi"][300])
    for name, kind in COLUMNS.items():
        if kind in {"double precision", "integer"}:
            assert not np.isinf(found[name]).any(), name


@pytest.mark.parametrize("field", ["high", "low"])
def test_after_an_unknown_price_the_true_range_begins_again(field: str) -> None:
    bars = made.walk(4, 400)
    getattr(bars, field)[100] = np.nan
    found = series(bars)
    rest = series(bars.where(np.arange(400) >= 100))
    for name in ("atr_value", "atr_percent"):
        assert np.isnan(found[name][100:114]).all(), name
        # From the bar after it on: a seed of the next 14 true ranges.
        np.testing.assert_array_equal(found[name][114:], rest[name][14:])
    assert np.isnan(found["plus_di"][100:115]).all()
    assert np.isfinite(found["plus_di"][115:]).all()
    assert np.isnan(found["adx"][100:128]).all()
    assert np.isfinite(found["adx"][128:]).all()
    assert np.isnan(found["volatility_percentile"][100:114]).all()
    # 85 values of ATR are known before it, and 167 after it make 252.
    assert np.flatnonzero(np.isfinite(found["volatility_percentile"]))[0] == 266 - 1 + 14
    assert np.isnan(found["range_pos_20d"][100:120]).all()
    assert np.isfinite(found["range_pos_20d"][120:]).all()
    for name in ("rsi", "ema_8", "macd", "sma_50", "perf_20d", "td_buy_setup"):
        assert np.isfinite(found[name][100:]).all(), name


def test_an_unknown_open_or_volume_matters_to_nothing() -> None:
    bars = made.walk(4, 300)
    expected = latest(bars)
    bars.open[:], bars.volume[:] = np.nan, np.nan
    assert latest(bars) == expected


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
def test_a_bar_without_a_close_is_passed_over(unknown: float) -> None:
    bars = made.walk(5, 300)
    kept = np.arange(300) != 150
    expected = series(bars.where(kept), bars)
    bars.close[150] = unknown
    found = series(bars, bars)
    for name, values in found.items():
        assert str(values[150]) in {"None", "nan"}, name
        assert [repr(x) for x in values[kept].tolist()] == [
            repr(x) for x in expected[name].tolist()
        ]
    bars.close[-1] = unknown
    assert latest(bars) == dict.fromkeys(COLUMNS)


def test_prices_without_bound_give_no_infinity() -> None:
    bars = made.walk(6, 300)
    opened, high, low, close = (each * 1e305 for each in bars[1:5])
    huge = Bars(bars.dates, opened, high, low, close, bars.volume)
    for value in latest(huge, huge).values():
        assert not isinstance(value, float) or math.isfinite(value)


def test_another_formula_is_another_version() -> None:
    """Stored values say by which formulas they were made; engine.json keeps a bar of each version."""
    kept = json.loads(Path(__file__).with_name("engine.json").read_text())
    found = latest(made.walk(18, 700), made.walk(19, 700))
    assert found == {
        name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        for name, value in kept[ENGINE_VERSION].items()
    }
