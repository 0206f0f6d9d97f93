"""Is a confidence of 0.8 right eight times in ten? Scored out of time.

The rows are split at a moment. On the earlier ones a logistic curve from confidence to the
chance of being right is fitted, and the base rate counted; the later ones are scored. An
earlier row whose horizon reaches past the split is left out of the fit, because its outcome
was not known then. Three forecasts of "this one is right" are compared:
  stated     the confidence as it is
  fitted     the curve's value for it
  base rate  the share of earlier rows that were right, for every row
Brier score: mean squared difference between forecast and result (1 or 0); 0 is perfect.
Skill: 1 - Brier / Brier of the base rate; above 0 is better than the base rate (Murphy 1973).
"""

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from market.evaluation.blocks import Blocks, Floats, mean_interval, share_interval
from market.evaluation.method import TRAIN_SHARE
from market.evaluation.records import Bin, Calibration

_LEAST = 30  # earlier rows; a curve through fewer is noise


def calibrations(frame: pd.DataFrame, split: dt.datetime | None = None) -> list[Calibration]:
    """Evaluate each horizon of a frame of `outcomes_frame`.

    Judged rows with a confidence of 0..1 count. split: None for the moment before which
    TRAIN_SHARE of the rows lie. Horizons ascending.
    """
    is_usable = (
        frame["correct"].notna() & frame["confidence"].between(0, 1) & frame["moment"].notna()
    )
    usable = frame[is_usable]
    if usable.empty:
        return []
    moments = usable["moment"].sort_values()
    moment = moments.iloc[int(TRAIN_SHARE * len(moments))] if split is None else pd.Timestamp(split)
    return [_calibration(rows, moment) for _, rows in usable.groupby("sessions", sort=True)]


def fit_logistic(x: Floats, hits: Floats) -> tuple[float, float]:
    """Fit intercept and slope of the chance of a hit, by Newton's method.

    A prior of standard deviation 10 (log odds per 1.0) bounds the slope; it matters only where the
    data would send the slope to infinity.
    """
    design = np.column_stack([np.ones_like(x), x])
    penalty = np.diag([1e-6, 0.01])
    beta = np.zeros(2)
    for _ in range(50):
        chance = curve(beta[0], beta[1], x)
        gradient = design.T @ (hits - chance) - penalty @ beta
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        # Far from the optimum the curve is flat, and a whole step would overshoot.
        beta += step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])


def curve(intercept: float, slope: float, x: Floats) -> Floats:
    """Compute the logistic curve at x."""
    return np.asarray(1 / (1 + np.exp(-(intercept + slope * x))), dtype=np.float64)


def _calibration(rows: pd.DataFrame, split: pd.Timestamp) -> Calibration:
    is_earlier = (rows["moment"] < split).to_numpy()
    is_known = is_earlier & (rows["exit_session"] < split.tz_localize(None).normalize()).to_numpy()
    hits = rows["correct"].to_numpy(dtype=np.float64)
    stated = rows["confidence"].to_numpy(dtype=np.float64)
    later = ~is_earlier
    blocks = Blocks.of(rows["prediction_date"].to_numpy()[later], int(rows["sessions"].iloc[0]))
    base = float(hits[is_known].mean()) if is_known.any() else math.nan
    intercept, slope = (
        fit_logistic(stated[is_known], hits[is_known])
        if np.count_nonzero(is_known) >= _LEAST
        else (math.nan, math.nan)
    )
    fitted = curve(intercept, slope, stated[later])
    came = hits[later]
    base_errors = (base - came) ** 2
    scored = [_score(forecast, came, base_errors, blocks) for forecast in (stated[later], fitted)]
    return Calibration(
        horizon=str(rows["horizon"].iloc[0]),
        split=split.to_pydatetime(),
        earlier=int(is_known.sum()),
        left_out=int((is_earlier & ~is_known).sum()),
        later=int(later.sum()),
        base_rate=base,
        later_rate=_mean(came),
        slope=slope,
        intercept=intercept,
        brier_base=_mean(base_errors),
        brier_stated=scored[0][0],
        brier_fitted=scored[1][0],
        skill_stated=scored[0][1],
        stated_low=scored[0][2],
        stated_high=scored[0][3],
        skill_fitted=scored[1][1],
        fitted_low=scored[1][2],
        fitted_high=scored[1][3],
        finding=_finding(scored[0], scored[1], int(is_known.sum()), int(later.sum())),
        bins=_bins(
            rows["confidence_tier"].astype(str).to_numpy()[later],
            stated[later],
            fitted,
            came,
            blocks,
        ),
    )


Score = tuple[float, float, float, float]


def _score(forecast: Floats, came: Floats, base_errors: Floats, blocks: Blocks) -> Score:
    """Compute Brier score, skill against the base rate, and the skill's interval.

    The skill is a mean difference over the base rate's Brier score, which varies little.
    """
    errors = (forecast - came) ** 2
    gain = mean_interval(base_errors - errors, blocks)
    reference = _mean(base_errors)
    if not reference:
        return _mean(errors), math.nan, math.nan, math.nan
    return _mean(errors), gain.mean / reference, gain.low / reference, gain.high / reference


def _finding(stated: Score, fitted: Score, earlier: int, later: int) -> str:
    if earlier < _LEAST or not later:
        return "too little to say"
    if math.isnan(fitted[2]):
        return "too little to say"
    if stated[2] > 0:
        return "worth something as stated"
    if fitted[2] > 0:
        return "worth something once fitted"
    if stated[3] < 0:
        return "worse than the base rate"
    return "no better than the base rate"


def _bins(
    tiers: NDArray[Any], stated: Floats, fitted: Floats, came: Floats, blocks: Blocks
) -> list[Bin]:
    found = []
    for tier in np.unique(tiers):
        mask = np.asarray(tiers == tier)
        own = blocks.of_rows(mask)
        accuracy = share_interval(came[mask], own)
        mean = float(stated[mask].mean())
        if own.are_few:
            finding = "too little to say"
        elif mean > accuracy.high:
            finding = "too sure"
        elif mean < accuracy.low:
            finding = "not sure enough"
        else:
            finding = "fits"
        found.append(
            Bin(
                tier=str(tier),
                rows=int(mask.sum()),
                confidence=mean,
                fitted=float(fitted[mask].mean()),
                accuracy=accuracy.mean,
                accuracy_low=accuracy.low,
                accuracy_high=accuracy.high,
                finding=finding,
            )
        )
    return found


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
