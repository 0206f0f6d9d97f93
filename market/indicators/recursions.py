"""Averages that never forget: `y = k·x + (1 - k)·y_before`, seeded by a mean.

Numpy has no such loop, but a running sum: with b = 1 - k, `y[i] = bⁱ · Σ k·x[j]·b⁻ʲ`. b⁻ʲ grows without
bound, so the sum begins again, from the last y, after a block of bars whose length depends on b alone.
Blocks are counted from the seed, and a running sum adds one bar after the other, so a longer history
changes no earlier value by a bit. Against the plain loop it differs by some 1e-15 of the value.
"""

import math
from functools import cache

import numpy as np

from market.indicators.bars import Floats

# b⁻ʲ of a whole block stays below 1e150: prices of 1e150 still fit into a float.
_DECADES = 150


@cache
def _powers(k: float) -> tuple[Floats, Floats]:
    """Return k·b⁻ⁱ, with 1 at i = 0 for the value that is known, and bⁱ."""
    block = int(_DECADES / -math.log10(1 - k))
    steps = np.arange(block + 1, dtype=np.float64)
    decay = (1 - k) ** steps
    growth = k / decay
    growth[0] = 1
    return growth, decay


def _runs(values: Floats) -> list[tuple[int, int]]:
    """Return where the values are known: stretches from a first to behind a last."""
    known = np.isfinite(values)
    edges = np.flatnonzero(known[1:] != known[:-1]) + 1
    bounds = [0, *edges.tolist(), len(values)]
    begin = 0 if len(values) and known[0] else 1
    return [(bounds[i], bounds[i + 1]) for i in range(begin, len(bounds) - 1, 2)]


def _smooth(values: Floats, length: int, k: float, results: Floats) -> None:
    """Write the average of one stretch of known values, NaN before its seed."""
    growth, decay = _powers(k)
    block, total = len(growth) - 1, len(values)
    results[: length - 1] = np.nan
    last = results[length - 1] = np.add.reduce(values[:length]) / length
    for begin in range(length - 1, total - 1, block):
        end = min(begin + block + 1, total)
        part = values[begin:end] * growth[: end - begin]
        part[0] = last
        np.add.accumulate(part, out=part)
        np.multiply(part, decay[: end - begin], out=results[begin:end])
        last = results[end - 1]


def average(values: Floats, length: int, k: float) -> Floats:
    """Average exponentially.

    Formula: `y = k·x + (1 - k)·y_before`. Seed: the mean of the first `length` values, on the last of
    them; NaN before. A NaN ends a stretch: the next stretch of known values has a seed of its own.
    """
    results = np.empty(len(values))
    if len(values) >= length:
        _smooth(values, length, k, results)
        if math.isfinite(results[-1]):  # what is not finite would have reached the last bar
            return results
    results.fill(np.nan)
    for begin, end in _runs(values):
        if end - begin >= length:
            _smooth(values[begin:end], length, k, results[begin:end])
    return results
