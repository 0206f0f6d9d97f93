"""Blocks of rows that depend on each other, with their intervals and p-values.

Outcomes of one prediction share their moment; outcomes of one symbol share the sessions in
which their horizons overlap; and all symbols share the market of their days. So a row is not
an observation. Stretches of time are nearly independent: rows are put into blocks of
the calendar by the moment of their prediction, each block about two horizons long (whole
weeks), for all symbols together. All rows of a prediction are in one block, and overlaps reach
over block edges only.

Intervals: whole blocks are drawn with replacement (cluster bootstrap) and the estimate is
studentised by its cluster-robust standard error (bootstrap-t, symmetric; Efron 1981; Cameron,
Gelbach and Miller 2008). Below MIN_BLOCKS blocks that is unreliable; then Wilson's
interval is used, with the number of blocks as the number of observations. Blocks of unequal size
count as fewer: where one holds half of the rows, resamples with and without it have little in
common, and the bootstrap's interval is at times ten times too wide, and at times misses the truth
in a third of the cases (Carter, Schnepel and Steigerwald 2017). So blocks are counted by Kish's
effective number, (sum of sizes)^2 / sum of squared sizes, which is their number where all are equal.

P-values of a mean that should be zero: the signs of the blocks' sums are flipped at random
(wild cluster bootstrap with the null imposed). With n blocks no p-value is below 2^(1-n), so
a handful of blocks is never significant.

All draws have fixed seeds: the same rows give the same report.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.evaluation.method import MIN_BLOCKS, RESAMPLES, SEED, block_days

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_Z = 1.959963984540054  # the normal's 97.5 % point
_MONDAY = np.datetime64("1970-01-05", "D")


@dataclass(frozen=True)
class Blocks:
    """Rows put into blocks: codes[i] is the block of row i, 0 .. count - 1."""

    codes: Integers
    count: int

    @classmethod
    def of(cls, days: NDArray[Any], sessions: int) -> "Blocks":
        """Make blocks from the predictions' UTC days (datetime64) and a horizon in sessions."""
        numbers = (days.astype("datetime64[D]") - _MONDAY).astype(np.int64) // block_days(sessions)
        used, codes = np.unique(numbers, return_inverse=True)
        return cls(codes.astype(np.int64), len(used))

    @property
    def effective(self) -> float:
        """The number of blocks of equal size that tell as much as these; 0 without rows."""
        if not len(self.codes):
            return 0.0
        sizes = np.bincount(self.codes, minlength=self.count).astype(np.float64)
        return float(sizes.sum() ** 2 / (sizes @ sizes))

    @property
    def are_few(self) -> bool:
        """Whether there are too few for a bootstrap and for a finding."""
        return self.effective < MIN_BLOCKS - 1e-9

    def sums(self, values: Floats) -> Floats:
        """Sum of the values per block."""
        return np.bincount(self.codes, weights=values, minlength=self.count).astype(np.float64)

    def of_rows(self, mask: NDArray[np.bool_]) -> "Blocks":
        """Return the same blocks for some of the rows, without blocks that are empty then."""
        used, codes = np.unique(self.codes[mask], return_inverse=True)
        return Blocks(codes.astype(np.int64), len(used))


@dataclass(frozen=True)
class Interval:
    """A mean or median with its 95 % interval, and how that was found: bootstrap or wilson."""

    mean: float
    low: float
    high: float
    method: str


UNKNOWN = Interval(math.nan, math.nan, math.nan, "none")


def mean_interval(values: Floats, blocks: Blocks) -> Interval:
    """Compute the interval of a mean over blocks; NaN bounds where these are too few."""
    if not len(values):
        return UNKNOWN
    sums, sizes = blocks.sums(values), blocks.sums(np.ones(len(values)))
    mean, error = _ratio(sums, sizes)
    if blocks.are_few:
        return Interval(mean, math.nan, math.nan, "none")
    width = float(_studentised(sums, sizes, mean) * error)
    return Interval(mean, mean - width, mean + width, "bootstrap")


def median_interval(values: Floats, blocks: Blocks) -> Interval:
    """Compute the interval of a median over blocks; NaN bounds where these are too few.

    Woodruff (1952): the interval of the share of rows below the median, read at the quantiles.
    """
    if not len(values):
        return UNKNOWN
    median = float(np.median(values))
    below = mean_interval((values <= median).astype(np.float64), blocks)
    if below.method == "none":
        return Interval(median, math.nan, math.nan, "none")
    half = min((below.high - below.low) / 2, 0.5)
    low, high = np.quantile(values, [0.5 - half, 0.5 + half])
    return Interval(median, float(low), float(high), "bootstrap")


def share_interval(hits: Floats, blocks: Blocks) -> Interval:
    """Compute the interval of a share (0..1): bootstrap, or Wilson's with too few blocks."""
    found = mean_interval(hits, blocks)
    if math.isnan(found.mean):
        return UNKNOWN
    if found.method == "none" or found.low == found.high:
        return Interval(found.mean, *wilson(found.mean, blocks.effective), "wilson")
    return Interval(found.mean, max(0.0, found.low), min(1.0, found.high), "bootstrap")


def wilson(share: float, n: float) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a share in n independent observations (Wilson 1927)."""
    centre = share + _Z**2 / (2 * n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def sign_flip_p(sums: Floats) -> float:
    """Compute the two-sided p-value of a zero mean of independent block sums; NaN without any."""
    if not len(sums):
        return math.nan
    total = abs(sums.sum())
    scale = np.abs(sums).sum()
    if scale <= 0:
        return 1.0
    flipped = np.abs(_signs(len(sums)) @ sums)
    # Rounding: the same sum in another order of addition must not count as smaller.
    return float((1 + np.count_nonzero(flipped >= total - 1e-9 * scale)) / (1 + RESAMPLES))


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Correct p-values for their number by the false discovery rate (1995); NaN stays NaN."""
    known = np.flatnonzero(~np.isnan(p_values))
    corrected = np.full(len(p_values), np.nan)
    order = known[np.argsort(p_values[known])[::-1]]
    ranks = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.minimum.accumulate(p_values[order] * len(order) / ranks), 1.0)
    return corrected


def _ratio(sums: Floats, sizes: Floats) -> tuple[float, float]:
    """Compute the mean over all rows and its cluster-robust standard error."""
    n, total = len(sums), sizes.sum()
    mean = float(sums.sum() / total)
    residuals = sums - mean * sizes
    error = math.sqrt(float(residuals @ residuals) * n / max(n - 1, 1)) / total
    return mean, error


def _studentised(sums: Floats, sizes: Floats, mean: float) -> float:
    """Compute the 95 % point of |t| over resamples of whole blocks."""
    draws = _draws(len(sums))
    size = draws @ sizes
    means = (draws @ sums) / size
    # Sum of squared residuals of each resample, without a third dimension.
    squares = (
        draws @ (sums * sums)
        - 2 * means * (draws @ (sums * sizes))
        + means**2 * (draws @ (sizes**2))
    )
    n = len(sums)
    errors = np.sqrt(np.maximum(squares, 0) * n / (n - 1)) / size
    away = np.abs(means - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(away > 0, away / errors, 0.0)
    return float(np.quantile(t[np.isfinite(t)], 0.95))


@functools.lru_cache(maxsize=64)
def _draws(count: int) -> Floats:
    """Draw how often each block counts, RESAMPLES x count; the same for every group of that size."""
    generator = np.random.default_rng([SEED, 1, count])
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


@functools.lru_cache(maxsize=64)
def _signs(count: int) -> Floats:
    generator = np.random.default_rng([SEED, 2, count])
    return generator.choice(np.array([-1.0, 1.0]), (RESAMPLES, count))
