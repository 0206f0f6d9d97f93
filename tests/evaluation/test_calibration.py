"""Calibration on confidences whose meaning is known, against statsmodels and plain arithmetic."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from market.evaluation import calibration
from market.evaluation.records import Calibration
from tests.evaluation.simulated import Predictor, simulate


def said(
    frame: pd.DataFrame, low: float, high: float, true_low: float, true_high: float
) -> pd.DataFrame:
    """The frame with confidences low..high that are right in true_low..true_high of the rows."""
    generator = np.random.default_rng(9)
    position = generator.integers(0, 6, len(frame)) / 5
    tiers = pd.cut(
        low + position * (high - low), [-1, 0.5, 0.6, 0.7, 0.8, 0.9, 1], right=False,
        labels=["0.0-0.5", "0.5-0.6", "0.6-0.7", "0.7-0.8", "0.8-0.9", "0.9-1.0"],
    )  # fmt: skip
    hits = generator.random(len(frame)) < true_low + position * (true_high - true_low)
    return frame.assign(
        confidence=low + position * (high - low),
        confidence_tier=np.asarray(pd.Series(tiers).fillna("0.9-1.0").astype(str)),
        correct=pd.array(hits, dtype="boolean"),
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Four years of T+7."""
    return simulate(Predictor(), seed=2, years=4, posts_per_day=6)


def one(frame: pd.DataFrame, split: dt.datetime | None = None) -> Calibration:
    (found,) = calibration.calibrations(frame, split)
    return found


def test_honest_confidence_fits_and_is_worth_something(frame: pd.DataFrame) -> None:
    found = one(said(frame, 0.4, 0.95, 0.4, 0.95))
    assert found.finding == "worth something as stated"
    assert found.stated_low > 0.02
    assert sum(b.finding == "fits" for b in found.bins) >= len(found.bins) - 1
    assert found.slope > 0


def test_boasting_is_found_and_mended_by_the_fit(frame: pd.DataFrame) -> None:
    found = one(said(frame, 0.6, 0.95, 0.3, 0.7))
    assert found.skill_stated < 0 < found.fitted_low
    assert found.finding == "worth something once fitted"
    assert {b.finding for b in found.bins} == {"too sure"}
    for b in found.bins:
        assert b.fitted == pytest.approx(b.accuracy, abs=0.08)


def test_confidence_that_says_nothing_has_no_skill(frame: pd.DataFrame) -> None:
    found = one(said(frame, 0.5, 0.9, 0.5, 0.5))
    assert found.finding in {"worse than the base rate", "no better than the base rate"}
    assert found.skill_fitted == pytest.approx(0, abs=0.01)


def test_scores_are_those_of_the_definition_and_the_curve_that_of_statsmodels(
    frame: pd.DataFrame,
) -> None:
    rows = said(frame, 0.4, 0.95, 0.35, 0.8)
    split = dt.datetime(2022, 6, 1, tzinfo=dt.UTC)
    found = one(rows, split)
    earlier = rows[(rows["moment"] < split) & (rows["exit_session"] < "2022-06-01")]
    later = rows[rows["moment"] >= split]
    assert (found.earlier, found.later) == (len(earlier), len(later))
    assert found.left_out == len(rows) - len(earlier) - len(later) > 0
    assert found.base_rate == pytest.approx(earlier["correct"].mean())
    came = later["correct"].astype(float)
    assert found.brier_stated == pytest.approx(((later["confidence"] - came) ** 2).mean())
    assert found.brier_base == pytest.approx(((found.base_rate - came) ** 2).mean())
    assert found.skill_stated == pytest.approx(1 - found.brier_stated / found.brier_base)

    fitted = sm.Logit(earlier["correct"].astype(float), sm.add_constant(earlier["confidence"])).fit(
        disp=0
    )
    assert (found.intercept, found.slope) == pytest.approx(tuple(fitted.params), abs=0.01)
    forecast = fitted.predict(sm.add_constant(later["confidence"]))
    assert found.brier_fitted == pytest.approx(((forecast - came) ** 2).mean(), abs=1e-5)


def test_nothing_of_the_later_posts_reaches_the_fit(frame: pd.DataFrame) -> None:
    rows = said(frame, 0.4, 0.95, 0.4, 0.95)
    split = dt.datetime(2022, 6, 1, tzinfo=dt.UTC)
    is_known_then = rows["exit_session"] < "2022-06-01"
    turned = rows.assign(correct=rows["correct"].where(is_known_then, ~rows["correct"]))
    assert (turned["correct"] != rows["correct"]).any()
    before, after = one(rows, split), one(turned, split)
    assert (before.slope, before.intercept, before.base_rate) == (
        after.slope, after.intercept, after.base_rate,
    )  # fmt: skip
    assert before.brier_stated != after.brier_stated


def test_where_confidence_decides_everything_the_fit_stays_finite() -> None:
    x = np.repeat([0.2, 0.9], 100)
    intercept, slope = calibration.fit_logistic(x, (x > 0.5).astype(float))
    assert 5 < slope < 60
    assert calibration.curve(intercept, slope, np.array([0.2, 0.9])) == pytest.approx(
        [0, 1], abs=0.05
    )


def test_too_little_says_so(frame: pd.DataFrame) -> None:
    few = said(frame, 0.4, 0.95, 0.4, 0.95).iloc[:40]
    assert one(few).finding == "too little to say"
    assert calibration.calibrations(frame.assign(confidence=np.nan)) == []
    assert calibration.calibrations(frame.assign(confidence=1.4)) == []
    nobody_before = one(said(frame, 0.4, 0.95, 0.4, 0.95), dt.datetime(2019, 1, 1, tzinfo=dt.UTC))
    assert (nobody_before.earlier, nobody_before.finding) == (0, "too little to say")
