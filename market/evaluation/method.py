"""The constants of the reports' method, without pandas and numpy: an empty report needs no more."""

import math

RESAMPLES = 2000
SEED = 20_240_229
# Below so many blocks (of equal size) nothing is called better or worse.
MIN_BLOCKS = 10
# The share of the rows on which calibration fits.
TRAIN_SHARE = 0.7
SIGNIFICANT = 0.05


def block_days(sessions: int) -> int:
    """Return a block's length in calendar days: two horizons, in whole weeks of five sessions."""
    return 7 * math.ceil(2 * sessions / 5)
