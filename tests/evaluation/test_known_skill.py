"""On predictions whose skill is known: intervals hold the truth, and no skill is not called skill."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from market.evaluation import accuracy
from market.evaluation.records import Group
from tests.evaluation.simulated import Predictor, simulate

TIMES = 200
# Binomial 99.9 % limits for 200 tries at 95 % and at 5 %.
COVERED = (0.895, 0.995)
FLAGGED = 0.105


def reports(predictor: Predictor, *, sessions: int, years: float, **market: float) -> list[Group]:
    """One report on each of TIMES markets, whose seeds are fixed."""
    frames = (
        simulate(predictor, seed=seed, sessions=sessions, years=years, **market)  # type: ignore[arg-type]
        for seed in range(TIMES)
    )
    return [group for frame in frames for group in accuracy.groups(frame)]


@pytest.mark.parametrize(("sessions", "years", "posts"), [(1, 1, 3), (7, 2, 5), (30, 4, 3)])
def test_intervals_hold_the_truth_and_chance_is_not_called_skill(
    sessions: int, years: float, posts: float
) -> None:
    found = reports(Predictor(), sessions=sessions, years=years, posts_per_day=posts)
    # The mean over all of these markets is the truth, a fifteenth of an interval's width off at most.
    truth = np.mean([g.accuracy for g in found])
    covered = np.mean([g.accuracy_low <= truth <= g.accuracy_high for g in found])
    assert COVERED[0] <= covered <= COVERED[1]
    # As if rows were independent, it would be claimed far more than was known.
    naive = [proportion_confint(g.correct, g.correct + g.incorrect) for g in found]
    assert np.mean([low <= truth <= high for low, high in naive]) < covered - (
        0.02 if sessions == 1 else 0.2
    )

    assert np.mean([g.chance_p_value < 0.05 for g in found]) <= FLAGGED
    assert np.mean([g.p_value < 0.05 for g in found]) <= FLAGGED
    assert np.mean([g.chance_p_value < 0.05 for g in found]) >= 0.005  # a test that can speak
    assert np.mean([g.finding != "no skill shown" for g in found]) <= FLAGGED


def test_always_bullish_is_never_skill_however_much_the_market_rises() -> None:
    found = reports(Predictor(mix=(0, 0, 1)), sessions=7, years=1, drift=0.002)
    assert np.mean([g.accuracy for g in found]) > 0.58  # "58 % correct", and worth nothing
    assert {g.p_value for g in found} == {1.0}
    assert {g.finding for g in found} == {"the same as always bullish"}
    assert all(g.accuracy == g.base_rate for g in found)


def test_always_neutral_beats_always_bullish_in_a_quiet_market_and_is_not_skill() -> None:
    found = reports(Predictor(mix=(0, 1, 0)), sessions=1, years=1, volatility=0.3)
    assert np.mean([g.base_p_value < 0.05 and g.edge > 0 for g in found]) > 0.9
    assert {g.p_value for g in found} == {1.0}
    assert {g.finding for g in found} == {"no skill shown"}


def test_skill_is_found_and_its_size_is_right() -> None:
    found = reports(Predictor(skill=0.3), sessions=7, years=2, posts_per_day=5)
    # 30 % of the rows are right; of the others as many as without skill.
    chance = np.mean(
        [g.accuracy for g in reports(Predictor(), sessions=7, years=2, posts_per_day=5)]
    )
    truth = 0.3 + 0.7 * chance
    assert np.mean([g.accuracy for g in found]) == pytest.approx(truth, abs=0.005)
    covered = np.mean([g.accuracy_low <= truth <= g.accuracy_high for g in found])
    assert COVERED[0] <= covered <= COVERED[1]
    assert np.mean([g.finding == "better than always bullish" for g in found]) > 0.9
