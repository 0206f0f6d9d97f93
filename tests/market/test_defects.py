"""37 kinds of defect: each is found, none in the series without it, and no wrong step is used."""

import datetime as dt
import itertools
import math

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from market.prices.validation import validate
from market.providers import Action, Bar
from tests.market.defects import CLEAN, KINDS, SPLIT_AT, Series, found, good, scaled

SEEDS = (1, 2)
unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def returns(closes: list[float]) -> list[float]:
    return [math.log(b / a) for a, b in itertools.pairwise(closes)]


def used(series: Series) -> list[float] | None:
    """The closes that would be stored; None where the answer is refused."""
    report = series.checked()
    if report.grade == "refused":
        return None
    assert [bar.date for bar in report.bars] == series.days
    return [bar.close or 0 for bar in report.bars]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_defect_is_found_and_none_where_there_is_none(kind: str, seed: int) -> None:
    bad, whole = KINDS[kind](seed)
    assert found(bad.checked())
    report = whole.checked()
    assert not found(report), report.flags


@pytest.mark.parametrize("kind", CLEAN)
@pytest.mark.parametrize("seed", range(5))
def test_a_clean_series_is_used_as_it_is(kind: str, seed: int) -> None:
    series = CLEAN[kind](seed)
    report = series.checked()
    assert (report.bars, report.flags, report.rejected) == (series.bars, [], [])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith(("split", "unit"))])
def test_a_wrong_step_is_mended(kind: str) -> None:
    bad, whole = KINDS[kind](1)
    closes = used(bad)
    assert closes is not None
    assert returns(closes) == pytest.approx(returns(whole.closes), abs=1e-9)


@unhurried
@given(
    seed=st.integers(0, 10_000),
    spread=st.floats(0.004, 0.02),
    ratio=st.sampled_from([2.0, 3.0, 4.0, 10.0, 0.5, 0.1, 0.05, 0.4406, 0.031, 1 / 190, 1e-4]),
    late=st.integers(-8, 8),
    twice=st.booleans(),
)
def test_no_split_near_its_step_is_used_as_it_is(
    seed: int, spread: float, ratio: float, late: int, twice: bool
) -> None:
    whole = good(seed, spread=spread, split=ratio, sessions=300)
    bad = scaled(whole, range(SPLIT_AT + late), 1 / ratio if twice else ratio)
    closes = used(bad)
    assert closes is None or returns(closes) == pytest.approx(returns(whole.closes), abs=1e-9)


@unhurried
@given(
    seed=st.integers(0, 10_000),
    ratio=st.sampled_from([3.0, 10.0, 0.4717, 0.1, 0.02, 1e-4]),
    at=st.integers(-9, 9),
    length=st.integers(1, 9),
)
@example(seed=0, ratio=3.0, at=7, length=4)  # the block goes on when the split is out of sight
def test_no_bar_off_by_a_told_split_is_used_as_it_is(
    seed: int, ratio: float, at: int, length: int
) -> None:
    whole = good(seed, split=ratio, sessions=300)
    bad = scaled(whole, range(SPLIT_AT + at, SPLIT_AT + at + length), ratio)
    closes = used(bad)
    assert closes is None or returns(closes) == pytest.approx(returns(whole.closes), abs=1e-9)


@unhurried
@given(
    seed=st.integers(0, 10_000),
    spread=st.floats(0.004, 0.03),
    split=st.sampled_from([None, 2.0, 3.0, 10.0, 0.1, 1 / 190]),
    crash=st.sampled_from([None, 0.1, 0.25, 0.35, 0.5, 0.7, 1.6, 2.0, 4.0, 12.0]),
    payout=st.sampled_from([0.0, 0.0005, 0.004, 0.02, 0.08]),
)
def test_a_true_series_is_used_as_it_is(
    seed: int, spread: float, split: float | None, crash: float | None, payout: float
) -> None:
    """Also with a crash of a split's size, months from the split."""
    series = good(seed, spread=spread, payout=payout, split=split, crash=crash)
    report = series.checked()
    assert (report.bars, report.rejected, report.grade) == (series.bars, [], "accepted")


def step(closes: list[float], split: float | None, told: int) -> tuple[list[float], str]:
    """The closes of the last days after validation; `told`: sessions from the step to the split."""
    calm = [closes[0] * (1 + 0.01 * (n % 3 - 1)) for n in range(40)]
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(42)]
    bars = [
        Bar(day, None, None, None, close) for day, close in zip(days, [*calm, *closes], strict=True)
    ]
    actions = [Action(days[41 + told], "split", split)] if split and told <= 0 else []
    if split and told > 0:
        actions = [Action(days[41] + dt.timedelta(days=told), "split", split)]
    report = validate(bars, days, actions=actions)
    return [bar.close or 0 for bar in report.bars[-2:]], report.grade


@pytest.mark.parametrize(
    ("closes", "split", "told", "right"),
    [
        ([0.0105, 0.0105 * 190 * 0.695], 1 / 190, 0, -0.305),  # +13,105 %
        ([100.0, 50.3], 2.0, -1, 0.006),  # -49.7 %, and told a day early
        ([100.0, 50.3], 2.0, 1, 0.006),  # or a day late
        ([10.0, 10.0 / 0.031 * 0.97], 0.031, 0, -0.03),
        ([10.0, 4.9], None, 0, -0.51),  # a crash is one
        ([10.0, 20.3], None, 0, 1.03),
        ([10.0, 0.05], None, 0, -0.995),
    ],
)
def test_returns_over_a_step(
    closes: list[float], split: float | None, told: int, right: float
) -> None:
    (before, after), grade = step(closes, split, told)
    assert after / before - 1 == pytest.approx(right, abs=1e-9)
    assert grade == ("flagged" if split else "accepted")


@pytest.mark.parametrize("move", [0.95, 1.0, 1.05])
def test_a_return_of_capital_beside_its_consolidation_is_a_dividend(move: float) -> None:
    """Of 461 a share, 244 are paid out, and 17 new shares stand for 36 old ones: as Capricorn did."""
    calm = [461.0 * (1 + 0.01 * (n % 3 - 1)) for n in range(40)]
    after = (calm[-1] - 244) * move
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(42)]
    bars = [
        Bar(day, None, None, None, close)
        for day, close in zip(days, [*calm, after, after], strict=True)
    ]
    actions = [Action(days[40], "dividend", 244.0), Action(days[40], "split", 17 / 36)]
    report = validate(bars, days, actions=actions)
    assert (report.bars, report.grade) == (bars, "accepted")


def test_so_many_mends_are_refused() -> None:
    """An answer that tells thirty splits that its closes do not know is not one in good faith."""
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=n) for n in range(1200)]
    bars = [Bar(day, None, None, None, 2.0 ** -(n // 40) * 1e6) for n, day in enumerate(days)]
    actions = [Action(days[n], "split", 2.0) for n in range(40, 1200, 40)]
    assert validate(bars, days, actions=actions).grade == "refused"
