"""Month, quarter and year ends; weeks that end on a Friday; stages by hand."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from market.indicators import Bars, series
from tests.market.indicators import made


def on(dates: list[str], close: list[float]) -> Bars:
    return made.bars(close, dates=np.array(dates, dtype="datetime64[D]"))


def test_a_period_is_measured_from_the_last_close_before_it() -> None:
    found = series(
        on(
            ["2023-12-28", "2023-12-29", "2024-01-02", "2024-01-31", "2024-02-01", "2024-03-28", "2024-04-01"],
            [90, 100, 110, 120, 132, 150, 165],
        )
    )  # fmt: skip
    month = [np.nan, np.nan, 10, 20, 10, (150 / 132 - 1) * 100, 10]
    quarter = [np.nan, np.nan, 10, 20, 32, 50, 10]
    year = [np.nan, np.nan, 10, 20, 32, 50, 65]
    for name, expected in (("perf_mtd", month), ("perf_qtd", quarter), ("perf_ytd", year)):
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, err_msg=name)


def test_a_halt_over_a_months_end_keeps_the_close_before_it() -> None:
    found = series(on(["2024-01-30", "2024-03-15", "2024-03-18"], [100, 150, 120]))
    assert found["perf_mtd"][1:].tolist() == pytest.approx([50, 20])
    assert found["perf_qtd"].tolist() == pytest.approx([np.nan] * 3, nan_ok=True)


def test_years_without_bars_in_between() -> None:
    found = series(on(["1969-12-31", "1970-01-02", "1999-06-30", "2024-02-29"], [10, 11, 22, 44]))
    assert found["perf_ytd"][1:].tolist() == pytest.approx([10, 100, 100])
    assert found["perf_mtd"][1:].tolist() == pytest.approx([10, 100, 100])


WEEKS = 60
FLAT = made.bars([50.0] * (5 * WEEKS))


def weekly(closes: NDArray[Any]) -> Bars:
    """Bars of Monday to Friday whose close is the week's."""
    return made.bars(np.repeat(closes, 5).tolist())


def label(closes: NDArray[Any], benchmark: Bars = FLAT) -> str:
    stage: str = series(weekly(closes), benchmark)["stage_label"][-1]
    return stage


def test_the_four_stages() -> None:
    week = np.arange(WEEKS)
    assert label(100 + 1.0 * week) == "2"
    assert label(200 - 1.0 * week) == "4"
    assert label(np.where(week % 2, 101.0, 99.0)) == "1"
    assert label(np.where(week % 2, 105.0, 95.0)) == "3"  # flat, but too far from its average
    assert label(np.append(100 + 1.0 * week[:-1], 60.0)) == "3"  # below an average that rises


def test_it_takes_a_rise_against_the_benchmark_too() -> None:
    week = np.arange(WEEKS)
    assert label(100 + 1.0 * week, weekly(100 + 2.0 * week)) == "3"
    assert label(200 - 1.0 * week, weekly(200 - 2.0 * week)) == "3"


def test_a_flat_average_may_move_by_a_hundredth_of_a_percent_a_week() -> None:
    week = np.arange(WEEKS)
    fall = weekly(100 + 2.0 * week)  # the strength falls, so that a rise alone is not stage 2
    assert label(100 + 0.0099 * week, fall) == "1"
    assert label(100 + 0.0110 * week, fall) == "3"


def test_the_benchmark_itself_is_in_no_trend() -> None:
    rising = weekly(100 + 1.0 * np.arange(WEEKS))
    found = series(rising, rising)
    assert found["stage_label"][-1] == "3"
    assert found["rs_mansfield_pct"][-1] == 0


def test_a_label_needs_forty_common_weeks() -> None:
    found = series(weekly(100 + 1.0 * np.arange(WEEKS)), FLAT)
    fridays = found["stage_label"][4::5].tolist()
    assert fridays == ["UNKNOWN"] * 39 + ["2"] * 21
    known = {
        name: np.isfinite(found[name][4::5])
        for name in ("stage_slope_pct", "stage_dist_pct", "rs_mansfield_pct")
    }
    assert {name: int(each.argmax()) + 1 for name, each in known.items()} == {
        "stage_slope_pct": 35,
        "stage_dist_pct": 30,
        "rs_mansfield_pct": 52,
    }


def test_without_a_benchmark_the_average_is_known_and_the_stage_is_not() -> None:
    found = series(weekly(100 + 1.0 * np.arange(WEEKS)))
    assert set(found["stage_label"]) == {"UNKNOWN"}
    assert np.isnan(found["rs_mansfield_pct"]).all()
    # The SMA of 30 weeks that rise by 1 is 14.5 below the newest close.
    assert found["stage_dist_pct"][-1] == pytest.approx((159 / 144.5 - 1) * 100)
    assert found["stage_slope_pct"][-1] == pytest.approx((144.5 / 139.5 - 1) * 100)


def test_mansfield_compares_with_the_mean_of_a_year() -> None:
    found = series(weekly(50 + 1.0 * np.arange(WEEKS)), FLAT)
    assert found["rs_mansfield_pct"][-1] == pytest.approx((109 / 83.5 - 1) * 100)


def changes(bars: Bars, benchmark: Bars | None = None) -> list[str]:
    """The weekdays on which a weekly value became another."""
    values = series(bars, benchmark)["stage_dist_pct"]
    days = np.flatnonzero(np.isfinite(values[1:]) & (values[1:] != values[:-1])) + 1
    return [bars.dates[day].item().strftime("%a") for day in days]


def test_a_week_takes_part_on_its_friday() -> None:
    bars = made.walk(5, 200)
    assert set(changes(bars)) == {"Fri"}


def test_where_friday_is_a_holiday_it_takes_part_on_the_next_bar() -> None:
    bars = made.walk(5, 200)
    holiday = np.datetime64("2024-09-06")
    assert holiday in bars.dates
    found = changes(bars.where(bars.dates != holiday))
    assert found.count("Mon") == 1
    assert set(found) == {"Mon", "Fri"}


def test_a_week_of_a_crypto_pair_ends_on_friday_too() -> None:
    days = made.every_day(300, dt.date(2024, 1, 1))
    assert set(changes(made.walk(5, 300, days))) == {"Fri"}


def test_a_week_that_only_one_has_is_left_out() -> None:
    """A week in which the benchmark did not trade is not a week of the comparison."""
    own = weekly(100 + 1.0 * np.arange(WEEKS))
    missing = (FLAT.dates < np.datetime64("2024-08-05")) | (
        FLAT.dates > np.datetime64("2024-08-16")
    )
    found = series(own, FLAT.where(missing))
    assert found["stage_label"][4::5].tolist() == ["UNKNOWN"] * 41 + ["2"] * 19


def test_a_benchmark_behind_keeps_the_week_that_both_finished() -> None:
    own = weekly(100 + 1.0 * np.arange(WEEKS))
    behind = FLAT.where(FLAT.dates <= FLAT.dates[-3])  # until Wednesday
    found, expected = series(own, behind), series(own, FLAT)
    assert found["stage_dist_pct"][-1] == expected["stage_dist_pct"][-6]
