"""What an accuracy report counts, against plain pandas and scipy, and what it calls things."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from market.evaluation import accuracy, accuracy_tables
from market.evaluation.lines import lines_of
from tests.evaluation.simulated import Predictor, simulate


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Two horizons of one predictor; some rows pending, unresolvable, or without a sentiment."""
    parts = [simulate(Predictor(skill=0.2), seed=4, sessions=n, years=1) for n in (1, 7)]
    frame = pd.concat(parts, ignore_index=True)
    generator = np.random.default_rng(1)
    frame["benchmark_return_pct"] = np.where(generator.random(len(frame)) < 0.9, 0.1, np.nan)
    frame["excess_pct"] = frame["return_pct"] - frame["benchmark_return_pct"]
    frame["total_return_pct"] = frame["return_pct"] + np.where(
        frame["symbol"] == "AAA", 0.2, np.nan
    )
    frame["sentiment"] = frame["sentiment"].astype("object")
    fate = generator.random(len(frame))
    lost = fate < 0.1
    frame.loc[lost, ["return_pct", "total_return_pct", "excess_pct", "pnl_usd"]] = np.nan
    frame.loc[lost, ["correct", "bullish_correct"]] = pd.NA
    frame.loc[lost, "state"] = np.where(fate[lost] < 0.03, "unresolvable", "pending")
    unsaid = fate > 0.95
    frame.loc[unsaid, ["sentiment", "direction"]] = np.nan
    frame.loc[unsaid, "correct"] = pd.NA
    return frame


def test_counts_and_means_are_those_of_pandas(frame: pd.DataFrame) -> None:
    for group in accuracy.groups(frame, "symbol"):
        rows = frame[(frame["horizon"] == group.horizon) & (frame["symbol"] == group.group)]
        judged = rows[rows["correct"].notna()]
        assert group.predictions == rows["prediction_id"].nunique()
        assert group.outcomes == len(rows)
        assert group.outcomes == (
            group.correct + group.incorrect + group.unjudged + group.pending + group.unresolvable
        )
        assert (group.pending, group.unresolvable) == (
            (rows["state"] == "pending").sum(),
            (rows["state"] == "unresolvable").sum(),
        )
        assert group.accuracy == pytest.approx(judged["correct"].mean())
        assert group.base_rate == pytest.approx((judged["return_pct"] > 0.5).mean())
        assert group.edge == pytest.approx(group.accuracy - group.base_rate)
        assert group.mean_return_pct == pytest.approx(judged["return_pct"].mean())
        assert group.median_return_pct == pytest.approx(judged["return_pct"].median())
        dividend = 0.2 if group.group == "AAA" else 0
        assert group.mean_total_return_pct == pytest.approx(group.mean_return_pct + dividend)
        signed = judged["direction"] * judged["return_pct"]
        assert group.directional_return_pct == pytest.approx(signed.mean())
        assert group.directional_pnl_usd == pytest.approx((signed * 10).sum())
        assert group.pnl_usd == pytest.approx(judged["pnl_usd"].sum())
        assert group.mean_excess_pct == pytest.approx(judged["excess_pct"].mean())
        assert group.benchmark_rows == judged["excess_pct"].notna().sum()


def test_said_and_came_is_the_crosstab_of_pandas(frame: pd.DataFrame) -> None:
    for group in accuracy.groups(frame, "symbol"):
        rows = frame[(frame["horizon"] == group.horizon) & (frame["symbol"] == group.group)]
        judged = rows[rows["correct"].notna()]
        came = pd.cut(
            judged["return_pct"], [-np.inf, -0.5, 0.5, np.inf], labels=["down", "flat", "up"]
        )
        counts = pd.crosstab(judged["sentiment"], came)
        found = {
            (said, name): getattr(group, f"{said}_{name}")
            for said in ("bullish", "neutral", "bearish")
            for name in ("up", "flat", "down")
        }
        assert found == {key: counts.loc[key] for key in found}
        assert sum(found.values()) == group.correct + group.incorrect
        right = ("bullish", "up"), ("neutral", "flat"), ("bearish", "down")
        assert sum(found[key] for key in right) == group.correct


def test_quarters_and_years_are_those_of_the_day() -> None:
    frame = simulate(Predictor(), seed=1, years=2.1)
    for by, form in {"year": "%Y", "month": "%Y-%m"}.items():
        assert list(accuracy.labels(frame, by)) == list(frame["prediction_date"].dt.strftime(form))
    quarters = frame["prediction_date"].dt.to_period("Q").astype(str).str.replace("Q", "-Q")
    assert list(accuracy.labels(frame, "quarter")) == list(quarters)
    names = [group.group for group in accuracy.groups(frame, "quarter")]
    assert names == sorted(names)


def test_the_best_lines_are_those_with_the_largest_edge(frame: pd.DataFrame) -> None:
    groups = accuracy.groups(frame, "symbol")
    kept = lines_of(groups, "symbol", 2)
    for horizon in ("t1", "t7"):
        edges = sorted((g.edge for g in groups if g.horizon == horizon), reverse=True)
        assert [g.edge for g in kept if g.horizon == horizon] == edges[:2]
    told = accuracy_tables.report(groups, {"benchmark": "SPY", "by": "symbol"}, 2)
    assert len(told.tables[0].rows) == 4
    assert told.answer == accuracy_tables.answer(groups)  # about all of them
    assert (told.document["about"]["top"], told.document["about"]["lines"]) == (2, len(groups))
    assert [g["q_value"] for g in told.document["groups"]] == [g.q_value for g in kept]
    # Times stay in their order.
    months = accuracy.groups(frame, "month")
    best = lines_of(months, "month", 3)
    assert [g for g in months if g in best] == best
    assert len(best) == 6


def test_the_information_coefficient_is_spearmans(frame: pd.DataFrame) -> None:
    for group in accuracy.groups(frame):
        judged = frame[(frame["horizon"] == group.horizon) & frame["correct"].notna()]
        said = judged["confidence"] * judged["direction"]
        expected = stats.spearmanr(said, judged["return_pct"]).statistic
        assert group.information_coefficient == pytest.approx(expected)
        assert group.ic_low < expected < group.ic_high


def test_chance_is_what_shuffling_calls_within_a_symbol_scores(frame: pd.DataFrame) -> None:
    (group,) = accuracy.groups(frame[frame["horizon"] == "t7"])
    judged = frame[(frame["horizon"] == "t7") & frame["correct"].notna()]
    came = np.sign(judged["return_pct"]).where(judged["return_pct"].abs() > 0.5, 0)
    generator = np.random.default_rng(2)
    scores = []
    for _ in range(300):
        dealt = judged.groupby("symbol", observed=True)["direction"].transform(
            generator.permutation
        )
        scores.append((dealt == came).mean())
    assert group.chance_rate == pytest.approx(
        np.mean(scores), abs=4 * np.std(scores) / np.sqrt(300)
    )


def test_p_values_are_corrected_over_all_lines_of_a_report(frame: pd.DataFrame) -> None:
    groups = accuracy.groups(frame, "symbol")
    corrected = stats.false_discovery_control([g.p_value for g in groups])
    assert [g.q_value for g in groups] == pytest.approx(corrected)
    corrected = stats.false_discovery_control([g.chance_p_value for g in groups])
    assert [g.chance_q_value for g in groups] == pytest.approx(corrected)


def test_p_is_of_both_references() -> None:
    # Better than always bullish and like chance, or the other way round, is no skill.
    for mix, skill in (((0.5, 0.3, 0.2), 0.0), ((0.05, 0.0, 0.95), 0.02), ((0.3, 0.1, 0.6), 0.4)):
        (group,) = accuracy.groups(simulate(Predictor(mix, skill), seed=3))
        is_same_side = (group.accuracy - group.base_rate) * (group.accuracy - group.chance_rate) > 0
        assert group.p_value == (
            max(group.base_p_value, group.chance_p_value) if is_same_side else 1.0
        )


def test_groups_come_in_their_order_and_what_is_not_given_last(frame: pd.DataFrame) -> None:
    by_sentiment = accuracy.groups(frame[frame["horizon"] == "t7"], "sentiment")
    assert [g.group for g in by_sentiment] == ["bullish", "neutral", "bearish", "not given"]
    assert by_sentiment[0].finding == "the same as always bullish"
    assert by_sentiment[-1].finding == "nothing judged yet"
    assert np.isnan(by_sentiment[-1].p_value)
    months = [g.group for g in accuracy.groups(frame[frame["horizon"] == "t1"], "month")]
    assert months == sorted(months)
    assert months[0] == "2020-01"
    assert [g.horizon for g in accuracy.groups(frame)] == ["t1", "t7"]


def test_a_week_of_thousand_rows_is_too_little_to_say() -> None:
    frame = simulate(Predictor(skill=1), seed=1, years=0.02, posts_per_day=200)
    (group,) = accuracy.groups(frame)
    assert group.correct > 1000
    assert group.incorrect == 0
    assert group.finding == "too little to say"
    assert group.interval == "wilson"
    assert group.accuracy_low < 0.4


def test_nothing_at_all() -> None:
    frame = simulate(Predictor(), seed=1, years=0.1)
    assert accuracy.groups(frame.iloc[:0]) == []
    assert accuracy.is_missing(frame, "model")
    assert not accuracy.is_missing(frame.assign(model="m"), "model")
    assert not accuracy.is_missing(frame, "symbol")
