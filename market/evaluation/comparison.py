"""Is one model (source, sector, …) right more often than another? On pairs, so that luck is shared.

Two models that were asked about other stocks in other weeks cannot be compared by their accuracies:
one may have had the easier market. So only pairs count: both were judged on the same symbol and the
same entry session, at the same horizon. Groups of symbols (symbol, sector, asset class) never share
a symbol; their pairs are the predictions that name symbols of both. Groups of time share nothing.

The side of a pair is the mean of its rows, a pair counts once, and its difference is in -1..1. Pairs
depend on each other as rows do, so blocks of the calendar are drawn and flipped (`blocks`), by the
pair's entry session. Left and right exchanged change the signs and nothing else.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from market.evaluation import accuracy
from market.evaluation.blocks import (
    UNKNOWN,
    Blocks,
    Floats,
    Interval,
    benjamini_hochberg,
    mean_interval,
    share_interval,
    sign_flip_p,
)
from market.evaluation.method import SIGNIFICANT
from market.evaluation.records import OF_SYMBOLS, TIMES, Comparison


def names(frame: pd.DataFrame, by: str) -> list[str]:
    """Return the groups that a comparison can name, in order."""
    return sorted(set(map(str, accuracy.labels(frame, by))))


def compare(frame: pd.DataFrame, by: str, left: str, right: str) -> list[Comparison]:
    """Compare two groups of a frame of `outcomes_frame` per horizon.

    by: one of GROUPINGS without the times. Horizons ascending; one without a pair is there too.
    """
    if by in TIMES:
        raise ValueError(f"groups of {by} share no pair")
    labelled = frame.assign(label=accuracy.labels(frame, by))
    found = [
        _compared(rows, by, left, right) for _, rows in labelled.groupby("sessions", sort=True)
    ]
    corrected = benjamini_hochberg(np.array([each.p_value for each in found], dtype=np.float64))
    found = [replace(each, q_value=float(q)) for each, q in zip(found, corrected, strict=True)]
    return [replace(each, finding=_finding(each)) for each in found]


def _finding(one: Comparison) -> str:
    if not one.pairs:
        return "no pair"
    if one.finding:
        return one.finding
    if one.q_value < SIGNIFICANT:
        return "A is right more often" if one.difference > 0 else "B is right more often"
    return "no difference shown"


def _compared(rows: pd.DataFrame, by: str, left: str, right: str) -> Comparison:
    judged = rows[rows[["correct", "direction", "return_pct"]].notna().all(axis=1)]
    judged = judged.assign(
        right=judged["correct"].astype(float), earned=judged["direction"] * judged["return_pct"]
    )
    keys = ["prediction_id"] if by in OF_SYMBOLS else ["symbol", "entry_session"]
    sides = []
    for label in (left, right):
        of_label = judged[judged["label"] == label]
        grouped = of_label.groupby(keys, observed=True)
        sides.append(
            grouped.agg(
                right=("right", "mean"), earned=("earned", "mean"), day=("entry_session", "min")
            )
        )
    pairs = sides[0].add_suffix("_a").join(sides[1].add_suffix("_b"), how="inner")
    hits = [pairs[f"right_{side}"].to_numpy(dtype=np.float64) for side in "ab"]
    earned = [pairs[f"earned_{side}"].to_numpy(dtype=np.float64) for side in "ab"]
    blocks = Blocks.of(pairs["day_a"].to_numpy(), int(rows["sessions"].iloc[0]))
    difference = hits[0] - hits[1]
    interval, p_value, finding = _tested(difference, blocks)
    money = mean_interval(earned[0] - earned[1], blocks)

    def count(a: float, b: float) -> int:
        return int(np.count_nonzero((hits[0] == a) & (hits[1] == b)))

    both, only_left, only_right, neither = count(1, 1), count(1, 0), count(0, 1), count(0, 0)
    return Comparison(
        horizon=str(rows["horizon"].iloc[0]),
        by=by,
        left=left,
        right=right,
        pairs=len(pairs),
        left_rows=int((judged["label"] == left).sum()),
        right_rows=int((judged["label"] == right).sum()),
        left_accuracy=_mean(hits[0]),
        right_accuracy=_mean(hits[1]),
        difference=interval.mean,
        difference_low=interval.low,
        difference_high=interval.high,
        interval=interval.method,
        blocks=blocks.count,
        effective_blocks=blocks.effective,
        p_value=p_value,
        q_value=math.nan,
        both_right=both,
        only_left_right=only_left,
        only_right_right=only_right,
        neither_right=neither,
        mixed=len(pairs) - both - only_left - only_right - neither,
        left_return_pct=_mean(earned[0]),
        right_return_pct=_mean(earned[1]),
        return_difference_pct=money.mean,
        return_low_pct=money.low,
        return_high_pct=money.high,
        finding=finding,
    )


def _tested(difference: Floats, blocks: Blocks) -> tuple[Interval, float, str]:
    """Test the differences of pairs; the finding is empty where the p-value decides it."""
    if not len(difference):
        return UNKNOWN, math.nan, ""
    finding = "too few pairs to say" if blocks.are_few else ""
    if not difference.any():
        # Nothing varies, so nothing can be drawn.
        nothing = Interval(0.0, math.nan, math.nan, "none")
        return nothing, 1.0, finding or "the same in every pair"
    # As a share of 0..1, so that too few blocks get Wilson's interval.
    share = share_interval((difference + 1) / 2, blocks)
    interval = Interval(
        float(difference.mean()), 2 * share.low - 1, 2 * share.high - 1, share.method
    )
    return interval, sign_flip_p(blocks.sums(difference)), finding


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
