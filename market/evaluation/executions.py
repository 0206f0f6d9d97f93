"""What fills cost against their expected price, per group.

Slippage is in basis points of the expected price; positive is a cost to that side. Fills are no more
independent than outcomes: those of one decision, one day or one thin week share what moved the price. So
intervals draw whole weeks anew (`blocks`), for the mean by bootstrap-t and for the median by Woodruff's
method on the same blocks. Fewer than ten weeks (of equal size) give no interval.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.evaluation.blocks import Blocks, Floats, mean_interval, median_interval
from sql.database import Connection, one

GROUPINGS = ("symbol", "side", "venue", "month", "currency")
_MISSING = "not given"
# A larger number is not a return; its square would be infinite.
_LARGEST = 1e100

Row = dict[str, Any]

_COSTS = """
SELECT symbol, side, venue, currency, to_char(filled_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
       (filled_at AT TIME ZONE 'UTC')::date AS day, prediction_id, slippage_bps, slippage_cost, commission,
       expected_price * quantity AS expected_value, range_cost, return_pct, correct
FROM execution_costs(p_since => %(since)s, p_until => %(until)s, p_symbol => %(symbol)s, p_horizon => %(horizon)s)
"""


@dataclass(frozen=True)
class Cost:
    """One line of an execution report. NaN: not known.

    Money is in `currency`: with several in a group it is `mixed`, and their sums are NaN. A fill
    without an expected price counts in fills, commission and ranges. low, high: 95 % interval.
    """

    group: str
    fills: int
    priced: int  # with an expected price
    mean_bps: float
    mean_low_bps: float
    mean_high_bps: float
    median_bps: float
    median_low_bps: float
    median_high_bps: float
    interval: str  # bootstrap or none
    weeks: int  # that have a fill with an expected price: the blocks
    weighted_bps: float  # slippage_cost in basis points of the expected value
    currency: str
    slippage_cost: float
    commission: float
    cost: float  # slippage and commission
    ranged: int  # filled in a session whose bar is stored
    range_cost: float  # mean; 0: the session's best price for the side, 1: its worst
    range_low: float
    range_high: float
    outside: int  # of those, filled outside of low..high
    predicted: int  # with a prediction
    known: int  # whose prediction's outcome has a return at the horizon
    right: float  # share of the judged ones that came true
    return_bps: (
        float  # mean of those returns in the direction of the order: what a cost is set against
    )


def read(
    conn: Connection,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    symbol: str | None = None,
    horizon: str = "t7",
) -> list[Row]:
    """Return the fills of some days (UTC, both included) as `costs` takes them."""
    parameters = {"since": since, "until": until, "symbol": symbol, "horizon": horizon}
    return list(conn.execute(_COSTS, parameters).fetchall())


def has_fills(conn: Connection, symbol: str) -> bool:
    """Whether there is a fill of a symbol, which need not be registered."""
    query = (
        "SELECT EXISTS (SELECT FROM execution_feedback WHERE symbol = normalize_symbol(%s)) AS yes"
    )
    return bool(one(conn, query, [symbol])["yes"])


def costs(rows: Sequence[Row], by: str | None = None) -> list[Cost]:
    """Compute one line per group, in the order of their names; without `by` one for all rows."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault("all" if by is None else row[by] or _MISSING, []).append(row)
    return [_cost(name, groups[name]) for name in sorted(groups, key=lambda n: (n == _MISSING, n))]


def _cost(group: str, rows: Sequence[Row]) -> Cost:
    slippage = _numbers(rows, "slippage_bps")
    priced = ~np.isnan(slippage)
    blocks = Blocks.of(np.array([row["day"] for row in rows], dtype="datetime64[D]"), 1)
    of_priced = blocks.of_rows(priced)
    mean = mean_interval(slippage[priced], of_priced)
    median = median_interval(slippage[priced], of_priced)
    place = _numbers(rows, "range_cost")
    ranged = ~np.isnan(place)
    in_range = mean_interval(place[ranged], blocks.of_rows(ranged))
    money = _money(rows)
    side = np.array([1.0 if row["side"] == "buy" else -1.0 for row in rows])
    returns = _numbers(rows, "return_pct")
    returns = np.where(np.abs(returns) < _LARGEST, returns, np.nan)
    judged = [row["correct"] for row in rows if row["correct"] is not None]
    return Cost(
        group=group,
        fills=len(rows),
        priced=int(priced.sum()),
        mean_bps=mean.mean,
        mean_low_bps=mean.low,
        mean_high_bps=mean.high,
        median_bps=median.mean,
        median_low_bps=median.low,
        median_high_bps=median.high,
        interval=mean.method,
        weeks=of_priced.count,
        weighted_bps=_ratio(money["slippage_cost"], money["expected_value"]),
        currency=str(money["currency"]),
        slippage_cost=money["slippage_cost"],
        commission=money["commission"],
        cost=_sum(np.array([money["slippage_cost"], money["commission"]])),
        ranged=int(ranged.sum()),
        range_cost=in_range.mean,
        range_low=in_range.low,
        range_high=in_range.high,
        outside=int(np.count_nonzero((place < 0) | (place > 1))),
        predicted=sum(row["prediction_id"] is not None for row in rows),
        known=int(np.count_nonzero(~np.isnan(returns))),
        right=sum(judged) / len(judged) if judged else math.nan,
        return_bps=_mean(side * returns) * 100,
    )


def _money(rows: Sequence[Row]) -> dict[str, Any]:
    """Sum what is in one currency; NaN where a sum has no number or several currencies."""
    currencies = {row["currency"] or _MISSING for row in rows}
    sums = {
        name: _sum(_numbers(rows, name)) if len(currencies) == 1 else math.nan
        for name in ("slippage_cost", "commission", "expected_value")
    }
    return sums | {"currency": currencies.pop() if len(currencies) == 1 else "mixed"}


def _numbers(rows: Sequence[Row], key: str) -> Floats:
    return np.array([math.nan if row[key] is None else row[key] for row in rows], dtype=np.float64)


def _known(values: Floats) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _sum(values: Floats) -> float:
    return math.fsum(_known(values)) if len(_known(values)) else math.nan


def _mean(values: Floats) -> float:
    return float(_known(values).mean()) if len(_known(values)) else math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole * 10_000 if whole > 0 else math.nan
