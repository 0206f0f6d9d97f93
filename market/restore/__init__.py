"""Restore coverage step by step: what `market restore-coverage` runs.

A restore and each of its steps are rows (`sql/functions/69_restore.sql`). `run` begins or takes up a
restore and records each step; `steps` is the list of what they do.
"""

from market.restore.run import detail, line, listing, planned, run
from market.restore.steps import STEPS, Means, Result, Step, StepFailed, Work, refresh_constituents

__all__ = [
    "STEPS",
    "Means",
    "Result",
    "Step",
    "StepFailed",
    "Work",
    "detail",
    "line",
    "listing",
    "planned",
    "refresh_constituents",
    "run",
]
