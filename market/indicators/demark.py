"""TD Sequential: setups of nine bars, and countdowns to thirteen.

Source: DeMark, The New Science of Technical Analysis (1994), ch. 7; Perl, DeMark Indicators (2008), ch. 1. The
sell side is the buy side with prices negated, and the code says it once.
"""

from typing import NamedTuple

import numpy as np

from market.indicators.bars import Flags, Floats, Integers, lengths, margin

COMPARED = 4  # bars before, whose close a setup compares with
SETUP = 9
COUNTDOWN = 13
FIRST = COMPARED + 1  # the first bar that can follow a price flip


class Setups(NamedTuple):
    """The setups of one side: the count on each bar, and the bars that completed one."""

    counts: Integers
    complete: Integers


def setups(close: Floats) -> tuple[Setups, Setups]:
    """Count the bars of buy setups and of sell setups.

    Formula: `td_buy_setup` counts bars in a row whose close is below the close four bars before. It begins at a
    price flip: the bar before the first has a close above the close four bars before it. `td_sell_setup` is the
    reverse. An equal close ends both. The count ends at 9, and a new setup needs a new flip.
    `td_buy_complete`, `td_sell_complete`: the bar that is the ninth.
    First bar: 6 (four bars to compare with, and one to flip from); 0 where no setup is under way.
    Source: Perl (2008), ch. 1.
    """
    total = len(close)
    counts = np.zeros((2, total), dtype=np.int64)
    none = Setups(counts[0], np.empty(0, dtype=np.int64)), Setups(counts[1], np.empty(0, np.int64))
    if total <= FIRST:
        return none
    now, before = close[COMPARED:], close[:-COMPARED]
    tolerance = margin(before)
    sign = (now < before - tolerance).astype(np.int8) - (now > before + tolerance)
    starts = np.append(0, np.flatnonzero(sign[1:] != sign[:-1]) + 1)
    steps = lengths(starts, len(sign))
    run = sign[starts]
    # Opposite to the run before it: one that begins the history, or follows an equal close, is none.
    flipped = np.append(False, run[1:] * run[:-1] == -1)
    place = np.arange(1, len(sign) + 1) - np.repeat(starts, steps)
    place[place > SETUP] = 0
    ended = flipped & (steps >= SETUP)
    sides = []
    for side, direction in enumerate((1, -1)):
        mine = run == direction
        counts[side, COMPARED:] = place * np.repeat(flipped & mine, steps)
        complete = starts[ended & mine] + COMPARED + SETUP - 1
        sides.append(Setups(counts[side], complete))
    return sides[0], sides[1]


def perfect(low: Floats, complete: Integers) -> Flags:
    """Tell which completed buy setups are perfect, on their ninth bar.

    Formula: `td_perfect_buy`: the low of bar 8 or 9 is at or below the lows of bars 6 and 7. `td_perfect_sell`: the
    high of bar 8 or 9 is at or above the highs of bars 6 and 7. A setup that later bars perfect is not marked.
    First bar: 6.
    Source: Perl (2008), ch. 1.
    """
    flags = np.zeros(len(low), dtype=np.bool_)
    latest = np.fmin(low[complete], low[complete - 1])
    earlier = np.minimum(low[complete - 2], low[complete - 3])
    flags[complete] = latest <= earlier + margin(earlier)
    return flags


def countdown(
    high: Floats, low: Floats, close: Floats, complete: Integers, opposite: Integers
) -> Integers:
    """Count the bars of a buy countdown.

    Formula: it begins with the ninth bar of a buy setup, and counts bars, in a row or not, whose close is at or
    below the low two bars before. The 13th must also have a low at or below the close of the 8th; until one has,
    the count stays 12. `td_buy_countdown` is 13 on that bar and 0 after it. It ends early with a sell setup, or
    with a true low above the highest true high of the setup's nine bars; another buy setup begins it anew.
    `td_sell_countdown` is the reverse. An unknown high or low does not count.
    First bar: 6; 0 where no countdown is under way.
    Source: Perl (2008), ch. 1, without its qualifiers of a setup's size.
    """
    total = len(close)
    counts = np.zeros(total, dtype=np.int64)
    if not len(complete):
        return counts
    # Each bar belongs to the newest setup; nothing before the first one's bars matters.
    begin = int(complete[0]) - SETUP + 1
    before, high, low, close = close[begin - 1 : -1], high[begin:], low[begin:], close[begin:]
    true_high, true_low = np.fmax(high, before), np.fmin(low, before)
    nine = (complete - begin)[:, None] + np.arange(1 - SETUP, 1)
    resistance = np.fmax.reduce(true_high[nine], axis=1)
    # From here on the first bar is the ninth of the first setup.
    starts = complete - complete[0]
    earlier = low[SETUP - 3 : -2]
    low, close, true_low = low[SETUP - 1 :], close[SETUP - 1 :], true_low[SETUP - 1 :]
    steps = lengths(starts, len(close))

    def since_setup(flags: Flags) -> Integers:
        running = np.cumsum(flags)
        counted: Integers = running - np.repeat(running[starts] - flags[starts], steps)
        return counted

    hit = close <= earlier + margin(earlier)
    count = since_setup(hit)
    ends = true_low > np.repeat(resistance + margin(resistance), steps)
    ends[opposite[opposite > complete[0]] - complete[0]] = True
    is_over = since_setup(ends) > 0
    is_eighth = np.flatnonzero(hit & (count == 8))
    eighth = np.full(len(complete), np.nan)
    eighth[np.searchsorted(starts, is_eighth, "right") - 1] = (close + margin(close))[is_eighth]
    can_finish = hit & (count >= COUNTDOWN) & ~is_over & (low <= np.repeat(eighth, steps))
    finished = since_setup(can_finish)
    shown = np.where(is_over | (finished > 0), 0, np.minimum(count, COUNTDOWN - 1))
    shown[can_finish & (finished == 1)] = COUNTDOWN
    counts[complete[0] :] = shown
    return counts
