"""Weekly bars, the stages of Weinstein, and Mansfield's relative strength.

Source: Weinstein, Secrets for Profiting in Bull and Bear Markets (1988). A week ends on Friday, and takes part
once it is finished: from the first bar on or after its Friday. So a bar of Monday to Thursday knows nothing of
its own week, a crypto pair's week is finished on Friday itself, and where Friday is a holiday the week is
finished by the next bar.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.indicators import windows
from market.indicators.bars import EQUAL, Bars, Floats, Integers, empty, lengths, positive, shifted

STAGES = ("UNKNOWN", "1", "2", "3", "4")
SMA_WEEKS = 30
SLOPE_WEEKS = 10
LABEL_WEEKS = SMA_WEEKS + SLOPE_WEEKS
RS_WEEKS = 52
_FLAT = 1e-4  # of the SMA a week
_NEAR = 0.03  # of the SMA
_SATURDAY = 2  # the first week of all begins on 1970-01-03


class Weeks(NamedTuple):
    """Finished weeks, oldest first: their number since 1970, last close, and day of finishing."""

    number: Integers
    close: Floats
    finished: Integers  # days since 1970


def weeks(dates: NDArray[Any], close: Floats) -> Weeks:
    """Take the last close of each week, Saturday to Friday, that is finished."""
    if not len(dates):
        nothing = np.empty(0, dtype=np.int64)
        return Weeks(nothing, empty(0), nothing)
    days = dates.astype("datetime64[D]").astype(np.int64)
    numbers = (days - _SATURDAY) // 7
    last = np.append(np.flatnonzero(numbers[1:] != numbers[:-1]), len(days) - 1)
    number = numbers[last]
    friday = number * 7 + _SATURDAY + 6
    # Finished on its Friday, else by the bar that begins another week.
    finished = np.where(days[last] == friday, days[last], np.append(days[last[:-1] + 1], -1))
    ended = finished >= 0 if finished[-1] < 0 else slice(None)
    return Weeks(number[ended], close[last][ended], finished[ended])


def common(symbol: Weeks, benchmark: Weeks) -> tuple[Weeks, Floats]:
    """Return the weeks that both have, finished when both are; and the benchmark's closes."""
    places = np.searchsorted(benchmark.number, symbol.number)
    # Behind the benchmark's last week stands a number that no week has.
    both = np.append(benchmark.number, -1)[places] == symbol.number
    places = places[both]
    finished = np.maximum(symbol.finished[both], benchmark.finished[places])
    return Weeks(symbol.number[both], symbol.close[both], finished), benchmark.close[places]


def stage(close: Floats, sma: Floats, strength: Floats) -> Integers:
    """Name the stage of each week.

    Formula: on common finished weeks of symbol and benchmark. A slope is the value less that of 10 weeks
    before. `2`: close > 30-week SMA, and the slopes of the SMA and of close/benchmark are positive; `4`: all
    three negative; else `1` when the slope is at most 0.01 % of the SMA a week and the close within 3 % of the
    SMA; else `3`; fewer than 40 weeks, or no benchmark: `UNKNOWN`. The benchmark's own strength never changes,
    so it is never in stage 2 or 4.
    First bar: the one that finishes the 40th common week.
    Source: Weinstein (1988); the thresholds are our own.

    Returns places in STAGES.
    """
    slope, rise = sma - shifted(sma, SLOPE_WEEKS), strength - shifted(strength, SLOPE_WEEKS)
    above = close - sma
    tolerance, rs_tolerance = sma * EQUAL, strength * EQUAL
    up = (above > tolerance) & (slope > tolerance) & (rise > rs_tolerance)
    down = (above < -tolerance) & (slope < -tolerance) & (rise < -rs_tolerance)
    is_flat = np.abs(slope) <= (_FLAT * SLOPE_WEEKS + EQUAL) * sma
    is_near = np.abs(above) <= (_NEAR + EQUAL) * sma
    codes = np.where(up, 2, np.where(down, 4, np.where(is_flat & is_near, 1, 3)))
    return np.where(np.isnan(slope + rise), 0, codes)


def mansfield(strength: Floats) -> Floats:
    """Compare the strength against the benchmark with its own mean of a year.

    Formula: `rs_mansfield_pct = ((close / benchmark) / mean of its last 52 weeks - 1) · 100`, on common finished
    weeks.
    First bar: the one that finishes the 52nd common week.
    Source: Mansfield's charts as in Weinstein (1988).
    """
    return (strength / positive(windows.means(strength, (RS_WEEKS,))[RS_WEEKS]) - 1) * 100


def slope_and_distance(close: Floats, sma: Floats) -> dict[str, Floats]:
    """Measure the slope of the 30-week SMA, and the close against it, in percent.

    Formula: `stage_slope_pct` = (SMA / SMA five weeks before - 1) · 100; `stage_dist_pct` = (weekly close /
    SMA - 1) · 100. On common finished weeks of symbol and benchmark; without a benchmark on the symbol's own.
    First bar: the one that finishes the 35th and the 30th week.
    Source: our own.
    """
    divisor = positive(sma)
    return {
        "stage_slope_pct": (sma / shifted(divisor, 5) - 1) * 100,
        "stage_dist_pct": (close / divisor - 1) * 100,
    }


def stages(bars: Bars, benchmark: Bars | None) -> tuple[dict[str, Floats], Integers]:
    """Compute the weekly indicators, and give each bar those of the newest finished week."""
    own = weeks(bars.dates, bars.close)
    against = empty(len(own.number))
    if benchmark is not None:
        own, against = common(own, weeks(benchmark.dates, benchmark.close))
    strength = positive(own.close) / positive(against)
    sma = windows.means(own.close, (SMA_WEEKS,))[SMA_WEEKS]
    values = slope_and_distance(own.close, sma)
    values["rs_mansfield_pct"] = mansfield(strength)
    codes = stage(own.close, sma, strength)
    # Before the first finished week nothing is known.
    begins = np.searchsorted(bars.dates, own.finished.astype("datetime64[D]"))
    steps = lengths(np.append(0, begins), len(bars.dates))
    spread = {name: np.repeat(np.append(np.nan, weekly), steps) for name, weekly in values.items()}
    return spread, np.repeat(np.append(0, codes), steps)
