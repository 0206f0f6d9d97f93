"""Sums and extremes of sliding windows, each bar by the same steps whatever came before.

A window of 2k is two windows of k: after seven doublings every length up to 255 is a few of them
put together. So a value depends on its own window only, to the last bit: a longer history changes
nothing (a running sum would), one NaN is forgotten when it leaves the window, and the last value
can be had from the last bars alone.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np

from market.indicators.bars import Floats


def _combined(
    operation: np.ufunc, values: Floats, lengths: Iterable[int], *, is_mean: bool = False
) -> dict[int, Floats]:
    """Combine each window's values by an operation for which order does not matter."""
    total = len(values)
    wanted = tuple(lengths)
    longest = max((length for length in wanted if length <= total), default=0)
    doubled = [values]  # doubled[k][i] is over values[i : i + 2 ** k]
    while 2 ** len(doubled) <= longest:
        size, last = 2 ** (len(doubled) - 1), doubled[-1]
        doubled.append(operation(last[:-size], last[size:]))
    results = {}
    for length in wanted:
        result = results[length] = np.empty(total)
        result[: length - 1] = np.nan
        if length > total:
            continue
        windows = total - length + 1
        first, *others = _parts(length)
        full, part, at = result[length - 1 :], doubled[first][:windows], 2**first
        for power in others:
            part = operation(part, doubled[power][at : at + windows], out=full)
            at += 2**power
        if is_mean:
            np.divide(part, length, out=full)
        elif not others:
            full[:] = part
    return results


@cache
def _parts(length: int) -> tuple[int, ...]:
    """Return the powers of two that a length is the sum of, the greatest first."""
    return tuple(power for power in range(length.bit_length() - 1, -1, -1) if length >> power & 1)


def sums(values: Floats, lengths: Iterable[int]) -> dict[int, Floats]:
    """Sum each window; NaN until it is full and while it holds a NaN."""
    return _combined(np.add, values, lengths)


def means(values: Floats, lengths: Iterable[int]) -> dict[int, Floats]:
    """Average each window; NaN until it is full and while it holds a NaN."""
    return _combined(np.add, values, lengths, is_mean=True)


def highest(values: Floats, lengths: Iterable[int]) -> dict[int, Floats]:
    """Find each window's maximum; NaN until it is full and while it holds a NaN."""
    return _combined(np.maximum, values, lengths)


def lowest(values: Floats, lengths: Iterable[int]) -> dict[int, Floats]:
    """Find each window's minimum; NaN until it is full and while it holds a NaN."""
    return _combined(np.minimum, values, lengths)
