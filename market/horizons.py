"""The horizons of outcomes and the rule of 0.5 %: for Python what 14_horizons.sql is for SQL.

A test compares the two (tests/market/test_horizons.py).
"""

# Sessions after the entry; `t3` names the columns price_t3, return_t3, correct_t3 and pnl_t3.
HORIZONS = {"t1": 1, "t3": 3, "t7": 7, "t30": 30}

# A return within this distance from 0, in percent, is neutral.
NEUTRAL_BAND = 0.5
