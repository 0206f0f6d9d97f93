"""The pictures of a report. Needs matplotlib, the optional extra `plots`.

    accuracy    right by horizon, by group, and of two groups compared
    confidence  stated against right
    money       cumulative pnl, and prices around the entry

Every picture has a title, its legend below the axes where no line can run through it, and axes that
say where they begin. Figures are made without pyplot, so that nothing is global and no display is
needed. Strangers' text (names of groups) is drawn literally: otherwise a dollar sign would start a
formula.
"""

from market.evaluation.pictures.accuracy import by_group, by_horizon, comparison
from market.evaluation.pictures.confidence import reliability
from market.evaluation.pictures.figure import as_svg, save
from market.evaluation.pictures.money import cumulative_pnl, event_study

__all__ = [
    "as_svg",
    "by_group",
    "by_horizon",
    "comparison",
    "cumulative_pnl",
    "event_study",
    "reliability",
    "save",
]
