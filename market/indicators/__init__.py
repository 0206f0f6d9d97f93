"""Indicators: pure functions over arrays of daily bars. No database, no pandas, no settings.

`series` computes every column on each bar, `latest` on the last one; `COLUMNS` names them with their SQL types.
A value is unknown (NaN, None) until its window is full, and never depends on a later bar. docs/indicators.md
has each formula with its first bar; it is made from the docstrings here.
"""

from collections.abc import Mapping

from market.indicators import columns
from market.indicators.bars import Bars
from market.indicators.compute import latest, series

# Written beside every stored value. Change it with every change of a formula.
ENGINE_VERSION = "1"

COLUMNS: Mapping[str, str] = {name: column.type for name, column in columns.COLUMNS.items()}

__all__ = ["COLUMNS", "ENGINE_VERSION", "Bars", "latest", "series"]
