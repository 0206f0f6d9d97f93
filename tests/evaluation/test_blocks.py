"""Intervals and p-values against scipy and statsmodels, which compute them their own way."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from market.evaluation import blocks, method
from market.evaluation.blocks import Blocks, Floats

DAYS = np.arange("2020-01-06", "2023-01-02", dtype="datetime64[D]")


def in_blocks(count: int, per_block: int, seed: int = 1) -> tuple[Floats, Blocks]:
    """Values of which those of a block share half of their variance."""
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(count), per_block)
    values = generator.normal(0.3, 1, count)[codes] + generator.normal(0, 1, len(codes))
    return values, Blocks(codes, count)


@pytest.mark.parametrize(("share", "n"), [(0.0, 1), (1.0, 3), (0.4, 5), (0.58, 9), (0.5, 1000)])
def test_wilson_is_the_one_of_statsmodels(share: float, n: int) -> None:
    expected = proportion_confint(share * n, n, method="wilson")
    assert blocks.wilson(share, n) == pytest.approx(expected, abs=1e-12)


def test_benjamini_hochberg_is_the_one_of_statsmodels_and_scipy() -> None:
    p = np.random.default_rng(3).uniform(0, 1, 40) ** 3
    corrected = blocks.benjamini_hochberg(p)
    assert corrected == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert corrected == pytest.approx(stats.false_discovery_control(p))
    # What has no p-value is not a test that was made.
    holes = blocks.benjamini_hochberg(np.insert(p, [0, 7], np.nan))
    assert np.isnan(holes).sum() == 2
    assert holes[~np.isnan(holes)] == pytest.approx(corrected)


def test_the_standard_error_is_the_cluster_robust_one_of_statsmodels() -> None:
    values, rows = in_blocks(60, 7)
    uneven = np.flatnonzero(np.random.default_rng(2).random(len(values)) < 0.6)
    values, codes = values[uneven], rows.codes[uneven]
    fitted = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
    )
    found = blocks.mean_interval(values, Blocks(codes, 60))
    assert found.mean == pytest.approx(fitted.params[0])
    # Symmetric bootstrap-t with 60 blocks: near to Student's interval with 59 degrees of freedom.
    error = fitted.bse[0] * np.sqrt(60 / 59)
    assert (found.high - found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 59) * error, rel=0.07)


def test_with_a_row_per_block_it_is_students_interval() -> None:
    values = np.random.default_rng(5).normal(2, 3, 200)
    found = blocks.mean_interval(values, Blocks(np.arange(200), 200))
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert found.method == "bootstrap"


def test_dependent_rows_make_the_interval_wider() -> None:
    values, rows = in_blocks(50, 20)
    alone = blocks.mean_interval(values, Blocks(np.arange(len(values)), len(values)))
    together = blocks.mean_interval(values, rows)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_too_few_blocks_get_wilson_on_their_number() -> None:
    hits = np.array([1.0, 1.0, 0.0, 1.0] * 100)
    codes = np.repeat(np.arange(4), 100)
    found = blocks.share_interval(hits, Blocks(codes, 4))
    assert found.method == "wilson"
    assert (found.low, found.high) == pytest.approx(proportion_confint(3, 4, method="wilson"))
    nothing_varies = blocks.share_interval(np.ones(40), Blocks(np.arange(40), 40))
    assert (nothing_varies.method, nothing_varies.high) == ("wilson", 1.0)


def test_blocks_of_unequal_size_count_as_fewer() -> None:
    equal = Blocks(np.repeat(np.arange(12), 5), 12)
    assert equal.effective == pytest.approx(12)
    assert not equal.are_few
    # One holds half of the rows: 100^2 / (50^2 + 10 * 5^2).
    uneven = Blocks(np.repeat(np.arange(11), [50, *[5] * 10]), 11)
    assert uneven.effective == pytest.approx(10_000 / 2750)
    assert uneven.are_few
    assert Blocks(np.zeros(0, dtype=np.int64), 0).effective == 0
    hits = np.random.default_rng(1).random(100) < 0.4
    found = blocks.share_interval(hits.astype(float), uneven)
    expected = blocks.wilson(hits.mean(), uneven.effective)
    assert (found.method, found.low, found.high) == ("wilson", *expected)
    assert np.isnan(blocks.mean_interval(hits.astype(float), uneven).low)


@pytest.mark.parametrize(
    "sizes",
    [
        [60, 23, 21, 17, 13, 11, 10, 8, 6, 1, 1, 1],  # 172 rows of one tier at T+30
        [110, 20, 15, 10, 5, 3, 3, 2, 2, 1, 1],
        [60, 60, *[1] * 10],
        [140, *[3] * 11],
        [100, *[20] * 14],
        [30] * 12,
        [60, 50, 40, *[30] * 10, 5, 2, 1],
    ],
)
def test_an_interval_over_unequal_blocks_holds_the_truth_and_is_no_outlier(
    sizes: list[int],
) -> None:
    """The bootstrap over the first ones held it in 51 to 96 %, and was up to 100 points wide."""
    generator = np.random.default_rng(11)
    rows = Blocks(np.repeat(np.arange(len(sizes)), sizes), len(sizes))
    found = []
    for _ in range(200):
        # The share of a block varies about 0.4 with a standard deviation of 0.27.
        share = generator.beta(0.93, 1.4, len(sizes))[rows.codes]
        hits = (generator.random(len(rows.codes)) < share).astype(np.float64)
        found.append(blocks.share_interval(hits, rows))
    assert np.mean([each.low <= 0.4 <= each.high for each in found]) > 0.92
    widths = [each.high - each.low for each in found]
    assert np.quantile(widths, 0.95) < 1.8 * np.median(widths)


def test_sign_flips_are_the_permutation_test_of_scipy() -> None:
    sums = np.random.default_rng(8).normal(0.6, 1, 25)
    expected = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=20_000, rng=1
    ).pvalue
    assert blocks.sign_flip_p(sums) == pytest.approx(expected, abs=0.01)


def test_sign_flips_of_a_handful_are_every_combination() -> None:
    sums = np.array([3.0, 1.0, 2.0, -0.5])
    flips = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=4)]
    exact = np.mean([flip >= sums.sum() - 1e-12 for flip in flips])
    assert blocks.sign_flip_p(sums) == pytest.approx(exact, abs=0.03)
    assert blocks.sign_flip_p(np.full(5, 9.0)) > 0.05  # 2 of 32 at best
    assert blocks.sign_flip_p(np.zeros(5)) == 1


@pytest.mark.parametrize(("sessions", "days"), [(1, 7), (3, 14), (7, 21), (30, 84)])
def test_a_block_is_two_horizons_long_and_whole_weeks(sessions: int, days: int) -> None:
    assert method.block_days(sessions) == days
    assert days / 7 * 5 >= 2 * sessions
    found = Blocks.of(DAYS, sessions)
    assert np.bincount(found.codes).max() == days
    assert (np.diff(found.codes) >= 0).all()


def test_the_same_rows_give_the_same_numbers() -> None:
    values, rows = in_blocks(30, 4)
    first = blocks.mean_interval(values, rows)
    blocks.mean_interval(*in_blocks(31, 4))
    assert blocks.mean_interval(values, rows) == first
    shuffled = np.random.default_rng(0).permutation(len(values))
    again = blocks.mean_interval(values[shuffled], Blocks(rows.codes[shuffled], 30))
    assert again.low == pytest.approx(first.low)
