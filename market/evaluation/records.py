"""The numbers of reports: one dataclass for each kind of line, without pandas and numpy.

Shares and rates are 0..1; *_pct are percent or percentage points; *_usd US dollars, of positions of
$1,000. NaN: not known. low, high: 95 % interval.
"""

import datetime as dt
from dataclasses import dataclass

# One line for each of these. month, quarter and year are those of the moment's UTC day.
GROUPINGS = (
    "symbol", "sentiment", "month", "quarter", "year", "sector", "asset_class", "source", "model",
    "confidence",
)  # fmt: skip
TIMES = frozenset({"month", "quarter", "year"})
# Groups of symbols, which never share one.
OF_SYMBOLS = frozenset({"symbol", "sector", "asset_class"})
# Columns of the frame that are called otherwise than the grouping.
COLUMNS = {"confidence": "confidence_tier"}
MISSING = "not given"


@dataclass(frozen=True)
class Group:
    """One line of an accuracy report: one horizon of one group.

    From accuracy on over judged rows, those with a sentiment and a return.
    """

    horizon: str
    group: str
    predictions: int
    outcomes: int  # correct + incorrect + unjudged + pending + unresolvable
    correct: int
    incorrect: int
    unjudged: int  # a return and no sentiment
    pending: int
    unresolvable: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    interval: str  # bootstrap, wilson, or none
    blocks: int  # independent stretches of time among the judged rows
    effective_blocks: float  # blocks of equal size that would tell as much
    base_rate: float  # "always bullish" on the same rows
    chance_rate: float  # the same calls dealt out at random
    edge: float  # accuracy less base rate
    edge_low: float
    edge_high: float
    base_p_value: float  # differs from the base rate
    chance_p_value: float  # differs from chance
    chance_q_value: float  # corrected over the groups of the report
    p_value: float  # differs from both, in the same direction
    q_value: float
    finding: str
    # Said and came: judged rows by sentiment and by what the price did, by the 0.5 % rule.
    bullish_up: int
    bullish_flat: int
    bullish_down: int
    neutral_up: int
    neutral_flat: int
    neutral_down: int
    bearish_up: int
    bearish_flat: int
    bearish_down: int
    mean_return_pct: float
    median_return_pct: float
    mean_total_return_pct: float  # a row without a total return counts with its price return
    directional_return_pct: float  # mean of direction times return; neutral counts as 0
    directional_low_pct: float
    directional_high_pct: float
    benchmark_rows: int  # judged rows for which the benchmark has both closes
    mean_excess_pct: float
    mean_total_excess_pct: float
    directional_excess_pct: float
    pnl_usd: float
    directional_pnl_usd: float
    directional_trades: int  # judged rows that are not neutral
    directional_turnover_usd: float  # bought and sold: $1,000 at the entry, its worth at the exit
    directional_drawdown_usd: float  # largest fall of the cumulative pnl from its peak, by exits
    breakeven_bps: float  # directional pnl per turnover: costs above it eat the pnl
    information_coefficient: float  # Spearman: confidence times direction, against return
    ic_low: float
    ic_high: float


@dataclass(frozen=True)
class Comparison:
    """Two groups on the pairs in which both were judged, at one horizon.

    A pair is a symbol and an entry session, or for groups of symbols a prediction. The side of a
    pair is the mean of its rows. left and right are the groups; differences are left less right.
    """

    horizon: str
    by: str
    left: str
    right: str
    pairs: int
    left_rows: int  # judged, in pairs or not
    right_rows: int
    left_accuracy: float  # over the pairs
    right_accuracy: float
    difference: float
    difference_low: float
    difference_high: float
    interval: str  # bootstrap, wilson, or none
    blocks: int
    effective_blocks: float
    p_value: float
    q_value: float  # corrected over the horizons
    both_right: int
    only_left_right: int
    only_right_right: int
    neither_right: int
    mixed: int  # pairs with several rows on a side, right and wrong
    left_return_pct: float  # mean of direction times return
    right_return_pct: float
    return_difference_pct: float
    return_low_pct: float
    return_high_pct: float
    finding: str


@dataclass(frozen=True)
class Bin:
    """Later rows of one tier of confidence; low, high: 95 % interval of accuracy."""

    tier: str
    rows: int
    confidence: float  # mean of the stated ones
    fitted: float  # mean of the curve's values
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    finding: str


@dataclass(frozen=True)
class Calibration:
    """One horizon's calibration. Rates and Brier scores 0..1; low, high: 95 % intervals."""

    horizon: str
    split: dt.datetime  # earlier moments are fitted, this and later ones scored
    earlier: int
    left_out: int  # earlier, but their horizon ends at or after the split
    later: int
    base_rate: float  # of the earlier rows
    later_rate: float
    slope: float  # of the curve, in log odds per 1.0 of confidence; 0: confidence has no effect
    intercept: float
    brier_base: float
    brier_stated: float
    brier_fitted: float
    skill_stated: float
    stated_low: float
    stated_high: float
    skill_fitted: float
    fitted_low: float
    fitted_high: float
    finding: str
    bins: list[Bin]
