"""The lines of an accuracy report in their order, and the best of them."""

import math
from collections.abc import Sequence

from market.evaluation.records import TIMES, Group


def lines_of(groups: Sequence[Group], by: str | None, top: int | None = None) -> list[Group]:
    """Return the lines in their order: by edge within a horizon, times in their own order.

    top: only so many of each horizon, the best by edge.
    """
    best = by_edge(groups)
    if top is not None:
        taken: dict[str, int] = {}
        kept = []
        for group in best:
            taken[group.horizon] = taken.get(group.horizon, 0) + 1
            if taken[group.horizon] <= top:
                kept.append(group)
        best = kept
    chosen = {id(group) for group in best}
    return [group for group in groups if id(group) in chosen] if by in TIMES else best


def by_edge(groups: Sequence[Group]) -> list[Group]:
    """Sort the lines of each horizon by their edge; those without one last."""
    horizons = list(dict.fromkeys(group.horizon for group in groups))

    def place(group: Group) -> tuple[int, bool, float]:
        unknown = math.isnan(group.edge)
        return horizons.index(group.horizon), unknown, 0.0 if unknown else -group.edge

    return sorted(groups, key=place)
