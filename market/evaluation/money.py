"""What the calls would have earned, by the day of the exit: drawdown, turnover, and what costs may be."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.evaluation.blocks import Floats

POSITION_USD = 1000.0


@dataclass(frozen=True)
class Trades:
    """The calls of some rows as positions of $1,000 in their direction; neutral ones are none."""

    count: int
    pnl_usd: float
    turnover_usd: float
    drawdown_usd: float

    @property
    def breakeven_bps(self) -> float:
        """The pnl per dollar bought or sold, in basis points; NaN without a trade."""
        return 1e4 * self.pnl_usd / self.turnover_usd if self.turnover_usd else math.nan


def trades(direction: Floats, long_pnl: Floats, exits: NDArray[Any]) -> Trades:
    """Count the trades of some rows.

    direction: 1, 0, -1. long_pnl: US dollars of a long position. exits: datetime64, NaT counts in
    everything but the drawdown.
    """
    traded = direction != 0
    pnl = direction * long_pnl
    return Trades(
        count=int(np.count_nonzero(traded)),
        pnl_usd=float(pnl.sum()),
        turnover_usd=float((2 * POSITION_USD + long_pnl[traded]).sum()),
        drawdown_usd=drawdown(pnl, exits),
    )


def cumulative(pnl: Floats, exits: NDArray[Any]) -> tuple[NDArray[Any], Floats]:
    """Return the days of exits in order, and the sum of the pnl up to each."""
    known = ~np.isnat(exits)
    days, codes = np.unique(exits[known], return_inverse=True)
    return days, np.cumsum(np.bincount(codes, weights=pnl[known], minlength=len(days)))


def drawdown(pnl: Floats, exits: NDArray[Any]) -> float:
    """Compute the largest fall of the cumulative pnl from its peak, which is 0 at the beginning."""
    _, sums = cumulative(pnl, exits)
    if not len(sums):
        return math.nan
    line = np.concatenate([[0.0], sums])
    return float((np.maximum.accumulate(line) - line).max())
