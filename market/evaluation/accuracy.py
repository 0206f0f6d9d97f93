"""Accuracy per group and horizon, against what no skill would have scored on the same rows.

Two references, because each alone takes luck for skill:
  base rate   "always bullish" on the same rows. In a rising market it scores well, and so do
              calls that are mostly bullish.
  chance      the same calls dealt out at random over all rows of the same symbol and horizon.
              Neutral calls on quiet symbols beat "always bullish" without any skill.
A group is called better (or worse) than always bullish only where it differs from both: that
p-value is the larger of the two (intersection-union test), and 1 where it is above one and
below the other. A group that differs from chance only has skill, but not more than "always
bullish" scores. P-values are corrected over all groups of a report (Benjamini-Hochberg).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from market.evaluation import blocks as dependence
from market.evaluation.blocks import Blocks, Floats, Integers, mean_interval, share_interval
from market.evaluation.method import MIN_BLOCKS, SIGNIFICANT
from market.evaluation.money import trades
from market.evaluation.records import COLUMNS, MISSING, Group
from market.horizons import NEUTRAL_BAND

# Groupings by columns that a source may lack.
OPTIONAL = frozenset({"sector", "model", "source"})
_PERIODS = {"month": "%Y-%m", "year": "%Y"}
_SAID = ("bearish", "neutral", "bullish")
_CAME = ("down", "flat", "up")


def groups(frame: pd.DataFrame, by: str | None = None) -> list[Group]:
    """Evaluate a frame of `outcomes_frame` per horizon and group.

    by: one of GROUPINGS, None for one group per horizon. Horizons ascending, groups in their
    natural order.
    """
    found: list[Group] = []
    for _, rows in frame.groupby("sessions", sort=True):
        found += _Horizon(rows, labels(rows, by)).groups()
    both, chance = (
        dependence.benjamini_hochberg(np.array(values, dtype=np.float64))
        for values in ([g.p_value for g in found], [g.chance_p_value for g in found])
    )
    found = [
        replace(group, q_value=float(q), chance_q_value=float(chance_q))
        for group, q, chance_q in zip(found, both, chance, strict=True)
    ]
    return [replace(group, finding=_finding(group)) for group in found]


def is_missing(frame: pd.DataFrame, by: str) -> bool:
    """Tell whether no row has a value for this grouping.

    True where the source lacks the column of sector, model or source, or never fills it.
    """
    return by in OPTIONAL and len(frame) > 0 and bool(frame[by].isna().all())


def labels(rows: pd.DataFrame, by: str | None) -> NDArray[np.object_]:
    """Return the group of each row; MISSING where it has none."""
    if by is None:
        return np.full(len(rows), "all", dtype=np.object_)
    days = rows["prediction_date"]
    if by == "quarter":
        found = days.dt.strftime("%Y-Q") + days.dt.quarter.astype("Int64").astype("string")
    elif by in _PERIODS:
        found = days.dt.strftime(_PERIODS[by])
    else:
        found = rows[COLUMNS.get(by, by)]
    return np.array(found.astype("object").fillna(MISSING).to_list(), dtype=np.object_)


def _finding(group: Group) -> str:
    if not group.correct + group.incorrect:
        return "nothing judged yet"
    if group.finding:
        return group.finding
    if group.effective_blocks < MIN_BLOCKS - 1e-9:
        return "too little to say"
    direction = "better" if group.accuracy > group.chance_rate else "worse"
    if group.q_value < SIGNIFICANT:
        return f"{direction} than always bullish"
    if group.chance_q_value < SIGNIFICANT:
        return f"{direction} than chance only"
    return "no skill shown"


def _number(values: "pd.Series[Any]") -> Floats:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def came(returns: Floats) -> Integers:
    """Return what prices did, coded like `direction`: 1 up, 0 flat, -1 down."""
    signs = np.where(returns > NEUTRAL_BAND, 1, np.where(returns < -NEUTRAL_BAND, -1, 0))
    return signs.astype(np.int64)


def _said_and_came(direction: Floats, actual: Integers) -> dict[str, int]:
    cells = (direction.astype(np.int64) + 1) * 3 + actual + 1
    counts = np.bincount(cells, minlength=9)
    names = [f"{said}_{came}" for said in _SAID for came in _CAME]
    return dict(zip(names, map(int, counts), strict=True))


class _Horizon:
    """The rows of one horizon; what its groups share is computed once."""

    def __init__(self, rows: pd.DataFrame, labels: NDArray[np.object_]) -> None:
        self._rows = rows
        self._labels = labels
        is_judged = rows[["correct", "direction", "return_pct"]].notna().all(axis=1).to_numpy()
        judged = rows[is_judged]
        self._judged_labels = labels[is_judged]
        self._judged = judged
        self._horizon = str(rows["horizon"].iloc[0])
        self._blocks = Blocks.of(
            judged["prediction_date"].to_numpy(), int(rows["sessions"].iloc[0])
        )
        self._numbers = {
            name: _number(judged[name])
            for name in (
                "correct", "bullish_correct", "direction", "return_pct", "total_return_pct",
                "excess_pct", "total_excess_pct", "pnl_usd", "confidence",
            )
        }  # fmt: skip
        self._exits = judged["exit_session"].to_numpy().astype("datetime64[D]")
        self._came = came(self._numbers["return_pct"])
        self._chance = _Chance(judged, self._blocks)

    def groups(self) -> list[Group]:
        return [self._group(label) for label in _ordered(np.unique(self._labels))]

    def _group(self, label: str) -> Group:
        rows = self._rows[np.asarray(self._labels == label)]
        mask = np.asarray(self._judged_labels == label)
        blocks = self._blocks.of_rows(mask)
        row = {name: values[mask] for name, values in self._numbers.items()}
        edges = row["correct"] - row["bullish_correct"]
        is_bullish = bool((row["direction"] == 1).all())
        accuracy = share_interval(row["correct"], blocks)
        edge = mean_interval(edges, blocks)
        directional = mean_interval(row["direction"] * row["return_pct"], blocks)
        coefficient = _coefficient(row, blocks)
        chance_rate, chance_sums = self._chance.of(mask)
        base_p = dependence.sign_flip_p(blocks.sums(edges))
        chance_p = dependence.sign_flip_p(chance_sums)
        is_same_side = edges.sum() * chance_sums.sum() > 0
        total = np.where(
            np.isnan(row["total_return_pct"]), row["return_pct"], row["total_return_pct"]
        )
        state = rows["state"]
        earned = trades(row["direction"], row["pnl_usd"], self._exits[mask])
        return Group(
            horizon=self._horizon,
            group=label,
            predictions=int(rows["prediction_id"].nunique()),
            outcomes=len(rows),
            correct=int(row["correct"].sum()),
            incorrect=int((1 - row["correct"]).sum()),
            unjudged=int((state == "known").sum()) - len(edges),
            pending=int((state == "pending").sum()),
            unresolvable=int((state == "unresolvable").sum()),
            accuracy=accuracy.mean,
            accuracy_low=accuracy.low,
            accuracy_high=accuracy.high,
            interval=accuracy.method,
            blocks=blocks.count,
            effective_blocks=blocks.effective,
            base_rate=_mean(row["bullish_correct"]),
            chance_rate=chance_rate,
            edge=edge.mean,
            edge_low=edge.low,
            edge_high=edge.high,
            base_p_value=base_p,
            chance_p_value=chance_p,
            chance_q_value=math.nan,
            p_value=max(base_p, chance_p) if is_same_side or not len(edges) else 1.0,
            q_value=math.nan,
            finding="the same as always bullish" if is_bullish else "",
            **_said_and_came(row["direction"], self._came[mask]),
            mean_return_pct=_mean(row["return_pct"]),
            median_return_pct=float(np.median(row["return_pct"])) if len(edges) else math.nan,
            mean_total_return_pct=_mean(total),
            directional_return_pct=directional.mean,
            directional_low_pct=directional.low,
            directional_high_pct=directional.high,
            benchmark_rows=int(np.count_nonzero(~np.isnan(row["excess_pct"]))),
            mean_excess_pct=_mean(row["excess_pct"]),
            mean_total_excess_pct=_mean(row["total_excess_pct"]),
            directional_excess_pct=_mean(row["direction"] * row["excess_pct"]),
            pnl_usd=float(row["pnl_usd"].sum()),
            directional_pnl_usd=earned.pnl_usd,
            directional_trades=earned.count,
            directional_turnover_usd=earned.turnover_usd,
            directional_drawdown_usd=earned.drawdown_usd,
            breakeven_bps=earned.breakeven_bps,
            information_coefficient=coefficient.mean,
            ic_low=coefficient.low,
            ic_high=coefficient.high,
        )


class _Chance:
    """The score of calls that are dealt out at random over the rows of their symbol.

    The shares of rises and falls of a symbol are counted from its rows, so that a row affects the
    reference of every other row of its symbol. `of` therefore gives block sums of the
    difference's first-order (influence) terms, over all rows.
    """

    def __init__(self, judged: pd.DataFrame, blocks: Blocks) -> None:
        # The sentiment that came true: 0 bearish, 1 neutral, 2 bullish.
        self._actual = came(_number(judged["return_pct"])) + 1
        self._predicted = (_number(judged["direction"]) + 1).astype(np.int64)
        self._symbols, names = pd.factorize(judged["symbol"].to_numpy())
        self._correct = _number(judged["correct"])
        self._blocks = blocks
        self._cells = max(len(names), 1) * 3
        rows = np.maximum(np.bincount(self._symbols, minlength=max(len(names), 1)), 1)
        # Share of each symbol's rows that rose, fell or stayed.
        self._shares = self._table(self._symbols * 3 + self._actual) / np.repeat(rows, 3)
        # The same counted per block, less what is expected: symbols x 3 per block.
        counts = np.zeros((blocks.count, self._cells))
        np.add.at(counts, (blocks.codes, self._symbols * 3 + self._actual), 1)
        per_symbol = counts.reshape(blocks.count, self._cells // 3, 3).sum(axis=2)
        expected = np.repeat(per_symbol, 3, axis=1) * self._shares
        self._deviations = (counts - expected) / np.repeat(rows, 3)

    def of(self, mask: NDArray[np.bool_]) -> tuple[float, Floats]:
        """Return the chance rate of these rows' calls, and block sums of accuracy less it."""
        n = int(mask.sum())
        if not n:
            return math.nan, np.zeros(0)
        cells = self._symbols[mask] * 3 + self._predicted[mask]
        expected = self._shares[cells]
        own = np.zeros(len(self._correct))
        own[mask] = (self._correct[mask] - expected) / n
        sums = self._blocks.sums(own) - self._deviations @ (self._table(cells) / n)
        # Calls that are all the same differ from chance by rounding only.
        return float(expected.mean()), np.where(np.abs(sums) < 1e-12, 0.0, sums)

    def _table(self, cells: Integers) -> Floats:
        return np.bincount(cells, minlength=self._cells).astype(np.float64)


def _coefficient(row: dict[str, Floats], blocks: Blocks) -> dependence.Interval:
    """Compute Spearman's correlation as the mean of products of standardised ranks."""
    stated = row["confidence"] * row["direction"]
    is_known = ~np.isnan(stated)
    if np.count_nonzero(is_known) < 3:
        return dependence.UNKNOWN
    x, y = (_standard_ranks(values[is_known]) for values in (stated, row["return_pct"]))
    if x is None or y is None:
        return dependence.UNKNOWN
    return mean_interval(x * y, blocks.of_rows(is_known))


def _standard_ranks(values: Floats) -> Floats | None:
    ranks = pd.Series(values).rank().to_numpy()
    spread = ranks.std()
    return (ranks - ranks.mean()) / spread if spread > 0 else None


def _mean(values: Floats) -> float:
    """Compute the mean of the values that are not NaN."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _ordered(labels: Iterable[object]) -> Iterator[str]:
    """Yield names in order: sentiments by their sign, missing values last."""
    order = {"bullish": "1", "neutral": "2", "bearish": "3", MISSING: "~", "out of range": "}"}
    yield from sorted((str(label) for label in labels), key=lambda label: order.get(label, label))
