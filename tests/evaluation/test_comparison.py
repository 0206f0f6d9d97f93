"""Two groups compared on pairs: against data whose answer is known, scipy and statsmodels."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from market.cli.report_options import Sides
from market.evaluation import comparison, comparison_tables
from market.evaluation.blocks import Blocks
from market.evaluation.records import Comparison
from sql.errors import InvalidInput, ReckonerError
from tests.evaluation.simulated import Predictor, simulate

TIMES = 100
FLAGGED = 0.13  # 7 % in the long run, because horizons reach over the edges of blocks


def judged(rows: list[tuple[str, int, str, bool]]) -> pd.DataFrame:
    """A frame of T+1: model, week, symbol, and whether the call was right; bullish, 1 % up or down."""
    days = np.array(
        [np.datetime64("2024-01-01") + 7 * week for _, week, _, _ in rows], "datetime64[D]"
    )
    came = np.array([right for *_, right in rows])
    return pd.DataFrame(
        {
            "prediction_id": np.arange(len(rows)),
            "symbol": [symbol for *_, symbol, _ in rows],
            "horizon": "t1",
            "sessions": 1,
            "prediction_date": days,
            "entry_session": days,
            "model": [model for model, *_ in rows],
            "direction": 1.0,
            "return_pct": np.where(came, 1.0, -1.0),
            "correct": pd.array(came, dtype="boolean"),
        }
    )


def both(frame: pd.DataFrame, other: Predictor, seed: int) -> pd.DataFrame:
    """Each row of a frame twice: as model A said, and as model B, who is another predictor."""
    generator = np.random.default_rng([seed, 7])
    returns = frame["return_pct"].to_numpy()
    came = np.where(returns > 0.5, 1, np.where(returns < -0.5, -1, 0))
    said = generator.choice([-1, 0, 1], len(frame), p=other.mix)
    said = np.where(generator.random(len(frame)) < other.skill, came, said)
    second = frame.assign(
        prediction_id=frame["prediction_id"] + 1_000_000,
        model="B",
        direction=said.astype(float),
        correct=pd.array(said == came, dtype="boolean"),
    )
    return pd.concat([frame.assign(model="A"), second], ignore_index=True)


def one(frame: pd.DataFrame, left: str = "A", right: str = "B", by: str = "model") -> Comparison:
    (found,) = comparison.compare(frame, by, left, right)
    return found


def about(left: str = "A", right: str = "B", by: str = "model") -> dict[str, str]:
    return {"compare": by, "left": left, "right": right}


def test_on_forty_weeks_by_hand() -> None:
    # A is right in 40 of 40, B in 30: ten pairs tell them apart.
    rows = [("A", week, "X", True) for week in range(40)]
    rows += [("B", week, "X", week % 4 != 0) for week in range(40)]
    # What only one of them was asked about counts for nothing, however it went.
    rows += [("A", week, "EASY", True) for week in range(40)]
    rows += [("B", week + 50, "X", False) for week in range(40)]
    found = one(judged(rows))
    assert (found.pairs, found.left_rows, found.right_rows) == (40, 80, 80)
    assert (found.left_accuracy, found.right_accuracy, found.difference) == (1.0, 0.75, 0.25)
    assert (found.both_right, found.only_left_right, found.only_right_right) == (30, 10, 0)
    assert (found.neither_right, found.mixed, found.blocks) == (0, 0, 40)
    # Right is +1 %, wrong -1 %: 0.25 more often right is half a percent a call.
    assert found.return_difference_pct == pytest.approx(0.5)
    assert found.finding == "A is right more often"
    told = comparison_tables.report([found], about())
    assert told.answer == "A is right more often at T+1 A 100 %, B 75 % of 40 pairs."
    # Ten of ten pairs one way: the exact sign test agrees about the order.
    exact = stats.binomtest(10, 10).pvalue
    assert found.p_value == pytest.approx(exact, abs=0.002)


def test_several_calls_on_one_side_are_one_pair() -> None:
    rows = [("A", 0, "X", True), ("A", 0, "X", False), ("B", 0, "X", True)]
    found = one(judged(rows))
    assert (found.pairs, found.left_accuracy, found.difference) == (1, 0.5, -0.5)
    assert (found.mixed, found.both_right) == (1, 0)


def test_three_pairs_say_nothing_however_clear_they_are() -> None:
    rows = [(model, week, "X", model == "A") for week in range(3) for model in "AB"]
    found = one(judged(rows))
    assert found.difference == 1
    assert found.finding == "too few pairs to say"
    assert (found.interval, found.difference_low < 0 < found.difference_high) == ("wilson", True)
    told = comparison_tables.report([found], about()).answer
    assert told == "Too few pairs to say: T+1 A 100 %, B 0 % of 3 pairs."
    # A thousand symbols of one week are one week.
    crowd = [(m, 0, f"S{n}", m == "A") for n in range(1000) for m in "AB"]
    assert one(judged(crowd)).finding == "too few pairs to say"


def test_no_pair_and_no_difference_are_said() -> None:
    apart = one(judged([("A", 0, "X", True), ("B", 1, "X", True)]))
    assert (apart.pairs, apart.finding) == (0, "no pair")
    assert math.isnan(apart.difference)
    told = comparison_tables.report([apart], about()).answer
    assert told == "Nothing to compare: A and B share no judged pair."
    assert "Nothing to compare" in comparison_tables.report([], about()).answer
    same = one(judged([(m, week, "X", week % 2 == 0) for week in range(30) for m in "AB"]))
    assert (same.difference, same.p_value, same.finding) == (0, 1, "the same in every pair")
    assert "No difference" in comparison_tables.report([same], about()).answer
    once = one(judged([(model, 0, "X", True) for model in "AB"]))
    assert (once.difference, once.finding) == (0, "too few pairs to say")


@pytest.mark.parametrize("seed", range(6))
def test_exchanged_sides_change_the_signs_and_nothing_else(seed: int) -> None:
    years = (0.1, 2)[seed % 2]  # too few blocks, and enough
    frame = simulate(
        Predictor(skill=0.1 * seed), seed=seed, sessions=(1, 7, 30)[seed % 3], years=years
    )
    frame = both(frame, Predictor(mix=(0.5, 0.2, 0.3)), seed)
    found, swapped = one(frame), one(frame, "B", "A")
    for plain, turned in (
        ("difference", "difference"),
        ("difference_low", "difference_high"),
        ("difference_high", "difference_low"),
        ("return_difference_pct", "return_difference_pct"),
        ("return_low_pct", "return_high_pct"),
    ):
        assert getattr(found, plain) == pytest.approx(-getattr(swapped, turned), nan_ok=True), plain
    for plain, turned in (
        ("left_accuracy", "right_accuracy"),
        ("only_left_right", "only_right_right"),
        ("left_rows", "right_rows"),
        ("left_return_pct", "right_return_pct"),
    ):
        assert getattr(found, plain) == getattr(swapped, turned), plain
    kept = {"pairs", "blocks", "p_value", "both_right", "neither_right", "mixed", "interval"}
    for name in kept:
        assert getattr(found, name) == getattr(swapped, name), name
    other = found.finding.translate(str.maketrans("AB", "BA"))
    assert swapped.finding == other


def test_the_interval_is_the_cluster_robust_one_of_statsmodels() -> None:
    frame = both(simulate(Predictor(skill=0.1), seed=5, sessions=7, years=4), Predictor(), 5)
    found = one(frame)
    sides = [
        frame[frame["model"] == model].assign(hit=lambda rows: rows["correct"].astype(float))
        .groupby(["symbol", "entry_session"], observed=True)["hit"].mean()
        for model in "AB"
    ]  # fmt: skip
    difference = (sides[0] - sides[1]).dropna()
    days = difference.index.get_level_values("entry_session").to_numpy()
    blocks = Blocks.of(days, 7)
    fitted = sm.OLS(difference.to_numpy(), np.ones(len(difference))).fit(
        cov_type="cluster", cov_kwds={"groups": blocks.codes, "use_correction": False}
    )
    assert found.pairs == len(difference)
    assert found.difference == pytest.approx(fitted.params[0])
    width = stats.t.ppf(0.975, blocks.count - 1) * fitted.bse[0]
    assert (found.difference_high - found.difference_low) / 2 == pytest.approx(width, rel=0.1)


def test_a_bull_and_a_bear_without_skill_are_not_told_apart_by_the_market() -> None:
    """Who takes pairs as independent finds a winner in most markets, because all share its days."""
    claims, naive = [], []
    for seed in range(TIMES):
        market = {"seed": seed, "sessions": 7, "years": 3, "posts_per_day": 1, "drift": 0}
        frame = simulate(Predictor(mix=(0, 0, 1)), **market)
        found = one(both(frame, Predictor(mix=(1, 0, 0)), seed))
        claims.append(found.p_value < 0.05)
        n = found.pairs - found.neither_right - found.both_right - found.mixed
        naive.append(stats.binomtest(found.only_left_right, n).pvalue < 0.05)  # McNemar's
    assert np.mean(claims) <= FLAGGED
    assert np.mean(naive) > 0.3


def test_more_skill_is_found() -> None:
    found = [
        one(both(simulate(Predictor(skill=0.25), seed=seed, years=2), Predictor(), seed))
        for seed in range(20)
    ]
    assert np.mean([each.finding == "A is right more often" for each in found]) > 0.9
    # A quarter of the calls are right for sure, the others as often as B's.
    chance = np.mean([each.right_accuracy for each in found])
    expected = 0.25 * (1 - chance)
    assert np.mean([each.difference for each in found]) == pytest.approx(expected, abs=0.015)


def test_p_values_are_corrected_over_the_horizons() -> None:
    frame = pd.concat(
        [both(simulate(Predictor(), seed=3, sessions=n), Predictor(), n) for n in (1, 7)],
        ignore_index=True,
    )
    found = comparison.compare(frame, "model", "A", "B")
    assert [each.horizon for each in found] == ["t1", "t7"]
    corrected = stats.false_discovery_control([each.p_value for each in found])
    assert [each.q_value for each in found] == pytest.approx(corrected)


def test_symbols_are_compared_by_the_predictions_that_name_both() -> None:
    frame = judged([("m", week, symbol, symbol == "X") for week in range(30) for symbol in "XY"])
    frame["prediction_id"] = np.repeat(np.arange(30), 2)
    found = one(frame, "X", "Y", by="symbol")
    assert (found.pairs, found.difference) == (30, 1.0)
    told = comparison_tables.report([found], about("X", "Y", "symbol"))
    assert "names symbols of both" in told.legend
    with pytest.raises(ValueError, match="no pair"):
        comparison.compare(frame, "quarter", "2024-Q1", "2024-Q2")


def test_names_are_read_in_any_case_and_with_commas() -> None:
    known = ["alpha", "beta, the second", "gamma"]
    assert Sides.of("model=Alpha, GAMMA").among(known) == ("alpha", "gamma")
    assert Sides.of("model=beta, the second,alpha").among(known) == ("beta, the second", "alpha")
    with pytest.raises(ReckonerError, match="no outcome here has delta, but alpha, beta"):
        Sides.of("model=alpha,delta").among(known)
    with pytest.raises(InvalidInput, match="twice"):
        Sides.of("model=alpha,ALPHA").among(known)
    for wrong, words in {
        "model": "write it as",
        "model=alpha": "write it as",
        "model=,alpha": "a name is empty",
        "moon=a,b": "one of symbol",
        "month=2024-01,2024-02": "share no session",
    }.items():
        with pytest.raises(InvalidInput, match=words):
            Sides.of(wrong)
