"""What plain.py and plain_patterns.py share: comparisons, means, quotients of unknown numbers."""

import math
from collections.abc import Sequence

Value = float | None
Values = list[Value]


def near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-12 * abs(b)


def above(a: float, b: float) -> bool:
    return a > b and not near(a, b)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def divided(a: Value, b: Value) -> Value:
    return None if a is None or b is None or b <= 0 else a / b


def percent(a: Value, b: Value) -> Value:
    ratio = divided(a, b)
    return None if ratio is None else (ratio - 1) * 100


def sma(values: Sequence[float], n: int) -> Values:
    return [mean(values[i - n + 1 : i + 1]) if i >= n - 1 else None for i in range(len(values))]
